import type { Failure, Gap, StreamEvent } from "./index.js";

/** What happened to a stream: a connection tells it, and tabs that share one tell each other. */
export type Message =
  | { kind: "open" }
  /** Something came, if only a heartbeat. Told every few seconds. */
  | { kind: "alive" }
  /** `previous` is the id before it, so that nobody takes an event for the next one that is not. */
  | { kind: "event"; event: StreamEvent; previous: string | undefined }
  /** Where the stream stands, without an event. */
  | { kind: "position"; id: string | undefined }
  | { kind: "lost"; gap: Gap }
  | { kind: "interrupted"; failure: Failure & { retryInMs: number } }
  | { kind: "ended" };
