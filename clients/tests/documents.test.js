// What the documents say about browsers, held against the code.

import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, describe, it } from "node:test";
import { fileURLToPath } from "node:url";
import { Browser } from "./browser.js";
import { Server } from "./server.js";
import { SECRET, token } from "./token.js";

const read = (file) => readFile(new URL(`../../${file}`, import.meta.url), "utf8");

/** The blocks of JavaScript in a document. */
const blocksOf = (document) => [...document.matchAll(/```js(?: [^\n]*)?\n(.*?)```/gs)].map(([, block]) => block);

describe("docs/browser.md", () => {
  const readme = read("docs/browser.md");

  it("has examples that the types allow", async () => {
    const dir = await mkdtemp(join(tmpdir(), "sse-documents-"));
    try {
      const helper = fileURLToPath(new URL("../js/index.js", import.meta.url));
      const blocks = blocksOf(await readme);
      assert.ok(blocks.length >= 4, `${blocks.length} examples`);
      const sources = blocks.map((block) => {
        const own = block.includes("import {") ? block.replace("./sse/index.js", helper) : `import { follow } from "${helper}";\n${block}`;
        return `${own}\ndeclare function show(event: import("${helper}").StreamEvent): void;\ndeclare function currentToken(): Promise<string>;\n`;
      });
      const files = sources.map((_, n) => `example-${n}.mts`);
      await Promise.all(files.map((file, n) => writeFile(join(dir, file), sources[n])));
      const extended = fileURLToPath(new URL("../js/tsconfig.json", import.meta.url));
      await writeFile(join(dir, "tsconfig.json"), JSON.stringify({ extends: extended, files }));
      const { status, stdout } = spawnSync(process.execPath, ["node_modules/typescript/bin/tsc", "-p", dir], { encoding: "utf8" });
      assert.equal(status, 0, stdout);
    } finally {
      await rm(dir, { recursive: true, force: true });
    }
  });

  it("names every option, and no other callback", async () => {
    const types = await read("clients/js/index.d.ts");
    const options = types.match(/interface Options \{(.*?)\n\}/s)[1];
    const names = [...options.matchAll(/^ {2}(\w+)\?:/gm)].map(([, name]) => name);
    const named = new Set([...(await readme).matchAll(/`(\w+)[^`]*`/g)].map(([, name]) => name));
    assert.deepEqual(names.filter((name) => !named.has(name)), []);
    assert.deepEqual([...named].filter((name) => /^on[A-Z]/.test(name) && !names.includes(name)), []);
  });

  it("has the code's own numbers", async () => {
    const [connection, tabs, parser] = await Promise.all(["connection", "tabs", "parser"].map((name) => read(`clients/js/${name}.js`)));
    const number = (text, pattern) => Number(text.match(pattern)[1].replaceAll(/[_,]/g, ""));
    const said = await readme;
    assert.equal(number(said, /`backoffMaxMs` \| ([\d,]+)/), number(connection, /backoffMaxMs = ([\d_]+)/));
    assert.equal(number(said, /`silenceMs` \| ([\d,]+)/), number(connection, /silenceMs \?\? ([\d_]+)/));
    assert.equal(number(said, /last ([\d,]+) events/), number(tabs, /REMEMBERED_MAX = ([\d_]+)/));
    assert.equal(number(said, /\((\d+) million characters\)/), number(tabs, /REMEMBERED_CHARS_MAX = (\d+) << 20/));
    assert.equal(number(said, /may have (\d+) million/), number(parser, /EVENT_CHARS_MAX = (\d+) << 20/));
  });
});

describe("docs/security.md", () => {
  let browser;

  before(async () => (browser = await Browser.start()));
  after(() => browser.stop());

  it("has a page that opens a stream with a ticket, which works once", { timeout: 60_000 }, async () => {
    const server = await Server.start({ origin: browser.origin, secret: SECRET });
    try {
      const [example] = blocksOf(await read("docs/security.md"));
      const given = { base: server.url, example, token: token({ subscribe: ["users/7"] }) };
      const states = await browser.evaluate(async ({ base, example, token }) => {
        // Addresses in the example are those of the server's own pages.
        document.head.append(Object.assign(document.createElement("base"), { href: base }));
        const run = Object.getPrototypeOf(async () => {}).constructor("token", `${example}; return source;`);
        const source = await run(token);
        const state = (source) => new Promise((resolve) => (source.onopen = source.onerror = () => resolve(source.readyState)));
        const states = [await state(source), await state(new EventSource(source.url))];
        source.close();
        return states;
      }, given);
      assert.deepEqual(states, [1, 2], "open, then closed for good");
    } finally {
      await server.kill();
    }
  });
});
