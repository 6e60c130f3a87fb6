// Chromium's own `EventSource` over everything that the server speaks: plain HTTP, TLS, and HTTP/2.

import assert from "node:assert/strict";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, describe, it } from "node:test";
import { Browser } from "./browser.js";
import { Certificate } from "./certificate.js";
import { brief } from "./follower.js";
import { Proxy } from "./proxy.js";
import { Server } from "./server.js";
import { asSeen, shapes, types } from "./shapes.js";
import { waitFor } from "./wait.js";

const EVENTS = 1_000;
/** Shapes of so many bytes come once, and the page has one before the next is published. */
const LARGE_BYTES = 50_000;
const STREAMS = 30;
/** As many tabs as a browser has HTTP/1.1 connections to an origin, and one. */
const TABS = 7;

const certificate = new Certificate();
after(() => certificate.remove());

const transports = [
  { name: "http", protocol: "http/1.1", flags: [] },
  { name: "https, HTTP/1.1", protocol: "http/1.1", certificate, flags: [certificate.flag, "--disable-http2"] },
  { name: "https, HTTP/2", protocol: "h2", certificate, flags: [certificate.flag] },
];

for (const { name, protocol, certificate, flags } of transports) {
  describe(`EventSource in Chromium over ${name}`, () => {
    let browser;
    let opened = [];

    before(async () => (browser = await Browser.start({ flags })));
    after(() => browser.stop());

    function test(what, body) {
      it(what, { timeout: 60_000 }, () => body().finally(finish));
    }

    async function finish() {
      for (const close of opened.reverse()) await close();
      opened = [];
    }

    async function start(...more) {
      const server = await Server.start({ origin: browser.origin, certificate, more });
      opened.push(() => server.kill());
      return server;
    }

    async function follow(url, tab) {
      const names = ["message", ...types.filter((type) => type !== "message"), "sse.gap", "sse.end", "sse.reconnect"];
      const follower = await browser.follow("eventSource", url, names, undefined, tab);
      opened.push(() => follower.close());
      return follower;
    }

    for (const encoding of [undefined, "gzip"]) {
      const how = encoding ? "compressed" : "as they are";
      test(`gets ${EVENTS} events of every awkward shape exactly, ${how}`, () => getsEvents(encoding));
    }

    async function getsEvents(encoding) {
      const server = await start("--compression", encoding ? "on" : "off", "--compression-followers-min", "1");
      const heads = await browser.streamHeads();
      const follower = await follow(`${server.url}/events/awkward`);
      await follower.opened();
      const small = shapes.filter(({ data }) => data.length < LARGE_BYTES);
      const published = [];
      for (let n = 0; n < EVENTS; n++) {
        const { type, data } = shapes[n] ?? small[n % small.length];
        const id = await server.publish("awkward", data, { type });
        published.push({ type: type ?? "message", data: asSeen(data), id });
        if (data.length >= LARGE_BYTES) await follower.received(published.length);
      }
      await follower.received(EVENTS);
      const wrong = published.findIndex((event, n) => !same(event, follower.events[n]));
      assert.equal(wrong, -1, `${brief(follower.events[wrong])} is not ${brief(published[wrong])}`);
      assert.equal(follower.events.length, EVENTS);
      assert.equal(follower.opens, 1, "nothing made it reconnect");
      assert.deepEqual(heads.map((head) => [head.protocol, fieldOf(head, "content-encoding")]), [[protocol, encoding]]);
    }

    test("misses nothing over a crash of a server with a data directory", async () => {
      const dataDir = await mkdtemp(join(tmpdir(), "sse-data-"));
      opened.push(() => rm(dataDir, { recursive: true, force: true }));
      const flags = ["--data-dir", dataDir, "--compression-followers-min", "1"];
      let server = await start(...flags);
      const proxy = await Proxy.start(server.address);
      opened.push(() => proxy.stop());
      const { port } = new URL(proxy.url);
      const follower = await follow(`${certificate ? "https" : "http"}://127.0.0.1:${port}/events/news`);
      await follower.opened();
      const published = [];
      const publish = async (count) => {
        for (let n = 0; n < count; n++) {
          const { type, data } = shapes[published.length % 30];
          published.push({ type: type ?? "message", data: asSeen(data), id: await server.publish("news", data, { type }) });
        }
      };
      await publish(60);
      // Some are on their way when the server dies: what it has said to have, it has.
      await follower.received(1);
      await server.kill();
      server = await start(...flags);
      await publish(60);
      proxy.target = server.address;
      await follower.opened(2);
      await publish(60);
      await follower.received(published.length);
      assert.ok(same(follower.events, published), "every event came once and in order");
    });

    if (protocol === "h2") {
      test(`opens ${STREAMS} streams in one page over one connection`, async () => {
        const server = await start();
        const heads = await browser.streamHeads();
        const numbers = Array.from({ length: STREAMS }, (_, n) => n);
        const followers = await Promise.all(numbers.map((n) => follow(`${server.url}/events/${n}`)));
        await Promise.all(followers.map((follower) => follower.opened()));
        await Promise.all(numbers.map((n) => server.publish(`${n}`, `to ${n}`)));
        const events = await Promise.all(followers.map((follower) => follower.received(1)));
        assert.deepEqual(events.map((event) => event.data), numbers.map((n) => `to ${n}`));
        assert.equal(heads.length, STREAMS);
        assert.equal(new Set(heads.map((head) => head.connectionId)).size, 1);
      });
    }

    test(`has a live stream in each of ${protocol === "h2" ? TABS : TABS - 1} tabs`, async () => {
      const server = await start();
      const followers = [await follow(`${server.url}/events/news`)];
      while (followers.length < TABS) {
        const tab = await browser.openTab();
        opened.push(() => browser.closeTab(tab));
        followers.push(await follow(`${server.url}/events/news`, tab));
      }
      const lively = protocol === "h2" ? TABS : TABS - 1;
      const open = () => followers.filter((follower) => follower.opens > 0);
      await waitFor(`${lively} streams to open`, () => open().length >= lively);
      await server.publish("news", "to all tabs");
      await Promise.all(open().map((follower) => follower.received(1)));
      assert.equal(open().length, lively);
      // Six connections are all that HTTP/1.1 has: the seventh tab waits until another leaves.
      const [waiting] = followers.filter((follower) => follower.opens === 0);
      if (waiting) {
        await open()[0].close();
        await waiting.opened();
      }
    });
  });
}

/** A field of a head, whose names are written as they came. */
function fieldOf(head, name) {
  return Object.entries(head.headers).find(([field]) => field.toLowerCase() === name)?.[1];
}

/** Equality without the megabyte of difference that an assertion would print. */
function same(one, other) {
  return JSON.stringify(one) === JSON.stringify(other);
}
