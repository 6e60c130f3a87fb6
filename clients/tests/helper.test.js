// The helper of `clients/js` in Chromium: what every client must see, and what only it can do.

import assert from "node:assert/strict";
import { after, before, describe, it } from "node:test";
import { Browser } from "./browser.js";
import { Proxy } from "./proxy.js";
import { Server } from "./server.js";
import { suite } from "./suite.js";
import { SECRET, token } from "./token.js";
import { waitFor } from "./wait.js";

let browser;

suite({
  name: "clients/js in Chromium",

  async start() {
    browser = await Browser.start();
    return browser.origin;
  },

  stop: () => browser.stop(),
  follow: (url, types, token) => browser.follow("helper", url, types, token),
});

/** In the page: follows with these options, and keeps what happens in `window.seen`. */
async function followInPage({ url, options, tokens, tickets }) {
  const { follow } = await import("/sse/index.js");
  const seen = (window.seen = { opens: 0, events: [], interrupted: [], gaps: 0, tickets: 0, closed: false });
  const next = () => `Bearer ${tokens.length > 1 ? tokens.shift() : tokens[0]}`;
  const ticket = async () => {
    seen.tickets++;
    const headers = { Authorization: next() };
    const answer = await fetch(tickets, { method: "POST", headers, body: JSON.stringify({ topics: ["news"] }) });
    if (!answer.ok) throw new Error(`no ticket: ${answer.status}`);
    return (await answer.json()).ticket;
  };
  window.stream = follow(url, {
    ...options,
    ...(tickets ? { ticket } : tokens && { headers: () => ({ Authorization: next() }) }),
    onOpen: () => seen.opens++,
    onEvent: ({ data }) => seen.events.push(data),
    onGap: () => seen.gaps++,
    onInterrupted: (failure) => seen.interrupted.push(failure.status ?? failure.reason),
    onEnd: ({ final }) => (seen.closed = final),
  });
}

describe("The helper in Chromium", () => {
  let opened = [];

  before(async () => (browser = await Browser.start()));
  after(() => browser.stop());

  function test(what, body) {
    it(what, { timeout: 60_000 }, () => body().finally(finish));
  }

  async function finish() {
    for (const close of opened.reverse()) await close();
    opened = [];
  }

  async function start(settings = {}) {
    const server = await Server.start({ origin: browser.origin, ...settings });
    opened.push(() => server.kill());
    return server;
  }

  async function follow(given, tab = 0) {
    await browser.evaluate(followInPage, given, tab);
    if (tab === 0) opened.push(() => browser.evaluate(() => window.stream.close()));
  }

  const seen = (tab = 0) => browser.evaluate(() => window.seen, undefined, tab);
  const until = (what, fact, tab = 0) => waitFor(what, async () => fact(await seen(tab)));
  const isLeader = (tab) => browser.evaluate(() => window.stream.isLeader, undefined, tab);

  test("comes back after a refusal, when a browser's own would not", async () => {
    const server = await start({ secret: SECRET });
    const right = token({ subscribe: ["*"] });
    await follow({ url: `${server.url}/events/news`, tokens: ["wrong", "wrong", right], options: { backoffMaxMs: 100 } });
    await until("the stream to open", ({ opens }) => opens === 1);
    assert.deepEqual((await seen()).interrupted, [401, 401]);
    const publisher = token({ publish: ["*"] });
    await server.publishByForm([["topic", "news"], ["data", "at last"]], publisher);
    await until("the event", ({ events }) => events.includes("at last"));
  });

  test("gets a new ticket for every connection, and one that was refused costs an attempt", async () => {
    const server = await start({ secret: SECRET });
    const proxy = await Proxy.start(server.address);
    opened.push(() => proxy.stop());
    const [right, publisher] = [token({ subscribe: ["*"] }), token({ publish: ["*"] })];
    await follow({ url: `${proxy.url}/events/news`, tickets: `${server.url}/tickets`, tokens: ["wrong", right] });
    const published = [];
    for (let opens = 1; opens <= 3; opens++) {
      await until(`stream ${opens} to open`, (seen) => seen.opens === opens);
      published.push(`event ${opens}`);
      await server.publishByForm([["topic", "news"], ["data", `event ${opens}`]], publisher);
      await until(`event ${opens}`, ({ events }) => events.length === opens);
      proxy.cut();
    }
    const { events, gaps, tickets } = await seen();
    assert.deepEqual([events, gaps], [published, 0]);
    assert.ok(tickets >= 4, `${tickets} tickets`);
  });

  test("waits for a server that is not there", async () => {
    const server = await start();
    const proxy = await Proxy.start({ host: "127.0.0.1", port: 1 });
    opened.push(() => proxy.stop());
    await follow({ url: `${proxy.url}/events/news`, options: { backoffMaxMs: 100 } });
    await until("two attempts", ({ interrupted }) => interrupted.length >= 2);
    proxy.target = server.address;
    await until("the stream to open", ({ opens }) => opens === 1);
  });

  test("closes, and then nothing comes", async () => {
    const server = await start();
    await follow({ url: `${server.url}/events/news` });
    await until("the stream to open", ({ opens }) => opens === 1);
    await browser.evaluate(() => window.stream.close());
    const other = await browser.follow("helper", `${server.url}/events/news`, []);
    opened.push(() => other.close());
    await other.opened();
    await server.publish("news", "unheard");
    await other.received(1);
    const { events, interrupted } = await seen();
    assert.deepEqual([events, interrupted, await browser.evaluate(() => window.stream.state)], [[], [], "closed"]);
  });

  /** Publishes numbers from where it stopped, and waits until these tabs have all that came since they joined. */
  function numbers(server, joined) {
    let last = 0;
    return {
      /** Numbers up to now. */
      get last() {
        return last;
      },
      async publish(count) {
        for (let n = 0; n < count; n++) await server.publish("news", `${++last}`);
      },
      async seenBy(tabs) {
        for (const tab of tabs) {
          const expected = Array.from({ length: last - joined[tab] }, (_, n) => `${joined[tab] + n + 1}`);
          await until(`${expected.length} events in tab ${tab}`, ({ events }) => events.length >= expected.length, tab);
          const { events, gaps } = await seen(tab);
          assert.deepEqual([events, gaps], [expected, 0], `tab ${tab}`);
        }
      },
    };
  }

  test("shares one connection between tabs, and another tab takes over without loss", async () => {
    const server = await start();
    const url = `${server.url}/events/news`;
    const [joined, heads, tabs] = [{}, [], []];
    const published = numbers(server, joined);

    async function join() {
      const tab = await browser.openTab();
      tabs.push(tab);
      heads.push(await browser.streamHeads(tab));
      joined[tab] = published.last;
      await follow({ url, options: { share: true } }, tab);
      await until(`tab ${tab} to join`, ({ opens }) => opens >= 1, tab);
    }

    async function leader() {
      return waitFor("one tab to lead", async () => {
        const leading = [];
        for (const tab of tabs) if (await isLeader(tab)) leading.push(tab);
        return leading.length === 1 && leading[0];
      });
    }

    const streams = () => heads.flat().length;
    const leave = (tab) => tabs.splice(tabs.indexOf(tab), 1);

    for (let n = 0; n < 4; n++) await join();
    await published.publish(20);
    await published.seenBy(tabs);
    assert.equal(streams(), 1, "one connection for all tabs");

    // Closed as a user does it, while events are published.
    const closed = await leader();
    leave(closed);
    await Promise.all([published.publish(50), browser.closeTab(closed)]);
    await published.seenBy(tabs);

    // Killed, while events are published.
    const killed = await leader();
    leave(killed);
    await Promise.all([published.publish(50), browser.crashTab(killed)]);
    await published.seenBy(tabs);

    // Closed by the page; who joins late gets what comes from then on, and is not the one that leads.
    await join();
    const quiet = await leader();
    leave(quiet);
    await Promise.all([published.publish(50), browser.evaluate(() => window.stream.close(), undefined, quiet)]);
    await published.seenBy(tabs);
    assert.equal(streams(), 4, "and one connection more for each tab that took over");

    // The last one goes on alone.
    const last = await leader();
    leave(last);
    await browser.closeTab(last);
    await published.publish(20);
    await published.seenBy(tabs);
    assert.equal(await isLeader(tabs[0]), true);

    await server.close("news");
    await until("the end", ({ closed }) => closed, tabs[0]);
  });

  test("takes over from a tab that hangs, which then catches up", async () => {
    const server = await start({ more: ["--heartbeat-interval", "100ms"] });
    const tabs = [await browser.openTab(), await browser.openTab()];
    opened.push(...tabs.map((tab) => () => browser.closeTab(tab)));
    const joined = Object.fromEntries(tabs.map((tab) => [tab, 0]));
    const all = numbers(server, joined);
    for (const tab of tabs) {
      await follow({ url: `${server.url}/events/news`, options: { share: true, silenceMs: 500 } }, tab);
      await until(`tab ${tab} to join`, ({ opens }) => opens >= 1, tab);
    }
    await all.publish(10);
    await all.seenBy(tabs);
    assert.deepEqual([await isLeader(tabs[0]), await isLeader(tabs[1])], [true, false]);
    // Heartbeats are enough to be heard of: nobody takes anything from a tab that works.
    const hang = () => {
      const until = performance.now() + 3_000;
      while (performance.now() < until);
    };
    const hanging = browser.evaluate(hang, undefined, tabs[0]);
    await all.publish(30);
    await waitFor("the other tab to lead", () => isLeader(tabs[1]));
    await all.seenBy([tabs[1]]);
    await hanging;
    await all.publish(10);
    await all.seenBy(tabs);
    await waitFor("one tab to lead", async () => !(await isLeader(tabs[0])) && (await isLeader(tabs[1])));
  });
});
