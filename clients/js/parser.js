// From the text of a stream to its events (WHATWG HTML, 9.2.6).

/** Characters of one event, beyond which it is no event but an attack or a mistake. */
const EVENT_CHARS_MAX = 64 << 20;

/** Takes a stream's text in pieces of any size. */
export class Parser {
  #onEvent;
  #onRetry;
  #onPosition;
  /** What came of a line that has not ended. */
  #line = "";
  /** The last piece ended with a CR: an LF at the start of the next belongs to it. */
  #afterCr = false;
  /** @type {string[]} */
  #data = [];
  #chars = 0;
  #type = "";
  /** @type {string | undefined} */
  #id;

  /**
   * `onEvent` gets each event, with its id if it has one of its own; `onRetry` gets milliseconds; `onPosition` gets an id that comes
   * without an event.
   *
   * @param {(type: string, data: string, id: string | undefined) => void} onEvent
   * @param {(ms: number) => void} onRetry
   * @param {(id: string) => void} onPosition
   */
  constructor(onEvent, onRetry, onPosition) {
    this.#onEvent = onEvent;
    this.#onRetry = onRetry;
    this.#onPosition = onPosition;
  }

  /**
   * @param {string} text
   * @throws {RangeError} if an event has no end
   */
  push(text) {
    let at = this.#afterCr && text[0] === "\n" ? 1 : 0;
    if (text !== "") this.#afterCr = text.at(-1) === "\r";
    const lineBreak = /\r\n|\r|\n/g;
    lineBreak.lastIndex = at;
    for (let found = lineBreak.exec(text); found; found = lineBreak.exec(text)) {
      const line = this.#line + text.slice(at, found.index);
      this.#line = "";
      at = lineBreak.lastIndex;
      this.#take(line);
    }
    this.#line += text.slice(at);
    if (this.#line.length + this.#chars > EVENT_CHARS_MAX) throw new RangeError("an event without an end");
  }

  /** @param {string} line */
  #take(line) {
    if (line === "") return this.#dispatch();
    const colon = line.indexOf(":");
    const name = colon === -1 ? line : line.slice(0, colon);
    const value = colon === -1 ? "" : line.slice(line[colon + 1] === " " ? colon + 2 : colon + 1);
    if (name === "data") {
      this.#data.push(value);
      this.#chars += value.length + 1;
    } else if (name === "event") {
      this.#type = value;
    } else if (name === "id" && !value.includes("\0")) {
      this.#id = value;
    } else if (name === "retry" && /^[0-9]+$/.test(value)) {
      this.#onRetry(Number(value));
    }
  }

  #dispatch() {
    const [type, data, id] = [this.#type, this.#data, this.#id];
    [this.#type, this.#data, this.#chars] = ["", [], 0];
    this.#id = undefined;
    // Without data it is no event, as a heartbeat is none.
    if (data.length > 0) this.#onEvent(type || "message", data.join("\n"), id);
    else if (id !== undefined) this.#onPosition(id);
  }
}
