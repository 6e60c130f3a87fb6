// Tokens, as an application's own backend makes them: no `exp`, no `aud`, no `iss`.

import { createHmac } from "node:crypto";

/** What the server checks them with. */
export const SECRET = "6b3f0c1e9d7a4852-b1c2d3e4f5a69788-0f1e2d3c4b5a6978";

/** A token with these claims of the Mercure protocol. */
export function token(mercure) {
  const part = (value) => Buffer.from(JSON.stringify(value)).toString("base64url");
  const message = `${part({ typ: "JWT", alg: "HS256" })}.${part({ mercure })}`;
  return `${message}.${createHmac("sha256", SECRET).update(message).digest("base64url")}`;
}
