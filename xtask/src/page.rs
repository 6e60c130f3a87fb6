//! The frame of a page that stands alone: no other file, no script, light or dark as the reader has it.

use crate::chart::escape;

const STYLE: &str = "
:root { color-scheme: light dark; --back: #fff; --text: #1c2330; --soft: #5c6675; --grid: #e1e5eb; --card: #f5f7fa;
  --line: #2457c5; --bar: #aab4c3; --good: #14713d; --bad: #b3261e; }
@media (prefers-color-scheme: dark) { :root { --back: #12161d; --text: #e6eaf0; --soft: #9aa5b5; --grid: #2b3340;
  --card: #1b212b; --line: #7ea6ff; --bar: #566275; --good: #62c98d; --bad: #ff8a80; } }
* { box-sizing: border-box; }
body { margin: 0 auto; max-width: 1040px; padding: 16px; background: var(--back); color: var(--text);
  font: 15px/1.5 system-ui, sans-serif; overflow-wrap: anywhere; }
h1 { font-size: 1.5rem; line-height: 1.25; margin: .4em 0; } h2 { font-size: 1.15rem; margin: 1.6em 0 .4em; }
p.verdict { border-left: 4px solid var(--good); background: var(--card); padding: 10px 14px; margin: 0 0 1em; }
p.verdict.bad { border-color: var(--bad); }
.cards, .charts { display: grid; gap: 12px; grid-template-columns: repeat(auto-fit, minmax(150px, 1fr)); }
.charts { grid-template-columns: repeat(auto-fit, minmax(min(100%, 420px), 1fr)); margin: 12px 0; }
.cards div, figure { background: var(--card); border-radius: 6px; padding: 10px 12px; margin: 0; }
.cards b { display: block; font-size: 1.35rem; line-height: 1.3; } .cards span, small { color: var(--soft); font-size: .85rem; }
figcaption { font-weight: 600; margin-bottom: 4px; } figcaption small { font-weight: 400; }
svg { display: block; width: 100%; height: auto; } svg text { fill: var(--soft); font: 10px system-ui, sans-serif; }
svg .grid { stroke: var(--grid); } svg .line { fill: none; stroke: var(--line); stroke-width: 2; stroke-linejoin: round; }
svg .bar { fill: var(--bar); } svg .ours { fill: var(--line); }
.scroll { overflow-x: auto; } table { border-collapse: collapse; width: 100%; }
th, td { text-align: left; padding: 4px 10px 4px 0; border-bottom: 1px solid var(--grid); vertical-align: top; }
td:first-child, th:first-child { min-width: 7.5em; overflow-wrap: normal; }
td.n, th.n { text-align: right; font-variant-numeric: tabular-nums; white-space: nowrap; } h2.bad { color: var(--bad); }
code, pre { font: 13px ui-monospace, monospace; background: var(--card); } pre { padding: 10px; white-space: pre-wrap; }
";

/// A whole page around `body`.
pub fn page(title: &str, body: &str) -> String {
    format!(
        "<!doctype html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n<title>{}</title>\n\
         <style>{STYLE}</style>\n</head>\n<body>\n{body}\n</body>\n</html>\n",
        escape(title)
    )
}

/// Large figures, each with what it is.
pub fn cards(cards: &[(String, &str)]) -> String {
    let card =
        |(figure, what): &(String, &str)| format!("<div><b>{}</b><span>{}</span></div>", escape(figure), escape(what));
    format!("<div class=\"cards\">{}</div>", cards.iter().map(card).collect::<String>())
}

/// A table; every column but the first has numbers.
pub fn table(head: &[&str], rows: &[Vec<String>]) -> String {
    let cells = |tag: &str, cells: &mut dyn Iterator<Item = &str>| -> String {
        let cell = |(at, text): (usize, &str)| {
            let class = if at > 0 { " class=\"n\"" } else { "" };
            format!("<{tag}{class}>{}</{tag}>", escape(text))
        };
        cells.enumerate().map(cell).collect()
    };
    let head = cells("th", &mut head.iter().copied());
    let row = |row: &Vec<String>| format!("<tr>{}</tr>", cells("td", &mut row.iter().map(String::as_str)));
    let rows: String = rows.iter().map(row).collect();
    format!("<div class=\"scroll\"><table><tr>{head}</tr>{rows}</table></div>")
}

/// Charts beside each other, as far as there is room; those that are empty leave none.
pub fn charts(charts: &[String]) -> String {
    format!("<div class=\"charts\">{}</div>", charts.concat())
}

/// The machine of a report, in a sentence.
pub fn machine(machine: &serde_json::Value) -> String {
    let text = |name: &str| machine[name].as_str().unwrap_or("unknown").to_owned();
    let memory = machine["memory_bytes"].as_f64().unwrap_or(0.0) / f64::from(1 << 30);
    let (processor, kernel, cores) = (text("processor"), text("kernel"), machine["cores"].as_u64().unwrap_or(0));
    escape(&format!(
        "{cores} cores of {processor}, {memory:.0} GiB of memory, Linux {kernel}. Clients, publishers and servers ran on \
         the same machine, so ratios say more than absolute times."
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_page_needs_nothing_else_and_shows_text_as_it_is() {
        let page = page("a & b", &table(&["x", "y"], &[vec!["<script>".to_owned(), "1".to_owned()]]));
        assert!(page.contains("<title>a &amp; b</title>") && page.contains("&lt;script&gt;"), "{page}");
        for outside in ["http", "src=", "href=", "@import", "url(", "<script"] {
            assert!(!page.contains(outside), "{outside}");
        }
    }
}
