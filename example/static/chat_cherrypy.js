// The chat under CherryPy: what anybody sends is sent to all, and begins with a name.

import {connect, find, state} from "./page.js";
import {show} from "./messages.js";

const [name, form, text, send] = find("name", "form", "text", "send");

name.value = sessionStorage.name || "Guest " + Math.floor(Math.random() * 900 + 100);

function received(line) {
  const [, who, words] = line.match(/^([^:\n]{1,24}): ([^]*)$/) || [, "", line];
  const isMine = who !== "" && who === name.value.trim();
  show(isMine ? "mine" : who ? "" : "note", words, isMine ? "" : who);
}

const say = connect(() => "/ws", {
  opened: () => {
    state("Connected", true);
    send.disabled = false;
  },
  received,
  lost: () => { send.disabled = true; },
});

name.onchange = () => {  // a colon ends the name in what is sent
  sessionStorage.name = name.value = name.value.replaceAll(":", "").trim();
};
form.onsubmit = event => {
  event.preventDefault();
  if (send.disabled || !text.value.trim()) return;
  say((name.value.trim() || "Guest") + ": " + text.value.trim());
  text.value = "";
  text.focus();
};
