// Node's ws, its server.

import { readFileSync } from "node:fs";
import { createServer as createPlain } from "node:http";
import { createServer as createSecure } from "node:https";
import { WebSocketServer } from "ws";

const settings = JSON.parse(process.argv[2]);

const secure = settings.certificate && { cert: readFileSync(settings.certificate), key: readFileSync(settings.key) };
const listener = secure ? createSecure(secure) : createPlain();
const server = new WebSocketServer({
  server: listener,
  perMessageDeflate: settings.deflate
    ? {
        threshold: 0,
        serverMaxWindowBits: settings.deflate,
        clientMaxWindowBits: settings.deflate,
        zlibDeflateOptions: { level: settings.level, memLevel: settings.mem_level },
      }
    : false,
});

function broadcast(data, binary) {
  for (const client of server.clients) client.send(data, { binary });
}

server.on("connection", (socket) => {
  if (settings.mode === "broadcast") socket.on("message", broadcast);
  else socket.on("message", (data, binary) => socket.send(data, { binary }));
});

process.on("SIGTERM", async () => {
  const gone = Array.from(server.clients, (client) => new Promise((resolve) => client.on("close", resolve)));
  for (const client of server.clients) client.close(1001);
  await Promise.all(gone);
  console.log("drained");
});

listener.listen({ host: "127.0.0.1", port: 0, backlog: 8192 }, () => console.log(listener.address().port));
