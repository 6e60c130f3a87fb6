// `@microsoft/fetch-event-source` in Chromium: follows by `fetch`, so that resuming needs a CORS preflight.

import { Browser } from "./browser.js";
import { suite } from "./suite.js";

let browser;

suite({
  name: "fetch-event-source in Chromium",

  async start() {
    browser = await Browser.start();
    return browser.origin;
  },

  stop: () => browser.stop(),
  follow: (url, types, token) => browser.follow("fetchEventSource", url, types, token),

  forgetsCutEvents: true,

  // It decodes each line by itself, which takes a byte order mark off every line, and loses leading empty lines.
  quirk: (data) => data.replaceAll(/(?<=^|\n)\uFEFF/g, "").replace(/^\n+/, ""),
});
