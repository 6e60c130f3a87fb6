// Events whose shape has broken clients or servers before.

const MIB = 1 << 20;

export const shapes = [
  { what: "plain data", data: "hello" },
  { what: "a named event", type: "score", data: "3:1" },
  { what: "a name with spaces and letters beyond ASCII", type: " état  du match 🙂", data: "x" },
  { what: "a name with a colon", type: "a: b", data: "x" },
  { what: "the default name, given", type: "message", data: "x" },
  { what: "empty data", data: "" },
  { what: "empty data of a named event", type: "score", data: "" },
  { what: "one space", data: " " },
  { what: "a leading space", data: " x" },
  { what: "two leading spaces and a trailing one", data: "  x " },
  { what: "a leading tab", data: "\tx" },
  { what: "a leading colon", data: ":x" },
  { what: "a colon alone", data: ":" },
  { what: "LF between lines", data: "a\nb\nc" },
  { what: "CR between lines", data: "a\rb\rc" },
  { what: "CRLF between lines", data: "a\r\nb\r\nc" },
  { what: "every line break mixed", data: "a\r\n\rb\n\r\nc\r\r\nd\n\n\re" },
  { what: "a line break alone", data: "\n" },
  { what: "a CR alone", data: "\r" },
  { what: "a leading line break", data: "\nx" },
  { what: "a trailing line break", data: "x\n" },
  { what: "a trailing CRLF", data: "x\r\n" },
  { what: "text that poses as fields", data: "x\n\nid: 7\nevent: fake\ndata: fake\n\nretry: 1\n\n" },
  { what: "text that poses as a comment", data: ": ping\n\n" },
  { what: "text that poses as a chunk's end", data: "\r\n0\r\n\r\nHTTP/1.1 400 Bad Request\r\n\r\n" },
  { what: "a leading byte order mark", data: "\uFEFFx" },
  { what: "a byte order mark within", data: "x\uFEFFy\n\uFEFFz" },
  { what: "emoji, joined and flagged", data: "👩‍👩‍👧‍👦🏳️‍🌈🇫🇷" },
  { what: "line separators that are none here", data: "a\u2028b\u2029c\u0085d\u000Be\u000Cf" },
  { what: "NUL and other controls", data: "a\0b\u0001c\u007Fd\u001Be" },
  { what: "the ends of Unicode", data: "\uD7FF\uE000\uFFFD\uFFFE\uFFFF\u{10FFFF}" },
  { what: "JSON over several lines", type: "json", data: JSON.stringify({ a: [1, "\n", null], é: "\\" }, null, 2) },
  { what: "100,000 empty lines", data: "\n".repeat(100_000) },
  { what: "1 MiB of one letter", data: "x".repeat(MIB) },
  { what: "1 MiB of emoji", data: "🙂".repeat(MIB / 4) },
  { what: "plain data again", data: "bye" },
];

/** The names that must be listened to. */
export const types = [...new Set(shapes.map((shape) => shape.type ?? "message"))];

/** The data as the standard has a client see it: every line break is an LF. */
export function asSeen(data) {
  return data.replaceAll("\r\n", "\n").replaceAll("\r", "\n");
}
