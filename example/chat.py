"""A chat in one file: a page, and the server that it talks to.

python example/chat.py [--host HOST] [--port PORT]
"""

from __future__ import annotations

import argparse
import json
from contextlib import suppress
from urllib.parse import parse_qs

from ws4py.limits import Limits
from ws4py.server.standalone import WebSocketServer
from ws4py.websocket import WebSocket


class Chat(WebSocket):
    """Somebody in the chat: one tab of a browser, or ``python -m ws4py connect``."""

    limits = Limits(max_message_size=4096)
    everybody = ()  # the server's manager, which knows all connections
    name = ""

    def opened(self):
        # Only our own page may take part: a browser tells in Origin whose page it is.
        if self.environ.get("HTTP_ORIGIN") != f"http://{self.environ['HTTP_HOST']}":
            self.close(1008, "Only the page of this server may take part")
            return
        self.take_name(*parse_qs(self.environ["QUERY_STRING"]).get("name", []))
        self.announce(f"{self.name} has joined")

    def received_message(self, message):
        before, text = self.name, str(message).strip()
        command, _, rest = text.partition(" ")
        if before and command == "/name":
            self.take_name(rest)
            self.announce(f"{before} is now {self.name}")
        elif before and text:
            self.everybody.broadcast(json.dumps({"who": before, "text": text}))

    def closed(self, code, reason=None):
        name, self.name = self.name, ""
        if name:
            self.announce(f"{name} has left")

    def take_name(self, wanted=""):
        wanted = " ".join(wanted.split())[:24] or "Guest"
        taken = {person.name for person in self.everybody if person is not self}
        number = 1
        while (name := wanted if number == 1 else f"{wanted} {number}") in taken:
            number += 1
        self.name = name
        self.send(json.dumps({"you": name}))

    def announce(self, note):
        here = sorted(person.name for person in self.everybody if person.name)
        self.everybody.broadcast(json.dumps({"note": note, "here": here}))


def site(environ, start_response):
    """Answer what is not for the websocket: a WSGI application."""
    found = environ["PATH_INFO"] == "/"
    kind = "text/html; charset=utf-8" if found else "text/plain"
    start_response("200 OK" if found else "404 Not Found", [("Content-Type", kind)])
    return [PAGE.encode() if found else b"Not found\n"]


def main():
    parser = argparse.ArgumentParser(description="A chat on ws4py")
    parser.add_argument("--host", default="localhost", help="0.0.0.0 lets other machines in")
    parser.add_argument("--port", default=9000, type=int)
    options = parser.parse_args()
    host, port = options.host, options.port
    try:
        server = WebSocketServer((host, port), {"/ws": Chat}, http=site)
    except (OSError, OverflowError) as error:
        parser.exit(2, f"chat: cannot listen on {host}:{port}: {error}\n")
    Chat.everybody = server.manager
    # At its end the server says goodbye to everybody, with the close code 1001.
    with server, suppress(KeyboardInterrupt):
        shown = "localhost" if host in ("", "0.0.0.0") else f"[{host}]" if ":" in host else host
        print(f"Open http://{shown}:{server.server_address[1]}/", flush=True)
        server.serve_forever()


PAGE = """<!doctype html>
<html lang="en">
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>Chat</title>
<link rel="icon" href="data:,">
<style>
  :root { color-scheme: light dark; --line: #8885; --mine: light-dark(#d7e8ff, #1d3b63);
          --theirs: light-dark(#eef0f3, #2a2d33); --quiet: light-dark(#5b6470, #a3abb7) }
  * { box-sizing: border-box; font: inherit; margin: 0 }
  body { display: flex; flex-direction: column; height: 100dvh; max-width: 48rem; margin: auto;
         font: 1rem/1.45 system-ui, sans-serif; color: light-dark(#1b1f24, #e8eaed);
         background: light-dark(#fff, #17191c) }
  header, form { display: flex; flex-wrap: wrap; align-items: center; gap: .5rem; padding: .75rem }
  header { border-bottom: 1px solid var(--line) }
  h1 { font-size: 1.25rem; font-weight: 700; flex: 1 }
  #status { flex-basis: 100%; font-size: .875rem; color: var(--quiet); overflow-wrap: anywhere }
  #status.lost { color: light-dark(#b3261e, #ff9d94); font-weight: 600 }
  ol { flex: 1; overflow-y: auto; list-style: none; padding: .75rem; display: flex;
       flex-direction: column; gap: .5rem }
  li { max-width: 85%; align-self: start; padding: .4rem .8rem; border-radius: 1rem;
       background: var(--theirs); overflow-wrap: anywhere; white-space: pre-wrap }
  li b { display: block; font-size: .8rem; font-weight: 600; color: var(--quiet) }
  li.mine { align-self: end; background: var(--mine) }
  li.note { align-self: center; padding: 0; background: none; font-size: .875rem;
            color: var(--quiet) }
  form { border-top: 1px solid var(--line) }
  input, button { padding: .5rem .8rem; border: 1px solid var(--quiet); border-radius: .6rem;
                  color: inherit; background: none; min-width: 0 }
  #name { width: 11rem }
  #text { flex: 1 }
  button { background: #1a5fb4; border-color: #1a5fb4; color: #fff; font-weight: 600 }
  button:disabled { opacity: .5 }
  :focus-visible { outline: 3px solid #4a90e2; outline-offset: 1px }
  .hidden { position: absolute; clip-path: inset(50%) }
</style>
<header>
  <h1>Chat</h1>
  <label for="name">Your name</label>
  <input id="name" maxlength="24" autocomplete="nickname">
  <p id="status" role="status">Connecting …</p>
</header>
<ol id="log" role="log" aria-live="polite" aria-label="Messages" tabindex="0"></ol>
<form id="form">
  <label for="text" class="hidden">Message</label>
  <input id="text" maxlength="1000" placeholder="Message" autocomplete="off" autofocus>
  <button id="send" disabled>Send</button>
</form>
<script type="module">
  const [name, status, log, form, text, send] =
    ["name", "status", "log", "form", "text", "send"].map(id => document.getElementById(id));
  const pick = words => words[Math.floor(Math.random() * words.length)];
  let socket, me;
  name.value = sessionStorage.name || pick(["Brave", "Calm", "Clever", "Kind", "Merry", "Quick"]) +
    " " + pick(["Badger", "Crane", "Fox", "Hare", "Lynx", "Otter", "Robin", "Wren"]);

  function state(words, connected) {
    status.textContent = words;
    status.className = connected ? "" : "lost";
    send.disabled = !connected;
  }

  function show(kind, words, who) {  // textContent only: nothing that is typed becomes HTML
    const atEnd = log.scrollHeight - log.scrollTop - log.clientHeight < 50;
    const item = document.createElement("li");
    item.className = kind;
    if (who) item.appendChild(document.createElement("b")).textContent = who;
    item.appendChild(document.createElement("span")).textContent = words;
    log.append(item);
    if (atEnd || kind === "mine") log.scrollTop = log.scrollHeight;
  }

  function connect() {
    const url = location.origin.replace("http", "ws") + "/ws?name=";
    socket = new WebSocket(url + encodeURIComponent(name.value));
    socket.onclose = () => {
      state("Connection lost. Trying again …", false);
      setTimeout(connect, 1000);
    };
    socket.onmessage = ({data}) => {
      const {you, note, here, who, text} = JSON.parse(data);
      if (you) sessionStorage.name = me = name.value = you;
      if (note) show("note", note);
      if (here) state(`Connected. Here now: ${here.join(", ")}`, true);
      if (who) show(who === me ? "mine" : "", text, who === me ? "" : who);
    };
  }

  name.onchange = () => { if (!send.disabled) socket.send("/name " + name.value) };
  form.onsubmit = event => {
    event.preventDefault();
    if (send.disabled || !text.value.trim()) return;
    socket.send(text.value);
    text.value = "";
    text.focus();
  };
  connect();
</script>
"""

if __name__ == "__main__":
    main()
