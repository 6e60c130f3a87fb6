// A certificate for this machine, made for one run of the tests.

import { execFileSync } from "node:child_process";
import { createHash, X509Certificate } from "node:crypto";
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";

export class Certificate {
  #dir = mkdtempSync(join(tmpdir(), "sse-certificate-"));
  file = join(this.#dir, "certificate.pem");
  keyFile = join(this.#dir, "key.pem");

  constructor() {
    const kind = ["-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "2"];
    const names = ["-subj", "/CN=localhost", "-addext", "subjectAltName=IP:127.0.0.1,DNS:localhost"];
    execFileSync("openssl", ["req", ...kind, ...names, "-keyout", this.keyFile, "-out", this.file], { stdio: "pipe" });
    this.pem = readFileSync(this.file);
  }

  /** What makes Chromium trust its key, and no other that has no authority behind it. */
  get flag() {
    const key = new X509Certificate(this.pem).publicKey.export({ type: "spki", format: "der" });
    return `--ignore-certificate-errors-spki-list=${createHash("sha256").update(key).digest("base64")}`;
  }

  remove() {
    rmSync(this.#dir, { recursive: true, force: true });
  }
}
