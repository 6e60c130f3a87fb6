// Chromium's own `EventSource`, in a page of another origin.

import { Browser } from "./browser.js";
import { suite } from "./suite.js";

let browser;

suite({
  name: "EventSource in Chromium",

  async start() {
    browser = await Browser.start();
    return browser.origin;
  },

  stop: () => browser.stop(),
  follow: (url, types, token) => browser.follow("eventSource", url, types, token),
});
