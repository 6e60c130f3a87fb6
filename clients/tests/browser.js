// Chromium with pages open, served from an origin other than the server's.

import assert from "node:assert/strict";
import { once } from "node:events";
import { accessSync, constants } from "node:fs";
import { mkdtemp, readFile, rm } from "node:fs/promises";
import { createServer } from "node:http";
import { tmpdir } from "node:os";
import { delimiter, join } from "node:path";
import { chromium } from "playwright-core";
import { Follower } from "./follower.js";

/** Nothing but the pages under test: no updates, no accounts, no calls home. */
const FLAGS = [
  "--no-sandbox",
  "--disable-gpu",
  "--disable-quic",
  "--no-first-run",
  "--disable-background-networking",
  "--disable-component-update",
  "--disable-sync",
  "--host-resolver-rules=MAP other.test 127.0.0.1",
  // A frame of another site in a process of its own may have its answer before anybody here listens to it.
  "--disable-site-isolation-trials",
  "--disable-features=IsolateOrigins,site-per-process",
];

const package_ = "node_modules/@microsoft/fetch-event-source/lib/esm";

/** What the page's origin serves. The package's own modules import each other without `.js`, as bundlers allow. */
const FILES = {
  "/": ["text/html", "page/index.html"],
  "/follow.js": ["text/javascript", "page/follow.js"],
  "/fetch-event-source/fetch": ["text/javascript", `${package_}/fetch.js`],
  "/fetch-event-source/parse": ["text/javascript", `${package_}/parse.js`],
  ...Object.fromEntries(
    ["index", "connection", "parser", "tabs"].map((name) => [`/sse/${name}.js`, ["text/javascript", `../js/${name}.js`]]),
  ),
};

export class Browser {
  #context;
  #followers = [];
  #listener;
  #pages = [];
  #profile;

  /** Starts it with these flags besides its own. */
  static async start({ flags = [] } = {}) {
    const browser = new Browser();
    browser.#listener = createServer((request, response) => serve(request, response));
    browser.#listener.listen(0, "127.0.0.1");
    await once(browser.#listener, "listening");
    const { port } = browser.#listener.address();
    browser.origin = `http://127.0.0.1:${port}`;
    // Not only another origin than the server's, but another site: it gets no cookie that is not meant for all sites.
    browser.otherSite = `http://other.test:${port}`;
    browser.#profile = await mkdtemp(join(tmpdir(), "sse-chromium-"));
    browser.#context = await chromium.launchPersistentContext(browser.#profile, {
      executablePath: find(["chromium", "chromium-browser", "google-chrome"]),
      headless: true,
      args: [...FLAGS, ...flags],
    });
    await browser.#context.exposeFunction("saw", (id, name, value) => browser.#saw(id, name, value));
    await browser.openTab();
    return browser;
  }

  /** Opens another tab, and returns its number. Everything here is about the first, 0, if no other is given. */
  async openTab() {
    this.#pages.push(await this.#context.newPage());
    const tab = this.#pages.length - 1;
    await this.visit(this.origin, tab);
    return tab;
  }

  /** Closes a tab as a user would. */
  async closeTab(tab) {
    await this.#pages[tab].close();
  }

  /** Opens the page as one of that origin. Followers of the page before are gone. */
  async visit(origin, tab = 0) {
    await this.#pages[tab].goto(`${origin}/`);
  }

  /** Follows `url` in a page: `how` is a function of `page/follow.js`. A token is shown in its way. */
  async follow(how, url, types, token, tab = 0) {
    const id = this.#followers.length;
    const follower = new Follower(() => this.evaluate((id) => window.followers[id].close(), id, tab));
    this.#followers.push(follower);
    const all = [how, id, url, types, token];
    await this.evaluate(([how, id, url, types, token]) => window.follow(how, id, url, types, token), all, tab);
    return follower;
  }

  /** A tab for a test that drives it itself, in this size and scheme. */
  async openPage(url, { width = 1280, scheme = "light", motion = "no-preference" } = {}) {
    const page = await this.#context.newPage();
    await page.setViewportSize({ width, height: 800 });
    await page.emulateMedia({ colorScheme: scheme, reducedMotion: motion });
    await page.goto(url);
    return page;
  }

  /** Runs a function in a page. */
  evaluate(run, given, tab = 0) {
    return this.#pages[tab].evaluate(run, given);
  }

  /** Ends a tab as running out of memory would: nothing in it gets to do anything more. */
  async crashTab(tab) {
    const crashed = this.#pages[tab].waitForEvent("crash");
    const session = await this.#context.newCDPSession(this.#pages[tab]);
    // The answer to this dies with the tab.
    session.send("Page.crash").catch(() => {});
    await crashed;
  }

  /** Heads of streams as they come from now on: `{ url, status, protocol, connectionId }`, in the browser's own words. */
  async streamHeads(tab = 0) {
    const heads = [];
    const session = await this.#context.newCDPSession(this.#pages[tab]);
    session.on("Network.responseReceived", ({ response }) => response.mimeType === "text/event-stream" && heads.push(response));
    await session.send("Network.enable");
    return heads;
  }

  /** The status of the server's answer to what `act` makes the page send to `url`, whether or not the page may see it. */
  async statusOf(url, act) {
    const [answer] = await Promise.all([this.#pages[0].waitForResponse((answer) => answer.url() === url), act()]);
    return answer.status();
  }

  /** Keeps a cookie that the browser sends to whatever runs on this machine. */
  async keepCookie(name, value) {
    await this.#context.addCookies([{ name, value, domain: "127.0.0.1", path: "/", sameSite: "Lax" }]);
  }

  #saw(id, name, value) {
    const follower = this.#followers[id];
    if (name === "open") follower.opens++;
    if (name === "closed") follower.closed = true;
    if (name === "event") follower.events.push(value);
  }

  async stop() {
    await this.#context.close();
    this.#listener.close();
    await rm(this.#profile, { recursive: true, force: true });
  }
}

async function serve(request, response) {
  const [type, file] = FILES[request.url] ?? [];
  if (file === undefined) {
    response.writeHead(404).end();
    return;
  }
  const body = await readFile(new URL(file, import.meta.url));
  response.writeHead(200, { "Content-Type": `${type}; charset=utf-8` }).end(body);
}

/** The first of `names` on the PATH. */
function find(names) {
  const dirs = process.env.PATH.split(delimiter);
  const found = names.flatMap((name) => dirs.map((dir) => join(dir, name))).find(isExecutable);
  assert.ok(found, `no ${names.join(", ")} on the PATH; \`cargo xtask setup\` installs one`);
  return found;
}

function isExecutable(file) {
  try {
    accessSync(file, constants.X_OK);
    return true;
  } catch {
    return false;
  }
}
