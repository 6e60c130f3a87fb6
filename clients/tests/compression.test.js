// Strict decoders of gzip, from every joining point to the end of the stream.

import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { get } from "node:http";
import { pipeline } from "node:stream/promises";
import { after, before, describe, it } from "node:test";
import { createGunzip } from "node:zlib";
import { Server } from "./server.js";
import { asSeen, shapes } from "./shapes.js";
import { waitFor } from "./wait.js";

/** Followers that make a topic worth compressing. */
const CROWD = 8;
const EVENTS = 300;
/** A follower of each kind joins whenever so many have been published. */
const JOIN_EVERY = 50;

/** Python's zlib, as it comes and to the end. */
const PYTHON = `
import sys, urllib.request, zlib
request = urllib.request.Request(sys.argv[1], headers={"Accept-Encoding": "gzip", "Last-Event-ID": sys.argv[2]})
answer = urllib.request.urlopen(request)
assert answer.headers["Content-Encoding"] == "gzip", answer.headers
inflate = zlib.decompressobj(31)
while part := answer.read1():
    sys.stdout.buffer.write(inflate.decompress(part))
    sys.stdout.buffer.flush()
assert inflate.eof and not inflate.unused_data, "cut or followed by something"
`;

/** Each follows from the earliest event on, as `{ text, done }`: what was decoded, and a promise of its end in order. */
const followers = {
  "Node's gunzip": (url) => {
    const seen = { text: "" };
    seen.done = new Promise((resolve, reject) => {
      const headers = { "Accept-Encoding": "gzip", "Last-Event-ID": "earliest" };
      get(url, { headers, agent: false }, (answer) => {
        assert.equal(answer.headers["content-encoding"], "gzip");
        const gunzip = createGunzip().setEncoding("utf8");
        gunzip.on("data", (text) => (seen.text += text));
        pipeline(answer, gunzip).then(resolve, reject);
      }).on("error", reject);
    });
    return seen;
  },
  "Node's fetch": (url) => {
    const seen = { text: "" };
    seen.done = (async () => {
      const answer = await fetch(url, { headers: { "Accept-Encoding": "gzip", "Last-Event-ID": "earliest" } });
      for await (const text of answer.body.pipeThrough(new TextDecoderStream())) seen.text += text;
    })();
    return seen;
  },
  "Python's zlib": (url) => run("python3", ["-c", PYTHON, url, "earliest"]),
  curl: (url) => run("curl", ["--silent", "--show-error", "--no-buffer", "--compressed", "--header", "Last-Event-ID: earliest", url]),
};

function run(command, args) {
  const seen = { text: "" };
  const child = spawn(command, args, { stdio: ["ignore", "pipe", "pipe"] });
  let errors = "";
  child.stdout.setEncoding("utf8").on("data", (text) => (seen.text += text));
  child.stderr.on("data", (text) => (errors += text));
  seen.done = new Promise((resolve, reject) => {
    child.on("error", reject);
    child.on("close", (code) => (code === 0 ? resolve() : reject(new Error(`${command} ended with ${code}: ${errors}`))));
  });
  return seen;
}

describe("a compressed stream", () => {
  let server;
  before(async () => (server = await Server.start({ more: ["--heartbeat-interval", "200ms"] })));
  after(() => server.kill());

  it("decodes from every joining point to its end", { timeout: 60_000 }, async () => {
    const url = `${server.url}/events/news`;
    const crowd = [];
    const open = new Promise((resolve, reject) => {
      for (let n = 0; n < CROWD; n++) {
        const request = get(url, { agent: false }, (answer) => {
          answer.resume();
          if (crowd.push(answer) === CROWD) resolve();
        });
        request.on("error", reject);
      }
    });
    await open;
    const small = shapes.filter(({ data }) => data.length < 10_000);
    const seen = [];
    const lines = [];
    for (let n = 0; n < EVENTS; n++) {
      if (n % JOIN_EVERY === 0) {
        for (const [name, follow] of Object.entries(followers)) seen.push({ name, joined: n, ...hold(follow(url)) });
      }
      const { type, data } = small[n % small.length];
      const id = await server.publish("news", data, { type });
      lines.push(...event(id, type, data));
      // All who follow have it decoded before the next one is published, every now and then.
      if (n % JOIN_EVERY === 10) {
        for (const { name, joined, follower } of seen) {
          await waitFor(`${name}, which joined at ${joined}, to have event ${n}`, () => follower.text.includes(`id: ${id}\n`));
        }
      }
    }
    // A heartbeat comes between.
    await waitFor("heartbeats", () => seen.every(({ follower }) => follower.text.includes("\n: ping\n")));
    await server.close("news");
    for (const { name, joined, follower } of seen) {
      await follower.done.catch((error) => assert.fail(`${name}, which joined at ${joined}: ${error}`));
      const got = follower.text.split("\n").filter((line) => line !== "" && line !== ": ping" && !line.startsWith("retry:"));
      assert.deepEqual(got.slice(0, lines.length), lines, `${name}, which joined at ${joined}`);
      assert.equal(got[lines.length], "event: sse.end");
    }
  });
});

/** A failure that comes before anybody waits for it is one when somebody does. */
function hold(follower) {
  follower.done.catch(() => {});
  return { follower };
}

/** An event's lines as the server writes them. */
function event(id, type, data) {
  const head = type === undefined || type === "message" ? [] : [`event: ${type}`];
  return [...head, `id: ${id}`, ...asSeen(data).split("\n").map((line) => `data: ${line}`)];
}
