// The server under test: the real binary, on a port of its own.

import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { mkdtemp, readFile, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { ask } from "./ask.js";
import { waitFor } from "./wait.js";

const binary = process.env.SSE_SERVER_BIN;

/** The server reads `SSE_*` as its settings: those it gets are the flags below and no others. */
const env = Object.fromEntries(Object.entries(process.env).filter(([name]) => !name.startsWith("SSE_")));

export class Server {
  #certificate;
  #child;
  #dir;
  #log = "";

  /** Starts the server; `origin` may follow from a browser, and with a `secret` tokens are needed. It speaks TLS with a `certificate`, and has an `admin` listener at an address. `more` are flags. */
  static async start({ origin, secret, certificate, admin = "off", more = [] } = {}) {
    assert.ok(binary, "SSE_SERVER_BIN names no server; run these tests with `cargo xtask clients`");
    const server = new Server();
    server.#dir = await mkdtemp(join(tmpdir(), "sse-clients-"));
    const ready = join(server.#dir, "ready.json");
    const flags = ["--listen", "127.0.0.1:0", "--admin-listen", admin, "--ready-file", ready];
    // A short exact reconnection time, so that the many cuts here take no patience.
    flags.push("--retry", "100ms", "--retry-jitter", "0");
    if (origin) flags.push("--cors-origin", origin);
    if (secret) flags.push("--publisher-jwt-key", secret, "--subscriber-jwt-key", secret);
    if (certificate) flags.push("--tls-cert", certificate.file, "--tls-key", certificate.keyFile);
    server.#certificate = certificate;
    server.#child = spawn(binary, [...flags, ...more], { env, stdio: ["ignore", "ignore", "pipe"] });
    server.#child.stderr.on("data", (text) => (server.#log = (server.#log + text).slice(-16_384)));
    server.#child.on("error", (error) => (server.#log += error));
    const { listen, admin: adminAddress } = await waitFor("the server's ready file", () => server.#ready(ready));
    server.adminUrl = `http://${adminAddress}`;
    const [host, port] = listen[0].split(":");
    server.address = { host, port: Number(port) };
    server.url = `${certificate ? "https" : "http"}://${listen[0]}`;
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
    const { status, text } = await this.#ask("POST", `/events/${encodeURIComponent(topic)}${query}`, { body: data });
    assert.equal(status, 200, `publishing: ${text}`);
    return JSON.parse(text).id;
  }

  /** Publishes one event as a client of the Mercure protocol, and returns its id. */
  async publishByForm(fields, token) {
    const headers = { Authorization: `Bearer ${token}`, "Content-Type": "application/x-www-form-urlencoded" };
    const body = new URLSearchParams(fields).toString();
    const { status, text } = await this.#ask("POST", "/.well-known/mercure", { headers, body });
    assert.equal(status, 200, `publishing: ${text}`);
    return text;
  }

  /** Closes a topic: its followers get the rest, then the end. */
  async close(topic) {
    const { status, text } = await this.#ask("DELETE", `/events/${encodeURIComponent(topic)}`);
    assert.equal(status, 200, `closing: ${text}`);
  }

  #ask(method, path, more) {
    return ask(method, this.url + path, { ca: this.#certificate?.pem, ...more });
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
