// What pages of other origins can do, by a real browser's word for it: nothing that was not allowed (FAILURES I4 and I5).

import assert from "node:assert/strict";
import { after, before, describe, it } from "node:test";
import { Browser } from "./browser.js";
import { Server } from "./server.js";
import { SECRET, token } from "./token.js";

const HUB = "/.well-known/mercure";

/** Opens the stream with `fetch` in the page: its status, or "refused" when the browser does not let the page see it. */
async function fetched({ url, credentials }) {
  const cut = new AbortController();
  const answer = await fetch(url, { credentials, signal: cut.signal }).catch(() => null);
  cut.abort();
  return answer ? answer.status : "refused";
}

/** The same with `EventSource`. */
function followed({ url, credentials }) {
  const source = new EventSource(url, { withCredentials: credentials === "include" });
  return new Promise((resolve) => {
    source.onopen = () => resolve(200);
    source.onerror = () => source.readyState === EventSource.CLOSED && resolve("refused");
  }).finally(() => source.close());
}

/** The same in a page without an origin: what it sends has `Origin: null`. */
function fetchedByNobody({ url }) {
  const frame = document.createElement("iframe");
  frame.sandbox = "allow-scripts";
  frame.srcdoc = `<script>
    const cut = new AbortController();
    fetch(${JSON.stringify(url)}, { signal: cut.signal })
      .then((answer) => answer.status, () => "refused")
      .then((seen) => { parent.postMessage(seen, "*"); cut.abort(); });
  </script>`;
  const told = new Promise((resolve) => (window.onmessage = ({ data }) => resolve(data)));
  document.body.append(frame);
  return told.finally(() => frame.remove());
}

/** Sends a form as any page can, without a script's asking first. */
function submitted({ url, type, fields }) {
  const form = Object.assign(document.createElement("form"), { action: url, method: "post", enctype: type, target: "away" });
  const frame = Object.assign(document.createElement("iframe"), { name: "away" });
  for (const [name, value] of Object.entries(fields)) {
    form.append(Object.assign(document.createElement("input"), { name, value }));
  }
  document.body.append(frame, form);
  form.submit();
}

/** Sends text as any page can, with what cookies there are. */
function posted({ url }) {
  return fetch(url, { method: "POST", mode: "no-cors", credentials: "include", body: "forged" }).catch(() => null);
}

describe("Pages of other origins in Chromium", () => {
  let browser;
  let server;

  before(async () => (browser = await Browser.start()));
  after(() => browser.stop());

  function test(what, settings, body) {
    it(what, { timeout: 60_000 }, async () => {
      server = await Server.start(settings());
      await body().finally(() => server.kill());
    });
  }

  async function expectReads(expected) {
    const url = `${server.url}/events/a`;
    const seen = {};
    for (const credentials of ["omit", "include"]) {
      seen[`fetch ${credentials}`] = await browser.evaluate(fetched, { url, credentials });
      seen[`EventSource ${credentials}`] = await browser.evaluate(followed, { url, credentials });
    }
    seen.nobody = await browser.evaluate(fetchedByNobody, { url });
    assert.deepEqual(seen, expected);
  }

  const reads = (omit, include, nobody) => ({
    "fetch omit": omit,
    "EventSource omit": omit,
    "fetch include": include,
    "EventSource include": include,
    nobody,
  });

  test("read nothing by default", () => ({}), () => expectReads(reads("refused", "refused", "refused")));
  test("read nothing when another origin may", () => ({ origin: "http://127.0.0.1:1" }), () =>
    expectReads(reads("refused", "refused", "refused")));
  test("read what they were allowed, but not without an origin", () => ({ origin: browser.origin }), () =>
    expectReads(reads(200, 200, "refused")));
  test("never read with credentials by a star", () => ({ origin: "*" }), () =>
    expectReads(reads(200, "refused", 200)));

  /** The statuses of all ways to publish that take no leave, with the publisher's cookie in the browser. */
  async function publishStatuses() {
    await browser.keepCookie("mercureAuthorization", token({ publish: ["*"], subscribe: ["*"] }));
    const [hub, topic] = [`${server.url}${HUB}`, `${server.url}/events/a`];
    const form = (url, type) => () => browser.evaluate(submitted, { url, type, fields: { topic: "a", data: "forged" } });
    return {
      form: await browser.statusOf(hub, form(hub, "application/x-www-form-urlencoded")),
      text: await browser.statusOf(topic, form(topic, "text/plain")),
      fetch: await browser.statusOf(topic, () => browser.evaluate(posted, { url: topic })),
    };
  }

  test("publish nothing with a cookie", () => ({ secret: SECRET }), async () => {
    // The Mercure path says 401 to a cookie from elsewhere, as to any credential that does not count.
    assert.deepEqual(await publishStatuses(), { form: 401, text: 403, fetch: 403 });
  });
  test("publish nothing where anybody on this machine may", () => ({}), async () => {
    assert.deepEqual(await publishStatuses(), { form: 403, text: 403, fetch: 403 });
  });
  const named = () => ({ secret: SECRET, more: ["--publish-origin", browser.origin] });
  test("publish with a cookie when they are named", named, async () => {
    assert.deepEqual(await publishStatuses(), { form: 200, text: 200, fetch: 200 });
  });

  /** The same for pages of another site. */
  async function fromOtherSite(body) {
    await browser.visit(browser.otherSite);
    await body().finally(() => browser.visit(browser.origin));
  }

  test("publish nothing from another site where anybody on this machine may", () => ({}), () =>
    fromOtherSite(async () => assert.deepEqual(await publishStatuses(), { form: 403, text: 403, fetch: 403 })));
  const otherNamed = () => ({ secret: SECRET, more: ["--publish-origin", browser.otherSite] });
  test("publish nothing from another site even when it is named: the browser keeps the cookie", otherNamed, () =>
    fromOtherSite(async () => assert.deepEqual(await publishStatuses(), { form: 401, text: 401, fetch: 401 })));
  test("read from another site what it was allowed", () => ({ origin: browser.otherSite }), () =>
    fromOtherSite(() => expectReads(reads(200, 200, "refused"))));
  test("read nothing from another site by default", () => ({}), () =>
    fromOtherSite(() => expectReads(reads("refused", "refused", "refused"))));
});
