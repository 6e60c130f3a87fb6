//! What streams were told, held against what publishers were told.

use std::collections::{HashMap, HashSet};

use super::publishing::{Attempt, Outcome};
use super::streams::{Client, Told};

/// How many examples are kept of what should not be.
const EXAMPLES: usize = 5;

/// How streams differ from what they should be.
#[derive(Debug, Default)]
pub struct Verdict {
    /// Acknowledged, on a topic of the stream, and neither there nor in the place of a gap.
    pub lost: u64,
    /// Acknowledged, not there, and in the place of a gap that was told.
    pub told_of: u64,
    /// There more than once, in one stream.
    pub repeated: u64,
    /// With an id that does not rise, or of an epoch that was over.
    pub reordered: u64,
    /// Of another topic, of nobody, or with another id than its publisher was told or another stream has.
    pub foreign: u64,
    /// Gaps told, in all streams.
    pub gaps: u64,
    /// Events in all streams.
    pub events: u64,
    /// Events acknowledged.
    pub acked: u64,
    /// Events that no publisher was told of, and that came.
    pub unasked: u64,
    pub examples: Vec<String>,
}

/// What publishers know: the topic of each event, and its id if they were told.
type Known<'a> = HashMap<(usize, u32), (usize, Option<&'a str>)>;

/// An event that its topic's streams are to have: where it is from, and its id.
type Due<'a> = ((usize, u32), &'a str);

pub fn judge(attempts: &[Attempt], clients: &[Client]) -> Verdict {
    let mut verdict = Verdict::default();
    let mut known = Known::new();
    let mut due: HashMap<usize, Vec<Due<'_>>> = HashMap::new();
    for attempt in attempts {
        let origin = (attempt.publisher, attempt.number);
        let id = if let Outcome::Acked(id) = &attempt.outcome { Some(id.as_str()) } else { None };
        known.insert(origin, (attempt.topic, id));
        if let Some(id) = id {
            verdict.acked += 1;
            due.entry(attempt.topic).or_default().push((origin, id));
        }
    }
    // One id is one event, whoever has it.
    let mut named = HashMap::new();
    for (number, client) in clients.iter().enumerate() {
        verdict.look_through(number, client, &known, &mut named);
        let had: HashSet<(usize, u32)> = client.told.iter().filter_map(Told::origin).collect();
        let all = client.topics.iter().filter_map(|topic| due.get(topic)).flatten();
        for (origin, id) in all.filter(|(origin, _)| !had.contains(origin)) {
            if is_in_a_gap(client, id) {
                verdict.told_of += 1;
            } else {
                verdict.lost += 1;
                verdict.example(|| format!("stream {number} lacks {origin:?}, {id}: {}", client.around(id)));
            }
        }
    }
    verdict
}

impl Verdict {
    fn look_through<'a>(
        &mut self,
        number: usize,
        client: &'a Client,
        known: &Known<'_>,
        named: &mut HashMap<&'a str, (usize, u32)>,
    ) {
        let mut had = HashSet::new();
        let mut over: HashSet<&str> = HashSet::new();
        let (mut epoch, mut newest) = place(&client.began);
        for told in &client.told {
            if let Told::Strange(data) = told {
                self.foreign += 1;
                self.example(|| format!("stream {number} has {data:?}"));
                continue;
            }
            let (now, sequence) = place(told.id());
            if now != epoch {
                over.insert(epoch);
            }
            let rises = if now == epoch { sequence > newest } else { !over.contains(now) };
            // A gap may stand right behind what was read last.
            if !rises && !matches!(told, Told::Gap { .. }) {
                self.reordered += 1;
                self.example(|| format!("stream {number} has {told:?} behind {epoch}-{newest}"));
            }
            (epoch, newest) = (now, sequence);
            match told {
                Told::Gap { .. } => self.gaps += 1,
                Told::Event { id, origin } => {
                    self.events += 1;
                    if !had.insert(*origin) {
                        self.repeated += 1;
                        self.example(|| format!("stream {number} has {origin:?} again, {id}"));
                    }
                    let is_right = match known.get(origin) {
                        Some((topic, Some(told))) => client.topics.contains(topic) && told == id,
                        Some((topic, None)) => {
                            self.unasked += 1;
                            client.topics.contains(topic)
                        }
                        None => false,
                    };
                    if !is_right || *named.entry(id).or_insert(*origin) != *origin {
                        self.foreign += 1;
                        self.example(|| format!("stream {number}: {told:?}, known as {:?}", known.get(origin)));
                    }
                }
                Told::End { .. } | Told::Strange(_) => (),
            }
        }
    }

    fn example(&mut self, text: impl FnOnce() -> String) {
        if self.examples.len() < EXAMPLES {
            self.examples.push(text());
        }
    }
}

impl Told {
    fn id(&self) -> &str {
        match self {
            Self::Event { id, .. } | Self::End { id } | Self::Gap { id, .. } => id,
            Self::Strange(_) => "",
        }
    }

    fn origin(&self) -> Option<(usize, u32)> {
        if let Self::Event { origin, .. } = self { Some(*origin) } else { None }
    }

    fn is_gap(&self) -> bool {
        matches!(self, Self::Gap { .. })
    }
}

impl Client {
    /// What stands beside the place of an event that is missing, for whoever looks for the fault.
    fn around(&self, id: &str) -> String {
        let (before, behind) = bounds(self, id);
        let shown = |told: &Told| match told {
            Told::Gap { id, data } => format!("gap {id} {data}"),
            told => told.id().to_owned(),
        };
        let from = before.map_or(0, |before| before.saturating_sub(1));
        let to = (behind + 2).min(self.told.len());
        let beside: Vec<String> = self.told[from.min(to)..to].iter().map(shown).collect();
        format!("began {}, {} moves, around it {}", self.began, self.moves, beside.join(", "))
    }
}

/// Whether a gap stands where this event should.
fn is_in_a_gap(client: &Client, id: &str) -> bool {
    let (before, behind) = bounds(client, id);
    let first = before.map_or(0, |before| before + 1);
    client.told[first..behind].iter().any(Told::is_gap)
}

/// The last that the stream was told before the place of `id`, and the first behind it; gaps count for nothing.
fn bounds(client: &Client, id: &str) -> (Option<usize>, usize) {
    let (epoch, sequence) = place(id);
    let places: Vec<(usize, &str, u64)> = client
        .told
        .iter()
        .enumerate()
        .filter(|(_, told)| !told.is_gap() && !told.id().is_empty())
        .map(|(index, told)| (index, place(told.id()).0, place(told.id()).1))
        .collect();
    let before = places.iter().rposition(|(_, of, number)| *of == epoch && *number < sequence);
    let behind = match before {
        Some(before) => before + 1,
        // None of its epoch stands before it: its place is where the epoch begins, or anywhere if nothing is of it.
        None => match places.iter().position(|(_, of, _)| *of == epoch) {
            Some(first) => first,
            None if place(&client.began).0 == epoch => 0,
            None => return (None, client.told.len()),
        },
    };
    let before = behind.checked_sub(1).map(|index| places[index].0);
    (before, places.get(behind).map_or(client.told.len(), |(index, ..)| *index))
}

/// An id's epoch and sequence.
fn place(id: &str) -> (&str, u64) {
    let (epoch, sequence) = id.rsplit_once('-').unwrap_or((id, ""));
    (epoch, sequence.parse().unwrap_or(0))
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, Instant};

    use super::*;

    fn attempts(ids: &[(u32, Option<&str>)]) -> Vec<Attempt> {
        let attempt = |(number, id): &(u32, Option<&str>)| Attempt {
            publisher: 0,
            number: *number,
            topic: 0,
            began: Instant::now(),
            took: Duration::ZERO,
            outcome: id.map_or(Outcome::Unanswered, |id| Outcome::Acked(id.to_owned())),
        };
        ids.iter().map(attempt).collect()
    }

    fn event(id: &str, number: u32) -> Told {
        Told::Event { id: id.to_owned(), origin: (0, number) }
    }

    fn gap(id: &str) -> Told {
        Told::Gap { id: id.to_owned(), data: String::new() }
    }

    fn judged(told: Vec<Told>) -> Verdict {
        let known = attempts(&[(0, Some("a-2")), (1, Some("a-3")), (2, Some("a-4")), (3, None), (4, Some("b-9"))]);
        judge(&known, &[Client::of(vec![0], "a-1", told)])
    }

    #[test]
    fn a_whole_stream_is_right() {
        let verdict = judged(vec![event("a-2", 0), event("a-3", 1), event("a-4", 2), event("b-9", 4)]);
        let bad = verdict.lost + verdict.repeated + verdict.reordered + verdict.foreign + verdict.told_of;
        assert_eq!((bad, verdict.events, verdict.acked), (0, 4, 4), "{verdict:?}");
    }

    #[test]
    fn what_is_missing_has_to_be_told_of_in_its_place() {
        let [first, third, last] = [event("a-2", 0), event("a-4", 2), event("b-9", 4)];
        assert_eq!(judged(vec![first.clone(), third.clone(), last.clone()]).lost, 1);
        let here = judged(vec![first.clone(), gap("a-3"), third.clone(), last.clone()]);
        assert_eq!((here.lost, here.told_of, here.gaps, here.reordered), (0, 1, 1, 0));
        assert_eq!(judged(vec![first.clone(), third.clone(), gap("b-8"), last.clone()]).lost, 1, "elsewhere");
        let epoch = judged(vec![first.clone(), gap("b-8"), last.clone()]);
        assert_eq!((epoch.lost, epoch.told_of), (0, 2), "the rest of an epoch");
        assert_eq!(judged(vec![gap("a-1"), last]).told_of, 3, "from the beginning on");
        assert_eq!(judged(vec![first, event("a-3", 1), third]).lost, 1, "the end of the stream");
        assert_eq!(judged(vec![]).lost, 4);
    }

    #[test]
    fn what_comes_wrong_is_found() {
        let whole = || vec![event("a-2", 0), event("a-3", 1), event("a-4", 2), event("b-9", 4)];
        let mut again = whole();
        again.push(event("b-10", 4));
        assert_eq!((judged(again.clone()).repeated, judged(again).foreign), (1, 1));
        let mut turned = whole();
        turned.swap(0, 1);
        assert_eq!(judged(turned).reordered, 1);
        let mut back = whole();
        back.push(event("a-5", 3));
        assert_eq!((judged(back.clone()).reordered, judged(back).unasked), (1, 1), "an epoch that was over");
        let mut strange = whole();
        strange.push(event("b-10", 7));
        strange.push(Told::Strange("x".to_owned()));
        assert_eq!(judged(strange).foreign, 2);
    }

    #[test]
    fn an_id_is_one_event_for_all() {
        let known = attempts(&[(0, None), (1, None)]);
        let clients = [0, 1].map(|number| Client::of(vec![0], "a-1", vec![event("a-2", number)]));
        assert_eq!(judge(&known, &clients).foreign, 1);
    }
}
