// What a page in TypeScript may write. Only checked, never run.

import { follow, type Stream } from "../../js/index.js";

const stream: Stream = follow("/events/news", {
  share: true,
  ticket: async () => (await fetch("/tickets", { method: "POST" })).text(),
  onEvent: ({ type, data, id }) => console.log(type.length, data.length, id.length),
  onGap: ({ requested, resumed_after, reason }) => console.log(requested, resumed_after, reason),
  onReconnect: ({ reason }) => console.log(reason),
  onEnd: ({ topic, final }) => console.log(topic?.length, final),
  onInterrupted: ({ status, reason, retryInMs }) => console.log(status === 401, reason, retryInMs / 1000),
});
follow(new URL("https://example.com/events/news"), { headers: { Authorization: "Bearer x" }, credentials: "include" });
if (stream.state === "open") stream.close();

// @ts-expect-error: there is no such state
stream.state === "opened";
// @ts-expect-error: it is the stream's to say
stream.lastEventId = "1";
// @ts-expect-error: a misspelt option is none
follow("/events/news", { onMessage: () => {} });
