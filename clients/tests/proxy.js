// A TCP proxy that cuts connections in the middle of a stream.

import { connect, createServer } from "node:net";
import { waitFor } from "./wait.js";

export class Proxy {
  #listener;
  #sockets = new Set();
  #cutAfter;
  #betweenEvents;
  /** How many connections were cut so far. */
  cuts = 0;
  /** Whether the client has the event of that id. What a browser has read but not yet shown to its page is lost with a cut. */
  hasTaken = () => true;

  /**
   * Passes connections on to `target`. The first stream is cut when `cutAfter[0]` bytes of its body have passed, the next
   * after `cutAfter[1]`, and so on; those after the last are left alone. Every other cut is a reset rather than an end. A cut
   * waits until the client has taken what has passed, and with `betweenEvents` for the end of the event under way.
   */
  static async start(target, cutAfter = [], { betweenEvents = false } = {}) {
    const proxy = new Proxy();
    proxy.target = target;
    proxy.#cutAfter = [...cutAfter];
    proxy.#betweenEvents = betweenEvents;
    proxy.#listener = createServer((client) => proxy.#accept(client));
    await new Promise((resolve) => proxy.#listener.listen(0, "127.0.0.1", resolve));
    proxy.url = `http://127.0.0.1:${proxy.#listener.address().port}`;
    return proxy;
  }

  /** Cuts of `cutAfter` that are still to come. */
  get cutsLeft() {
    return this.#cutAfter.length;
  }

  #accept(client) {
    const server = connect(this.target);
    const cut = (reset) => [client, server].forEach((socket) => (reset ? socket.resetAndDestroy() : socket.destroy()));
    for (const socket of [client, server]) {
      this.#sockets.add(socket);
      socket.on("error", () => cut(false));
      socket.on("close", () => this.#sockets.delete(socket));
    }
    client.pipe(server);
    server.on("end", () => client.end());
    let streamed = null;
    const passed = new Ids();
    server.on("data", (bytes) => {
      // Preflights and errors are no streams and are left alone; a head comes in one piece.
      if (streamed === null && bytes.includes("text/event-stream")) streamed = -(bytes.indexOf("\r\n\r\n") + 4);
      const end = streamed === null ? Infinity : this.#end(bytes, streamed);
      if (streamed !== null) streamed += bytes.length;
      passed.read(bytes.subarray(0, end));
      if (end > bytes.length) {
        if (!client.write(bytes)) {
          server.pause();
          client.once("drain", () => server.resume());
        }
        return;
      }
      this.#cutAfter.shift();
      const reset = this.cuts++ % 2 === 1;
      server.pause();
      // Up to the very byte where it is cut, the stream does arrive.
      client.write(bytes.subarray(0, end), () => {
        waitFor(`the client to take event ${passed.last}`, () => passed.last === null || this.hasTaken(passed.last))
          .catch(console.error)
          .finally(() => cut(reset));
      });
    });
  }

  /** Where in `bytes`, before which `streamed` bytes have passed, the stream is to be cut; beyond them if it is not. */
  #end(bytes, streamed) {
    if (this.cutsLeft === 0) return Infinity;
    const end = Math.max(this.#cutAfter[0] - streamed, 0);
    if (!this.#betweenEvents) return end;
    // From the body's first byte on, and never below 0, which would count from the end.
    const blank = bytes.indexOf("\n\n", Math.max(end - 2, -streamed, 0));
    return blank === -1 ? Infinity : blank + 2;
  }

  /** Cuts every connection now. */
  cut() {
    for (const socket of this.#sockets) socket.destroy();
  }

  async stop() {
    this.cut();
    await new Promise((resolve) => this.#listener.close(resolve));
  }
}

/** The ids of the events that are whole in the bytes of a stream. */
class Ids {
  /** The last of them. */
  last = null;
  #rest = "";

  read(bytes) {
    const blocks = (this.#rest + bytes.toString("latin1")).split("\n\n");
    this.#rest = blocks.pop();
    for (const block of blocks) this.last = block.match(/^id: ?(.*)$/m)?.[1] ?? this.last;
  }
}
