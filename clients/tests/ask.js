// One request and its whole answer, over TLS too.

import { Agent as PlainAgent, request as plainly } from "node:http";
import { Agent as SecureAgent, request as securely } from "node:https";

/** Connections are kept, and do not keep the tests from ending. */
const agents = { "http:": new PlainAgent({ keepAlive: true }), "https:": new SecureAgent({ keepAlive: true }) };

/** Asks, and resolves to `{ status, text }`. With `ca` that certificate is believed. */
export function ask(method, url, { headers = {}, body = "", ca } = {}) {
  const { protocol } = new URL(url);
  const bytes = Buffer.from(body);
  const options = { method, agent: agents[protocol], ca, headers: { ...headers, "Content-Length": bytes.length } };
  return new Promise((resolve, reject) => {
    const request = (protocol === "https:" ? securely : plainly)(url, options, async (answer) => {
      try {
        resolve({ status: answer.statusCode, text: Buffer.concat(await answer.toArray()).toString() });
      } catch (error) {
        reject(error);
      }
    });
    request.on("error", reject).end(bytes);
  });
}
