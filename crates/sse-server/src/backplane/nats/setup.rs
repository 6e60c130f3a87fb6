//! The streams: made if there are none, and kept as our settings are.

use async_nats::jetstream::context::{CreateStreamErrorKind, GetStreamErrorKind};
use async_nats::jetstream::stream::{Config, StorageType};
use async_nats::jetstream::{Error, ErrorCode};

use super::super::engine::Opened;
use super::super::slot::Fault;
use super::link::Link;
use super::{Store, entry_bytes_max, not_now};

/// The first version that can do what we ask of it.
const VERSION_MIN: (u64, u64) = (2, 9);

pub(super) async fn open(store: &Store, link: &Link) -> Result<Opened, Fault> {
    let server = link.client().server_info();
    let version = format!("NATS {}", server.version);
    if parsed(&server.version).is_some_and(|version| version < VERSION_MIN) {
        return Err(Fault::refused(format!("{version} is older than {}.{}", VERSION_MIN.0, VERSION_MIN.1)));
    }
    if !server.jetstream {
        return Err(Fault::refused("JetStream is off: nats-server keeps streams when it is started with -js"));
    }
    let events = ensure(link, events(store)).await?;
    ensure(link, documents(store)).await?;
    let payload_max = match usize::try_from(events.max_message_size) {
        Ok(bytes @ 1..) => server.max_payload.min(bytes),
        _ => server.max_payload,
    };
    let warnings = warnings(&events, server.cluster.is_some());
    Ok(Opened { version, entry_bytes_max: entry_bytes_max(payload_max), warnings })
}

fn parsed(version: &str) -> Option<(u64, u64)> {
    let mut parts = version.split('.').map(|part| part.parse().ok());
    Some((parts.next()??, parts.next()??))
}

fn events(store: &Store) -> Config {
    let settings = &store.settings;
    let count = |count: u64| i64::try_from(count).unwrap_or(i64::MAX);
    Config {
        name: settings.name.clone(),
        subjects: store.subjects.all(),
        max_messages: count(settings.retain_events),
        max_bytes: count(settings.retain_bytes),
        max_age: settings.retain_age,
        // It may not be longer than messages are kept.
        duplicate_window: settings.idempotency_window.min(settings.retain_age),
        ..common(store)
    }
}

fn documents(store: &Store) -> Config {
    let subjects = vec![store.subjects.document()];
    Config {
        name: store.documents.clone(),
        subjects,
        max_messages_per_subject: 1,
        max_messages: -1,
        max_bytes: -1,
        ..common(store)
    }
}

fn common(store: &Store) -> Config {
    Config {
        storage: StorageType::File,
        num_replicas: store.settings.address.options.replicas.unwrap_or(1),
        allow_direct: true,
        ..Config::default()
    }
}

/// Makes the stream, or brings it up to our settings: what is not ours is left as it is.
async fn ensure(link: &Link, wanted: Config) -> Result<Config, Fault> {
    let found = match link.context().get_stream(&wanted.name).await {
        Ok(stream) => stream.cached_info().config.clone(),
        Err(error) => match error.kind() {
            GetStreamErrorKind::JetStream(error) if error.error_code() == ErrorCode::STREAM_NOT_FOUND => {
                return create(link, wanted).await;
            }
            GetStreamErrorKind::JetStream(error) => return Err(unwilling(&error)),
            _ => return Err(not_now(error)),
        },
    };
    if let Some(missing) = wanted.subjects.iter().find(|subject| !found.subjects.contains(subject)) {
        return Err(Fault::refused(format!("the stream {} is there, but does not take {missing}", found.name)));
    }
    let ours = |config: &Config| {
        (
            config.max_messages,
            config.max_bytes,
            config.max_age,
            config.duplicate_window,
            config.max_messages_per_subject,
        )
    };
    // A document needs no window, and NATS gives it one.
    let window = if wanted.duplicate_window.is_zero() { found.duplicate_window } else { wanted.duplicate_window };
    let updated = Config {
        max_messages: wanted.max_messages,
        max_bytes: wanted.max_bytes,
        max_age: wanted.max_age,
        max_messages_per_subject: wanted.max_messages_per_subject.max(found.max_messages_per_subject.min(0)),
        duplicate_window: window,
        ..found.clone()
    };
    if ours(&updated) == ours(&found) {
        return Ok(found);
    }
    match link.context().update_stream(&updated).await {
        Ok(info) => Ok(info.config),
        Err(error) => match error.kind() {
            CreateStreamErrorKind::JetStream(error) => Err(unwilling(&error)),
            _ => Err(not_now(error)),
        },
    }
}

async fn create(link: &Link, wanted: Config) -> Result<Config, Fault> {
    match link.context().create_stream(wanted).await {
        Ok(stream) => Ok(stream.cached_info().config.clone()),
        Err(error) => match error.kind() {
            CreateStreamErrorKind::JetStream(error) => Err(unwilling(&error)),
            _ => Err(not_now(error)),
        },
    }
}

/// What JetStream will not do stays so until somebody changes its settings or ours; what it cannot do now may pass.
fn unwilling(error: &Error) -> Fault {
    match error.error_code() {
        ErrorCode::JETSTREAM_NOT_ENABLED_FOR_ACCOUNT => Fault::refused(error.to_string()),
        _ if error.code() == 503 => not_now(error),
        _ => Fault::refused(error.to_string()),
    }
}

fn warnings(events: &Config, clustered: bool) -> Vec<String> {
    let mut warnings = Vec::new();
    if events.storage == StorageType::Memory {
        warnings.push("The stream is in NATS' memory: events are lost when it restarts.".to_owned());
    } else if events.num_replicas == 1 {
        warnings.push(
            "NATS syncs its files every two minutes unless its sync_interval says otherwise, which it does not tell: a loss of \
             power loses what came since."
                .to_owned(),
        );
    }
    if clustered && events.num_replicas == 1 {
        warnings.push(
            "The stream is on one server of the NATS cluster only, and away when that is: ?replicas=3 has new streams kept on three."
                .to_owned(),
        );
    }
    warnings
}
