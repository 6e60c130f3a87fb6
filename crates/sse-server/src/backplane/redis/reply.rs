//! What Redis answers, read.

use ::redis::Value;
use bytes::Bytes;

use super::super::address::Node;
use super::super::engine::{EngineError, Entry, Extent, Found, Range};
use super::super::slot::Fault;

/// The only field of our entries.
pub(super) const FIELD: &str = "e";

pub(super) fn strange() -> EngineError {
    EngineError::Unavailable("an answer is not what was asked for".to_owned())
}

pub(super) fn text(value: &Value) -> Result<String, EngineError> {
    match value {
        Value::BulkString(bytes) => String::from_utf8(bytes.clone()).map_err(|_| strange()),
        Value::SimpleString(text) => Ok(text.clone()),
        Value::VerbatimString { text, .. } => Ok(text.clone()),
        Value::ServerError(error) => Err(Fault::from(error.clone()).into()),
        _ => Err(strange()),
    }
}

pub(super) fn number(value: &Value) -> Result<u64, EngineError> {
    match value {
        Value::Int(number) => u64::try_from(*number).map_err(|_| strange()),
        value => text(value)?.parse().map_err(|_| strange()),
    }
}

fn list(value: Value) -> Result<Vec<Value>, EngineError> {
    match value {
        Value::Array(values) => Ok(values),
        Value::Nil => Ok(Vec::new()),
        _ => Err(strange()),
    }
}

/// Of an id of ours.
pub(super) fn id_number(id: &str) -> Option<u64> {
    id.strip_prefix("0-")?.parse().ok().filter(|number| *number < 1 << 53)
}

/// `None` if the last id is none of ours.
pub(super) fn extent(value: Value) -> Result<Option<Extent>, EngineError> {
    let ids = list(value)?;
    let [first, last] = &ids[..] else { return Err(strange()) };
    let (first, last) = (text(first)?, text(last)?);
    let Some(last) = id_number(&last) else { return Ok(None) };
    Ok(match first.is_empty() {
        true => Some(Extent { first: last + 1, last }),
        false => id_number(&first).map(|first| Extent { first, last }),
    })
}

/// What the script `Read` answers.
pub(super) fn found(value: Value, range: &Range) -> Result<Found, EngineError> {
    let mut parts = list(value)?.into_iter();
    let complete = number(&parts.next().ok_or_else(strange)?)? == 1;
    let mut entries = Vec::with_capacity(parts.len() / 2);
    while let (Some(id), Some(value)) = (parts.next(), parts.next()) {
        let Value::BulkString(bytes) = value else { return Err(strange()) };
        let number = id_number(&text(&id)?).ok_or_else(strange)?;
        entries.push(Entry { number, bytes: Bytes::from(bytes) });
    }
    let last = entries.last().map_or(range.after, |entry| entry.number);
    Ok(Found { entries, covered_to: if complete { range.up_to.max(range.after) } else { last } })
}

/// What `XREAD` answers for one stream. `None` in the place of an entry whose id is none of ours.
pub(super) fn news(value: Value) -> Result<Vec<Option<Entry>>, EngineError> {
    let Some(stream) = list(value)?.pop() else { return Ok(Vec::new()) };
    let entries = list(stream)?.pop().ok_or_else(strange)?;
    list(entries)?.into_iter().map(entry).collect()
}

fn entry(value: Value) -> Result<Option<Entry>, EngineError> {
    let mut parts = list(value)?.into_iter();
    let (Some(id), Some(fields)) = (parts.next(), parts.next()) else { return Err(strange()) };
    let bytes = match <[Value; 2]>::try_from(list(fields)?) {
        Ok([Value::BulkString(name), Value::BulkString(bytes)]) if name == FIELD.as_bytes() => Bytes::from(bytes),
        _ => Bytes::new(),
    };
    Ok(id_number(&text(&id)?).map(|number| Entry { number, bytes }))
}

/// What `CONFIG GET` answers about one setting.
pub(super) fn setting(value: &Value) -> Option<String> {
    match value {
        Value::Array(pair) => text(pair.get(1)?).ok(),
        Value::Map(pairs) => text(&pairs.first()?.1).ok(),
        _ => None,
    }
}

pub(super) fn role(value: &Value) -> Option<String> {
    match value {
        Value::Array(parts) => text(parts.first()?).ok(),
        _ => None,
    }
}

pub(super) fn node(value: &Value) -> Option<Node> {
    match value {
        Value::Array(parts) => {
            let port = number(parts.get(1)?).ok()?;
            Some(Node { host: text(parts.first()?).ok()?, port: u16::try_from(port).ok()? })
        }
        _ => None,
    }
}

/// The names in what `SENTINEL MASTERS` answers.
pub(super) fn master_names(value: &Value) -> Vec<String> {
    let Value::Array(masters) = value else { return Vec::new() };
    let name = |master: &Value| {
        let Value::Array(fields) = master else { return None };
        let mut pairs = fields.chunks_exact(2);
        pairs.find_map(|pair| (text(&pair[0]).ok()? == "name").then(|| text(&pair[1]).ok()).flatten())
    };
    masters.iter().filter_map(name).collect()
}

/// Who has the slot, of what `CLUSTER SLOTS` answers. A node that does not know its own name leaves it out.
pub(super) fn owner(value: &Value, slot: u64, asked: &Node) -> Option<Node> {
    let Value::Array(ranges) = value else { return None };
    let master = ranges.iter().find_map(|range| {
        let Value::Array(parts) = range else { return None };
        let within = number(parts.first()?).ok()? <= slot && slot <= number(parts.get(1)?).ok()?;
        if within { parts.get(2) } else { None }
    })?;
    let Value::Array(parts) = master else { return None };
    let host = parts.first().and_then(|host| text(host).ok()).filter(|host| !host.is_empty() && host != "?");
    let port = u16::try_from(number(parts.get(1)?).ok()?).ok()?;
    Some(Node { host: host.unwrap_or_else(|| asked.host.clone()), port })
}
