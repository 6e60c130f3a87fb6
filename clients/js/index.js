// Follows an sse-server from a browser, see docs/browser.md.

import { Connection } from "./connection.js";
import { canShare, SharedConnection } from "./tabs.js";

/** @import { Stream as Followed } from "./index.js" */

/** @type {typeof import("./index.js").follow} */
export function follow(url, options = {}) {
  return new Stream(String(new URL(url, globalThis.location?.href)), options);
}

/** @implements {Followed} */
class Stream {
  #connection;
  #options;
  /** @type {import("./index.js").State} */
  state = "connecting";

  /**
   * @param {string} url
   * @param {import("./index.js").Options} options
   */
  constructor(url, options) {
    this.#options = options;
    const { share = false, lastEventId } = options;
    /** @type {(message: import("./messages.js").Message) => void} */
    const tell = (message) => this.#take(message);
    this.#connection =
      share !== false && canShare()
        ? new SharedConnection(`sse ${share === true ? url : share}`, url, options, tell)
        : new Connection(url, options, lastEventId, tell);
  }

  get lastEventId() {
    return this.#connection.lastEventId;
  }

  get isLeader() {
    return this.state !== "closed" && (this.#connection instanceof Connection || this.#connection.isLeader);
  }

  close() {
    this.state = "closed";
    this.#connection.close();
  }

  /** @param {import("./messages.js").Message} message */
  #take(message) {
    if (this.state === "closed") return;
    const { onOpen, onGap, onInterrupted, onEnd } = this.#options;
    switch (message.kind) {
      case "open":
        this.state = "open";
        call(onOpen, undefined);
        break;
      case "interrupted":
        this.state = "waiting";
        call(onInterrupted, message.failure);
        break;
      case "lost":
        call(onGap, message.gap);
        break;
      case "ended":
        this.state = "closed";
        call(onEnd, { final: true });
        break;
      case "event":
        this.#event(message.event);
    }
  }

  /** @param {import("./index.js").StreamEvent} event */
  #event(event) {
    const { onEvent, onGap, onReconnect, onEnd } = this.#options;
    switch (event.type) {
      case "sse.gap":
        return call(onGap, parsed(event.data));
      case "sse.reconnect":
        return call(onReconnect, parsed(event.data));
      case "sse.end":
        return call(onEnd, { ...parsed(event.data), final: false });
      default:
        return call(onEvent, event);
    }
  }
}

/**
 * What one of the server's own events says.
 *
 * @param {string} data
 */
function parsed(data) {
  try {
    return JSON.parse(data);
  } catch {
    return {};
  }
}

/**
 * Calls back. What the page throws is the page's, and ends no stream.
 *
 * @template T
 * @param {((value: T) => void) | undefined} callback
 * @param {T} value
 */
function call(callback, value) {
  try {
    callback?.(value);
  } catch (error) {
    (globalThis.reportError ?? console.error)(error);
  }
}
