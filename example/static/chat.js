// The chat on ws4py alone: the server tells who is here, and which name each has.

import {connect, find, state} from "./page.js";
import {show} from "./messages.js";

const [name, form, text, send] = find("name", "form", "text", "send");
const pick = words => words[Math.floor(Math.random() * words.length)];
let me;

name.value = sessionStorage.name || pick(["Brave", "Calm", "Clever", "Kind", "Merry", "Quick"]) +
  " " + pick(["Badger", "Crane", "Fox", "Hare", "Lynx", "Otter", "Robin", "Wren"]);

function received(data) {
  const {you, note, here, who, text} = JSON.parse(data);
  if (you) sessionStorage.name = me = name.value = you;
  if (note) show("note", note);
  if (here) {
    state(`Connected. Here now: ${here.join(", ")}`, true);
    send.disabled = false;
  }
  if (who) show(who === me ? "mine" : "", text, who === me ? "" : who);
}

const say = connect(() => "/ws?name=" + encodeURIComponent(name.value), {
  received,
  lost: () => { send.disabled = true; },
});

name.onchange = () => { if (!send.disabled) say("/name " + name.value); };
form.onsubmit = event => {
  event.preventDefault();
  if (send.disabled || !text.value.trim()) return;
  say(text.value);
  text.value = "";
  text.focus();
};
