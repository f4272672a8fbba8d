"""A chat under CherryPy: open its page in a couple of tabs, and chat around.

python example/echo_cherrypy_server.py [--host HOST] [--port PORT] [--ssl CERTIFICATE KEY]
"""

from __future__ import annotations

import argparse
import socket

import cherrypy

from ws4py.limits import Limits
from ws4py.server.cherrypyserver import WebSocketPlugin, WebSocketTool
from ws4py.websocket import WebSocket


class Chat(WebSocket):
    """One tab, or one of many clients; each gets what any of them says."""

    limits = Limits(max_message_size=4096)

    def opened(self):
        self.send("Welcome! What you say is said to everybody here.")

    def received_message(self, message):
        cherrypy.engine.publish("websocket-broadcast", str(message))


class Root:
    @cherrypy.expose
    def index(self):
        return PAGE

    @cherrypy.expose
    def ws(self):
        # The websocket is opened once this has returned, and not at all if it raises. Only our own
        # page may take part: a browser tells in Origin whose page it is.
        if cherrypy.request.headers.get("Origin") != cherrypy.request.base:
            raise cherrypy.HTTPError(403, "Only the page of this server may take part")


def announce():
    """Print where the page is, now that the server is there."""
    host, port = cherrypy.server.bound_addr
    scheme = "https" if cherrypy.server.ssl_certificate else "http"
    shown = "localhost" if host == "0.0.0.0" else f"[{host}]" if ":" in host else host
    print(f"Open {scheme}://{shown}:{port}/", flush=True)


def main():
    parser = argparse.ArgumentParser(description="A chat on ws4py, under CherryPy")
    parser.add_argument("--host", default="localhost", help="0.0.0.0 lets other machines in")
    parser.add_argument("--port", default=9000, type=int, help="0 for any that is free")
    parser.add_argument("--ssl", nargs=2, metavar=("CERTIFICATE", "KEY"), help="files, for https")
    options = parser.parse_args()
    host, port = options.host, options.port
    certificate, key = options.ssl or (None, None)
    try:
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        socket.create_server((host, port), family=family).close()
    except (OSError, OverflowError) as error:
        parser.exit(2, f"chat: cannot listen on {host}:{port}: {error}\n")
    cherrypy.config.update(
        {
            "environment": "production",
            "server.socket_host": host,
            "server.socket_port": port,
            "server.ssl_certificate": certificate,
            "server.ssl_private_key": key,
        }
    )
    # At the end of the engine it says goodbye to everybody, with the close code 1001.
    WebSocketPlugin(cherrypy.engine).subscribe()
    cherrypy.tools.websocket = WebSocketTool()
    cherrypy.engine.subscribe("start", announce, priority=90)  # after the server, which has 75
    config = {"/ws": {"tools.websocket.on": True, "tools.websocket.handler_cls": Chat}}
    cherrypy.quickstart(Root(), "/", config)


PAGE = """<!doctype html>
<html lang="en">
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>Real-time chat</title>
<link rel="icon" href="data:,">
<style>
  :root { color-scheme: light dark; --line: #8885; --mine: light-dark(#ffe3dc, #5c2b21);
          --theirs: light-dark(#f1efee, #2f2a29); --quiet: light-dark(#655d5a, #b3aaa6);
          --cherry: #b0223a }
  * { box-sizing: border-box; font: inherit; margin: 0 }
  body { display: grid; grid-template-rows: auto 1fr auto; height: 100dvh; max-width: 48rem;
         margin: auto; font: 1rem/1.45 system-ui, sans-serif; color: light-dark(#221c1b, #ece7e5);
         background: light-dark(#fffdfc, #1a1716) }
  header, form { display: flex; flex-wrap: wrap; align-items: center; gap: .5rem; padding: .75rem }
  header { border-bottom: 3px solid var(--cherry) }
  h1 { font-size: 1.25rem; font-weight: 700; flex: 1 }
  #status { font-size: .875rem; color: var(--quiet) }
  #status::before { content: "\\25cf"; margin-right: .35rem; color: light-dark(#1d7a3e, #5fd38a) }
  #status.lost { color: light-dark(#a3152b, #ff9d94); font-weight: 600 }
  #status.lost::before { content: "\\25cb"; color: inherit }
  ol { overflow-y: auto; list-style: none; padding: .75rem; display: flex; gap: .5rem;
       flex-direction: column }
  li { max-width: 85%; align-self: start; padding: .4rem .8rem; border-radius: .25rem 1rem 1rem;
       background: var(--theirs); overflow-wrap: anywhere; white-space: pre-wrap }
  li.mine { align-self: end; background: var(--mine); border-radius: 1rem .25rem 1rem 1rem }
  li.note { align-self: center; padding: 0; background: none; font-size: .875rem;
            color: var(--quiet) }
  li b { display: block; font-size: .8rem; font-weight: 600; color: var(--quiet) }
  form { border-top: 1px solid var(--line) }
  input, button { padding: .5rem .8rem; border: 1px solid var(--quiet); border-radius: .6rem;
                  color: inherit; background: none; min-width: 0 }
  #name { width: 6.5rem }
  #text { flex: 1 1 0; min-width: 5rem }
  button { background: var(--cherry); border-color: var(--cherry); color: #fff; font-weight: 600 }
  button:disabled { opacity: .5 }
  :focus-visible { outline: 3px solid #4a90e2; outline-offset: 1px }
  .hidden { position: absolute; clip-path: inset(50%) }
</style>
<header>
  <h1>Real-time chat</h1>
  <p id="status" role="status" class="lost">Connecting …</p>
</header>
<ol id="log" role="log" aria-live="polite" aria-label="Messages" tabindex="0"></ol>
<form id="form">
  <label for="name" class="hidden">Your name</label>
  <input id="name" maxlength="24" placeholder="Your name" autocomplete="nickname">
  <label for="text" class="hidden">Message</label>
  <input id="text" maxlength="1000" placeholder="Message" autocomplete="off" autofocus>
  <button id="send" disabled>Send</button>
</form>
<script type="module">
  const [name, status, log, form, text, send] =
    ["name", "status", "log", "form", "text", "send"].map(id => document.getElementById(id));
  let socket;
  name.value = sessionStorage.name || "Guest " + Math.floor(Math.random() * 900 + 100);

  function state(words, connected) {
    status.textContent = words;
    status.className = connected ? "" : "lost";
    send.disabled = !connected;
  }

  function show(line) {  // textContent only: nothing that is typed becomes HTML
    const atEnd = log.scrollHeight - log.scrollTop - log.clientHeight < 50;
    const [, who, words] = line.match(/^([^:\\n]{1,24}): ([^]*)$/) || [, "", line];
    const mine = who !== "" && who === name.value.trim();
    const item = document.createElement("li");
    item.className = mine ? "mine" : who ? "" : "note";
    if (who && !mine) item.appendChild(document.createElement("b")).textContent = who;
    item.appendChild(document.createElement("span")).textContent = words;
    log.append(item);
    if (atEnd || mine) log.scrollTop = log.scrollHeight;
  }

  function connect() {
    socket = new WebSocket(location.origin.replace("http", "ws") + "/ws");
    socket.onopen = () => state("Connected", true);
    socket.onmessage = ({data}) => show(data);
    socket.onclose = () => {
      state("Connection lost. Trying again …", false);
      setTimeout(connect, 1000);
    };
  }

  name.onchange = () => {  // a colon ends the name in what is sent
    sessionStorage.name = name.value = name.value.replaceAll(":", "").trim();
  };
  form.onsubmit = event => {
    event.preventDefault();
    if (send.disabled || !text.value.trim()) return;
    socket.send((name.value.trim() || "Guest") + ": " + text.value.trim());
    text.value = "";
    text.focus();
  };
  connect();
</script>
"""

if __name__ == "__main__":
    main()
