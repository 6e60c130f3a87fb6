//! What encoding and parsing cost.

use std::hint::black_box;
use std::time::Duration;

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use sse_wire::{Event, EventType, FrameDraft, Parser};

/// As long as the hub's own ids.
const ID_LEN: usize = 25;
const EVENT_BYTES_MAX: usize = 1 << 20;
/// What the parser is fed in all: enough events that starting costs nothing.
const STREAM_BYTES: usize = 256 << 10;

fn encode(c: &mut Criterion) {
    let mut group = c.benchmark_group("encode");
    for (name, data) in [("200 B", line(200)), ("4 KiB", line(4096)), ("4 KiB in lines of 64", lines(4096, 64))] {
        group.throughput(Throughput::Bytes(data.len() as u64));
        let event = Event::new(data);
        group.bench_function(name, |b| b.iter(|| frame(black_box(&event))));
    }
}

fn parse(c: &mut Criterion) {
    let mut group = c.benchmark_group("parse");
    for (name, data) in [("200 B", line(200)), ("4 KiB", line(4096)), ("4 KiB in lines of 64", lines(4096, 64))] {
        let stream = stream_of(&data);
        group.throughput(Throughput::Bytes(stream.len() as u64));
        // What a large read brings, and what one packet does.
        for piece in [64 << 10, 1460] {
            group.bench_with_input(BenchmarkId::new(name, format!("by {piece}")), &stream, |b, stream| {
                b.iter(|| events_in(black_box(stream), piece));
            });
        }
    }
}

fn line(bytes: usize) -> String {
    "0123456789abcdef".chars().cycle().take(bytes).collect()
}

fn lines(bytes: usize, line_bytes: usize) -> String {
    let text = |at| if at % line_bytes == line_bytes - 1 { '\n' } else { 'x' };
    (0..bytes).map(text).collect()
}

/// As the hub encodes it: room for the id, which is filled in last.
fn frame(event: &Event) -> sse_wire::Frame {
    FrameDraft::new(event, ID_LEN).finish(|room| room.fill(b'7'))
}

fn stream_of(data: &str) -> Vec<u8> {
    let event_type = EventType::parse("score").expect("one word is one line");
    let frame = frame(&Event::new(data).with_type(event_type));
    frame.text_bytes().repeat(STREAM_BYTES / frame.text_len())
}

fn events_in(stream: &[u8], piece: usize) -> usize {
    let mut parser = Parser::new(EVENT_BYTES_MAX);
    let mut count = 0;
    for bytes in stream.chunks(piece) {
        let fed = parser.feed(bytes, |parsed| {
            black_box(&parsed);
            count += 1;
        });
        fed.expect("every event is small enough");
    }
    count
}

criterion_group! {
    name = benches;
    config = Criterion::default().warm_up_time(Duration::from_millis(500)).measurement_time(Duration::from_secs(2));
    targets = encode, parse
}
criterion_main!(benches);
