// The `eventsource` package, which brings the browser's interface to Node.

import { EventSource } from "eventsource";
import { Follower } from "./follower.js";
import { suite } from "./suite.js";

suite({
  name: "eventsource in Node",
  start: () => undefined,
  stop: () => {},

  follow(url, types, token) {
    const headers = token && { Authorization: `Bearer ${token}` };
    const withToken = (url, init) => fetch(url, { ...init, headers: { ...init.headers, ...headers } });
    const source = new EventSource(url, { fetch: withToken });
    const follower = new Follower(() => source.close());
    source.onopen = () => follower.opens++;
    source.onerror = () => (follower.closed = source.readyState === EventSource.CLOSED);
    for (const type of types) {
      source.addEventListener(type, ({ data, lastEventId }) => follower.events.push({ type, data, id: lastEventId }));
    }
    return follower;
  },
});
