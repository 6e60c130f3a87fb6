// What a client saw of a stream, whichever client it is.

import { waitFor } from "./wait.js";

export class Follower {
  /** Events in the order of arrival: `{ type, data, id }`. */
  events = [];
  /** How often the stream opened. */
  opens = 0;
  /** Whether the client has given up reconnecting. */
  closed = false;

  /** `close` ends the client. */
  constructor(close) {
    this.close = close;
  }

  async opened(times = 1) {
    await waitFor(`the stream to open ${times} times, it did ${this.opens}`, () => this.opens >= times);
  }

  /** Waits until `count` events are there, and returns the last of them. */
  async received(count) {
    const enough = () => this.events.length >= count;
    await waitFor(`${count} events`, enough).catch((error) => {
      throw new Error(`${error.message}: there are ${this.events.length}, the last is ${brief(this.events.at(-1))}`);
    });
    return this.events[count - 1];
  }
}

/** An event as it fits in a message. */
export function brief(event) {
  return JSON.stringify(event, (_, value) => {
    return typeof value === "string" && value.length > 120 ? `${value.slice(0, 100)}… (${value.length})` : value;
  });
}
