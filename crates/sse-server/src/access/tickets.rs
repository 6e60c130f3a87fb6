//! Tickets: what a browser puts into an address in place of a token.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use std::time::{Duration, Instant};

use base64::Engine;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use parking_lot::Mutex;
use sse_hub::TopicName;

use super::Token;

/// Tickets at a time; with the longest life that is a hundred a second.
const TICKETS_MAX: usize = 65_536;
/// Bytes of topics' names in all tickets.
const TOPIC_BYTES_MAX: usize = 32 << 20;
/// Random bytes of a ticket.
const TICKET_BYTES: usize = 24;

/// What a ticket stands for.
#[derive(Debug, Clone)]
pub(crate) struct Ticket {
    pub(crate) token: Arc<Token>,
    /// What may be followed with it.
    pub(crate) topics: Arc<[TopicName]>,
    pub(crate) ends_at: Instant,
}

/// The tickets that were given out and neither used nor over.
#[derive(Debug)]
pub(crate) struct Tickets {
    life: Duration,
    kept: Mutex<Kept>,
}

#[derive(Debug, Default)]
struct Kept {
    tickets: HashMap<Box<str>, Ticket, ahash::RandomState>,
    /// In the order of their ends, as all live equally long; some have been used since.
    order: VecDeque<(Instant, Box<str>)>,
    topic_bytes: usize,
}

/// Why there is no ticket.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum TicketError {
    /// There are as many as there may be.
    #[error("there are too many tickets that nobody has used yet")]
    Full,
    /// The system gives no random bytes.
    #[error("no random bytes can be had")]
    Random,
}

impl Tickets {
    pub(crate) fn new(life: Duration) -> Self {
        Self { life, kept: Mutex::default() }
    }

    /// How long a ticket lives.
    pub(crate) fn life(&self) -> Duration {
        self.life
    }

    /// A new ticket for these topics.
    ///
    /// # Errors
    /// A [`TicketError`].
    pub(crate) fn issue(
        &self,
        token: Arc<Token>,
        topics: Arc<[TopicName]>,
        now: Instant,
    ) -> Result<Box<str>, TicketError> {
        let mut random = [0; TICKET_BYTES];
        getrandom::fill(&mut random).map_err(|_| TicketError::Random)?;
        let name: Box<str> = BASE64_URL_SAFE_NO_PAD.encode(random).into();
        let ticket = Ticket { token, topics, ends_at: now + self.life };
        let mut kept = self.kept.lock();
        kept.forget_those_over(now);
        if kept.order.len() >= TICKETS_MAX || kept.topic_bytes + ticket.topic_bytes() > TOPIC_BYTES_MAX {
            return Err(TicketError::Full);
        }
        kept.topic_bytes += ticket.topic_bytes();
        kept.order.push_back((ticket.ends_at, name.clone()));
        kept.tickets.insert(name.clone(), ticket);
        Ok(name)
    }

    /// Those that are neither used nor over, in the order of their ends: for a process that goes on in the place of this one.
    pub(crate) fn all(&self, now: Instant) -> Vec<(Box<str>, Ticket)> {
        let kept = self.kept.lock();
        let whole = |(_, name): &(Instant, Box<str>)| Some((name.clone(), kept.tickets.get(name)?.clone()));
        kept.order.iter().filter_map(whole).filter(|(_, ticket)| ticket.ends_at > now).collect()
    }

    /// Goes on with a ticket that another process has given, in the order of their ends.
    pub(crate) fn take_over(&self, name: Box<str>, ticket: Ticket) {
        let mut kept = self.kept.lock();
        kept.topic_bytes += ticket.topic_bytes();
        kept.order.push_back((ticket.ends_at, name.clone()));
        kept.tickets.insert(name, ticket);
    }

    /// What the ticket stands for, and takes it.
    pub(crate) fn redeem(&self, name: &str, now: Instant) -> Option<Ticket> {
        let mut kept = self.kept.lock();
        let ticket = kept.tickets.remove(name)?;
        kept.topic_bytes -= ticket.topic_bytes();
        (ticket.ends_at > now).then_some(ticket)
    }

    /// What the ticket stands for, without taking it.
    pub(crate) fn look_at(&self, name: &str, now: Instant) -> Option<Ticket> {
        self.kept.lock().tickets.get(name).filter(|ticket| ticket.ends_at > now).cloned()
    }
}

impl Ticket {
    fn topic_bytes(&self) -> usize {
        self.topics.iter().map(|topic| topic.as_str().len()).sum()
    }
}

impl Kept {
    fn forget_those_over(&mut self, now: Instant) {
        while let Some((_, name)) = self.order.pop_front_if(|(ends_at, _)| *ends_at <= now) {
            if let Some(ticket) = self.tickets.remove(&name) {
                self.topic_bytes -= ticket.topic_bytes();
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIFE: Duration = Duration::from_secs(30);

    fn topics(names: &[&str]) -> Arc<[TopicName]> {
        names.iter().map(|name| TopicName::parse(name).unwrap()).collect()
    }

    #[test]
    fn a_ticket_is_used_once_and_in_time() {
        let tickets = Tickets::new(LIFE);
        let start = Instant::now();
        let issue = || tickets.issue(Arc::new(Token::default()), topics(&["a"]), start).unwrap();
        let (first, second) = (issue(), issue());
        assert_ne!(first, second);
        assert!(tickets.look_at(&first, start).is_some());
        assert_eq!(tickets.redeem(&first, start).map(|ticket| ticket.topics), Some(topics(&["a"])));
        assert!(tickets.redeem(&first, start).is_none() && tickets.look_at(&first, start).is_none());
        let soon = start + LIFE - Duration::from_millis(1);
        assert!(tickets.look_at(&second, soon).is_some(), "until its life is over");
        assert!(tickets.look_at(&second, start + LIFE).is_none() && tickets.redeem(&second, start + LIFE).is_none());
        assert_eq!(tickets.kept.lock().topic_bytes, 0);
    }

    #[test]
    fn tickets_are_bounded_and_forgotten() {
        let tickets = Tickets::new(LIFE);
        let token = Arc::new(Token::default());
        let start = Instant::now();
        let issue = |now| tickets.issue(token.clone(), topics(&["a"]), now);
        for _ in 0..TICKETS_MAX {
            issue(start).unwrap();
        }
        assert_eq!(issue(start), Err(TicketError::Full));
        assert!(issue(start + LIFE).is_ok());
        let kept = || {
            let kept = tickets.kept.lock();
            (kept.tickets.len(), kept.topic_bytes)
        };
        assert_eq!(kept(), (1, 1));
        let long = "x".repeat(1024);
        let many = topics(&vec![&*long; TOPIC_BYTES_MAX / 1024]);
        assert_eq!(tickets.issue(token.clone(), many, start + LIFE), Err(TicketError::Full));
    }

    #[test]
    fn another_process_goes_on_with_those_that_count() {
        let (before, after) = (Tickets::new(LIFE), Tickets::new(LIFE));
        let start = Instant::now();
        let issue = |name, now| before.issue(Arc::new(Token::default()), topics(&[name]), now).unwrap();
        let names = [issue("over", start), issue("used", start + LIFE / 2), issue("three", start + LIFE / 2)];
        let now = start + LIFE;
        before.redeem(&names[1], now).unwrap();
        let all = before.all(now);
        assert_eq!(all.iter().map(|(name, _)| name.clone()).collect::<Vec<_>>(), [names[2].clone()]);
        all.into_iter().for_each(|(name, ticket)| after.take_over(name, ticket));
        assert_eq!(after.kept.lock().topic_bytes, "three".len());
        assert_eq!(after.redeem(&names[2], now).map(|ticket| ticket.topics), Some(topics(&["three"])));
        assert!(after.redeem(&names[0], now).is_none() && after.redeem(&names[1], now).is_none());
        assert_eq!((after.kept.lock().topic_bytes, after.life()), (0, LIFE));
    }

    #[test]
    fn a_ticket_taken_over_is_forgotten_in_its_time() {
        let tickets = Tickets::new(LIFE);
        let start = Instant::now();
        let ticket = Ticket { token: Arc::default(), topics: topics(&["a", "bc"]), ends_at: start + LIFE };
        tickets.take_over("x".into(), ticket);
        tickets.issue(Arc::default(), topics(&["d"]), start + LIFE).unwrap();
        let kept = tickets.kept.lock();
        assert_eq!((kept.tickets.len(), kept.order.len(), kept.topic_bytes), (1, 1, 1));
    }

    #[test]
    fn the_bytes_of_topics_may_come_up_to_the_bound() {
        let tickets = Tickets::new(LIFE);
        let start = Instant::now();
        let issue = |count: usize, len: usize| {
            let name = "x".repeat(len);
            tickets.issue(Arc::default(), topics(&vec![&*name; count]), start)
        };
        issue(TOPIC_BYTES_MAX / 1024 - 1, 1024).unwrap();
        assert_eq!(issue(1025, 1), Err(TicketError::Full), "one byte too many");
        issue(1024, 1).unwrap();
        assert_eq!(issue(1, 1), Err(TicketError::Full));
        assert_eq!(tickets.kept.lock().topic_bytes, 32 << 20);
    }
}
