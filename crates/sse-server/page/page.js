// The admin page. Everything it shows comes from /api/.., and gets into the document as text only.

const TOKEN = "sse-admin-token";
/** Events that the pane keeps. */
const EVENTS_MAX = 200;
const STATS_EVERY = 1000;
const LISTS_EVERY = 2000;

const at = (id) => document.getElementById(id);

/** An element with these properties and children; strings become text. */
function make(tag, properties = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(properties)) {
    if (name === "class") element.className = value;
    else if (name === "click") element.addEventListener("click", value);
    else element.setAttribute(name, value);
  }
  element.append(...children);
  return element;
}

/** Sets text only where it differs, so that neither selections nor readers are disturbed. */
function write(element, text) {
  if (element.textContent !== text) element.textContent = text;
}

// Numbers as people read them.

const whole = new Intl.NumberFormat("en");
const short = new Intl.NumberFormat("en", { notation: "compact", maximumFractionDigits: 1 });

const count = (n) => (n < 100_000 ? whole.format(n) : short.format(n));
const rate = (n) => (n < 10 ? n.toFixed(1).replace(/\.0$/, "") : count(Math.round(n)));

function bytes(n) {
  if (n < 1000) return `${n} B`;
  const units = ["kB", "MB", "GB", "TB"];
  let value = n / 1000;
  let unit = 0;
  while (value >= 999.5 && unit < units.length - 1) {
    value /= 1000;
    unit++;
  }
  return `${value < 10 ? value.toFixed(1) : Math.round(value)} ${units[unit]}`;
}

function span(seconds) {
  const s = Math.max(0, Math.floor(seconds));
  if (s < 60) return `${s} s`;
  if (s < 3600) return `${Math.floor(s / 60)} min`;
  if (s < 86_400) return `${Math.floor(s / 3600)} h ${Math.floor((s % 3600) / 60)} min`;
  return `${Math.floor(s / 86_400)} d ${Math.floor((s % 86_400) / 3600)} h`;
}

// Asking the server.

/** The server wants a token, or another one. */
class SignIn extends Error {}

function headers(more = {}) {
  const token = sessionStorage.getItem(TOKEN);
  return token === null ? more : { ...more, Authorization: `Bearer ${token}` };
}

async function request(path, options = {}) {
  const answer = await fetch(path, { cache: "no-store", ...options, headers: headers(options.headers) });
  if (answer.status === 401) throw new SignIn();
  if (answer.ok) return answer;
  const problem = await answer.json().catch(() => ({}));
  throw new Error(problem.detail ?? `the server answered ${answer.status}`);
}

const ask = async (path) => (await request(path, { signal: AbortSignal.timeout(15_000) })).json();

// Signing in. The token is kept by this tab alone.

function showSignIn() {
  const refused = sessionStorage.getItem(TOKEN) !== null;
  sessionStorage.removeItem(TOKEN);
  follower?.abort();
  at("main").hidden = true;
  at("sign-out").hidden = true;
  if (!at("sign-in").hidden) {
    if (refused) write(at("token-problem"), "That is not the token.");
    return;
  }
  at("sign-in").hidden = false;
  write(at("token-problem"), refused ? "That is not the token." : "");
  write(at("health"), "locked");
  at("health").className = "pill";
  write(at("about"), "");
  at("token").focus();
}

at("token-form").addEventListener("submit", (event) => {
  event.preventDefault();
  write(at("token-problem"), "");
  sessionStorage.setItem(TOKEN, at("token").value.trim());
  at("token").value = "";
  start();
});

at("sign-out").addEventListener("click", () => {
  sessionStorage.removeItem(TOKEN);
  showSignIn();
});

// Charts: SVG of the last minutes, one number a second.

const SVG = "http://www.w3.org/2000/svg";
const WIDTH = 300;
const HEIGHT = 60;

class Chart {
  constructor(name, title, unit) {
    this.title = title;
    this.unit = unit;
    this.now = make("span", { class: "now" });
    this.peak = make("span", { class: "quiet" });
    this.svg = document.createElementNS(SVG, "svg");
    this.svg.setAttribute("viewBox", `0 0 ${WIDTH} ${HEIGHT}`);
    this.svg.setAttribute("preserveAspectRatio", "none");
    this.svg.setAttribute("role", "img");
    this.area = this.#shape("path", "area");
    this.stroke = this.#shape("path", "stroke");
    const base = this.#shape("path", "base");
    base.setAttribute("d", `M0 ${HEIGHT}H${WIDTH}`);
    const axis = make("div", { class: "axis quiet", "aria-hidden": "true" }, "5 min ago", this.peak, "now");
    at("charts").append(make("div", { class: `card chart chart-${name}` }, make("h3", { class: "quiet" }, title), this.now, this.svg, axis));
  }

  #shape(tag, name) {
    const shape = document.createElementNS(SVG, tag);
    shape.setAttribute("class", name);
    this.svg.append(shape);
    return shape;
  }

  show(values, now) {
    const peak = values.reduce((most, value) => Math.max(most, value), 0);
    const top = Math.max(peak, 1) * 1.08;
    const x = (index) => (WIDTH - values.length + index + 1).toFixed(1);
    const y = (value) => (HEIGHT - (value / top) * HEIGHT).toFixed(1);
    const line = values.map((value, index) => `${index === 0 ? "M" : "L"}${x(index)} ${y(value)}`).join("");
    this.stroke.setAttribute("d", line);
    this.area.setAttribute("d", line === "" ? "" : `${line}L${WIDTH} ${HEIGHT}L${x(0)} ${HEIGHT}Z`);
    write(this.now, now);
    write(this.peak, `peak ${rate(peak)}`);
    this.svg.setAttribute("aria-label", `${this.title}: ${now} now, at most ${rate(peak)} ${this.unit} in the last five minutes`);
  }
}

const charts = {
  connections: new Chart("connections", "Connections", "open"),
  events: new Chart("events", "Events per second", "a second"),
  deliveries: new Chart("deliveries", "Deliveries per second", "a second"),
};

// Counts by reason.

class Counts {
  constructor(title, none) {
    this.total = make("span", { class: "total" });
    this.list = make("dl");
    this.none = make("p", { class: "quiet none" }, none);
    at("counts").append(make("div", { class: "card" }, make("h3", {}, title, this.total), this.list, this.none));
  }

  show(reasons) {
    const sorted = Object.entries(reasons).sort((one, other) => other[1] - one[1]);
    write(this.total, count(sorted.reduce((sum, [, n]) => sum + n, 0)));
    this.none.hidden = sorted.length > 0;
    this.list.replaceChildren(...sorted.flatMap(([reason, n]) => [make("dt", {}, reason.replaceAll("_", " ")), make("dd", {}, count(n))]));
  }
}

const counts = {
  evictions: new Counts("Evictions", "Nobody was too slow."),
  gaps: new Counts("Gaps", "Nobody missed anything."),
  rejected_connections: new Counts("Connections refused", "None."),
  rejected_publishes: new Counts("Publishes refused", "None."),
};

function showStats(stats, ready) {
  const { connections, streams, history } = stats;
  charts.connections.show(history.connections, count(connections.open));
  charts.events.show(history.events, rate(stats.per_second.events));
  charts.deliveries.show(history.deliveries, rate(stats.per_second.deliveries));
  for (const [name, card] of Object.entries(counts)) card.show(stats[name]);
  write(at("about"), `${stats.version} · up ${span(stats.uptime_seconds)} · ${count(streams)} streams · ${count(stats.totals.events)} events, ${count(stats.totals.deliveries)} deliveries, ${bytes(stats.totals.bytes)}`);
  const health = at("health");
  write(health, stats.draining ? "draining" : ready.ready ? "ready" : `not ready: ${ready.reasons.map(reasonText).join(", ")}`);
  health.className = `pill ${stats.draining ? "warn" : ready.ready ? "good" : "bad"}`;
  allow("publish", stats.rights.publish);
  allow("follow", stats.rights.follow);
}

/** A reason may be a word or an object that names a part. */
const reasonText = (reason) => (typeof reason === "string" ? reason : (reason.part ?? JSON.stringify(reason)));

function allow(what, allowed) {
  at(`${what}-refused`).hidden = allowed;
  at(`${what}-form`).querySelector("fieldset").disabled = !allowed;
}

// Tables, whose rows stay for as long as what they show does.

class Table {
  #body;
  #rows = new Map();
  #make;

  constructor(id, make) {
    this.#body = at(id);
    this.#make = make;
  }

  show(items, key) {
    // While somebody is in the table nothing moves away from under them.
    const isHeld = this.#body.contains(document.activeElement);
    const keys = new Set(items.map(key));
    for (const [known, row] of this.#rows) {
      if (keys.has(known)) continue;
      row.element.remove();
      this.#rows.delete(known);
    }
    let place = this.#body.firstElementChild;
    for (const item of items) {
      let row = this.#rows.get(key(item));
      if (row === undefined) {
        row = this.#make();
        this.#rows.set(key(item), row);
        this.#body.insertBefore(row.element, isHeld ? null : place);
      } else if (!isHeld && row.element !== place) {
        this.#body.insertBefore(row.element, place);
      } else if (!isHeld) {
        place = place.nextElementSibling;
      }
      row.show(item);
    }
  }
}

const cell = (label, kind = "") => make("td", { "data-label": label, class: kind });
const button = (text, kind, click) => make("button", { type: "button", class: `small ${kind}`, click }, text);

function topicRow() {
  let topic = "";
  const name = make("td", { class: "name" });
  const [followers, pace, kept] = [cell("Followers", "number"), cell("Events/s", "number"), cell("Kept", "number")];
  const look = button("Follow", "plain", () => {
    at("follow-topic").value = topic;
    at("follow-form").requestSubmit();
    at("follow-title").scrollIntoView({ block: "nearest" });
  });
  const who = button("Who", "plain", () => {
    at("subscribers-form").elements.topic.value = topic;
    refreshLists();
    at("subscribers-title").scrollIntoView({ block: "nearest" });
  });
  const element = make("tr", {}, name, followers, pace, kept, make("td", {}, make("span", { class: "actions" }, who, look)));
  return {
    element,
    show(item) {
      topic = item.topic;
      write(name, item.closed ? `${topic} (closed)` : topic);
      write(followers, count(item.followers));
      write(pace, rate(item.events_per_second));
      write(kept, `${count(item.frames)} · ${bytes(item.bytes)}`);
      look.setAttribute("aria-label", `Follow ${topic}`);
      who.setAttribute("aria-label", `Subscribers of ${topic}`);
    },
  };
}

/** What each state is called, and how it looks. */
const STATES = {
  caught_up: ["Caught up", "good"],
  waiting: ["Waiting", "good"],
  reading: ["Catching up", "warn"],
  reading_log: ["Reading the log", "warn"],
  blocked: ["Blocked", "bad"],
  ending: ["Ending", "warn"],
};

function subscriberRow() {
  let shown;
  const state = make("span", { class: "state" });
  const why = make("span", { class: "under" });
  const follows = make("td", { class: "name" });
  const [addr, agent] = [make("span", { class: "mono" }), make("span", { class: "under agent" })];
  const [events, size] = [make("span"), make("span", { class: "under" })];
  const [since, written] = [make("span"), make("span", { class: "under" })];
  const [way, policy] = [make("span"), make("span", { class: "under" })];
  const kick = button("Kick", "plain", () => confirmKick(shown));
  const behind = cell("Behind", "number");
  const connected = cell("Connected", "number");
  behind.append(events, size);
  connected.append(since, written);
  const element = make(
    "tr",
    {},
    make("td", { class: "why" }, state, why),
    follows,
    make("td", {}, addr, agent),
    behind,
    connected,
    make("td", { class: "way" }, way, policy),
    make("td", {}, kick),
  );
  return {
    element,
    show(item) {
      shown = item;
      const [word, kind] = STATES[item.state] ?? [item.state, "warn"];
      write(state, word);
      state.className = `state ${kind}`;
      write(why, item.why ?? "");
      write(follows, item.topics);
      write(addr, item.remote_addr);
      agent.title = item.user_agent;
      write(agent, [item.subject, item.user_agent].filter((text) => text !== undefined && text !== "").join(" · "));
      write(events, `${count(item.lag_events)} ${item.lag_events === 1 ? "event" : "events"}`);
      write(size, item.lag_bytes + item.pending_bytes > 0 ? `${bytes(item.lag_bytes)}, ${bytes(item.pending_bytes)} pending` : "");
      write(since, span(Date.now() / 1000 - item.connected_at));
      write(written, `last write ${span(item.last_write_ms / 1000)} ago`);
      write(way, `${item.protocol}${item.compressed ? ", gzip" : ""}`);
      write(policy, `${item.interface}, ${item.slow_policy}`);
      kick.setAttribute("aria-label", `End the stream of ${item.remote_addr}`);
    },
  };
}

const tables = { topics: new Table("topics", topicRow), subscribers: new Table("subscribers", subscriberRow) };

function queryOf(form) {
  const query = new URLSearchParams();
  for (const [name, value] of new FormData(form)) {
    if (value.trim() !== "") query.set(name, value.trim());
  }
  return query;
}

async function list(what, key) {
  const listing = await ask(`api/${what}?${queryOf(at(`${what}-form`))}`);
  const items = listing[what];
  tables[what].show(items, key);
  at(`${what}-empty`).hidden = items.length > 0;
  const shown = items.length < listing.found ? `, ${count(items.length)} shown` : "";
  const found = listing.found < listing.total ? `${count(listing.found)} of ${count(listing.total)}` : count(listing.total);
  write(at(`${what}-count`), found + shown);
}

// Ending a stream.

let kicking;

function confirmKick(subscriber) {
  kicking = subscriber;
  write(at("kick-whom"), `${subscriber.remote_addr} follows ${subscriber.topics}`);
  at("kick").returnValue = "cancel";
  at("kick").showModal();
}

at("kick").addEventListener("close", async () => {
  if (at("kick").returnValue !== "kick") return;
  await attempt(async () => {
    await request(`api/subscribers/${encodeURIComponent(kicking.id)}`, { method: "DELETE" });
    write(at("said"), `The stream of ${kicking.remote_addr} ended.`);
  }, (problem) => tell(`The stream could not be ended: ${problem}`));
  refreshLists();
});

// Publishing.

at("publish-form").addEventListener("submit", async (event) => {
  event.preventDefault();
  const { topic, type, data, private: isPrivate } = event.target.elements;
  const envelope = { topic: topic.value, data: data.value };
  if (type.value !== "") envelope.type = type.value;
  if (isPrivate.checked) envelope.private = true;
  const say = (text, kind) => {
    at("published").className = `outcome ${kind}`;
    write(at("published"), text);
  };
  await attempt(async () => {
    const body = JSON.stringify(envelope);
    const answer = await request("api/publish", { method: "POST", body, headers: { "Content-Type": "application/json" } });
    const { id } = await answer.json();
    say(`Published as ${id}`, "");
  }, (problem) => say(`Not published: ${problem}`, "bad"));
});

at("publish-data").addEventListener("keydown", (event) => {
  if (event.key === "Enter" && (event.ctrlKey || event.metaKey)) at("publish-form").requestSubmit();
});

// Following, by fetch: an EventSource cannot show a token.

let follower;

at("follow-form").addEventListener("submit", (event) => {
  event.preventDefault();
  const topic = at("follow-topic").value;
  const isStopped = follower !== undefined;
  follower?.abort();
  if (isStopped && topic === following) {
    following = undefined;
    return;
  }
  at("events").replaceChildren();
  follow(topic);
});

let following;

async function follow(topic) {
  const own = new AbortController();
  follower = own;
  following = topic;
  write(at("follow-button"), "Stop");
  const pane = new Pane();
  const kind = topic === "*" || topic.includes("{") ? "match" : "topic";
  let lastEventId;
  for (let failures = 0; !own.signal.aborted; ) {
    try {
      const query = new URLSearchParams({ [kind]: topic });
      if (lastEventId !== undefined) query.set("last_event_id", lastEventId);
      const answer = await request(`api/follow?${query}`, { signal: own.signal });
      write(at("following"), `Following ${topic}`);
      failures = 0;
      for await (const event of eventsOf(answer.body)) {
        if (event.id !== undefined) lastEventId = event.id;
        if (event.data !== undefined) pane.add(event);
      }
    } catch (error) {
      if (own.signal.aborted) break;
      if (error instanceof SignIn) return showSignIn();
      failures++;
      write(at("following"), `${error.message}; trying again`);
    }
    // The server ends each look after a while: then it goes on at once.
    if (failures > 0) await pause(Math.min(500 * 2 ** failures, 10_000), own.signal);
  }
  if (follower !== own) return;
  follower = undefined;
  write(at("following"), "");
  write(at("follow-button"), "Follow");
}

function pause(milliseconds, signal) {
  return new Promise((resolve) => {
    const timer = setTimeout(resolve, milliseconds);
    signal.addEventListener("abort", () => {
      clearTimeout(timer);
      resolve();
    });
  });
}

/** The events of a body (WHATWG HTML, 9.2.6); one that only sets the id has no data. */
async function* eventsOf(body) {
  let rest = "";
  let event = {};
  const reader = body.pipeThrough(new TextDecoderStream()).getReader();
  for (;;) {
    const { done, value } = await reader.read();
    if (done) return;
    const lines = (rest + value).split("\n");
    rest = lines.pop();
    for (const line of lines) {
      if (line === "") {
        yield event;
        event = {};
        continue;
      }
      const [, name, text] = /^([^:]*):? ?([^]*)$/.exec(line);
      if (name === "data") event.data = event.data === undefined ? text : `${event.data}\n${text}`;
      else if (name === "event") event.type = text;
      else if (name === "id") event.id = text;
    }
  }
}

/** What was followed, drawn once per frame however much comes. */
class Pane {
  #waiting = [];

  add({ type, id, data }) {
    if (type === "sse.reconnect") return;
    this.#waiting.push({ type, id, data, at: new Date() });
    if (this.#waiting.length === 1) requestAnimationFrame(() => this.#draw());
    // More than the pane shows need not be drawn.
    if (this.#waiting.length > EVENTS_MAX) this.#waiting.splice(1, this.#waiting.length - EVENTS_MAX);
  }

  #draw() {
    const pane = at("events");
    for (const event of this.#waiting.splice(0)) pane.prepend(entry(event));
    while (pane.childElementCount > EVENTS_MAX) pane.lastElementChild.remove();
  }
}

function entry({ type, id, data, at: time }) {
  const clock = time.toLocaleTimeString("en-GB");
  if (type?.startsWith("sse.") === true) {
    return make("li", { class: "gap" }, make("span", { class: "about" }, make("span", {}, clock), make("span", {}, type)), data);
  }
  let envelope = { topic: "", type, id, data };
  try {
    envelope = JSON.parse(data);
  } catch {
    // It is shown as it came.
  }
  const about = make("span", { class: "about" }, make("span", {}, clock), make("span", {}, envelope.topic));
  if (envelope.type !== "message") about.append(make("span", { class: "type" }, envelope.type));
  about.append(make("span", {}, envelope.id ?? ""));
  return make("li", {}, about, envelope.data);
}

// Keeping all of it fresh.

/** Does something; a refusal is told, a missing token asked for. */
async function attempt(act, refused) {
  try {
    await act();
  } catch (error) {
    if (error instanceof SignIn) showSignIn();
    else refused(error.message);
  }
}

function tell(text) {
  at("trouble").hidden = text === "";
  write(at("trouble"), text);
}

let isRunning = false;
let listsAt = 0;

async function refreshStats() {
  const [stats, ready] = await Promise.all([ask("api/stats?seconds=300"), readiness()]);
  showStats(stats, ready);
}

/** Not ready is an answer too. */
async function readiness() {
  const answer = await fetch("readyz", { cache: "no-store", signal: AbortSignal.timeout(15_000) });
  return answer.json();
}

async function refreshLists() {
  listsAt = Date.now();
  await attempt(
    () => Promise.all([list("topics", (item) => item.topic), list("subscribers", (item) => item.id)]),
    (problem) => tell(problem),
  );
}

/** One round after the other: a slow server is not asked twice. */
async function start() {
  if (isRunning) return;
  isRunning = true;
  let lost;
  for (;;) {
    try {
      if (!document.hidden) {
        await refreshStats();
        if (at("main").hidden) open();
        if (lost !== undefined) tell("");
        lost = undefined;
        if (Date.now() - listsAt >= LISTS_EVERY) await refreshLists();
      }
    } catch (error) {
      if (error instanceof SignIn) {
        isRunning = false;
        return showSignIn();
      }
      lost ??= new Date();
      at("health").className = "pill bad";
      write(at("health"), "no answer");
      tell(`The server has not answered since ${lost.toLocaleTimeString("en-GB")}. The figures are from before.`);
    }
    await pause(STATS_EVERY, new AbortController().signal);
  }
}

function open() {
  const hadForm = !at("sign-in").hidden;
  at("sign-in").hidden = true;
  at("main").hidden = false;
  at("sign-out").hidden = sessionStorage.getItem(TOKEN) === null;
  if (hadForm) at("main").focus();
}

for (const form of ["topics-form", "subscribers-form"]) {
  at(form).addEventListener("submit", (event) => event.preventDefault());
  let timer;
  at(form).addEventListener("input", () => {
    clearTimeout(timer);
    timer = setTimeout(refreshLists, 200);
  });
}

start();
