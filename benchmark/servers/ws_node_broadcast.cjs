// The broadcasting server of the documentation of ws, for Node: PORT
const { WebSocket, WebSocketServer } = require("ws");

const wss = new WebSocketServer({ host: "127.0.0.1", port: process.argv[2] });

wss.on("connection", function connection(ws) {
  ws.on("error", console.error);
  ws.on("message", function message(data, isBinary) {
    wss.clients.forEach(function each(client) {
      if (client.readyState === WebSocket.OPEN) {
        client.send(data, { binary: isBinary });
      }
    });
  });
});
