// An echo with ws, in one of two roles: `node peer_ws.js serve` prints its port; `node peer_ws.js
// connect URL` echoes until the connection ends, and prints the close code.

"use strict";

const {WebSocket, WebSocketServer} = require("ws");

// Without the threshold, messages below 1 KiB would go uncompressed.
const perMessageDeflate = {threshold: 0};
const maxPayload = 1 << 24;

function echo(socket) {
  socket.on("message", (data, isBinary) => socket.send(data, {binary: isBinary}));
}

if (process.argv[2] === "serve") {
  const server = new WebSocketServer({host: "127.0.0.1", port: 0, perMessageDeflate, maxPayload});
  server.on("connection", echo);
  server.on("listening", () => console.log(server.address().port));
} else {
  const socket = new WebSocket(process.argv[3], {perMessageDeflate, maxPayload});
  echo(socket);
  socket.on("close", code => console.log(code));
}
