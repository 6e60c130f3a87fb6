//! Settings that change while the server runs.

use std::fs;
use std::path::PathBuf;

use rustix::process::Signal;
use serde_json::{Value, json};

use crate::harness::token::{OTHER_SECRET, SECRET, token_with};
use crate::harness::{Launch, Server};

/// A server with a configuration file that tests write.
struct Configured {
    server: Server,
    file: PathBuf,
    home: tempfile::TempDir,
}

impl Configured {
    fn start(text: &str) -> Self {
        let home = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
        let file = home.path().join("sse.toml");
        fs::write(&file, text).unwrap();
        let server = Launch::new(&["--config", file.to_str().unwrap()]).start();
        Self { server, file, home }
    }

    /// Writes another file, sends SIGHUP, and waits for what comes of it.
    fn reload(&self, text: &str) -> Value {
        let before = self.told().len();
        fs::write(&self.file, text).unwrap();
        self.server.signal(Signal::HUP);
        crate::harness::eventually("the reload", || self.told().get(before).cloned())
    }

    /// What became of each reload that SIGHUP asked for.
    fn told(&self) -> Vec<Value> {
        self.server.log.lines().into_iter().filter(|line| line["by"] == "SIGHUP").collect()
    }

    /// The same for a file that is good.
    #[track_caller]
    fn take_on(&self, text: &str) {
        let told = self.reload(text);
        assert_eq!(told["level"], "INFO", "{told}");
    }

    fn publish_with(&self, secret: &str) -> u16 {
        let token = token_with(secret, &json!({ "mercure": { "publish": ["*"] } }));
        self.server.post("/events/a", "x").bearer(token).send().status()
    }
}

fn with_key(secret: &str) -> String {
    format!("publisher_jwt_key = \"{secret}\"\nsubscriber_jwt_key = \"{secret}\"\n")
}

#[test]
fn keys_change_and_no_stream_ends() {
    let configured = Configured::start(&with_key(SECRET));
    let of = |secret| token_with(secret, &json!({ "mercure": { "publish": ["*"], "subscribe": ["*"] } }));
    let follow = |secret| configured.server.subscribe("a").bearer(of(secret));
    let mut stream = follow(SECRET).open();
    let told = configured.reload(&with_key(OTHER_SECRET));
    assert_eq!(told["message"], "the settings were reloaded");
    assert_eq!(told["changed"], "publisher_jwt_key, subscriber_jwt_key");
    // A token that was checked before is checked again.
    assert_eq!((configured.publish_with(SECRET), configured.publish_with(OTHER_SECRET)), (401, 200));
    assert_eq!(stream.next_data(), "x");
    assert_eq!(follow(SECRET).send().status(), 401);
    follow(OTHER_SECRET).open();
    assert!(!configured.server.log.lines().iter().any(|line| line.to_string().contains(OTHER_SECRET)));
}

/// FAILURES K5.
#[test]
fn a_bad_file_changes_nothing_and_every_fault_is_logged() {
    let configured = Configured::start(&with_key(SECRET));
    let bad = format!("{}retry = \"soon\"\nnonsense = 1\nlisten = \"[\"\n", with_key(OTHER_SECRET));
    let told = configured.reload(&bad);
    assert_eq!(
        (&told["level"], &told["message"]),
        (&"ERROR".into(), &"the settings were not reloaded; those before stay".into())
    );
    let faults: Vec<String> =
        configured.server.log.wait_for_all("a fault in the settings", 3, |line| line["fault"].to_string());
    for (fault, at) in faults.iter().zip(["sse.toml:3: retry:", "sse.toml:4: nonsense:", "sse.toml:5: listen:"]) {
        assert!(fault.contains(at), "{fault}");
    }
    assert_eq!((configured.publish_with(SECRET), configured.publish_with(OTHER_SECRET)), (200, 401));
    configured.server.wait_for_metric(r#"sse_config_reloads_total{result="failed"}"#, 1.0);
    configured.server.wait_for_metric("sse_config_last_reload_successful", 0.0);
    configured.take_on(&with_key(OTHER_SECRET));
    configured.server.wait_for_metric(r#"sse_config_reloads_total{result="ok"}"#, 1.0);
    configured.server.wait_for_metric("sse_config_last_reload_successful", 1.0);
}

#[test]
fn what_needs_a_restart_is_named() {
    let configured = Configured::start("");
    let told = configured.reload("listen = \"127.0.0.2:1\"\nring_frames_max = 7\nretry = \"1s\"\nretry_jitter = 0\n");
    assert_eq!(told["level"], "WARN");
    assert_eq!(told["changed"], "retry, retry_jitter");
    // The flag goes before the file.
    assert_eq!(told["needs_restart"], "ring_frames_max");
    configured.server.wait_for_metric("sse_config_restart_pending", 1.0);
    configured.server.subscribe("a").open().expect_opening(1000);
    configured.take_on("");
    configured.server.wait_for_metric("sse_config_restart_pending", 0.0);
}

#[test]
fn files_are_watched() {
    let configured = Configured::start("");
    let key = configured.home.path().join("key");
    fs::write(&key, SECRET).unwrap();
    let by_file =
        |count| configured.server.log.wait_for_all("the settings were reloaded", count, |line| line["by"].clone());
    fs::write(&configured.file, format!("publisher_jwt_key = \"@{}\"\n", key.display())).unwrap();
    assert_eq!(by_file(1), ["file"]);
    assert_eq!((configured.publish_with(SECRET), configured.publish_with(OTHER_SECRET)), (200, 401));
    // As a mounted secret changes: a link leads elsewhere.
    let other = configured.home.path().join("other");
    fs::write(&other, OTHER_SECRET).unwrap();
    let link = configured.home.path().join("link");
    std::os::unix::fs::symlink(&other, &link).unwrap();
    fs::rename(&link, &key).unwrap();
    assert_eq!(by_file(2), ["file", "file"]);
    assert_eq!((configured.publish_with(SECRET), configured.publish_with(OTHER_SECRET)), (401, 200));
    fs::remove_file(&key).unwrap();
    configured.server.log.wait_for("the settings were not reloaded; those before stay", |_| true);
    assert_eq!(configured.publish_with(OTHER_SECRET), 200);
}

#[test]
fn limits_change_and_whoever_is_above_them_stays() {
    let configured = Configured::start("");
    let server = &configured.server;
    let mut streams: Vec<_> = (0..3).map(|_| server.subscribe("a").open()).collect();
    server.publish("b", "x");
    let refused = |target: &str| server.request("GET", target).send().status();

    configured.take_on("connections_max = 2\n");
    assert_eq!(refused("/events/a"), 503);
    configured.take_on("topics_max = 2\n");
    assert_eq!(server.post("/events/c", "x").send().status(), 429);
    configured.take_on("connections_per_ip_max = 1\n");
    let only = server.subscribe("a").open();
    assert_eq!(refused("/events/a"), 429);
    configured.take_on("connections_per_ip_max = 2\n");
    drop(server.subscribe("a").open());
    configured.take_on("publish_rate_max = 1\n");
    assert_eq!([(); 2].map(|()| server.post("/events/a", "y").send().status()), [200, 429]);
    configured.take_on("subscribe_rate_max = 1\n");
    drop(server.subscribe("a").open());
    assert_eq!(refused("/events/a"), 429);
    configured.take_on("");
    drop((only, server.subscribe("a").open()));
    server.publish("c", "z");
    for stream in &mut streams {
        assert_eq!(stream.next_data(), "y");
    }
}

#[test]
fn origins_admin_token_and_log_level_change() {
    let configured = Configured::start("log_level = \"warn\"\n");
    let server = &configured.server;
    let allowed = || {
        let reply = server.request("OPTIONS", "/events/a").field("Origin", "https://a.test").send();
        reply.field("access-control-allow-origin").map(str::to_owned)
    };
    assert_eq!(allowed(), None);
    let logged = || server.log.lines().iter().any(|line| line["message"] == "connected");
    drop(server.subscribe("a").open());
    let changes = "cors_origin = \"https://a.test\"\nadmin_token = \"a-token-of-some-length\"\nlog_level = \"info\"\n";
    let told = configured.reload(changes);
    assert_eq!(told["changed"], "admin_token, cors_origin, log_level");
    assert_eq!(allowed().as_deref(), Some("https://a.test"));
    assert_eq!(server.admin("/api/topics").send().status(), 401);
    assert!(!logged());
    drop(server.subscribe("a").open());
    server.log.wait_for("connected", |_| true);
    // Its own line is an error, so that it shows at any level.
    configured.reload("log_level = \"error\"\nnonsense = 1\n");
    assert_eq!(server.admin("/api/topics").send().status(), 401, "a bad file changes nothing");
}
