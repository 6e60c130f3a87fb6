// The admin page, as an operator uses it in Chromium.

import assert from "node:assert/strict";
import { get } from "node:http";
import { after, afterEach, before, describe, it } from "node:test";
import { Browser } from "./browser.js";
import { Server } from "./server.js";
import { waitFor } from "./wait.js";

const TOKEN = "an-admin-token-of-some-length";
/** What would run if anything read it as markup. */
const HOSTILE = `<img src=x onerror="window.hurt=1"><script>window.hurt=1</script>"'>&lt;`;

describe("the admin page", { timeout: 120_000 }, () => {
  let browser;
  let server;
  let page;
  let problems;
  const streams = [];

  before(async () => (browser = await Browser.start()));
  after(() => browser.stop());
  afterEach(async () => {
    await page?.close();
    for (const stream of streams.splice(0)) stream.destroy();
    await server?.kill();
    assert.deepEqual(problems, []);
  });

  async function open({ more = [], secret, ...how } = {}) {
    server = await Server.start({ admin: "127.0.0.1:0", secret, more });
    page = await browser.openPage("about:blank", how);
    problems = [];
    page.on("pageerror", (error) => problems.push(String(error)));
    page.on("console", (message) => /Content Security|Trusted/i.test(message.text()) && problems.push(message.text()));
    await page.goto(`${server.adminUrl}/`);
  }

  function follow(topic, agent = "test/1") {
    return new Promise((resolve, reject) => {
      const request = get(`${server.url}/events/${encodeURIComponent(topic)}`, { agent: false, headers: { "User-Agent": agent } }, (answer) => {
        const stream = { text: "", destroy: () => request.destroy() };
        answer.setEncoding("utf8").on("data", (text) => (stream.text += text)).on("error", () => {});
        streams.push(stream);
        resolve(stream);
      });
      request.on("error", reject);
    });
  }

  const text = (selector) => page.textContent(selector);
  const shows = (selector, part) => waitFor(`${part} in ${selector}`, async () => (await text(selector)).includes(part));

  it("shows figures, topics and subscribers, and keeps them fresh", async () => {
    await open();
    await follow("news", "first/1");
    await shows("#subscribers", "first/1");
    await shows("#topics", "news");
    assert.equal(await text("#health"), "ready");
    await follow("news", "second/2");
    await shows("#subscribers", "second/2");
    await shows("#subscribers-count", "2");
    await server.publish("news", "x");
    await waitFor("a chart that tells of it", async () =>
      /at most [1-9]/.test(await page.getAttribute(".chart-events svg", "aria-label")),
    );
  });

  it("takes hostile names as text", async () => {
    await open();
    await follow(HOSTILE, HOSTILE);
    await shows("#subscribers", HOSTILE);
    await shows("#topics", HOSTILE);
    await page.fill("#follow-topic", "*");
    await page.click("#follow-button");
    await shows("#following", "Following *");
    await server.publish(HOSTILE, HOSTILE);
    await shows("#events", HOSTILE);
    await page.click("#subscribers button");
    await shows("#kick-whom", HOSTILE);
    assert.equal(await page.evaluate(() => window.hurt), undefined);
    assert.equal(await page.evaluate(() => document.querySelectorAll("main img, main script").length), 0);
  });

  it("ends a stream once that is confirmed", async () => {
    await open();
    const stream = await follow("news");
    await page.waitForSelector("#subscribers button");
    await page.focus("#subscribers button");
    await page.keyboard.press("Enter");
    await page.keyboard.press("Escape");
    await waitFor("the dialog to close", async () => !(await page.evaluate(() => document.getElementById("kick").open)));
    await page.keyboard.press("Enter");
    await waitFor("the dialog", async () => page.evaluate(() => document.getElementById("kick").open));
    assert.ok(!stream.text.includes("kicked"));
    await page.click("#kick button[value=kick]");
    await waitFor("the end of the stream", () => stream.text.includes(`data: {"reason":"kicked"}`));
    await shows("#said", "ended");
    await waitFor("an empty list", async () => page.isVisible("#subscribers-empty"));
  });

  it("publishes and follows by hand", async () => {
    await open();
    const stream = await follow("/orders/7");
    await page.fill("#follow-topic", "/orders/{id}");
    await page.press("#follow-topic", "Enter");
    await shows("#following", "Following /orders/{id}");
    await page.fill("#publish-topic", "/orders/7");
    await page.fill("#publish-type", "paid");
    await page.fill("#publish-data", "by hand");
    await page.press("#publish-data", "Control+Enter");
    await shows("#published", "Published as ");
    await shows("#events", "by hand");
    await waitFor("the event", () => stream.text.includes("event: paid\n"));
    await page.fill("#publish-type", "sse.end");
    await page.click("#publish-form button");
    await shows("#published", "Not published: ");
  });

  it("asks for the token, and keeps it to its tab", async () => {
    await open({ secret: "a-secret-of-32-bytes-for-tokens!!", more: ["--admin-token", TOKEN] });
    await page.waitForSelector("#token");
    assert.equal(await page.isVisible("#main"), false);
    await page.fill("#token", "wrong");
    await page.press("#token", "Enter");
    await shows("#token-problem", "That is not the token.");
    await page.fill("#token", TOKEN);
    await page.press("#token", "Enter");
    await page.waitForSelector("#main:not([hidden])");
    assert.equal(await page.isEnabled("#publish-topic"), true);
    const kept = await page.evaluate(() => [document.cookie, localStorage.length, Object.values(sessionStorage)]);
    assert.deepEqual(kept, ["", 0, [TOKEN]]);
    await page.reload();
    await page.waitForSelector("#main:not([hidden])");
    await page.click("#sign-out");
    await page.waitForSelector("#token");
    await page.reload();
    await page.waitForSelector("#token");
  });

  it("says what the keys leave it", async () => {
    await open({ secret: "a-secret-of-32-bytes-for-tokens!!" });
    await page.waitForSelector("#publish-refused:not([hidden])");
    assert.deepEqual([await page.isEnabled("#publish-topic"), await page.isEnabled("#follow-topic")], [false, false]);
  });

  it("says when the server is gone", async () => {
    await open();
    await page.waitForSelector("#main:not([hidden])");
    server.kill();
    await shows("#trouble", "has not answered since");
    assert.equal(await text("#health"), "no answer");
  });

  for (const width of [360, 768, 1280]) {
    it(`fits ${width} pixels, can be read in both schemes, and names what it has`, async () => {
      await open({ width });
      await follow("a-topic-with-a-long-name/".repeat(8));
      await page.waitForSelector("#subscribers button");
      await shows("#topics", "a-topic-with");
      assert.equal(await page.evaluate(() => document.documentElement.scrollWidth - innerWidth), 0);
      const nameless = await page.evaluate(() =>
        [...document.querySelectorAll("button, input, select, textarea")]
          .filter((control) => control.checkVisibility())
          .filter((control) => !(control.labels?.length > 0 || control.getAttribute("aria-label") || control.textContent.trim()))
          .map((control) => control.outerHTML),
      );
      assert.deepEqual(nameless, []);
      for (const colorScheme of ["light", "dark"]) {
        await page.emulateMedia({ colorScheme, reducedMotion: "reduce" });
        assert.deepEqual(await page.evaluate(paleTexts), [], colorScheme);
      }
    });
  }
});

/** Texts whose contrast to their ground is below 4.5 (WCAG 2.2, 1.4.3). Runs in the page. */
function paleTexts() {
  const canvas = Object.assign(document.createElement("canvas"), { width: 1, height: 1 }).getContext("2d", { willReadFrequently: true });
  const rgba = (color) => {
    canvas.clearRect(0, 0, 1, 1);
    canvas.fillStyle = color;
    canvas.fillRect(0, 0, 1, 1);
    return canvas.getImageData(0, 0, 1, 1).data;
  };
  const luminance = ([r, g, b]) => {
    const [x, y, z] = [r, g, b].map((value) => (value / 255 <= 0.04045 ? value / 255 / 12.92 : ((value / 255 + 0.055) / 1.055) ** 2.4));
    return 0.2126 * x + 0.7152 * y + 0.0722 * z;
  };
  const groundOf = (element) => {
    for (let at = element; at !== null; at = at.parentElement) {
      const ground = rgba(getComputedStyle(at).backgroundColor);
      if (ground[3] === 255) return ground;
    }
    return [255, 255, 255];
  };
  const pale = [];
  const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  while (walker.nextNode()) {
    const element = walker.currentNode.parentElement;
    if (walker.currentNode.data.trim() === "" || !element.checkVisibility() || element.closest(".hidden, :disabled, .skip")) continue;
    const [one, other] = [luminance(rgba(getComputedStyle(element).color)), luminance(groundOf(element))];
    const contrast = (Math.max(one, other) + 0.05) / (Math.min(one, other) + 0.05);
    if (contrast < 4.5) pale.push(`${contrast.toFixed(2)}: ${walker.currentNode.data.trim()} in ${element.outerHTML.slice(0, 80)}`);
  }
  return pale;
}
