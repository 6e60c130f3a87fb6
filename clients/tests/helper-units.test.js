// The helper of `clients/js` piece by piece, in Node.

import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { createServer } from "node:http";
import { describe, it } from "node:test";
import { follow } from "../js/index.js";
import { Parser } from "../js/parser.js";
import { waitFor } from "./wait.js";

describe("The parser", () => {
  const stream =
    "\uFEFFretry: 250\n\n: ping\n\nid: 1\ndata: one\n\nevent: two words\r\nid:2\r\ndata:two\r\ndata\r\ndata:  lines\r\n\r\n" +
    "data: a\rdata: b\r\rid: no\0\ndata: keeps no id\n\nevent: nothing\n\nretry: -5\nunknown: x\ndata: end\n\nid: 7\n\ndata: seven\n\ndata: unfinished";
  const expected = [
    ["retry", 250],
    ["message", "one", "1"],
    ["two words", "two\n\n lines", "2"],
    ["message", "a\nb", undefined],
    ["message", "keeps no id", undefined],
    ["message", "end", undefined],
    ["position", "7"],
    ["message", "seven", undefined],
  ];

  function parse(pieces) {
    const seen = [];
    const parser = new Parser(
      (...event) => seen.push(event),
      (ms) => seen.push(["retry", ms]),
      (id) => seen.push(["position", id]),
    );
    const decoder = new TextDecoder();
    for (const piece of pieces) parser.push(decoder.decode(piece, { stream: true }));
    return seen;
  }

  it("sees the same however a stream is cut", () => {
    const bytes = Buffer.from(stream);
    for (let cut = 0; cut <= bytes.length; cut++) {
      assert.deepEqual(parse([bytes.subarray(0, cut), bytes.subarray(cut)]), expected, `cut at ${cut}`);
    }
    assert.deepEqual(parse(Array.from(bytes, (byte) => Buffer.of(byte))), expected);
  });

  it("gives up on an event without an end", () => {
    const parser = new Parser(assert.fail, assert.fail, assert.fail);
    const line = `data: ${"x".repeat(1 << 20)}\n`;
    assert.throws(() => Array.from({ length: 65 }, () => parser.push(line)), RangeError);
    const endless = new Parser(assert.fail, assert.fail, assert.fail);
    assert.throws(() => Array.from({ length: 65 }, () => endless.push("x".repeat(1 << 20))), RangeError);
  });
});

/** A server of the test's own: `answer(response, count)` gets each request; follows it until `isEnough(seen)`. */
async function against(answer, options, isEnough) {
  let count = 0;
  const server = createServer((request, response) => answer(response, count++, request));
  await new Promise((resolve) => server.listen(0, "127.0.0.1", resolve));
  const seen = { interrupted: [], events: [], opens: 0, ends: [], requests: () => count };
  const stream = follow(`http://127.0.0.1:${server.address().port}/`, {
    onOpen: () => seen.opens++,
    onEvent: (event) => seen.events.push(event),
    onInterrupted: (failure) => seen.interrupted.push(failure),
    onEnd: (end) => seen.ends.push(end),
    ...options,
  });
  try {
    await waitFor("enough to be seen", () => isEnough(seen));
  } finally {
    stream.close();
    server.closeAllConnections();
    await new Promise((resolve) => server.close(resolve));
  }
  return seen;
}

const streams = (response, text) => response.writeHead(200, { "Content-Type": "text/event-stream" }).write(text);

describe("The helper", () => {
  it("waits longer after each failure, up to a bound, and never twice the same", async () => {
    const refuses = (response, count) => {
      if (count > 0) return response.writeHead(503).end();
      streams(response, "retry: 8\n\n");
      response.end();
    };
    const { interrupted } = await against(refuses, { backoffMaxMs: 64 }, ({ interrupted }) => interrupted.length === 16);
    const [ended, ...failures] = interrupted;
    assert.ok(ended.status === undefined && ended.retryInMs >= 6 && ended.retryInMs <= 10, JSON.stringify(ended));
    for (const [n, { status, retryInMs }] of failures.entries()) {
      const whole = Math.min(8 * 2 ** n, 64);
      assert.equal(status, 503);
      assert.ok(retryInMs >= whole / 2 - 1 && retryInMs <= whole + 1, `${retryInMs} ms at failure ${n}`);
    }
    assert.ok(new Set(failures.slice(3).map(({ retryInMs }) => retryInMs)).size > 1, "jitter");
  });

  it("waits as long as it is asked to", async () => {
    const problem = { "Content-Type": "application/problem+json", "Retry-After": "7" };
    const busy = (response) => response.writeHead(429, problem).end(JSON.stringify({ detail: "too many streams" }));
    const { interrupted } = await against(busy, { backoffMaxMs: 50 }, ({ interrupted }) => interrupted.length === 1);
    assert.deepEqual(interrupted, [{ status: 429, reason: "too many streams", retryAfterMs: 7000, retryInMs: 7000 }]);
  });

  it("takes no page for a stream", async () => {
    const page = (response) => response.writeHead(200, { "Content-Type": "text/html" }).end("data: x\n\n");
    const { events, interrupted } = await against(page, {}, ({ interrupted }) => interrupted.length === 1);
    assert.deepEqual([events, interrupted[0].reason], [[], "no event stream"]);
  });

  it("comes back with where the stream began", async () => {
    const asked = [];
    const cut = (response, count, request) => {
      asked.push(new URL(request.url, "http://localhost").searchParams.get("lastEventID"));
      streams(response, count === 0 ? "retry: 5\n\nid: e-7\n\n" : "retry: 5\n\nid: e-8\ndata: missed\n\n");
      if (count === 0) response.end();
    };
    const { events } = await against(cut, {}, ({ events }) => events.length === 1);
    assert.deepEqual([asked, events], [[null, "e-7"], [{ type: "message", data: "missed", id: "e-8" }]]);
  });

  it("leaves a stream on which nothing comes", async () => {
    const silent = (response) => streams(response, "retry: 5\n\n");
    const isEnough = ({ opens }) => opens === 2;
    const { interrupted } = await against(silent, { silenceMs: 100 }, isEnough);
    assert.equal(interrupted[0].reason, "the server is silent");
  });

  it("leaves a ticket that never comes", async () => {
    let asked = 0;
    const ticket = () => (asked++ === 0 ? new Promise(() => {}) : "x");
    const opens = (response) => streams(response, "retry: 5\n\n");
    const isEnough = ({ opens }) => opens === 1;
    const { interrupted } = await against(opens, { ticket, silenceMs: 100, backoffMaxMs: 5 }, isEnough);
    assert.deepEqual(interrupted.map(({ reason }) => reason), ["the server is silent"]);
  });

  it("waits no less when it is told to wait for longer than there are timers", async () => {
    const forEver = (response) => {
      streams(response, "retry: 99999999999\n\n");
      response.end();
    };
    const { interrupted } = await against(forEver, {}, ({ interrupted }) => interrupted.length === 1);
    assert.ok(interrupted[0].retryInMs > 60_000_000 && interrupted[0].retryInMs < 2 ** 31, JSON.stringify(interrupted[0]));
  });

  it("resumes after the last id, and stops at 204", async () => {
    const asked = [];
    const finite = (response, count, request) => {
      asked.push(new URL(request.url, "http://x").searchParams.get("lastEventID"));
      if (count === 2) return response.writeHead(204).end();
      streams(response, `retry: 5\n\nid: ${count}\ndata: x\n\n`);
      response.end();
    };
    const { events, ends } = await against(finite, { lastEventId: "earliest" }, ({ ends }) => ends.length === 1);
    assert.deepEqual(asked, ["earliest", "0", "1"]);
    assert.deepEqual(events.map(({ id }) => id), ["0", "1"]);
    assert.deepEqual(ends, [{ final: true }]);
  });

  it("tells of the gap that a Mercure hub has in its head", async () => {
    const gaps = [];
    const hub = (response) => {
      response.setHeader("Last-Event-ID", "earliest");
      streams(response, "id: 8\ndata: x\n\n");
    };
    const options = { lastEventId: "1", onGap: (gap) => gaps.push(gap) };
    await against(hub, options, ({ events }) => events.length === 1);
    assert.deepEqual(gaps, [{ requested: "1", resumed_after: "earliest", reason: "unknown" }]);
  });

  it("goes on when a callback throws", async () => {
    const reported = [];
    globalThis.reportError = (error) => reported.push(error.message);
    const two = (response) => streams(response, "id: 1\ndata: a\n\nid: 2\ndata: b\n\n");
    const onInterrupted = () => assert.fail("the stream is fine");
    const onOpen = () => {
      throw new Error("a page's own");
    };
    const { events } = await against(two, { onOpen, onInterrupted }, ({ events }) => events.length === 2);
    assert.deepEqual([events.length, reported], [2, ["a page's own"]]);
  });
});

describe("A tab that follows another", () => {
  /** A tab that never leads, and the end of the channel that the leading one would have. */
  function tab(options = {}) {
    Object.defineProperty(globalThis, "navigator", { value: { locks: { request: () => new Promise(() => {}) } }, configurable: true });
    const name = `test ${Math.random()}`;
    const leader = new BroadcastChannel(`sse ${name}`);
    const letters = [];
    leader.onmessage = ({ data }) => letters.push(data);
    const seen = [];
    const stream = follow("http://127.0.0.1:1/", {
      ...options,
      share: name,
      onOpen: () => seen.push("open"),
      onEvent: ({ id }) => seen.push(id),
      onGap: (gap) => seen.push(gap),
      onEnd: () => seen.push("end"),
    });
    const tell = (letter) => leader.postMessage({ from: "leader", ...letter });
    const event = (previous, id) => ({ kind: "event", previous, event: { type: "message", data: "x", id } });
    const sees = async (expected) => {
      await waitFor(JSON.stringify(expected), () => seen.length >= expected.length);
      assert.deepEqual(seen, expected);
    };
    const asks = (letter) => waitFor(`it to ask ${JSON.stringify(letter)}`, () => letters.some((sent) => Object.entries(letter).every(([key, value]) => sent[key] === value)));
    const close = () => (stream.close(), leader.close());
    return { stream, tell, event, sees, asks, close, letters };
  }

  it("passes over what it has, and asks for what it has not", async () => {
    const { tell, event, sees, asks, close, letters } = tab();
    await asks({ kind: "hello" });
    const to = letters[0].from;
    tell({ kind: "state", open: true, lastEventId: "0", to });
    tell(event("0", "1"));
    await sees(["open", "1"]);
    // Another tab leads now, and is behind.
    tell(event(undefined, "1"));
    tell(event("1", "2"));
    await sees(["open", "1", "2"]);
    // This tab has missed two events; what comes while it asks is part of the answer.
    tell(event("4", "5"));
    await asks({ kind: "missing", after: "2" });
    tell(event("5", "6"));
    tell({ kind: "found", events: [event("2", "3"), event("3", "4"), event("4", "5"), event("5", "6")], lastEventId: "6", to });
    tell(event("6", "7"));
    await sees(["open", "1", "2", "3", "4", "5", "6", "7"]);
    close();
  });

  it("tells of a gap when nobody has what it misses", async () => {
    const { tell, event, sees, asks, close, letters } = tab({ lastEventId: "1" });
    await asks({ kind: "hello" });
    tell(event("7", "8"));
    await asks({ kind: "missing", after: "1" });
    // Who was asked is gone: the next one is asked again.
    letters.length = 1;
    tell({ kind: "leading" });
    await asks({ kind: "missing", after: "1" });
    tell({ kind: "found", events: undefined, lastEventId: "8", to: letters[0].from });
    tell(event("8", "9"));
    await sees([{ requested: "1", resumed_after: "8", reason: "tabs" }, "9"]);
    close();
  });

  it("gets an event whose id its publisher gave twice", async () => {
    const { tell, event, sees, asks, close } = tab();
    await asks({ kind: "hello" });
    tell(event(undefined, "a"));
    tell(event("a", "b"));
    tell(event("b", "a"));
    await sees(["a", "b", "a"]);
    close();
  });

  it("is not closed with the stream while it misses something", async () => {
    const { stream, tell, event, sees, asks, close, letters } = tab({ lastEventId: "1" });
    await asks({ kind: "hello" });
    tell(event("2", "3"));
    await asks({ kind: "missing", after: "1" });
    tell({ kind: "ended" });
    // The tab that has the lock now is asked.
    letters.length = 1;
    tell({ kind: "leading" });
    await asks({ kind: "missing", after: "1" });
    tell({ kind: "found", events: [event("1", "2"), event("2", "3")], lastEventId: "3", to: letters[0].from });
    tell({ kind: "ended" });
    await sees(["2", "3", "end"]);
    assert.equal(stream.state, "closed");
    close();
  });

  it("says how many it has without an id since the last one", async () => {
    const { tell, event, sees, asks, close, letters } = tab();
    await asks({ kind: "hello" });
    tell(event(undefined, "1"));
    tell(event("1", "1"));
    tell(event("1", "1"));
    tell(event("2", "3"));
    await asks({ kind: "missing", after: "1", more: 2 });
    tell({ kind: "found", events: [event("1", "2"), event("2", "3")], lastEventId: "3", to: letters[0].from });
    tell(event("4", "5"));
    await asks({ kind: "missing", after: "3", more: 0 });
    tell({ kind: "found", events: undefined, lastEventId: "5", to: letters[0].from });
    await sees(["1", "1", "1", "2", "3", { requested: "3", resumed_after: "5", reason: "tabs" }]);
    close();
  });

  it("gets events without an id once, and is closed with the stream", async () => {
    const { stream, tell, event, sees, asks, close } = tab();
    await asks({ kind: "hello" });
    tell(event(undefined, "1"));
    tell(event("1", "1"));
    tell({ kind: "ended" });
    await sees(["1", "1", "end"]);
    assert.equal(stream.state, "closed");
    close();
  });
});

describe("A tab that leads", () => {
  it("tells no tab again what that has, with an id or without", async () => {
    Object.defineProperty(globalThis, "navigator", { value: { locks: { request: async (name, options, lead) => lead() } }, configurable: true });
    const name = `test ${Math.random()}`;
    const other = new BroadcastChannel(`sse ${name}`);
    const text = "id: 1\ndata: a\n\ndata: b\n\ndata: c\n\nid: 2\ndata: d\n\ndata: e\n\n";
    const letters = [];
    other.onmessage = ({ data }) => letters.push(data);
    const answer = (response) => streams(response, text);
    await against(answer, { share: name }, async ({ events }) => {
      if (events.length < 5) return false;
      const asks = async (after, more, expected) => {
        letters.length = 0;
        other.postMessage({ kind: "missing", after, more, from: "other" });
        const found = () => letters.find(({ kind, to }) => kind === "found" && to === "other");
        await waitFor("an answer", () => found() !== undefined);
        assert.deepEqual(found().events?.map(({ event }) => event.data), expected);
      };
      await asks("1", 0, ["b", "c", "d", "e"]);
      await asks("1", 1, ["c", "d", "e"]);
      await asks("1", 2, ["d", "e"]);
      await asks("2", 0, ["e"]);
      await asks("2", 1, []);
      // It has had more of them over a connection of its own than this tab.
      await asks("1", 9, ["d", "e"]);
      await asks("unknown", 0, undefined);
      return true;
    });
    other.close();
  });
});

describe("The types", () => {
  it("are those of the code, and allow what a page may write and no more", () => {
    const args = ["node_modules/typescript/bin/tsc", "-p", "types"];
    const { status, stdout } = spawnSync(process.execPath, args, { encoding: "utf8" });
    assert.equal(status, 0, stdout);
  });
});
