// The list of messages of a chat.

import {find, make} from "./page.js";

const MOST = 500;  // older ones go
const [log] = find("log");

/** Show a message: of kind "mine", "note", or that of somebody else. */
export function show(kind, words, who) {
  const atEnd = log.scrollHeight - log.scrollTop - log.clientHeight < 50;
  const item = make("li", "", kind);
  if (who) item.append(make("b", who));
  item.append(make("span", words));
  log.append(item);
  if (log.children.length > MOST) log.firstElementChild.remove();
  if (atEnd || kind === "mine") log.scrollTop = log.scrollHeight;
}
