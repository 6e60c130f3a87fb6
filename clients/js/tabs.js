// Tabs of one origin share one connection: the one that holds a lock has it, and tells the others all that it gets.
//
// Each tab remembers what it has seen. When the tab that leads is gone, in whatever way, the browser gives the lock to another,
// which goes on after the last event that it has seen itself. What others have seen already they pass over; what they have
// not, they ask for. A tab that leads but hangs, as some browsers have it with hidden ones, loses the lock to one that is seen.

import { Connection } from "./connection.js";

/**
 * @typedef {import("./messages.js").Message} Message
 * @typedef {Extract<Message, { kind: "event" }>} EventMessage
 * @typedef {{ to?: string } & (
 *   | Message
 *   | { kind: "hello" }
 *   | { kind: "state", open: boolean, lastEventId: string | undefined }
 *   | { kind: "missing", after: string, more: number }
 *   | { kind: "found", events: EventMessage[] | undefined, lastEventId: string | undefined }
 *   | { kind: "leading" }
 * )} LetterBody
 * @typedef {LetterBody & { from: string }} Letter
 */

/** Events that a tab remembers for others, and their characters. */
const REMEMBERED_MAX = 1_000;
const REMEMBERED_CHARS_MAX = 4 << 20;

/** Whether this page can share. Locks need a secure context: https, or this machine. */
export function canShare() {
  return typeof BroadcastChannel === "function" && globalThis.navigator?.locks !== undefined;
}

export class SharedConnection {
  #me = Math.random().toString(36).slice(2);
  #name;
  #url;
  #options;
  #channel;
  #tell;
  #leaving = new AbortController();
  #recent = new Recent();
  /** @type {Connection | undefined} While this tab leads. */
  #connection;
  #isOpen = false;
  /** An answer to "missing" is on its way: what comes meanwhile is part of it. */
  #isAsking = false;
  /** This tab waits for the lock. */
  #isQueued = false;
  #resign = () => {};
  /** Until when the tab that leads need not be heard of. */
  #patientUntil = 0;
  #silenceMs;
  #watch;
  lastEventId;
  /** Events seen since that one which have no id of their own. */
  #more = 0;

  /**
   * @param {string} name what tabs that share have in common
   * @param {string} url
   * @param {import("./index.js").Options} options
   * @param {(message: Message) => void} tell
   */
  constructor(name, url, options, tell) {
    this.#name = name;
    this.#url = url;
    this.#options = options;
    this.#tell = tell;
    this.lastEventId = options.lastEventId;
    // Longer than the tab that leads takes to give up a connection that is silent.
    this.#silenceMs = (options.silenceMs ?? 60_000) * 1.5;
    this.#channel = new BroadcastChannel(name);
    this.#channel.onmessage = ({ data }) => this.#receive(data);
    this.#post({ kind: "hello" });
    this.#heard(0);
    this.#watch = setInterval(() => this.#look(), this.#silenceMs / 6);
    this.#queue();
  }

  /** Whether this tab has the connection. */
  get isLeader() {
    return this.#connection !== undefined;
  }

  close() {
    clearInterval(this.#watch);
    this.#leaving.abort();
    this.#channel.close();
    this.#connection?.close();
    this.#connection = undefined;
    this.#resign();
  }

  /** Waits for the lock, as all tabs but one do. */
  #queue() {
    if (this.#isQueued) return;
    this.#isQueued = true;
    const lead = () => {
      this.#isQueued = false;
      return this.#lead();
    };
    navigator.locks.request(this.#name, { signal: this.#leaving.signal }, lead).catch(() => this.#dismissed());
  }

  /** Has the connection until this tab leaves, or another takes the lock: it is held until the promise is done. */
  #lead() {
    if (this.#leaving.signal.aborted) return Promise.resolve();
    this.#isAsking = false;
    this.#connection?.close();
    this.#connection = new Connection(this.#url, this.#options, this.lastEventId, (message) => this.#lived(message));
    this.#post({ kind: "leading" });
    return new Promise((resolve) => (this.#resign = () => resolve(undefined)));
  }

  /** Another tab has taken the lock, as this one had not been heard of. */
  #dismissed() {
    if (this.#leaving.signal.aborted) return;
    this.#connection?.close();
    this.#connection = undefined;
    this.#heard(0);
    this.#queue();
  }

  /**
   * The tab that leads is there, and need not be heard of for so long and the usual time.
   *
   * @param {number} waitMs
   */
  #heard(waitMs) {
    this.#patientUntil = performance.now() + waitMs + this.#silenceMs;
  }

  /** Takes the lock from a tab that has fallen silent, if a user looks at this one. */
  #look() {
    const isHidden = globalThis.document?.visibilityState === "hidden";
    if (this.#connection || isHidden || performance.now() < this.#patientUntil) return;
    this.#heard(0);
    navigator.locks.request(this.#name, { steal: true }, () => this.#lead()).catch(() => this.#dismissed());
  }

  /**
   * What happens to this tab's own connection: all others are told first, as a callback may close this tab.
   *
   * @param {Message} message
   */
  #lived(message) {
    this.#post(message);
    this.#take(message);
  }

  /** @param {Letter} letter */
  #receive(letter) {
    if (this.#leaving.signal.aborted || (letter.to !== undefined && letter.to !== this.#me)) return;
    if (letter.kind !== "hello" && letter.kind !== "missing") {
      this.#heard(letter.kind === "interrupted" ? letter.failure.retryInMs : 0);
    }
    // Until it learns that it was dismissed, a tab that hung goes on by its own connection.
    if (this.#connection && !["hello", "missing", "ended"].includes(letter.kind)) return;
    // What this tab misses nobody tells it any more: the tab that led is gone, and the lock comes to this one.
    if (letter.kind === "ended" && this.#isAsking) return;
    switch (letter.kind) {
      case "hello":
        if (this.#connection) this.#post({ kind: "state", open: this.#isOpen, lastEventId: this.lastEventId, to: letter.from });
        break;
      case "missing":
        if (this.#connection) this.#answer(letter.from, letter.after, letter.more);
        break;
      case "state":
        this.lastEventId ??= letter.lastEventId;
        if (letter.open && !this.#isOpen) this.#take({ kind: "open" });
        break;
      case "found":
        this.#found(letter.events, letter.lastEventId);
        break;
      case "leading":
        // Whom this tab had asked is gone.
        if (this.#isAsking) this.#ask();
        break;
      case "event":
        this.#next(letter);
        break;
      default:
        this.#take(letter);
    }
  }

  /**
   * An event of the tab that leads: the next one, one that this tab has, or one beyond what it has.
   *
   * @param {EventMessage} message
   */
  #next(message) {
    if (this.#isAsking) return;
    const hasIt = !isWithoutId(message) && this.#recent.has(message.event.id);
    // A publisher may give an id twice: what follows the last event is the next one even then.
    if (message.previous === this.lastEventId && this.lastEventId !== undefined) return this.#take(message);
    if (hasIt) return;
    if (this.lastEventId === undefined) return this.#take(message);
    this.#isAsking = true;
    this.#ask();
  }

  /** Asks the tab that leads for what this one misses. */
  #ask() {
    if (this.lastEventId !== undefined) this.#post({ kind: "missing", after: this.lastEventId, more: this.#more });
  }

  /**
   * @param {string} to
   * @param {string} after
   * @param {number} more
   */
  #answer(to, after, more) {
    this.#post({ kind: "found", events: this.#recent.after(after, more), lastEventId: this.lastEventId, to });
  }

  /**
   * @param {EventMessage[] | undefined} events
   * @param {string | undefined} lastEventId
   */
  #found(events, lastEventId) {
    if (!this.#isAsking) return;
    this.#isAsking = false;
    if (events === undefined) {
      const [requested, resumed_after] = [this.lastEventId ?? "", lastEventId ?? ""];
      [this.lastEventId, this.#more] = [lastEventId, 0];
      return this.#tell({ kind: "lost", gap: { requested, resumed_after, reason: "tabs" } });
    }
    for (const message of events) {
      if (!this.#leaving.signal.aborted) this.#take(message);
    }
  }

  /** @param {Message} message */
  #take(message) {
    if (message.kind === "event") {
      this.#recent.push(message);
      this.#more = isWithoutId(message) ? this.#more + 1 : 0;
      this.lastEventId = message.event.id || undefined;
    }
    // A tab that has seen events learns from the next one that it misses some.
    if (message.kind === "position") this.lastEventId ??= message.id;
    if (message.kind === "open") this.#isOpen = true;
    if (message.kind === "interrupted") this.#isOpen = false;
    if (message.kind === "ended") this.close();
    this.#tell(message);
  }

  /** @param {LetterBody} letter */
  #post(letter) {
    if (!this.#leaving.signal.aborted) this.#channel.postMessage({ ...letter, from: this.#me });
  }
}

/** The last events that a tab has seen. */
class Recent {
  /** @type {EventMessage[]} */
  #events = [];
  /** @type {Set<string>} */
  #ids = new Set();
  #chars = 0;

  /** @param {EventMessage} message */
  push(message) {
    this.#events.push(message);
    this.#ids.add(message.event.id);
    this.#chars += message.event.data.length;
    // The newest stays, however large.
    while (this.#events.length > REMEMBERED_MAX || (this.#chars > REMEMBERED_CHARS_MAX && this.#events.length > 1)) {
      const oldest = this.#events.shift();
      this.#ids.delete(oldest?.event.id ?? "");
      this.#chars -= oldest?.event.data.length ?? 0;
    }
  }

  /** @param {string} id */
  has(id) {
    return id !== "" && this.#ids.has(id);
  }

  /**
   * What came after the event of this id and so many more without one, if that is known.
   *
   * @param {string} id
   * @param {number} more
   */
  after(id, more) {
    const first = this.#events.findIndex((message) => message.previous === id);
    if (first === -1) return undefined;
    const events = this.#events.slice(first);
    const next = events.findIndex((message) => !isWithoutId(message));
    return events.slice(Math.min(more, next === -1 ? events.length : next));
  }
}

/**
 * Whether an event has no id of its own: it has that of the one before.
 *
 * @param {EventMessage} message
 */
function isWithoutId(message) {
  return message.event.id === (message.previous ?? "");
}
