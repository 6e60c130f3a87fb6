//! What only NATS does.

use std::time::{Duration, Instant};

use async_nats::jetstream::stream::{Config, StorageType};
use async_nats::jetstream::{self, Context};
use bytes::Bytes;
use futures_util::StreamExt;
use sse_hub::TopicName;

use super::super::engine::{Appended, EngineError, Extent, Range, engine};
use super::certificates::Certificates;
use super::process::{Process, until};
use super::rig::{Kind, Rig, follow, nats, of_topic, outgoing, settings, told};

async fn context(process: &Process) -> Context {
    jetstream::new(async_nats::connect(format!("nats://127.0.0.1:{}", process.port)).await.unwrap())
}

async fn refused(url: &str) -> String {
    let answer = engine(settings(url)).open().await;
    let Err(error @ EngineError::Refused(_)) = answer else { panic!("{url}: {answer:?}") };
    error.to_string()
}

/// Opens, appends and follows.
async fn works(url: &str) {
    let engine = engine(settings(url));
    until("it opens", async || engine.open().await.ok()).await;
    assert!(matches!(engine.append(vec![outgoing("a")]).await[..], [Ok(Appended::New(_))]));
    assert_eq!(follow(&*engine, &mut None, 0, 1).await.len(), 1);
}

#[tokio::test]
async fn without_jetstream_it_is_refused() {
    let process = Process::start("nats-server", |port, _| {
        ["-a", "127.0.0.1", "-p", &port.to_string()].map(String::from).to_vec()
    });
    process.listening().await;
    assert!(refused(&format!("nats://127.0.0.1:{}", process.port)).await.contains("JetStream is off"));
}

#[tokio::test]
async fn passwords_and_tokens_are_asked_for_and_not_told() {
    for (config, right, wrong) in [
        ("authorization { user: sse, password: hunter2 }", "sse:hunter2@", "sse:hunter3@"),
        ("authorization { token: hunter2 }", "hunter2@", "hunter3@"),
    ] {
        let process = nats(config);
        process.listening().await;
        works(&format!("nats://{right}127.0.0.1:{}", process.port)).await;
        for credentials in [wrong, ""] {
            let error = refused(&format!("nats://{credentials}127.0.0.1:{}", process.port)).await;
            assert!(error.contains("authorization violation") && !error.contains("hunter"), "{error}");
        }
    }
    let error = refused("nats://127.0.0.1:1?creds=/nowhere.creds").await;
    assert!(error.contains("/nowhere.creds"), "{error}");
}

#[tokio::test]
async fn connections_are_encrypted() {
    let certificates = Certificates::make();
    let [cert, key, ca] = ["server.pem", "server.key", "ca.pem"].map(|name| certificates.file(name));
    let process = nats(&format!("tls {{ cert_file: \"{cert}\", key_file: \"{key}\" }}"));
    process.listening().await;
    works(&format!("tls://127.0.0.1:{}?ca={ca}", process.port)).await;
    assert!(engine(settings(&format!("tls://127.0.0.1:{}", process.port))).open().await.is_err());
}

#[tokio::test]
async fn a_topic_is_read_without_the_others() {
    let rig = Rig::start(Kind::Nats).await;
    let entries = (1..=2000).map(|number| match number % 100 {
        0 => of_topic("a.* >", &number.to_string()),
        1 => outgoing(&number.to_string()),
        _ => of_topic("other", &number.to_string()),
    });
    assert!(rig.engine.append(entries.collect()).await.iter().all(Result::is_ok));
    let topic = Some(TopicName::parse("a.* >").unwrap());
    let (mut numbers, mut after, mut pages) = (Vec::new(), 0, 0);
    while after < 2000 {
        let found = rig.engine.read(Range { after, up_to: 2000, entries_max: 15, topic: topic.clone() }).await.unwrap();
        assert!(found.entries.len() <= 15 && found.covered_to > after);
        numbers.extend(found.entries.iter().map(|entry| entry.number));
        (after, pages) = (found.covered_to, pages + 1);
    }
    let expected: Vec<u64> = (1..=2000).filter(|number| number % 100 < 2).collect();
    assert_eq!(numbers.iter().filter(|number| **number % 100 < 2).copied().collect::<Vec<_>>(), expected);
    assert!(numbers.len() < 300 && pages <= 12, "{} entries in {pages} pages", numbers.len());
    let stream = context(&rig.process).await.get_stream("sse").await.unwrap();
    until("no consumer stays", async || (stream.get_info().await.unwrap().state.consumer_count == 0).then_some(()))
        .await;
}

#[tokio::test]
async fn what_others_publish_is_an_entry() {
    let rig = Rig::start(Kind::Nats).await;
    let context = context(&rig.process).await;
    let mut tail = Some(rig.engine.tail(0).await.unwrap());
    context.publish("sse.m", Bytes::from_static(b"a")).await.unwrap().await.unwrap();
    context.publish("sse.t.news", Bytes::new()).await.unwrap().await.unwrap();
    let expected = [(1, "a".to_owned()), (2, String::new())];
    assert_eq!(told(&follow(&*rig.engine, &mut tail, 0, 2).await), expected);
    assert_eq!(told(&rig.read(0, 2, 9).await.entries), expected);
}

#[tokio::test]
async fn a_deleted_stream_is_noticed_and_made_anew() {
    let rig = Rig::start(Kind::Nats).await;
    assert_eq!(rig.append_one("a").await, 1);
    let mut tail = rig.engine.tail(0).await.unwrap();
    until("it comes", async || (!tail.next().await.unwrap().is_empty()).then_some(())).await;
    let begun = Instant::now();
    let context = context(&rig.process).await;
    context.delete_stream("sse").await.unwrap();
    until("the follower is told", async || tail.next().await.err()).await;
    assert!(begun.elapsed() < Duration::from_secs(4), "{:?}", begun.elapsed());
    assert!(matches!(&rig.append(&["b"]).await[..], [Err(EngineError::Unavailable(_))]));
    rig.opened().await;
    assert_eq!(rig.extent().await, Extent { first: 1, last: 0 });
    assert!(rig.engine.tail(1).await.is_err(), "nothing would come there");
    assert_eq!(rig.append_one("b").await, 1);
}

#[tokio::test]
async fn a_purged_stream_goes_on() {
    let rig = Rig::start(Kind::Nats).await;
    rig.append(&["a", "b"]).await;
    let stream = context(&rig.process).await.get_stream("sse").await.unwrap();
    stream.purge().await.unwrap();
    assert_eq!(rig.extent().await, Extent { first: 3, last: 2 });
    let mut tail = Some(rig.engine.tail(0).await.unwrap());
    assert_eq!(rig.append_one("c").await, 3);
    assert_eq!(told(&follow(&*rig.engine, &mut tail, 0, 1).await), [(3, "c".to_owned())]);
}

#[tokio::test]
async fn a_stream_keeps_what_is_not_ours() {
    let process = nats("");
    process.listening().await;
    let context = context(&process).await;
    let config = Config {
        name: "sse".to_owned(),
        subjects: ["sse.t.*", "sse.m", "more.>"].map(String::from).to_vec(),
        description: Some("mine".to_owned()),
        storage: StorageType::Memory,
        max_messages: 5,
        ..Config::default()
    };
    until("JetStream is there", async || context.create_stream(&config).await.ok().map(drop)).await;
    let engine = engine(settings(&format!("nats://127.0.0.1:{}", process.port)));
    let opened = engine.open().await.unwrap();
    assert!(opened.warnings.iter().any(|warning| warning.contains("memory")), "{opened:?}");
    assert!(opened.version.starts_with("NATS 2."), "{opened:?}");
    let config = context.get_stream("sse").await.unwrap().cached_info().config.clone();
    assert_eq!((config.max_messages, config.description.as_deref()), (1_000_000, Some("mine")));
    assert_eq!((config.storage, config.subjects.len()), (StorageType::Memory, 3));
    context.delete_stream("sse").await.unwrap();
    let other = Config { name: "sse".to_owned(), subjects: vec!["more.>".to_owned()], ..Config::default() };
    context.create_stream(other).await.unwrap();
    let error = engine.open().await.unwrap_err();
    assert!(matches!(&error, EngineError::Refused(text) if text.contains("does not take sse.t.*")), "{error}");
}

#[tokio::test]
async fn too_little_room_is_said() {
    let process = Process::start("nats-server", |port, dir| {
        let file = format!("{dir}/nats.conf");
        let text = format!("listen: 127.0.0.1:{port}\njetstream {{ store_dir: \"{dir}\", max_file_store: 1MB }}\n");
        std::fs::write(&file, text).unwrap();
        vec!["--config".to_owned(), file]
    });
    process.listening().await;
    let error = refused(&format!("nats://127.0.0.1:{}", process.port)).await;
    assert!(error.contains("insufficient storage"), "{error}");
}

#[tokio::test]
async fn a_document_has_a_stream_of_its_own() {
    let rig = Rig::start(Kind::Nats).await;
    let mut revision = None;
    for text in ["a", "b", "c"] {
        assert!(rig.engine.put_document(Bytes::from_static(text.as_bytes()), revision).await.unwrap());
        revision = rig.engine.document().await.unwrap().map(|(_, revision)| revision);
    }
    assert_eq!(rig.extent().await.last, 0);
    let mut streams: Vec<String> = context(&rig.process).await.stream_names().map(Result::unwrap).collect().await;
    streams.sort();
    assert_eq!(streams, ["sse", "sse-epochs"]);
    let documents = context(&rig.process).await.get_stream("sse-epochs").await.unwrap();
    assert_eq!(documents.cached_info().state.messages, 1);
}
