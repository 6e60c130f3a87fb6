//! Redis 6.2 and later, and what speaks like it: entries are those of a stream, with the ids `0-1`, `0-2`, ..

mod facts;
mod fault;
mod link;
mod locate;
mod reply;
mod script;
mod tail;

use std::sync::Arc;

use ::redis::{Cmd, Pipeline, Value, cmd};
use bytes::Bytes;

use self::fault::{foreign_id, is_foreign_id};
use self::link::Link;
use self::script::{Script, millis};
use self::tail::Follower;
use super::engine::{
    ANSWER_BYTES_MAX, Answer, Appended, Appending, Engine, EngineError, EngineSettings, Extent, Found, Opened,
    Outgoing, Range, Revision, Tail, each_in_time, in_time,
};
use super::slot::{Fate, Fault, Slot};
use crate::signals::Signals;

/// An engine that is a Redis: one process, a master with replicas that sentinels watch, or a cluster.
#[derive(Debug)]
pub(crate) struct Redis {
    store: Arc<Store>,
    /// What is appended, and small questions.
    writes: Slot<Link>,
    /// What has large answers, which would keep publishers waiting.
    reads: Slot<Link>,
}

/// What all connections know.
#[derive(Debug)]
struct Store {
    settings: EngineSettings,
    names: Names,
    /// Numbers are given by a script even where Redis could count: what Redis 6 needs is tested so.
    counts_by_script: bool,
}

/// Our keys. The braces have a cluster keep all of them in one place.
#[derive(Debug)]
struct Names {
    events: String,
    /// The last number, by when it was.
    marks: String,
    document: String,
    key: String,
}

impl Names {
    fn new(name: &str) -> Self {
        let named = |what| format!("{{{name}}}:{what}");
        Self { events: named("events"), marks: named("marks"), document: named("epochs"), key: named("key:") }
    }

    fn of_key(&self, key: [u8; 16]) -> String {
        format!("{}{:032x}", self.key, u128::from_be_bytes(key))
    }
}

impl Redis {
    pub(crate) fn new(settings: EngineSettings) -> Self {
        Self::counting(settings, false)
    }

    fn counting(settings: EngineSettings, counts_by_script: bool) -> Self {
        let names = Names::new(&settings.name);
        let store = Arc::new(Store { settings, names, counts_by_script });
        Self { store, writes: Slot::default(), reads: Slot::default() }
    }

    /// As with Redis 6, which cannot count.
    #[cfg(test)]
    pub(super) fn counting_by_script(settings: EngineSettings) -> Self {
        Self::counting(settings, true)
    }

    async fn connect(&self, slot: &Slot<Link>) -> Result<Arc<Link>, EngineError> {
        Ok(slot.put(Link::open(&self.store).await?))
    }

    /// The connection there is, or a new one.
    async fn link(&self, slot: &Slot<Link>) -> Result<Arc<Link>, EngineError> {
        match slot.kept() {
            Some(link) => Ok(link),
            None => self.connect(slot).await,
        }
    }

    /// Asks what may be asked twice: once more if the connection that was there turns out to be gone.
    async fn ask(&self, slot: &Slot<Link>, command: impl Fn(&Link) -> Cmd) -> Result<Value, EngineError> {
        if let Some(link) = slot.kept() {
            match slot.on(&link, link.ask(&command(&link))).await {
                Err(Fault { link: Fate::Gone, .. }) => (),
                answer => return Ok(answer?),
            }
        }
        let link = self.connect(slot).await?;
        Ok(slot.on(&link, link.ask(&command(&link))).await?)
    }

    /// Both connections are made anew: the process that they lead to may no longer be the master.
    async fn open_now(&self) -> Result<Opened, EngineError> {
        self.connect(&self.reads).await?;
        let link = self.connect(&self.writes).await?;
        let opened = facts::ask(&link).await?;
        self.extent_now().await?;
        Ok(opened)
    }

    async fn extent_now(&self) -> Result<Extent, EngineError> {
        let ask = async || {
            let command = |link: &Link| self.store.command(link, Script::Extent, &[&self.store.names.events]);
            reply::extent(self.ask(&self.writes, command).await?)
        };
        if let Some(extent) = ask().await? {
            return Ok(extent);
        }
        let link = self.link(&self.writes).await?;
        self.store.heal(&link).await?;
        ask().await?.ok_or_else(reply::strange)
    }

    async fn read_now(&self, range: Range) -> Result<Found, EngineError> {
        let command = |link: &Link| self.store.read_command(link, &range, ANSWER_BYTES_MAX);
        reply::found(self.ask(&self.reads, command).await?, &range)
    }

    async fn append_now(&self, entries: &[Outgoing]) -> Result<Vec<Result<Appended, EngineError>>, EngineError> {
        let link = self.link(&self.writes).await?;
        let mut batch = Pipeline::with_capacity(entries.len());
        let fits = |entry: &&Outgoing| entry.bytes.len() <= link.entry_bytes_max;
        for entry in entries.iter().filter(fits) {
            batch.add_command(self.store.append_command(&link, entry));
        }
        let answers = match batch.is_empty() {
            true => Vec::new(),
            false => self.writes.on(&link, link.ask_all(&batch)).await?,
        };
        let mut taken = answers.into_iter().map(|answer| self.store.appended(answer)).collect::<Vec<_>>().into_iter();
        if taken.as_slice().iter().any(|answer| matches!(answer, Err(Fault { link: Fate::Gone, .. }))) {
            self.writes.forget(&link);
        } else if taken.as_slice().iter().any(|answer| answer.as_ref().is_err_and(is_foreign_id)) {
            self.store.heal(&link).await?;
        }
        let answer = |entry: &Outgoing| match fits(&entry) {
            true => taken.next().unwrap_or_else(|| Err(reply::strange().into())).map_err(EngineError::from),
            false => Err(EngineError::TooLarge { bytes_max: link.entry_bytes_max }),
        };
        Ok(entries.iter().map(answer).collect())
    }

    async fn document_now(&self) -> Result<Option<(Bytes, Revision)>, EngineError> {
        let command = |_: &Link| cmd("GET").arg(&self.store.names.document).to_owned();
        match self.ask(&self.writes, command).await? {
            Value::Nil => Ok(None),
            // What it says is what tells it from others.
            Value::BulkString(bytes) => {
                let bytes = Bytes::from(bytes);
                Ok(Some((bytes.clone(), Revision(bytes))))
            }
            _ => Err(reply::strange()),
        }
    }

    async fn put_document_now(&self, document: Bytes, replaces: Option<Revision>) -> Result<bool, EngineError> {
        let link = self.link(&self.writes).await?;
        let mut command = self.store.command(&link, Script::PutDocument, &[&self.store.names.document]);
        command.arg(&document[..]);
        if let Some(Revision(replaced)) = &replaces {
            command.arg(&replaced[..]);
        }
        Ok(reply::number(&self.writes.on(&link, link.ask(&command)).await?)? == 1)
    }
}

impl Store {
    fn command(&self, link: &Link, script: Script, keys: &[&String]) -> Cmd {
        let mut command = link.script(script);
        command.arg(keys.len()).arg(keys);
        command
    }

    fn read_command(&self, link: &Link, range: &Range, bytes_max: usize) -> Cmd {
        let mut command = self.command(link, Script::Read, &[&self.names.events]);
        command.arg(range.after).arg(range.up_to).arg(range.entries_max).arg(bytes_max);
        command
    }

    fn append_command(&self, link: &Link, entry: &Outgoing) -> Cmd {
        let Self { settings, names, .. } = self;
        let counts = link.version.counts() && !self.counts_by_script;
        let id = if counts { "0-*" } else { "" };
        match &entry.key {
            None if counts => {
                let mut append = cmd("XADD");
                append.arg(&names.events).arg("MAXLEN").arg("~").arg(settings.retain_events);
                append.arg(id).arg(reply::FIELD).arg(&entry.bytes[..]);
                append
            }
            None => {
                let mut append = self.command(link, Script::Append, &[&names.events]);
                append.arg(&entry.bytes[..]).arg(settings.retain_events).arg(id);
                append
            }
            Some(key) => {
                let mut append = self.command(link, Script::Append, &[&names.events, &names.of_key(key.key)]);
                append.arg(&entry.bytes[..]).arg(settings.retain_events).arg(id);
                append.arg(&key.fingerprint[..]).arg(millis(settings.idempotency_window));
                append
            }
        }
    }

    fn appended(&self, answer: Value) -> Result<Appended, Fault> {
        if let Value::ServerError(error) = answer {
            return Err(error.into());
        }
        let text = reply::text(&answer)?;
        Ok(match text.strip_prefix("known ") {
            Some(known) => Appended::Known(known.parse().map_err(|_| reply::strange())?),
            None if text == "reused" => Appended::KeyReused,
            None => Appended::New(reply::id_number(&text).ok_or_else(foreign_id)?),
        })
    }

    /// Removes entries with ids that are not ours: with them in the stream, nothing can be appended.
    async fn heal(&self, link: &Link) -> Result<(), EngineError> {
        let command = self.command(link, Script::Heal, &[&self.names.events, &self.names.marks]);
        let dropped = reply::number(&link.ask(&command).await?)?;
        Signals::backplane_entries_dropped("foreign_id", dropped);
        tracing::warn!(dropped, "entries with ids of others were in the backplane's stream; they are dropped");
        Ok(())
    }
}

impl Engine for Redis {
    fn open(&self) -> Answer<'_, Opened> {
        Box::pin(in_time(self.open_now()))
    }

    fn extent(&self) -> Answer<'_, Extent> {
        Box::pin(in_time(self.extent_now()))
    }

    fn read(&self, range: Range) -> Answer<'_, Found> {
        Box::pin(in_time(self.read_now(range)))
    }

    fn tail(&self, after: u64) -> Answer<'_, Box<dyn Tail>> {
        Box::pin(in_time(async move {
            let tail = Follower::open(self.store.clone(), after).await?;
            Ok(Box::new(tail) as Box<dyn Tail>)
        }))
    }

    fn append(&self, entries: Vec<Outgoing>) -> Appending<'_> {
        Box::pin(async move { each_in_time(&entries, self.append_now(&entries)).await })
    }

    fn document(&self) -> Answer<'_, Option<(Bytes, Revision)>> {
        Box::pin(in_time(self.document_now()))
    }

    fn put_document(&self, document: Bytes, replaces: Option<Revision>) -> Answer<'_, bool> {
        Box::pin(in_time(self.put_document_now(document, replaces)))
    }
}
