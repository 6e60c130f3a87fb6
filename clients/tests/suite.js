// What every client must see, whatever it is written in.
//
// A client is `{ name, start, stop, follow }`: `start` returns the origin its requests come from, if it has one,
// `follow(url, types, token)` a `Follower`, which shows the token if there is one. Where a client departs from the standard, it says so: `quirk` is what its parser makes of
// data, and with `forgetsCutEvents` it takes an event's id for the last one before it has the event, so that an event cut in
// the middle is lost to it whatever the server does.

import assert from "node:assert/strict";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, describe, it } from "node:test";
import { brief } from "./follower.js";
import { Proxy } from "./proxy.js";
import { Server } from "./server.js";
import { asSeen, shapes, types } from "./shapes.js";
import { SECRET, token } from "./token.js";
import { waitFor } from "./wait.js";

/** The events by which the server speaks to the page itself. */
const SIGNALS = ["sse.gap", "sse.end", "sse.reconnect"];

/** Bytes of the body after which it is cut. The first lets an event pass: before it took one, a client has no id to send. */
const CUTS = [400, 1, 401, 777, 1_500, 20, 5_000, 333, 9_999];

export function suite(client) {
  const quirk = client.quirk ?? ((data) => data);

  describe(client.name, () => {
    let origin;
    let proxy;
    let server;
    let opened = [];

    before(async () => (origin = await client.start()));
    after(() => client.stop());

    /** A server of the test's own, and a proxy before it. */
    async function setting(cutAfter, { secret, more } = {}) {
      server = await Server.start({ origin, secret, more });
      opened.push(() => server.kill());
      proxy = await Proxy.start(server.address, cutAfter, { betweenEvents: client.forgetsCutEvents });
      opened.push(() => proxy.stop());
      return proxy;
    }

    async function follow(url, token) {
      const names = ["message", ...types.filter((type) => type !== "message"), ...SIGNALS];
      const follower = await client.follow(url, names, token);
      opened.push(() => follower.close());
      proxy.hasTaken = (id) => follower.events.at(-1)?.id === id;
      return follower;
    }

    async function finish() {
      for (const close of opened.reverse()) await close();
      opened = [];
    }

    function test(what, body) {
      it(what, { timeout: 60_000 }, () => body().finally(finish));
    }

    test("opens at once, before there is any event", async () => {
      const proxy = await setting();
      const asked = performance.now();
      const follower = await follow(`${proxy.url}/events/quiet`);
      await follower.opened();
      assert.ok(performance.now() - asked < 2_000, "onopen has to fire without an event or a heartbeat");
      assert.deepEqual(follower.events, []);
    });

    test("gets events of every awkward shape exactly", async () => {
      const proxy = await setting();
      const follower = await follow(`${proxy.url}/events/${encodeURIComponent("awkward/тема ☂?#&=%")}`);
      await follower.opened();
      for (const [index, { what, type, data }] of shapes.entries()) {
        const id = await server.publish("awkward/тема ☂?#&=%", data, { type });
        const seen = await follower.received(index + 1);
        const expected = { type: type ?? "message", data: quirk(asSeen(data)), id };
        assert.ok(same(seen, expected), `${what}: ${brief(seen)} is not ${brief(expected)}`);
      }
      assert.equal(follower.opens, 1, "nothing made the client reconnect");
      assert.equal(follower.events.length, shapes.length);
    });

    test("resumes by id after every cut, with no loss and no repeat", async () => {
      const proxy = await setting(CUTS);
      const follower = await follow(`${proxy.url}/events/news`);
      await follower.opened();
      const published = await publishThroughCuts(proxy, () => "news");
      await follower.received(published.length);
      assert.deepEqual(follower.events, published);
      assert.equal(proxy.cuts, CUTS.length);
      assert.equal(follower.opens, 1 + CUTS.length);
    });

    test("resumes several topics on one stream in the order of their ids", async () => {
      const proxy = await setting(CUTS);
      const topics = ["a", "b/c", "d"];
      const query = topics.map((topic) => `topic=${encodeURIComponent(topic)}`).join("&");
      const follower = await follow(`${proxy.url}/events?${query}`);
      await follower.opened();
      const published = await publishThroughCuts(proxy, (index) => topics[(index * 7) % topics.length]);
      await follower.received(published.length);
      assert.deepEqual(follower.events, published);
      assert.equal(proxy.cuts, CUTS.length);
    });

    const testOfCutEvents = client.forgetsCutEvents ? () => {} : test;
    testOfCutEvents("gets a large event whole after a cut within it", async () => {
      const proxy = await setting([500_000]);
      const follower = await follow(`${proxy.url}/events/large`);
      await follower.opened();
      const before = { type: "message", data: "before", id: await server.publish("large", "before") };
      await follower.received(1);
      const data = "🙂".repeat(200_000);
      const large = { type: "message", data, id: await server.publish("large", data) };
      await follower.received(2);
      assert.equal(proxy.cuts, 1);
      assert.ok(same(follower.events, [before, large]), brief(follower.events));
    });

    test("is told of a gap once when the server lost the history", async () => {
      const proxy = await setting();
      const follower = await follow(`${proxy.url}/events/news`);
      await follower.opened();
      const last = await server.publish("news", "before");
      await follower.received(1);

      await server.kill();
      server = await Server.start({ origin });
      const replacement = server;
      opened.push(() => replacement.kill());
      const after = await server.publish("news", "after");
      proxy.target = server.address;

      const gap = (await follower.received(2)) && follower.events[1];
      assert.equal(gap.type, "sse.gap");
      const { requested, resumed_after, reason } = JSON.parse(gap.data);
      assert.deepEqual({ requested, resumed_after, reason }, { requested: last, resumed_after: gap.id, reason: "epoch" });
      assert.deepEqual(await follower.received(3), { type: "message", data: "after", id: after });

      // The gap has an id of its own history, so the next resume is an ordinary one.
      const opens = follower.opens;
      proxy.cut();
      await follower.opened(opens + 1);
      const later = await server.publish("news", "later");
      assert.deepEqual(await follower.received(4), { type: "message", data: "later", id: later });
    });

    test("misses nothing over a crash of a server with a data directory", async () => {
      const dataDir = await mkdtemp(join(tmpdir(), "sse-data-"));
      opened.push(() => rm(dataDir, { recursive: true, force: true }));
      const more = ["--data-dir", dataDir];
      const proxy = await setting([], { more });
      const follower = await follow(`${proxy.url}/events/news`);
      await follower.opened();
      const published = [];
      const publish = async (data) => published.push({ type: "message", data, id: await server.publish("news", data) });
      for (let n = 0; n < 20; n++) await publish(`before ${n}`);
      // A client that takes an id before its event would lose one that the crash cuts.
      await follower.received(client.forgetsCutEvents ? published.length : 10);

      await server.kill();
      server = await Server.start({ origin, more });
      const replacement = server;
      opened.push(() => replacement.kill());
      for (let n = 0; n < 20; n++) await publish(`after ${n}`);
      proxy.target = server.address;

      await follower.received(published.length);
      assert.deepEqual(follower.events, published);
    });

    test("gets the rest and the end of a closed topic, then leaves it alone", async () => {
      const proxy = await setting();
      const follower = await follow(`${proxy.url}/events/job`);
      await follower.opened();
      await server.publish("job", "half");
      await server.publish("job", "done");
      await server.close("job");
      const end = await follower.received(3);
      assert.deepEqual(follower.events.slice(0, 2).map((event) => event.data), ["half", "done"]);
      assert.equal(end.type, "sse.end");
      assert.ok(end.id, "the end has an id, so that it comes once");
      await waitFor("the client to stop reconnecting", () => follower.closed);
      assert.equal(follower.events.length, 3);
    });

    test("follows a Mercure hub with a token, and resumes after every cut", async () => {
      const proxy = await setting(CUTS, { secret: SECRET });
      const publisher = token({ publish: ["*"] });
      const query = ["https://example.com/books/{id}", "news"].map((topic) => `topic=${encodeURIComponent(topic)}`).join("&");
      const url = `${proxy.url}/.well-known/mercure?${query}`;
      const follower = await follow(url, token({ subscribe: ["https://example.com/users/7"] }));
      await follower.opened();
      const published = [];
      let more = 50;
      await waitFor("the proxy to make its cuts", async () => {
        const topic = published.length % 2 === 0 ? "https://example.com/books/1" : "news";
        // Private to another user, to this one, and public.
        const user = `https://example.com/users/${published.length % 3 === 0 ? 8 : 7}`;
        const data = `event ${published.length}\nsecond line`;
        await server.publishByForm([["topic", topic], ["topic", "https://example.com/users/8"], ["private", "on"], ["data", "none of its"]], publisher);
        const fields = [["topic", topic], ["topic", user], ["data", data], ["type", "score"], ["retry", "100"]];
        if (user.endsWith("7")) fields.push(["private", "on"]);
        published.push({ type: "score", data, id: await server.publishByForm(fields, publisher) });
        return proxy.cutsLeft === 0 && more-- === 0;
      });
      await follower.received(published.length);
      assert.deepEqual(follower.events, published);
      assert.ok(published.every(({ id }) => id.startsWith("urn:uuid:")), "ids are IRIs");
      assert.equal(proxy.cuts, CUTS.length);
    });

    /** Publishes on and on until every cut has happened and a while longer; returns what a follower must see. */
    async function publishThroughCuts(proxy, topicOf) {
      const published = [];
      let more = 50;
      await waitFor("the proxy to make its cuts", async () => {
        const data = `event ${published.length} ${"é".repeat(published.length % 40)}\nsecond line`;
        const type = published.length % 3 === 0 ? "score" : "message";
        const id = await server.publish(topicOf(published.length), data, { type });
        published.push({ type, data, id });
        return proxy.cutsLeft === 0 && more-- === 0;
      });
      return published;
    }
  });
}

/** Equality without the megabyte of difference that an assertion would print. */
function same(one, other) {
  return JSON.stringify(one) === JSON.stringify(other);
}
