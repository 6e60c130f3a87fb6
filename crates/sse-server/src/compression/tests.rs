//! A lane and its streams under random operations: what each was given decodes to exactly its text, at any time.

use std::sync::Arc;

use flate2::{Decompress, FlushDecompress, Status};
use proptest::prelude::*;

use super::deflate::{COMPRESSED_BYTES_MAX, HEAD};
use super::sum::Sum;
use super::*;
use crate::stream::Framing;

const PING: &str = ": ping\n\n";
const TOLD: &str = "event: sse.gap\ndata: {}\n\n";

#[derive(Debug, Clone)]
enum Operation {
    Join {
        from: prop::sample::Index,
    },
    Publish {
        text: String,
        frames: usize,
        is_private: bool,
    },
    Heartbeat,
    /// The stream takes part of the next block, and goes by itself from there.
    Lag {
        who: prop::sample::Index,
    },
    /// One that lags reads on once.
    Step {
        who: prop::sample::Index,
    },
    /// All that lag read on, so often.
    Settle {
        steps: usize,
    },
    /// It is told something that nobody else is.
    Tell {
        who: prop::sample::Index,
    },
    /// Those at the head leave, and go on by themselves.
    Interrupt,
    End {
        who: prop::sample::Index,
    },
    /// A passenger comes, who has had texts up to there.
    Board {
        from: prop::sample::Index,
    },
    /// A passenger comes for more, or is told something instead.
    Call {
        who: prop::sample::Index,
        is_told: bool,
    },
    /// All passengers come for more, until there is none for them.
    CallAll,
    Alight {
        who: prop::sample::Index,
    },
}

fn operations() -> impl Strategy<Value = Vec<Operation>> {
    let index = any::<prop::sample::Index>;
    let text = prop_oneof![
        40 => "data: (tick|price|size|[a-d]){1,12}\n\n",
        1 => "data: [a-z]{3000}\n\n",
        1 => Just(format!("data: {}\n\n", "x".repeat(COMPRESSED_BYTES_MAX))),
    ];
    let publish = (text, 1..30_usize, prop::bool::weighted(0.05));
    let publish = publish.prop_map(|(text, frames, is_private)| Operation::Publish { text, frames, is_private });
    let operation = prop_oneof![
        5 => index().prop_map(|from| Operation::Join { from }),
        20 => publish,
        5 => Just(Operation::Heartbeat),
        6 => index().prop_map(|who| Operation::Lag { who }),
        6 => index().prop_map(|who| Operation::Step { who }),
        6 => (1..4_usize).prop_map(|steps| Operation::Settle { steps }),
        2 => index().prop_map(|who| Operation::Tell { who }),
        2 => Just(Operation::Interrupt),
        1 => index().prop_map(|who| Operation::End { who }),
        3 => index().prop_map(|from| Operation::Board { from }),
        12 => (index(), prop::bool::weighted(0.1)).prop_map(|(who, is_told)| Operation::Call { who, is_told }),
        8 => Just(Operation::CallAll),
        1 => index().prop_map(|who| Operation::Alight { who }),
    ];
    prop::collection::vec(operation, 1..250)
}

struct World {
    framing: Framing,
    shared: Shared,
    compressors: Arc<Compressors>,
    alone: Alone,
    texts: Vec<(String, Secrecy)>,
    streams: Vec<Stream>,
    last: Option<Block>,
    passengers: Vec<Traveller>,
}

struct Traveller {
    passenger: Passenger,
    /// The texts it has had.
    at: usize,
    client: Client,
    expected: String,
}

struct Stream {
    rider: Rider,
    place: Place,
    client: Client,
    expected: String,
    /// Bytes that were compared.
    checked: usize,
}

#[derive(Debug, Clone, Copy, PartialEq)]
enum Place {
    Head,
    /// At the head, and about to leave it with the next block.
    Leaving,
    /// By itself, having had so many texts.
    Behind(usize),
}

/// What a client makes of the bytes. It remembers as far back as any has to.
struct Client {
    inflate: Decompress,
    text: Vec<u8>,
    tail: Vec<u8>,
    has_ended: bool,
}

impl World {
    fn new(framing: Framing, compressors_max: usize) -> Self {
        let compressors = Compressors::of(compressors_max);
        let (texts, streams, shared, alone) = (Vec::new(), Vec::new(), Shared::new(framing), Alone::default());
        Self { framing, shared, compressors, alone, texts, streams, last: None, passengers: Vec::new() }
    }

    fn run(&mut self, operation: Operation) {
        match operation {
            Operation::Join { from } => {
                let (rider, bytes) = Rider::begin(b"retry: 1\n\n");
                let client = Client::new(&bytes[HEAD.len()..]);
                let place = Place::Behind(from.index(self.texts.len() + 1));
                self.streams.push(Stream { rider, place, client, expected: "retry: 1\n\n".to_owned(), checked: 0 });
            }
            Operation::Publish { text, frames, is_private } => {
                let secrecy = if is_private { Secrecy::Private } else { Secrecy::Public };
                self.texts.push((text.clone(), secrecy));
                self.send(&text, secrecy, frames);
            }
            Operation::Heartbeat => self.send(PING, Secrecy::Public, 0),
            Operation::Lag { who } => {
                if let Some(stream) = self.pick(who).filter(|stream| stream.place == Place::Head) {
                    stream.place = Place::Leaving;
                }
            }
            Operation::Step { .. } if self.streams.is_empty() => (),
            Operation::Step { who } => self.step(who.index(self.streams.len())),
            Operation::Settle { steps } => {
                for _ in 0..steps {
                    (0..self.streams.len()).for_each(|index| self.step(index));
                }
            }
            Operation::Tell { who } => self.tell(who),
            Operation::Interrupt => {
                let (head, at) = (self.shared.head(), self.texts.len());
                for stream in self.streams.iter_mut().filter(|stream| !matches!(stream.place, Place::Behind(_))) {
                    stream.rider.leave(head);
                    stream.place = Place::Behind(at);
                }
                self.shared.interrupt();
            }
            Operation::End { who } => self.end(who),
            Operation::Board { from } => {
                let (passenger, bytes) = Passenger::begin(b"retry: 1\n\n");
                let client = Client::new(&bytes[HEAD.len()..]);
                let at = from.index(self.texts.len() + 1);
                self.passengers.push(Traveller { passenger, at, client, expected: "retry: 1\n\n".to_owned() });
            }
            Operation::Call { .. } | Operation::Alight { .. } if self.passengers.is_empty() => (),
            Operation::Call { who, is_told: false } => {
                self.call(who.index(self.passengers.len()));
            }
            Operation::Call { who, is_told: true } => {
                let index = who.index(self.passengers.len());
                let traveller = &mut self.passengers[index];
                let bytes = traveller.passenger.own(TOLD.as_bytes(), Secrecy::Public, self.framing, &mut self.alone);
                traveller.client.read(&bytes, self.framing);
                traveller.expected.push_str(TOLD);
                traveller.check();
            }
            Operation::CallAll => {
                for index in 0..self.passengers.len() {
                    while self.call(index) {}
                    assert_eq!(self.passengers[index].at, self.texts.len(), "it has everything");
                }
            }
            Operation::Alight { who } => self.alight(who),
        }
        self.streams.iter_mut().for_each(Stream::check);
    }

    /// A block of the lane.
    fn send(&mut self, text: &str, secrecy: Secrecy, frames: usize) {
        let cursor = self.texts.len() as u64;
        let from = cursor - u64::from(frames > 0);
        let text = Text { bytes: text.to_owned().into(), secrecy, frames, from, cursor };
        if let Some(last) = &self.last {
            self.shared.sent(last);
        }
        let streams = self.streams.len() + self.passengers.len();
        let mut block = self.shared.block(text, streams, &self.compressors);
        for stream in self.streams.iter_mut().filter(|stream| !matches!(stream.place, Place::Behind(_))) {
            let bytes = stream.rider.take(&mut block, &mut self.alone);
            stream.client.read(&bytes, self.framing);
            if frames > 0 {
                stream.expected.push_str(&self.texts[self.texts.len() - 1].0);
            }
            if stream.place == Place::Leaving {
                stream.rider.leave(block.end());
                stream.place = Place::Behind(self.texts.len());
            }
        }
        self.last = Some(block);
    }

    /// A passenger comes for more; false if there is none.
    fn call(&mut self, index: usize) -> bool {
        let Self { framing, shared, alone, texts, last, passengers, .. } = self;
        let traveller = &mut passengers[index];
        match traveller.passenger.next(shared, last.as_mut(), alone) {
            Stop::Last => return false,
            Stop::Ride(ride) => {
                let before = traveller.client.text.len();
                traveller.client.read(&ride.bytes, *framing);
                assert_eq!(ride.text_bytes(), (traveller.client.text.len() - before) as u64);
                let to = ride.cursor as usize;
                texts[traveller.at..to].iter().for_each(|(text, _)| traveller.expected.push_str(text));
                traveller.at = to;
            }
            Stop::Off => {
                let head = texts.len() as u64;
                let (to, standing) = Passenger::boarding(shared, last.as_ref(), head, traveller.at as u64);
                if to == traveller.at as u64 {
                    traveller.passenger.board(standing);
                } else {
                    let (text, secrecy) = &texts[traveller.at];
                    let bytes = traveller.passenger.own(text.as_bytes(), *secrecy, *framing, alone);
                    traveller.client.read(&bytes, *framing);
                    traveller.expected.push_str(text);
                    traveller.at += 1;
                }
            }
        }
        traveller.check();
        true
    }

    fn alight(&mut self, who: prop::sample::Index) {
        if self.passengers.is_empty() {
            return;
        }
        let mut traveller = self.passengers.swap_remove(who.index(self.passengers.len()));
        traveller.client.read(&traveller.passenger.end(self.framing), self.framing);
        traveller.client.check_end();
    }

    fn step(&mut self, index: usize) {
        let Self { framing, shared, alone, texts, streams, .. } = self;
        let stream = &mut streams[index];
        let Place::Behind(at) = stream.place else { return };
        if let Some(ride) = stream.rider.ride(shared) {
            stream.client.read(&ride.bytes, *framing);
            let to = ride.cursor as usize;
            texts[at..to].iter().for_each(|(text, _)| stream.expected.push_str(text));
            stream.place = Place::Behind(to);
        } else if let Some((text, secrecy)) = texts.get(at) {
            let bytes = stream.rider.own(text.as_bytes(), *secrecy, *framing, alone);
            stream.client.read(&bytes, *framing);
            stream.expected.push_str(text);
            stream.place = Place::Behind(at + 1);
        } else {
            stream.rider.arrive(shared.head());
            stream.place = Place::Head;
        }
    }

    fn tell(&mut self, who: prop::sample::Index) {
        let (framing, head, at) = (self.framing, self.shared.head(), self.texts.len());
        let Some(stream) = self.pick(who) else { return };
        if !matches!(stream.place, Place::Behind(_)) {
            stream.rider.leave(head);
            stream.place = Place::Behind(at);
        }
        stream.expected.push_str(TOLD);
        let bytes = stream.rider.own(TOLD.as_bytes(), Secrecy::Public, framing, &mut Alone::default());
        stream.client.read(&bytes, framing);
    }

    fn end(&mut self, who: prop::sample::Index) {
        if self.streams.is_empty() {
            return;
        }
        let mut stream = self.streams.swap_remove(who.index(self.streams.len()));
        if !matches!(stream.place, Place::Behind(_)) {
            stream.rider.leave(self.shared.head());
        }
        stream.client.read(&stream.rider.end(self.framing), self.framing);
        stream.check();
        stream.client.check_end();
    }

    fn pick(&mut self, who: prop::sample::Index) -> Option<&mut Stream> {
        let count = self.streams.len();
        if count == 0 { None } else { self.streams.get_mut(who.index(count)) }
    }
}

impl Stream {
    fn check(&mut self) {
        if self.client.text.len() + self.expected.len() == self.checked {
            return;
        }
        self.checked = self.client.text.len() + self.expected.len();
        let text = std::str::from_utf8(&self.client.text).unwrap().replace(PING, "");
        assert_eq!(text.len(), self.expected.len(), "all that was given decodes at once");
        assert!(text == self.expected, "{text:?} instead of {:?}", self.expected);
    }
}

impl Traveller {
    fn check(&self) {
        let text = std::str::from_utf8(&self.client.text).unwrap().replace(PING, "");
        assert!(text == self.expected, "{text:?} instead of {:?}", self.expected);
    }
}

impl Client {
    fn check_end(&self) {
        assert!(self.has_ended);
        assert_eq!(self.tail, Sum::of(&self.text).bytes(), "CRC and length");
    }

    fn new(first: &[u8]) -> Self {
        let (text, tail) = (Vec::new(), Vec::new());
        let mut client = Self { inflate: Decompress::new(false), text, tail, has_ended: false };
        client.inflate(first);
        client
    }

    fn read(&mut self, bytes: &[u8], framing: Framing) {
        let mut rest = bytes;
        while framing == Framing::Chunked && !rest.is_empty() {
            let httparse::Status::Complete((head, len)) = httparse::parse_chunk_size(rest).unwrap() else { panic!() };
            assert!(len > 0, "an empty chunk would be the last");
            let (chunk, behind) = rest[head..].split_at(len as usize);
            self.inflate(chunk);
            rest = behind.strip_prefix(b"\r\n").unwrap();
        }
        self.inflate(rest);
    }

    fn inflate(&mut self, mut bytes: &[u8]) {
        while !bytes.is_empty() && !self.has_ended {
            self.text.reserve(4096);
            let before = self.inflate.total_in();
            let status = self.inflate.decompress_vec(bytes, &mut self.text, FlushDecompress::Sync).unwrap();
            bytes = &bytes[(self.inflate.total_in() - before) as usize..];
            self.has_ended = status == Status::StreamEnd;
        }
        // What did not fit.
        while !self.has_ended && self.text.len() == self.text.capacity() {
            self.text.reserve(4096);
            let _ = self.inflate.decompress_vec(&[], &mut self.text, FlushDecompress::Sync).unwrap();
        }
        self.tail.extend_from_slice(bytes);
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, ..ProptestConfig::default() })]

    #[test]
    fn each_stream_decodes_to_its_text(
        operations in operations(),
        joined_first in 0..20_usize,
        framing in prop::sample::select(vec![Framing::Chunked, Framing::UntilClose]),
        compressors_max in 0..2_usize,
        who: prop::sample::Index,
    ) {
        let mut world = World::new(framing, compressors_max);
        for _ in 0..joined_first {
            world.run(Operation::Join { from: who });
        }
        world.run(Operation::Settle { steps: 1 });
        operations.into_iter().for_each(|operation| world.run(operation));
        while !world.streams.is_empty() {
            world.run(Operation::End { who });
        }
        while !world.passengers.is_empty() {
            world.run(Operation::Alight { who });
        }
    }
}

/// 220 B of JSON, as prices come.
fn tick(number: usize) -> String {
    let symbol = ["ACME", "GLOB", "INIT", "UMBR", "SOYL"][number * 7 % 5];
    let price = 100.0 + (number * 37 % 100) as f64 / 20.0;
    format!(
        "id: 5f3a9c21b7-{number:016x}\ndata: {{\"type\":\"tick\",\"symbol\":\"{symbol}\",\"price\":{price:.2},\"bid\":{:.2},\
         \"ask\":{:.2},\"size\":{},\"volume\":{},\"exchange\":\"XNAS\",\"currency\":\"USD\",\
         \"timestamp\":\"2026-11-23T11:{:02}:{:02}.{:03}Z\",\"conditions\":[\"regular\",\"live\"]}}\n\n",
        price - 0.01,
        price + 0.02,
        number * 13 % 20 * 100,
        1_000_000 + number * 300,
        number / 600 % 60,
        number / 10 % 60,
        number * 100 % 1000,
    )
}

#[test]
fn who_rides_gets_a_fifth_of_the_bytes() {
    let (compressors, mut alone) = (Compressors::of(1), Alone::default());
    let mut shared = Shared::new(Framing::Chunked);
    let mut riders: Vec<Rider> = (0..8).map(|_| Rider::begin(b":\n").0).collect();
    riders.iter_mut().for_each(|rider| rider.arrive(shared.head()));
    let (mut sent, mut text_bytes) = (0, 0);
    for number in 0..640 {
        let bytes = bytes::Bytes::from(tick(number));
        text_bytes += bytes.len() + 6;
        let text = Text { bytes, secrecy: Secrecy::Public, frames: 1, from: 0, cursor: number as u64 };
        let mut block = shared.block(text, riders.len(), &compressors);
        let taken: Vec<_> = riders.iter_mut().map(|rider| rider.take(&mut block, &mut alone)).collect();
        assert!(taken.iter().all(|bytes| bytes.as_ptr() == taken[0].as_ptr()), "the same bytes for all");
        sent += taken[0].len();
        shared.sent(&block);
    }
    let ratio = text_bytes as f64 / sent as f64;
    assert!(ratio > 4.5, "{ratio}");
}

#[test]
fn a_stream_has_a_few_numbers() {
    assert!(size_of::<Rider>() <= 40, "{}", size_of::<Rider>());
}

#[test]
fn a_newcomer_rides_before_long() {
    let (compressors, mut alone) = (Compressors::of(1), Alone::default());
    let mut shared = Shared::new(Framing::Chunked);
    let mut riders: Vec<Rider> = (0..1000).map(|_| Rider::begin(b":\n").0).collect();
    riders.iter_mut().for_each(|rider| rider.arrive(shared.head()));
    let mut alone_blocks = 0;
    for number in 0..200 {
        if number == 10 {
            riders.push(Rider::begin(b":\n").0);
            riders[1000].arrive(shared.head());
        }
        let text =
            Text { bytes: tick(number).into(), secrecy: Secrecy::Public, frames: 1, from: 0, cursor: number as u64 };
        let mut block = shared.block(text, riders.len(), &compressors);
        for rider in &mut riders {
            rider.take(&mut block, &mut alone);
        }
        assert!(block.takers.alone <= 1);
        alone_blocks += block.takers.alone;
        shared.sent(&block);
    }
    assert_eq!(alone_blocks, 54, "from the 10th event to the 64th");
}

#[test]
fn a_private_text_is_not_compressed_and_nothing_refers_to_it() {
    const TEXT: &str = "data: the same secret, the same secret, the same secret\n\n";
    let (compressors, mut alone) = (Compressors::of(1), Alone::default());
    let mut shared = Shared::new(Framing::UntilClose);
    let mut riders: Vec<Rider> = (0..8).map(|_| Rider::begin(b":\n").0).collect();
    riders.iter_mut().for_each(|rider| rider.arrive(shared.head()));
    let lens: Vec<usize> = [Secrecy::Public, Secrecy::Private, Secrecy::Private, Secrecy::Public]
        .into_iter()
        .map(|secrecy| {
            let bytes = bytes::Bytes::from(TEXT.repeat(40));
            let text = Text { bytes, secrecy, frames: 1, from: 0, cursor: 1 };
            let mut block = shared.block(text, riders.len(), &compressors);
            let lens: Vec<usize> = riders.iter_mut().map(|rider| rider.take(&mut block, &mut alone).len()).collect();
            assert!(lens.iter().all(|len| *len == lens[0]));
            shared.sent(&block);
            lens[0]
        })
        .collect();
    assert_eq!(lens[1..3], [TEXT.len() * 40 + 5; 2]);
    assert_eq!(lens[0], lens[3], "nothing refers to what was private, nor to what was before");
}
