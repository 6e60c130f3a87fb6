// Strict decoders of gzip, from every joining point to the end of the stream.

import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { get } from "node:http";
import { connect } from "node:http2";
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

/** What a follower of everything asks with. */
const HEADERS = { "accept-encoding": "gzip", "last-event-id": "earliest" };

/** Each follows from the earliest event on, as `{ text, done }`: what was decoded, and a promise of its end in order. */
const overHttp1 = {
  "Node's gunzip": (url) => {
    const seen = { text: "" };
    seen.done = new Promise((resolve, reject) => {
      get(url, { headers: HEADERS, agent: false }, (answer) => {
        decode(answer, answer.headers, seen).then(resolve, reject);
      }).on("error", reject);
    });
    return seen;
  },
  "Node's fetch": (url) => {
    const seen = { text: "" };
    seen.done = (async () => {
      const answer = await fetch(url, { headers: HEADERS });
      for await (const text of answer.body.pipeThrough(new TextDecoderStream())) seen.text += text;
    })();
    return seen;
  },
  "Python's zlib": (url) => run("python3", ["-c", PYTHON, url, "earliest"]),
  curl: (url) => curl(url),
};

/** The same in HTTP/2, which they know that the server speaks. */
const overHttp2 = {
  "Node's gunzip": (url) => {
    const seen = { text: "" };
    seen.done = new Promise((resolve, reject) => {
      const session = connect(new URL(url).origin).on("error", reject);
      const stream = session.request({ ":path": new URL(url).pathname, ...HEADERS });
      stream.on("response", (head) => decode(stream, head, seen).then(resolve, reject).finally(() => session.close()));
      stream.on("error", reject);
    });
    return seen;
  },
  curl: (url) => curl("--http2-prior-knowledge", url),
};

/** Decodes an answer strictly: it fails unless that is complete. */
function decode(answer, head, seen) {
  assert.equal(head["content-encoding"], "gzip");
  const gunzip = createGunzip().setEncoding("utf8");
  gunzip.on("data", (text) => (seen.text += text));
  return pipeline(answer, gunzip);
}

function curl(...more) {
  const header = "Last-Event-ID: earliest";
  return run("curl", ["--silent", "--show-error", "--no-buffer", "--compressed", "--header", header, ...more]);
}

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

for (const [version, followers, crowd] of [["HTTP/1.1", overHttp1, crowdOverHttp1], ["HTTP/2", overHttp2, crowdOverHttp2]]) {
  describe(`a compressed stream over ${version}`, () => {
    let server;
    before(async () => (server = await Server.start({ more: ["--heartbeat-interval", "200ms"] })));
    after(() => server.kill());

    it("decodes from every joining point to its end", { timeout: 60_000 }, () => decodes(server, followers, crowd));
  });
}

/** Followers that let the topic be compressed; what ends them. */
async function crowdOverHttp1(url) {
  const follow = () => new Promise((resolve, reject) => {
    get(url, { agent: false }, (answer) => resolve(answer.resume())).on("error", reject);
  });
  await Promise.all(Array.from({ length: CROWD }, follow));
  return () => {};
}

async function crowdOverHttp2(url) {
  const session = connect(new URL(url).origin);
  const follow = () => new Promise((resolve, reject) => {
    const stream = session.request({ ":path": new URL(url).pathname });
    stream.on("response", () => resolve(stream.resume())).on("error", reject);
  });
  await Promise.all(Array.from({ length: CROWD }, follow));
  return () => session.close();
}

async function decodes(server, followers, crowd) {
  const url = `${server.url}/events/news`;
  const leave = await crowd(url);
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
  leave();
}

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
