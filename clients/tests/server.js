// The server under test: the real binary, on a port of its own.

import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { mkdtemp, readFile, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { waitFor } from "./wait.js";

const binary = process.env.SSE_SERVER_BIN;

/** The server reads `SSE_*` as its settings: those it gets are the flags below and no others. */
const env = Object.fromEntries(Object.entries(process.env).filter(([name]) => !name.startsWith("SSE_")));

export class Server {
  #child;
  #dir;
  #log = "";

  /** Starts the server; `origin` may follow from a browser, and with a `secret` tokens are needed. `more` are flags. */
  static async start({ origin, secret, more = [] } = {}) {
    assert.ok(binary, "SSE_SERVER_BIN names no server; run these tests with `cargo xtask clients`");
    const server = new Server();
    server.#dir = await mkdtemp(join(tmpdir(), "sse-clients-"));
    const ready = join(server.#dir, "ready.json");
    const flags = ["--listen", "127.0.0.1:0", "--admin-listen", "off", "--ready-file", ready];
    // A short exact reconnection time, so that the many cuts here take no patience.
    flags.push("--retry", "100ms", "--retry-jitter", "0");
    if (origin) flags.push("--cors-origin", origin);
    if (secret) flags.push("--publisher-jwt-key", secret, "--subscriber-jwt-key", secret);
    server.#child = spawn(binary, [...flags, ...more], { env, stdio: ["ignore", "ignore", "pipe"] });
    server.#child.stderr.on("data", (text) => (server.#log = (server.#log + text).slice(-16_384)));
    server.#child.on("error", (error) => (server.#log += error));
    const { listen } = await waitFor("the server's ready file", () => server.#ready(ready));
    const [host, port] = listen[0].split(":");
    server.address = { host, port: Number(port) };
    server.url = `http://${listen[0]}`;
    return server;
  }

  async #ready(file) {
    assert.equal(this.#child.exitCode, null, `the server ended:\n${this.#log}`);
    // Until the server has written all of it, the file is missing or no JSON yet.
    return readFile(file, "utf8").then(JSON.parse, () => null).catch(() => null);
  }

  /** Publishes one event and returns its id. */
  async publish(topic, data, { type } = {}) {
    const query = type === undefined ? "" : `?type=${encodeURIComponent(type)}`;
    const url = `${this.url}/events/${encodeURIComponent(topic)}${query}`;
    const answer = await fetch(url, { method: "POST", body: data });
    assert.equal(answer.status, 200, `publishing: ${await answer.clone().text()}`);
    return (await answer.json()).id;
  }

  /** Publishes one event as a client of the Mercure protocol, and returns its id. */
  async publishByForm(fields, token) {
    const headers = { Authorization: `Bearer ${token}` };
    const answer = await fetch(`${this.url}/.well-known/mercure`, { method: "POST", headers, body: new URLSearchParams(fields) });
    const text = await answer.text();
    assert.equal(answer.status, 200, `publishing: ${text}`);
    return text;
  }

  /** Closes a topic: its followers get the rest, then the end. */
  async close(topic) {
    const answer = await fetch(`${this.url}/events/${encodeURIComponent(topic)}`, { method: "DELETE" });
    assert.ok(answer.ok, `closing: ${answer.status} ${await answer.text()}`);
  }

  /** Ends the server as a crash would. */
  async kill() {
    if (this.#child.exitCode === null && this.#child.signalCode === null) {
      const ended = new Promise((resolve) => this.#child.once("exit", resolve));
      this.#child.kill("SIGKILL");
      await ended;
    }
    await rm(this.#dir, { recursive: true, force: true });
  }
}
