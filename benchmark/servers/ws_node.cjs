// The echo server of the documentation of ws, for Node: PORT [--certificate FILE]
const { readFileSync } = require("fs");
const { createServer } = require("https");
const { WebSocketServer } = require("ws");

const [port, , certificate] = process.argv.slice(2);
let wss;
if (certificate) {
  const pem = readFileSync(certificate);
  const server = createServer({ cert: pem, key: pem });
  wss = new WebSocketServer({ server });
  server.listen(port, "127.0.0.1");
} else {
  wss = new WebSocketServer({ host: "127.0.0.1", port });
}

wss.on("connection", function connection(ws) {
  ws.on("error", console.error);
  ws.on("message", function message(data, isBinary) {
    ws.send(data, { binary: isBinary });
  });
});
