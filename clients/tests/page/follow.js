// Runs in the page. `saw(id, name, value)` tells the test what follower `id` saw.

import { fetchEventSource } from "/fetch-event-source/fetch";
import { follow } from "/sse/index.js";

window.followers = {};

const clients = {
  /** The browser's own. It can set no header: the token is in the cookie that a page gets when somebody logs in. */
  eventSource(url, types, tell, token) {
    if (token) document.cookie = `mercureAuthorization=${token}; SameSite=Strict; path=/`;
    const source = new EventSource(url, { withCredentials: token !== undefined });
    source.onopen = () => tell("open");
    source.onerror = () => source.readyState === EventSource.CLOSED && tell("closed");
    for (const type of types) {
      source.addEventListener(type, ({ data, lastEventId }) => tell("event", { type, data, id: lastEventId }));
    }
    return source;
  },

  /** The package for those who need headers or another method. */
  fetchEventSource(url, _types, tell, token) {
    const control = new AbortController();
    let hasId = false;
    const done = fetchEventSource(url, {
      signal: control.signal,
      headers: token ? { Authorization: `Bearer ${token}` } : {},
      openWhenHidden: true,
      onopen: async (response) => {
        if (response.status !== 200) throw new Error(`status ${response.status}`);
        tell("open");
      },
      // It passes blocks without data on as well, such as the `retry:` line and heartbeats, which have no id, and where a stream
      // begins, which is its first id.
      onmessage: ({ event, data, id }) => {
        const isBlock = id === "" || (!hasId && data === "");
        hasId ||= id !== "";
        if (!isBlock) tell("event", { type: event || "message", data, id });
      },
    });
    done.then(() => tell("closed"));
    return { close: () => control.abort() };
  },

  /** This project's own. The server's events about the stream are callbacks; here they are told as the events they were. */
  helper(url, _types, tell, token) {
    const signal = (type, data) => tell("event", { type, data: JSON.stringify(data), id: stream.lastEventId });
    const stream = follow(url, {
      headers: token ? { Authorization: `Bearer ${token}` } : {},
      onOpen: () => tell("open"),
      onEvent: (event) => tell("event", event),
      onGap: (gap) => signal("sse.gap", gap),
      onReconnect: (why) => signal("sse.reconnect", why),
      onEnd: (end) => (end.final ? tell("closed") : signal("sse.end", end)),
    });
    return stream;
  },
};

window.follow = (how, id, url, types, token) => {
  window.followers[id] = clients[how](url, types, (name, value) => window.saw(id, name, value), token);
};
