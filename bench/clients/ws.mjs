// Node's ws, its client.

import { readFileSync } from "node:fs";
import { WebSocket } from "ws";

const settings = JSON.parse(process.argv[2]);
const url = `${settings.authority ? "wss" : "ws"}://127.0.0.1:${settings.port}/`;
const options = { perMessageDeflate: false, ca: settings.authority ? readFileSync(settings.authority) : undefined };

for (let i = 0; i < settings.connections; i++) {
  const socket = new WebSocket(url, options);
  socket.on("message", (data, binary) => socket.send(data, { binary }));
}
