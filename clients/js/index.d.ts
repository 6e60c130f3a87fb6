/**
 * Follows a stream of an sse-server until it is closed, whatever happens to the connection.
 *
 * @param url where the stream is, relative to the page's own address if need be
 * @throws TypeError if that is no address
 */
export declare function follow(url: string | URL, options?: Options): Stream;

export interface Options {
  /** Each event, with any type. */
  onEvent?: (event: StreamEvent) => void;
  /** The stream is open: for the first time, or again. */
  onOpen?: () => void;
  /** Events are missing before the next one. */
  onGap?: (gap: Gap) => void;
  /** The server is about to end the stream and asks to come back, which happens by itself. */
  onReconnect?: (why: { reason: string }) => void;
  /** A topic is closed, or with `final` all that were followed: then the stream is closed as well. */
  onEnd?: (end: { topic?: string; final: boolean }) => void;
  /** There is no stream at the moment; there will be another attempt after `retryInMs`. */
  onInterrupted?: (failure: Failure & { retryInMs: number }) => void;

  /** Resume after this event; `"earliest"` for all that the server has kept. */
  lastEventId?: string;
  /** Asked for a ticket before every attempt, as each opens one stream. */
  ticket?: () => string | Promise<string>;
  /** Fields for the request, such as `Authorization`; a function is asked before every attempt. */
  headers?: Record<string, string> | (() => Record<string, string> | Promise<Record<string, string>>);
  /** As for `fetch`: `"include"` sends cookies to another origin. */
  credentials?: "omit" | "same-origin" | "include";
  /**
   * Share one connection with the other tabs of this origin that follow the same address, or that give the same name. Only
   * for streams that are the same for all of them.
   */
  share?: boolean | string;
  /** The longest wait between two attempts, unless the server asks for more. 30 seconds. */
  backoffMaxMs?: number;
  /** A stream, or an attempt at one, is given up for a new one when nothing at all comes for so long. More than two heartbeats: a minute. */
  silenceMs?: number;
}

export interface StreamEvent {
  /** `"message"` if it has no other. */
  type: string;
  data: string;
  /** The id to resume after, empty if there is none. */
  id: string;
}

export interface Gap {
  /** The id that the stream was to go on after. */
  requested: string;
  /** The id that it goes on after instead, or `"earliest"`. */
  resumed_after: string;
  /** The server's reason; `"tabs"` if another tab had passed on more than this one could follow. */
  reason: string;
}

export interface Failure {
  /** What was wrong. */
  reason: string;
  /** The status of the answer, if there was one. */
  status?: number;
  /** How long the server asks to wait. */
  retryAfterMs?: number;
}

export type State = "connecting" | "open" | "waiting" | "closed";

export interface Stream {
  readonly state: State;
  /** The last event's id. */
  readonly lastEventId: string | undefined;
  /** Whether this page has a connection of its own: always, unless it is shared. */
  readonly isLeader: boolean;
  /** Ends it. Other tabs that share the connection go on. */
  close(): void;
}
