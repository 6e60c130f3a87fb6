//! What it costs to see whether a selector is of a topic, and to read one: when a topic first appears, and when somebody joins.

use std::hint::black_box;

use criterion::Criterion;
use sse_hub::{Cursor, Selector};

const TOPIC: &str = "https://example.com/orders/4711/lines/3";
const SELECTORS: [(&str, &str); 4] = [
    ("everything", "*"),
    ("one topic", TOPIC),
    ("a template", "https://example.com/orders/{id}/lines/{line}"),
    ("a template of another", "https://example.com/books/{id}"),
];

pub(crate) fn bench(c: &mut Criterion) {
    let mut group = c.benchmark_group("selector match");
    for (name, text) in SELECTORS {
        let selector = Selector::parse(text).expect("it is short and printable");
        group.bench_function(name, |b| b.iter(|| selector.matches(black_box(TOPIC))));
    }
    group.finish();
    let mut group = c.benchmark_group("read");
    for (name, text) in SELECTORS {
        group.bench_function(format!("a selector: {name}"), |b| b.iter(|| Selector::parse(black_box(text))));
    }
    let id = "1abcdefg-0000000000004711";
    group.bench_function("an id", |b| b.iter(|| Cursor::parse(black_box(id))));
}
