use std::time::Duration;

use sse_wire::Event;

use super::*;

fn bounds(frames_max: usize) -> RingBounds {
    RingBounds { frames_max, bytes_max: 1 << 20, age_max: Duration::from_secs(300) }
}

fn entry(sequence: u64, id: Option<&str>) -> Entry {
    let event = Event::new(format!("event {sequence}"));
    let given_id = id.map(|id| EventId::parse(id).unwrap());
    let meta =
        given_id.map(|id| Meta { topics: Box::default(), private: false, given_id: Some(id), shared_charge: None });
    Entry::new(sequence, event.encode(), EntryKind::Event, meta.map(Arc::new))
}

fn ring(sequences: &[u64], bounds: &RingBounds, budget: &Budget) -> Ring {
    let mut ring = Ring::new(Floor::default());
    for &sequence in sequences {
        let entry = entry(sequence, None);
        assert!(budget.charge(Entry::cost(entry.frame.chunk().len(), 1, None)));
        ring.push(entry, 0, bounds, budget);
    }
    ring
}

fn sequences(ring: &Ring, cursor: u64) -> Vec<u64> {
    ring.after(cursor).map(|entry| entry.sequence).collect()
}

#[test]
fn reads_what_lies_after_a_cursor() {
    let ring = ring(&[3, 5, 9], &bounds(10), &Budget::new(1 << 20));
    for (cursor, expected) in [
        (0, vec![3, 5, 9]),
        (2, vec![3, 5, 9]),
        (3, vec![5, 9]),
        (4, vec![5, 9]),
        (5, vec![9]),
        (8, vec![9]),
        (9, vec![]),
        (99, vec![]),
    ] {
        assert_eq!(sequences(&ring, cursor), expected, "after {cursor}");
        assert_eq!(ring.lag(cursor).frames, expected.len());
    }
    assert_eq!(ring.lag(0).bytes, ring.bytes as u64);
    assert_eq!(ring.lag(5).bytes, ring.first_after(5).unwrap().frame.chunk().len() as u64);
}

#[test]
fn drops_the_oldest_and_keeps_a_floor() {
    let budget = Budget::new(1 << 20);
    let mut ring = ring(&[1, 2, 3, 4], &bounds(2), &budget);
    assert_eq!(sequences(&ring, 0), [3, 4]);
    assert_eq!(ring.floor(), Floor { sequence: 2, exact: true });
    while ring.drop_oldest(&budget) {}
    assert_eq!((ring.floor().sequence, ring.newest(), budget.used()), (4, 4, 0));
}

#[test]
fn bytes_bound_the_ring_but_for_the_newest_frame() {
    let tight = RingBounds { bytes_max: 50, ..bounds(100) };
    let ring = ring(&[1, 2, 3, 4, 5], &tight, &Budget::new(1 << 20));
    assert_eq!(ring.frames(), 2);
    let none = RingBounds { bytes_max: 1, ..bounds(100) };
    let ring = self::ring(&[1, 2], &none, &Budget::new(1 << 20));
    assert_eq!(sequences(&ring, 0), [2]);
}

#[test]
fn age_bounds_the_ring() {
    let budget = Budget::new(1 << 20);
    let mut ring = ring(&[1, 2], &bounds(10), &budget);
    ring.drop_older_than(300, &bounds(10), &budget);
    assert_eq!(ring.frames(), 2);
    ring.drop_older_than(301, &bounds(10), &budget);
    assert!(ring.is_empty());
    assert_eq!(ring.floor().sequence, 2);
}

fn sequence_of(ring: &Ring, id: &EventId) -> Option<u64> {
    ring.sequence_of(id, &mut Sight::new(&crate::Grants::None, &TopicName::parse("a").unwrap()))
}

#[test]
fn a_publishers_id_names_its_earliest_use_while_any_is_kept() {
    let budget = Budget::new(1 << 20);
    let mut ring = Ring::new(Floor::default());
    let id = EventId::parse("a").unwrap();
    for (sequence, given) in [(1, Some("a")), (2, None), (3, Some("a")), (4, None)] {
        ring.push(entry(sequence, given), 0, &bounds(2), &budget);
        assert_eq!(sequence_of(&ring, &id), Some(1), "at {sequence}");
    }
    ring.push(entry(5, None), 0, &bounds(2), &budget);
    assert_eq!(sequence_of(&ring, &id), None, "the events it named are gone");
    ring.push(entry(6, Some("a")), 0, &bounds(2), &budget);
    assert_eq!(sequence_of(&ring, &id), Some(6));
}

#[test]
fn a_floor_it_began_with_is_no_loss_of_its_own() {
    let budget = Budget::new(1 << 20);
    let mut ring = Ring::new(Floor { sequence: 7, exact: false });
    assert_eq!((ring.floor().sequence, ring.dropped_up_to(), ring.newest()), (7, 0, 7));
    for sequence in [8, 9] {
        ring.push(entry(sequence, None), 0, &bounds(1), &budget);
    }
    assert_eq!((ring.floor(), ring.dropped_up_to()), (Floor { sequence: 8, exact: true }, 8));
}

#[test]
fn an_entry_costs_its_chunk_its_places_and_its_ids() {
    let id = EventId::parse("abcd").unwrap();
    assert_eq!(Entry::cost(100, 1, None), 100 + ENTRY_OVERHEAD);
    assert_eq!(Entry::cost(100, 3, Some(&id)), 100 + 3 * ENTRY_OVERHEAD + 4 * 4);
}

#[test]
fn entries_remember_when_they_came() {
    let (bounds, budget) = (bounds(10), Budget::new(1 << 20));
    let mut ring = ring(&[1], &bounds, &budget);
    ring.push(entry(2, None), 7, &bounds, &budget);
    assert_eq!(ring.after(0).map(Entry::tick).collect::<Vec<_>>(), [0, 7]);
}

#[test]
fn what_fills_the_bytes_exactly_is_kept() {
    let budget = Budget::new(1 << 20);
    let len = entry(1, None).frame.chunk().len();
    let exact = RingBounds { bytes_max: 2 * len, ..bounds(10) };
    assert_eq!(sequences(&ring(&[1, 2], &exact, &budget), 0), [1, 2]);
    let short = RingBounds { bytes_max: 2 * len - 1, ..bounds(10) };
    assert_eq!(sequences(&ring(&[1, 2], &short, &budget), 0), [2]);
}

#[test]
fn lags_add_up_and_a_loss_stays_one() {
    let lag = |frames, lost| Lag { frames, bytes: frames as u64 * 10, lost };
    let sum = |mut first: Lag, second| {
        first += second;
        first
    };
    assert_eq!(sum(lag(1, false), lag(2, true)), lag(3, true));
    assert_eq!(sum(lag(1, true), lag(2, false)), lag(3, true));
    assert_eq!(sum(lag(1, false), lag(2, false)), lag(3, false));
}

#[test]
fn a_lag_says_that_frames_are_lost() {
    let budget = Budget::new(1 << 20);
    let mut ring = ring(&[1, 2, 3, 4], &bounds(2), &budget);
    assert!(ring.lag(1).lost && !ring.lag(2).lost && !ring.lag(4).lost);
    while ring.drop_oldest(&budget) {}
    assert!(ring.lag(1).lost && !ring.lag(4).lost);
}

#[test]
fn an_empty_ring_gives_its_memory_back() {
    let budget = Budget::new(1 << 20);
    let mut ring = ring(&[1, 2], &bounds(2), &budget);
    ring.shrink();
    assert!(ring.entries.capacity() > 0, "not while it keeps something");
    while ring.drop_oldest(&budget) {}
    ring.shrink();
    assert_eq!(ring.entries.capacity(), 0);
}

#[test]
fn the_rate_is_that_of_the_last_ten_seconds() {
    let rate = |frames_max: usize, ticks: &[u32]| {
        let (bounds, budget) = (bounds(frames_max), Budget::new(1 << 20));
        let mut ring = Ring::new(Floor::default());
        for (index, &tick) in ticks.iter().enumerate() {
            let entry = entry(index as u64 + 1, None);
            assert!(budget.charge(Entry::cost(entry.frame.chunk().len(), 1, None)));
            ring.push(entry, tick, &bounds, &budget);
        }
        (ring.frames_per_second(20) * 1000.0).round()
    };
    assert_eq!(rate(10, &[10, 11, 20]), 200.0);
    assert_eq!(rate(2, &[18, 19, 20]), 1000.0, "what was dropped may have been within them");
}

#[test]
fn the_first_use_of_an_id_is_known() {
    let (bounds, budget) = (bounds(10), Budget::new(1 << 20));
    let mut ring = ring(&[1], &bounds, &budget);
    ring.push(entry(5, Some("x")), 0, &bounds, &budget);
    ring.push(entry(6, Some("x")), 0, &bounds, &budget);
    let first_use = |id: &str| ring.first_use(&EventId::parse(id).unwrap());
    assert_eq!((first_use("x"), first_use("y")), (Some(5), None));
}
