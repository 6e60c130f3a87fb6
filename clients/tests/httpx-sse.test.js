// Python's httpx-sse, as a program of its own.

import { spawn } from "node:child_process";
import { createInterface } from "node:readline";
import { Follower } from "./follower.js";
import { suite } from "./suite.js";

const program = new URL("python/follow.py", import.meta.url).pathname;

suite({
  name: "httpx-sse in Python",
  start: () => undefined,
  stop: () => {},

  follow(url, _types, token) {
    const env = { ...process.env, PYTHONPATH: process.env.SSE_CLIENTS_PYTHON, PYTHONIOENCODING: "utf-8" };
    const child = spawn("python3", [program, url, ...(token ? [token] : [])], { env, stdio: ["ignore", "pipe", "inherit"] });
    const ended = new Promise((resolve) => child.once("close", resolve));
    const follower = new Follower(() => child.kill("SIGKILL") && ended);
    createInterface({ input: child.stdout, crlfDelay: Infinity }).on("line", (line) => {
      const [name, value] = JSON.parse(line);
      if (name === "open") follower.opens++;
      if (name === "closed") follower.closed = true;
      if (name === "event") follower.events.push(value);
    });
    return follower;
  },
});
