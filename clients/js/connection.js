// One stream, kept up: it comes back after whatever happens, until it is closed or the server says that there is no more.

import { Parser } from "./parser.js";

/** How long to wait before the server has said it. */
const RETRY_MS = 3_000;
/** How often it is told that something came. */
const ALIVE_MS = 5_000;
/** What a `Retry-After` may make us wait. */
const RETRY_AFTER_MS_MAX = 300_000;
/** What a `retry:` may. Timers count to some 24 days, and fire at once beyond. */
const RETRY_MS_MAX = 86_400_000;

/**
 * @typedef {import("./messages.js").Message} Message
 * @typedef {import("./index.js").Options} Options
 */

export class Connection {
  #url;
  #options;
  #tell;
  #retryMs;
  /** Attempts in a row that opened no stream. */
  #failures = 0;
  /** @type {AbortController | undefined} */
  #attempt;
  /** @type {ReturnType<typeof setTimeout> | undefined} */
  #timer;
  #closed = false;
  /** When anything came, or was asked for. */
  #heardAt = 0;
  /** The id to resume after. */
  lastEventId;

  /**
   * @param {string} url
   * @param {Options} options
   * @param {string | undefined} lastEventId
   * @param {(message: Message) => void} tell gets what happens
   */
  constructor(url, options, lastEventId, tell) {
    this.#url = url;
    this.#options = options;
    this.#tell = tell;
    this.lastEventId = lastEventId;
    this.#retryMs = Math.min(RETRY_MS, options.backoffMaxMs ?? RETRY_MS);
    void this.#connect();
  }

  close() {
    this.#closed = true;
    clearTimeout(this.#timer);
    this.#attempt?.abort();
  }

  /** One attempt: it never fails, but plans the next. */
  async #connect() {
    const attempt = (this.#attempt = new AbortController());
    /** @type {import("./index.js").Failure} */
    let failure = { reason: "the stream ended" };
    const silenceMs = this.#options.silenceMs ?? 60_000;
    this.#heardAt = performance.now();
    const watch = setInterval(() => {
      if (performance.now() - this.#heardAt > silenceMs) attempt.abort(new Error("the server is silent"));
    }, silenceMs / 4);
    try {
      const response = await this.#ask(attempt.signal);
      if (this.#closed) return;
      if (response.status === 204) return this.#end();
      if (response.status === 200 && response.body && isEventStream(response)) {
        this.#failures = 0;
        this.#tell({ kind: "open" });
        this.#compare(response.headers.get("last-event-id"));
        await this.#read(response.body, Math.min(ALIVE_MS, silenceMs / 4));
      } else {
        this.#failures++;
        failure = await refusal(response);
      }
    } catch (error) {
      this.#failures++;
      failure = { reason: error instanceof Error ? error.message : String(error) };
    } finally {
      clearInterval(watch);
    }
    // Whatever has not come by now is not waited for.
    attempt.abort();
    if (this.#closed) return;
    const retryInMs = Math.round(Math.max(this.#delay(), failure.retryAfterMs ?? 0));
    this.#timer = setTimeout(() => void this.#connect(), retryInMs);
    this.#tell({ kind: "interrupted", failure: { ...failure, retryInMs } });
  }

  /** @param {AbortSignal} signal */
  async #ask(signal) {
    const { headers, ticket, credentials } = this.#options;
    const url = new URL(this.#url);
    // What the page never answers must not be waited for either.
    const given = typeof headers === "function" ? await unlessAborted(signal, headers()) : headers;
    const fields = { Accept: "text/event-stream", ...given };
    if (ticket) url.searchParams.set("ticket", await unlessAborted(signal, ticket()));
    // In the address, as a header of this name makes a browser ask other origins first. Both interfaces know this one.
    if (this.lastEventId !== undefined) url.searchParams.set("lastEventID", this.lastEventId);
    return fetch(url, { headers: fields, credentials: credentials ?? "same-origin", cache: "no-store", signal });
  }

  /**
   * A Mercure hub tells in the head where a stream begins, and of a gap in no other way.
   *
   * @param {string | null} resumed_after
   */
  #compare(resumed_after) {
    const requested = this.lastEventId;
    if (requested === undefined || resumed_after === null || resumed_after === requested) return;
    this.#tell({ kind: "lost", gap: { requested, resumed_after, reason: "unknown" } });
  }

  /**
   * Reads to the end of the stream.
   *
   * @param {ReadableStream<Uint8Array>} body
   * @param {number} aliveMs how often it is told that something came
   */
  async #read(body, aliveMs) {
    const parser = new Parser(
      (type, data, id) => this.#event(type, data, id),
      (ms) => (this.#retryMs = Math.min(ms, RETRY_MS_MAX)),
      (id) => this.#position(id),
    );
    const reader = body.getReader();
    const decoder = new TextDecoder();
    let toldAt = performance.now();
    for (;;) {
      const { done, value } = await reader.read();
      if (done || this.#closed) return;
      this.#heardAt = performance.now();
      if (this.#heardAt - toldAt > aliveMs) {
        toldAt = this.#heardAt;
        this.#tell({ kind: "alive" });
      }
      parser.push(decoder.decode(value, { stream: true }));
      if (this.#closed) return;
    }
  }

  /**
   * @param {string} type
   * @param {string} data
   * @param {string | undefined} id
   */
  #event(type, data, id) {
    if (this.#closed) return;
    const previous = this.lastEventId;
    if (id !== undefined) this.lastEventId = id === "" ? undefined : id;
    this.#tell({ kind: "event", event: { type, data, id: this.lastEventId ?? "" }, previous });
  }

  /**
   * Where the stream stands, without an event: a stream that is cut before its first one goes on from there.
   *
   * @param {string} id
   */
  #position(id) {
    if (this.#closed) return;
    this.lastEventId = id === "" ? undefined : id;
    this.#tell({ kind: "position", id: this.lastEventId });
  }

  #end() {
    this.close();
    this.#tell({ kind: "ended" });
  }

  /** How long to wait: what the server said, and twice as long after each failure, each time a little different. */
  #delay() {
    const { backoffMaxMs = 30_000 } = this.#options;
    if (this.#failures === 0) return this.#retryMs * (0.75 + Math.random() / 2);
    const doubled = this.#retryMs * 2 ** Math.min(this.#failures - 1, 16);
    return Math.min(doubled, Math.max(backoffMaxMs, this.#retryMs)) * (0.5 + Math.random() / 2);
  }
}

/**
 * What is promised, or the reason of the signal if that comes first.
 *
 * @template T
 * @param {AbortSignal} signal
 * @param {T | Promise<T>} promised
 * @returns {Promise<T>}
 */
async function unlessAborted(signal, promised) {
  /** @type {Promise<never>} */
  const aborted = new Promise((_, reject) => signal.addEventListener("abort", () => reject(signal.reason), { once: true }));
  return Promise.race([promised, aborted]);
}

/** @param {Response} response */
function isEventStream(response) {
  return /^text\/event-stream\s*(;|$)/i.test(response.headers.get("content-type") ?? "");
}

/**
 * Why there is no stream, in the server's words if it has any.
 *
 * @param {Response} response
 * @returns {Promise<import("./index.js").Failure>}
 */
async function refusal(response) {
  const { status } = response;
  const isProblem = (response.headers.get("content-type") ?? "").startsWith("application/problem+json");
  const problem = isProblem ? await response.json().catch(() => undefined) : undefined;
  const reason = problem?.detail ?? problem?.title ?? (status === 200 ? "no event stream" : `status ${status}`);
  const seconds = Number(response.headers.get("retry-after") ?? 0);
  return { status, reason, retryAfterMs: Math.min((seconds || 0) * 1000, RETRY_AFTER_MS_MAX) };
}
