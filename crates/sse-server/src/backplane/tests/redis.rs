//! What only Redis does.

use std::time::{Duration, Instant};

use ::redis::{Connection, FromRedisValue, cmd};

use super::super::engine::{Appended, Engine, EngineError, Entry, Extent, engine};
use super::certificates::Certificates;
use super::process::{Process, port, until};
use super::rig::{Kind, Rig, follow, keyed, outgoing, redis, settings, told};

const EVENTS: &str = "{sse}:events";

fn connection(process: &Process, password: &str) -> Connection {
    let url = format!("redis://{password}127.0.0.1:{}", process.port);
    ::redis::Client::open(url).unwrap().get_connection().unwrap()
}

fn run<T: FromRedisValue>(connection: &mut Connection, line: &str) -> T {
    let words: Vec<&str> = line.split(' ').collect();
    cmd(words[0]).arg(&words[1..]).query(connection).unwrap_or_else(|error| panic!("{line}: {error}"))
}

fn is_away<T: std::fmt::Debug>(answer: &Result<T, EngineError>, why: &str) -> bool {
    matches!(answer, Err(EngineError::Unavailable(text)) if text.contains(why))
}

async fn opened(engine: &dyn Engine) {
    until("it opens", async || engine.open().await.ok()).await;
}

async fn refused(url: &str) -> String {
    let answer = engine(settings(url)).open().await;
    let Err(error @ EngineError::Refused(_)) = answer else { panic!("{url}: {answer:?}") };
    error.to_string()
}

#[tokio::test]
async fn without_memory_nothing_is_taken() {
    let rig = Rig::start(Kind::Redis).await;
    rig.append_one("a").await;
    let mut admin = connection(&rig.process, "");
    run::<()>(&mut admin, "CONFIG SET maxmemory 1mb");
    for answer in rig.engine.append(vec![outgoing("b"), keyed(1, 1, "c")]).await {
        assert!(is_away(&answer, "OOM"), "{answer:?}");
    }
    let put = rig.engine.put_document(bytes::Bytes::from_static(b"d"), None).await;
    assert!(is_away(&put, "OOM"), "{put:?}");
    assert_eq!(told(&rig.read(0, 1, 9).await.entries), [(1, "a".to_owned())], "what is there is read");
    let mut tail = Some(rig.engine.tail(0).await.unwrap());
    assert_eq!(follow(&*rig.engine, &mut tail, 0, 1).await.len(), 1);
    run::<()>(&mut admin, "CONFIG SET maxmemory 0");
    assert_eq!(rig.append_one("b").await, 2);
}

#[tokio::test]
async fn a_disk_that_fails_stops_writes() {
    let rig = Rig::start(Kind::Redis).await;
    let mut admin = connection(&rig.process, "");
    // A snapshot that cannot be written: there is a directory in its place.
    cmd("CONFIG").arg(&["SET", "save", "3600 1"]).exec(&mut admin).unwrap();
    std::fs::create_dir(rig.process.dir.path().join("dump.rdb")).unwrap();
    run::<String>(&mut admin, "BGSAVE");
    until("writing is stopped", async || {
        let answer = rig.append(&["a"]).await.remove(0);
        is_away(&answer, "MISCONF").then_some(())
    })
    .await;
}

#[tokio::test]
async fn a_replica_takes_nothing_until_it_is_the_master() {
    let rig = Rig::start(Kind::Redis).await;
    let number = rig.append_one("a").await;
    let mut admin = connection(&rig.process, "");
    run::<()>(&mut admin, &format!("REPLICAOF 127.0.0.1 {}", port()));
    for answer in rig.engine.append(vec![outgoing("b"), keyed(1, 1, "c")]).await {
        assert!(is_away(&answer, "READONLY"), "{answer:?}");
    }
    let opened = rig.engine.open().await;
    assert!(is_away(&opened, "replica"), "{opened:?}");
    run::<()>(&mut admin, "REPLICAOF NO ONE");
    rig.opened().await;
    assert_eq!(rig.append_one("d").await, number + 1);
}

#[tokio::test]
async fn of_several_nodes_the_master_is_found() {
    let [master, replica] = [redis(&[]), redis(&[])];
    master.listening().await;
    replica.listening().await;
    run::<()>(&mut connection(&replica, ""), &format!("REPLICAOF 127.0.0.1 {}", master.port));
    let url = format!("redis://127.0.0.1:{},127.0.0.1:{},127.0.0.1:{}", port(), replica.port, master.port);
    let engine = engine(settings(&url));
    opened(&*engine).await;
    assert_eq!(engine.append(vec![outgoing("a")]).await, [Ok(Appended::New(1))]);
}

#[tokio::test]
async fn passwords_are_asked_for_and_not_told() {
    let process = redis(&["--requirepass", "pass,word"]);
    process.listening().await;
    let port = process.port;
    let mut admin = connection(&process, ":pass%2Cword@");
    run::<()>(&mut admin, "ACL SETUSER sse on >hunter2 ~{sse}:* +@all");
    run::<()>(&mut admin, "ACL SETUSER guest on >hunter2 ~* +ping +info +role");
    assert!(refused(&format!("redis://127.0.0.1:{port}")).await.contains("NOAUTH"));
    for url in [format!("redis://:hunter3@127.0.0.1:{port}"), format!("redis://sse:hunter3@127.0.0.1:{port}")] {
        let error = refused(&url).await;
        assert!(error.contains("WRONGPASS") && !error.contains("hunter3"), "{error}");
    }
    assert!(refused(&format!("redis://guest:hunter2@127.0.0.1:{port}")).await.contains("NOPERM"));
    for url in [format!("redis://:pass%2Cword@127.0.0.1:{port}"), format!("redis://sse:hunter2@127.0.0.1:{port}/0")] {
        let engine = engine(settings(&url));
        opened(&*engine).await;
        assert!(matches!(engine.append(vec![keyed(1, 1, "a")]).await[..], [Ok(_)]));
    }
    let none = redis(&[]);
    none.listening().await;
    let error = refused(&format!("redis://:hunter3@127.0.0.1:{}", none.port)).await;
    assert!(error.contains("without any password") && !error.contains("hunter3"), "{error}");
}

#[tokio::test]
async fn another_database_is_another_stream() {
    let process = redis(&[]);
    process.listening().await;
    let [one, two] = [1, 2].map(|database| engine(settings(&format!("redis://127.0.0.1:{}/{database}", process.port))));
    opened(&*one).await;
    opened(&*two).await;
    assert_eq!(one.append(vec![outgoing("a")]).await, [Ok(Appended::New(1))]);
    assert_eq!(two.extent().await.unwrap().last, 0);
    assert!(refused(&format!("redis://127.0.0.1:{}/99", process.port)).await.contains("out of range"));
}

#[tokio::test]
async fn what_others_put_into_the_stream_is_passed_over() {
    let rig = Rig::start(Kind::Redis).await;
    let mut admin = connection(&rig.process, "");
    let mut tail = Some(rig.engine.tail(0).await.unwrap());
    rig.append_one("a").await;
    run::<String>(&mut admin, &format!("XADD {EVENTS} 0-* note b"));
    run::<String>(&mut admin, &format!("XADD {EVENTS} 0-* e c e d"));
    rig.append_one("e").await;
    let expected = [(1, "a"), (2, ""), (3, ""), (4, "e")].map(|(number, text)| (number, text.to_owned()));
    assert_eq!(told(&rig.read(0, 4, 9).await.entries), expected);
    assert_eq!(told(&follow(&*rig.engine, &mut tail, 0, 4).await), expected);
}

#[tokio::test]
async fn ids_of_others_do_not_stop_the_stream() {
    for id in ["*", "7-1", "0-9007199254740993", "0-18446744073709551615"] {
        let rig = Rig::start(Kind::Redis).await;
        let mut admin = connection(&rig.process, "");
        let mut tail = Some(rig.engine.tail(0).await.unwrap());
        assert_eq!(rig.append_one("a").await, 1);
        run::<String>(&mut admin, &format!("XADD {EVENTS} {id} note b"));
        // Whoever comes upon it first removes it: the follower or the publisher.
        let batch = vec![outgoing("c"), keyed(1, 1, "d")];
        until("entries are taken", async || {
            rig.engine.append(batch.clone()).await.iter().all(Result::is_ok).then_some(())
        })
        .await;
        let entries = follow(&*rig.engine, &mut tail, 0, 3).await;
        let numbers: Vec<u64> = entries.iter().map(|entry| entry.number).collect();
        assert_eq!(numbers, [1, 2, 3], "{id}");
        assert_eq!(rig.extent().await, Extent { first: 1, last: 3 }, "{id}");
        run::<String>(&mut admin, &format!("XADD {EVENTS} {id} note b"));
        assert_eq!(rig.extent().await, Extent { first: 1, last: 3 }, "{id}");
        let all = follow(&*rig.engine, &mut None, 0, 3).await;
        assert_eq!(all.last().map(|entry: &Entry| entry.number), Some(3), "{id}");
    }
}

#[tokio::test]
async fn a_healed_stream_gives_no_number_twice() {
    let rig = Rig::start_with(Kind::Redis, |settings| settings.retain_age = Duration::from_millis(500)).await;
    let mut tail = rig.engine.tail(0).await.unwrap();
    assert_eq!(rig.append_one("a").await, 1);
    until("it is dropped", async || {
        tail.next().await.unwrap();
        (rig.extent().await == Extent { first: 2, last: 1 }).then_some(())
    })
    .await;
    run::<String>(&mut connection(&rig.process, ""), &format!("XADD {EVENTS} * note b"));
    assert_eq!(rig.extent().await, Extent { first: 2, last: 1 });
    assert_eq!(rig.append_one("c").await, 2);
}

#[tokio::test]
async fn a_key_of_another_type_is_left_alone() {
    let rig = Rig::start(Kind::Redis).await;
    let mut admin = connection(&rig.process, "");
    run::<()>(&mut admin, &format!("SET {EVENTS} text"));
    assert!(matches!(&rig.append(&["a"]).await[..], [Err(EngineError::Refused(text))] if text.contains("WRONGTYPE")));
    assert!(matches!(rig.engine.open().await, Err(EngineError::Refused(_))));
    assert_eq!(run::<String>(&mut admin, &format!("GET {EVENTS}")), "text");
}

#[tokio::test]
async fn a_flushed_stream_is_noticed() {
    let rig = Rig::start(Kind::Redis).await;
    let mut tail = rig.engine.tail(0).await.unwrap();
    assert!(rig.engine.append(vec![outgoing("a"), keyed(1, 1, "b")]).await.iter().all(Result::is_ok));
    until("they come", async || tail.next().await.unwrap().iter().any(|entry| entry.number == 2).then_some(())).await;
    let begun = Instant::now();
    run::<()>(&mut connection(&rig.process, ""), "FLUSHALL");
    until("the follower is told", async || tail.next().await.err()).await;
    assert!(begun.elapsed() < Duration::from_secs(4), "{:?}", begun.elapsed());
    assert_eq!(rig.extent().await, Extent { first: 1, last: 0 });
    assert_eq!(rig.append_one("c").await, 1);
    // Only the stream is deleted: what is left of a key of then says nothing about it.
    assert_eq!(rig.engine.append(vec![keyed(2, 2, "d")]).await, [Ok(Appended::New(2))]);
    run::<()>(&mut connection(&rig.process, ""), &format!("DEL {EVENTS}"));
    assert_eq!(rig.engine.append(vec![keyed(2, 2, "d")]).await, [Ok(Appended::New(1))]);
}

#[tokio::test]
async fn forgotten_scripts_are_loaded_again() {
    let rig = Rig::start(Kind::Redis).await;
    run::<()>(&mut connection(&rig.process, ""), "SCRIPT FLUSH");
    assert_eq!(rig.extent().await.last, 0, "asked twice");
    run::<()>(&mut connection(&rig.process, ""), "SCRIPT FLUSH");
    let answer = rig.engine.append(vec![keyed(1, 1, "a")]).await;
    assert!(is_away(&answer[0], "NOSCRIPT"), "{answer:?}");
    assert_eq!(rig.engine.append(vec![keyed(1, 1, "a")]).await, [Ok(Appended::New(1))]);
}

#[tokio::test]
async fn a_cluster_is_asked_who_has_the_stream() {
    let start = || {
        let bus = port().to_string();
        redis(&["--cluster-enabled", "yes", "--cluster-port", &bus])
    };
    let [owner, other] = [start(), start()];
    owner.listening().await;
    other.listening().await;
    let [mut owner_admin, mut other_admin] = [connection(&owner, ""), connection(&other, "")];
    let slot: u16 = run(&mut owner_admin, &format!("CLUSTER KEYSLOT {EVENTS}"));
    run::<()>(&mut owner_admin, &format!("CLUSTER ADDSLOTSRANGE {slot} 16383"));
    run::<()>(&mut other_admin, &format!("CLUSTER ADDSLOTSRANGE 0 {}", slot - 1));
    let engine = engine(settings(&format!("redis://127.0.0.1:{}", other.port)));
    let alone = engine.open().await;
    assert!(is_away(&alone, "CLUSTERDOWN"), "{alone:?}");
    let bus: Vec<String> = run(&mut owner_admin, "CONFIG GET cluster-port");
    run::<()>(&mut other_admin, &format!("CLUSTER MEET 127.0.0.1 {} {}", owner.port, bus[1]));
    opened(&*engine).await;
    until("it takes entries", async || engine.append(vec![outgoing("a")]).await[0].as_ref().ok().copied()).await;
    assert!(matches!(engine.append(vec![keyed(1, 1, "b")]).await[..], [Ok(Appended::New(2))]));
    assert_eq!(follow(&*engine, &mut None, 0, 2).await.len(), 2);
    assert_eq!(run::<u64>(&mut owner_admin, &format!("XLEN {EVENTS}")), 2);
    assert!(refused(&format!("redis://127.0.0.1:{}/1", owner.port)).await.contains("no databases"));
}

#[tokio::test]
async fn sentinels_know_the_master() {
    const SECRET: &[&str] = &["--requirepass", "secret", "--masterauth", "secret"];
    let mut master = redis(SECRET);
    master.listening().await;
    let of_master = master.port.to_string();
    let replica =
        redis(&[SECRET, &["--replicaof", "127.0.0.1", &of_master, "--repl-diskless-sync-delay", "0"]].concat());
    replica.listening().await;
    let sentinel = Process::start("redis-server", |port, dir| {
        let file = format!("{dir}/sentinel.conf");
        let lines = [
            format!("port {port}\nbind 127.0.0.1\nsentinel monitor main 127.0.0.1 {of_master} 1"),
            "sentinel auth-pass main secret\nsentinel down-after-milliseconds main 300".to_owned(),
            "sentinel failover-timeout main 3000\n".to_owned(),
        ];
        std::fs::write(&file, lines.join("\n")).unwrap();
        vec![file, "--sentinel".to_owned()]
    });
    sentinel.listening().await;
    // The sentinel has no password, though the master has one.
    let engine = engine(settings(&format!("redis://:secret@127.0.0.1:{}", sentinel.port)));
    opened(&*engine).await;
    assert!(refused(&format!("redis://127.0.0.1:{}", sentinel.port)).await.contains("NOAUTH"));
    let unknown = refused(&format!("redis://:secret@127.0.0.1:{}?master=other", sentinel.port)).await;
    assert!(unknown.contains("no master of the name other"), "{unknown}");
    assert_eq!(
        engine.append(vec![outgoing("a"), keyed(1, 1, "b")]).await,
        [Ok(Appended::New(1)), Ok(Appended::New(2))]
    );
    let mut tail = Some(engine.tail(0).await.unwrap());
    assert_eq!(follow(&*engine, &mut tail, 0, 2).await.len(), 2);
    let mut copy = connection(&replica, ":secret@");
    until("it is copied", async || (run::<u64>(&mut copy, &format!("XLEN {EVENTS}")) == 2).then_some(())).await;
    let mut watch = connection(&sentinel, "");
    until("the sentinel knows the replica", async || {
        let replicas: Vec<Vec<String>> = run(&mut watch, "SENTINEL REPLICAS main");
        (replicas.len() == 1 && replicas[0].windows(2).any(|pair| pair == ["master-link-status", "ok"])).then_some(())
    })
    .await;
    master.kill();
    opened(&*engine).await;
    until("the replica is the master", async || {
        (engine.append(vec![keyed(2, 2, "c")]).await == [Ok(Appended::New(3))]).then_some(())
    })
    .await;
    assert_eq!(told(&follow(&*engine, &mut tail, 2, 1).await), [(3, "c".to_owned())]);
    assert_eq!(run::<u64>(&mut connection(&replica, ":secret@"), &format!("XLEN {EVENTS}")), 3);
}

#[tokio::test]
async fn connections_are_encrypted() {
    let certificates = Certificates::make();
    let [cert, key] = [certificates.file("server.pem"), certificates.file("server.key")];
    let process = Process::start("redis-server", |port, dir| {
        let args = format!(
            "--port 0 --tls-port {port} --bind 127.0.0.1 --dir {dir} --tls-cert-file {cert} --tls-key-file {key} \
             --tls-auth-clients no"
        );
        args.split(' ').map(str::to_owned).collect()
    });
    process.listening().await;
    let url = |scheme, options: &str| format!("{scheme}://127.0.0.1:{}{options}", process.port);
    let trusted = format!("?ca={}", certificates.file("ca.pem"));
    let engine_at = |url: &str| engine(settings(url));
    let trusting = engine_at(&url("rediss", &trusted));
    opened(&*trusting).await;
    assert_eq!(trusting.append(vec![outgoing("a")]).await, [Ok(Appended::New(1))]);
    assert_eq!(follow(&*trusting, &mut None, 0, 1).await.len(), 1);
    let strangers = engine_at(&url("rediss", "")).open().await;
    assert!(is_away(&strangers, "certificate"), "{strangers:?}");
    assert!(refused(&url("rediss", "?ca=/nowhere.pem")).await.contains("/nowhere.pem"));
    assert!(engine_at(&url("redis", "")).open().await.is_err());
}
