// Node's ws as a peer. Each line of standard input is a call, [id, command, arguments], and each line of standard
// output an answer, [id, result] or [id, null, error]; it ends when standard input does.

import { createInterface } from "node:readline";
import { WebSocket, WebSocketServer } from "ws";
import { add, commands as common, socket } from "./end.mjs";

const servers = [];

class Server {
  #arrived = [];
  #waiting = [];

  constructor(subprotocols) {
    const handleProtocols = (offered) => subprotocols.find((name) => offered.has(name)) ?? false;
    this.server = new WebSocketServer({ host: "127.0.0.1", port: 0, handleProtocols, perMessageDeflate: { threshold: 0 } });
    this.server.on("connection", (connection) => {
      const id = add(connection);
      const waiting = this.#waiting.shift();
      if (waiting) waiting(id);
      else this.#arrived.push(id);
    });
  }

  accept() {
    if (this.#arrived.length) return this.#arrived.shift();
    return new Promise((resolve) => this.#waiting.push(resolve));
  }
}

const commands = {
  ...common,
  connect: (url, subprotocols) => add(new WebSocket(url, subprotocols, { perMessageDeflate: { threshold: 0 } })),
  terminate(id) {
    socket(id).terminate();
  },
  // Of whole characters, so that every part of a text is one.
  sendFragments(id, { text, base64 }, count) {
    const whole = text === undefined ? Buffer.from(base64, "base64") : Array.from(text);
    const step = Math.ceil(whole.length / count);
    for (let at = 0; at < whole.length; at += step) {
      const part = whole.slice(at, at + step);
      socket(id).send(text === undefined ? part : part.join(""), { fin: at + step >= whole.length });
    }
  },
  ping(id, data) {
    return new Promise((resolve) => {
      socket(id).once("pong", (pong) => resolve(pong.toString()));
      socket(id).ping(data);
    });
  },
  serve(subprotocols) {
    const server = new Server(subprotocols);
    const id = servers.push(server) - 1;
    return new Promise((resolve, reject) => {
      server.server.once("error", reject);
      server.server.once("listening", () => resolve({ id, port: server.server.address().port }));
    });
  },
  accept: (id) => servers[id].accept(),
  stop(id) {
    const { server } = servers[id];
    for (const client of server.clients) client.terminate();
    return new Promise((resolve) => server.close(() => resolve()));
  },
};

const answer = (message) => process.stdout.write(`${JSON.stringify(message)}\n`);

createInterface({ input: process.stdin })
  .on("line", async (line) => {
    const [id, command, values] = JSON.parse(line);
    try {
      answer([id, (await commands[command](...values)) ?? null]);
    } catch (error) {
      answer([id, null, String(error)]);
    }
  })
  .on("close", () => process.exit());
