// One end of a connection, for all that has the JavaScript API: Node's ws and browsers. What goes in and comes out is
// JSON; of bytes, their base64.

const encode = (bytes) => btoa(Array.from(bytes, (byte) => String.fromCharCode(byte)).join(""));
const decode = (text) => Uint8Array.from(atob(text), (character) => character.charCodeAt(0));

const ends = [];

class End {
  #messages = [];
  #receivers = [];

  constructor(socket) {
    this.socket = socket;
    socket.binaryType = "arraybuffer";
    socket.addEventListener("message", ({ data }) => {
      const message = typeof data === "string" ? { text: data } : { base64: encode(new Uint8Array(data)) };
      const receiver = this.#receivers.shift();
      if (receiver) receiver(message);
      else this.#messages.push(message);
    });
    socket.addEventListener("error", () => {}); // ws throws what nobody listens to
    this.closed = new Promise((resolve) =>
      socket.addEventListener("close", ({ code, reason, wasClean }) => resolve({ code, reason, wasClean })),
    );
    this.opened = new Promise((resolve, reject) => {
      if (socket.readyState === 1) resolve(); // a server's end
      socket.addEventListener("open", resolve);
      this.closed.then(({ code }) => reject(new Error(`closed with ${code} before it was open`)));
    });
    this.opened.catch(() => {});
  }

  receive() {
    if (this.#messages.length) return this.#messages.shift();
    return new Promise((resolve) => this.#receivers.push(resolve));
  }
}

export function add(socket) {
  return ends.push(new End(socket)) - 1;
}

export function socket(id) {
  return ends[id].socket;
}

export const commands = {
  async opened(id) {
    await ends[id].opened;
    return ends[id].socket.protocol;
  },
  send(id, { text, base64 }) {
    ends[id].socket.send(text === undefined ? decode(base64) : text);
  },
  receive: (id) => ends[id].receive(),
  close(id, ...codeAndReason) {
    ends[id].socket.close(...codeAndReason);
  },
  closed: (id) => ends[id].closed,
};
