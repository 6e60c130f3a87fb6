//! Settings that are read again while they are in use.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fs;
use std::path::Path;

use super::super::{Command, Config, ConfigError, Reloaded, Reloader};
use super::MACHINE;

const KEY: &str = "publisher_jwt_key = \"kR7!vQ2#xL9@pW4$zT6^mN8&bY3*cF5(\"\n";

/// A process that was started with this file, and the file.
struct Started {
    running: Config,
    reloader: Reloader,
    home: tempfile::TempDir,
}

impl Started {
    fn with(file: &str, env: &[(&str, &str)], args: &[&str]) -> Self {
        let home = tempfile::tempdir().unwrap();
        let path = home.path().join("sse.toml");
        fs::write(&path, file).unwrap();
        let mut all = vec!["sse-server", "--config", path.to_str().unwrap()];
        all.extend(args);
        let env: BTreeMap<String, String> =
            env.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        let loaded = Reloader::load(all.into_iter().map(OsString::from).collect(), env, MACHINE, &[]);
        let Ok((Command::Serve(config), reloader)) = loaded else { panic!("expected to serve") };
        Self { running: *config, reloader, home }
    }

    fn path(&self, name: &str) -> std::path::PathBuf {
        self.home.path().join(name)
    }

    /// What the file comes to once it has this text.
    fn reload(&mut self, file: &str) -> Result<Reloaded, ConfigError> {
        fs::write(self.path("sse.toml"), file).unwrap();
        self.reloader.reload(&self.running)
    }

    /// The same, taken on; which settings changed, and which need a restart.
    fn take_on(&mut self, file: &str) -> (Vec<&'static str>, Vec<&'static str>) {
        let reloaded = self.reload(file).unwrap();
        let told = (reloaded.changed.clone(), reloaded.needs_restart.clone());
        self.running = reloaded.config.clone();
        self.reloader.accept(reloaded);
        told
    }

    /// The faults of a file, where they are and what they say.
    fn faults(&mut self, file: &str) -> String {
        self.reload(file).expect_err("it is faulty").to_string()
    }
}

#[test]
fn what_may_change_does_and_the_rest_is_named() {
    let mut started = Started::with("retry = \"1s\"\n", &[], &[]);
    let told = started.take_on("retry = \"2s\"\nlisten = \"127.0.0.1:9\"\ncors_origin = \"https://a.test\"\n");
    assert_eq!(told, (vec!["cors_origin", "retry"], vec!["listen"]));
    assert_eq!(started.running.retry.as_secs(), 2);
    assert_eq!(started.running.listen, Config::for_memory(1 << 30).listen);
    // It still waits, and what changed has changed.
    let told =
        started.take_on("retry = \"2s\"\nlisten = \"127.0.0.1:9\"\n[[topic]]\nmatch = \"a\"\npreset = \"bursty\"\n");
    assert_eq!(told, (vec!["cors_origin"], vec!["listen", "topic"]));
    assert_eq!(started.take_on("retry = \"2s\"\n"), (vec![], vec![]));
}

#[test]
fn layers_keep_their_order() {
    let mut started = Started::with("", &[("SSE_RETRY", "4s")], &["--topics-max", "7"]);
    assert_eq!(started.take_on("retry = \"1s\"\ntopics_max = 9\nbusy_reply = \"503\"\n"), (vec!["busy_reply"], vec![]));
}

#[test]
fn every_fault_is_told_with_its_line_and_nothing_changes() {
    let mut started = Started::with("retry = \"1s\"\n", &[], &[]);
    let faults = started.faults("retry = \"2s\"\nretry_jitter = 2\nnonsense = 1\nlisten = \"x\"\n");
    let lines: Vec<&str> = faults.lines().collect();
    assert_eq!(lines.len(), 3, "{faults}");
    for (line, at) in lines.iter().zip(["sse.toml:2: retry_jitter:", "sse.toml:3: nonsense:", "sse.toml:4: listen:"]) {
        assert!(line.contains(at), "{line}");
    }
    fs::remove_file(started.path("sse.toml")).unwrap();
    assert!(started.reloader.reload(&started.running).is_err());
    assert_eq!(started.take_on("retry = \"1s\"\n"), (vec![], vec![]));
}

/// What is good for a new process may open the running one to everybody.
#[test]
fn what_stays_is_checked_with_what_changes() {
    let public = format!("listen = \"0.0.0.0:80\"\n{KEY}");
    let mut started = Started::with(&public, &[], &[]);
    let faults = started.faults("listen = \"127.0.0.1:80\"\n");
    assert!(faults.contains("sse.toml:1: listen: 0.0.0.0:80 is not loopback"), "{faults}");
    assert_eq!(started.take_on(&public), (vec![], vec![]));

    let insecure = format!("{public}insecure = true\n");
    let mut started = Started::with(&insecure, &[], &[]);
    let (changed, waiting) = started.take_on("listen = \"127.0.0.1:80\"\n");
    assert_eq!((changed, waiting), (vec!["publisher_jwt_key"], vec!["listen", "insecure"]));
    assert!(!started.running.open_publish, "it is still beyond loopback");
}

#[test]
fn the_files_of_secrets_are_known_and_read_again() {
    let mut started = Started::with("", &[], &[]);
    let key = started.path("key");
    fs::write(&key, "8f1b6c0de2a94735bb0c6d5e4f3a2b1c\n").unwrap();
    let file = format!("publisher_jwt_key = \"@{}\"\n", key.display());
    let (changed, _) = started.take_on(&file);
    assert_eq!(changed, ["open_publish", "publisher_jwt_key"].iter().rev().copied().collect::<Vec<_>>());
    let files: Vec<&Path> = started.reloader.files().keys().map(|file| &**file).collect();
    assert_eq!(files, [&*key, &*started.path("sse.toml")]);
    fs::write(&key, "another-1b6c0de2a94735bb0c6d5e4f3a2b1c\n").unwrap();
    assert_eq!(started.take_on(&file), (vec!["publisher_jwt_key"], vec![]));

    // One that is not there yet is waited for.
    let later = started.path("later");
    assert!(started.faults(&format!("publisher_jwt_key = \"@{}\"\n", later.display())).contains("publisher_jwt_key"));
    assert!(started.reloader.files().contains_key(&later));
    assert!(!format!("{:?}", started.reloader).contains("8f1b"));
}
