//! The real server on a free port.

use serde_json::Value;

use crate::command::Command;

pub(crate) struct Server {
    _command: Command,
    address: String,
}

impl Server {
    pub(crate) fn start(args: &[&str]) -> Self {
        Self::start_at("127.0.0.1:0", args)
    }

    pub(crate) fn start_at(listen: &str, args: &[&str]) -> Self {
        let own = ["--listen", listen, "--admin-listen", "off", "--log-format", "json"];
        let command = Command::start(&[&own[..], args].concat());
        let line: Value = serde_json::from_str(&command.notice("\"listening\"")).expect("a log line is JSON");
        let address = line["listen"].as_str().expect("it names its address").to_owned();
        Self { _command: command, address }
    }

    pub(crate) fn address(&self) -> &str {
        &self.address
    }

    pub(crate) fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }

    /// Publishes with the command under test; the id.
    pub(crate) fn publish(&self, path: &str, data: &str) -> String {
        let outcome = Command::run(&["publish", &self.url(path), "--data", data]);
        outcome.succeeded();
        let [id] = &outcome.out[..] else { panic!("one id: {outcome:?}") };
        id.clone()
    }

    /// A subscriber that is following.
    pub(crate) fn subscribe(&self, path: &str, args: &[&str]) -> Command {
        let command = Command::start(&[&["subscribe", &self.url(path)][..], args].concat());
        command.notice("following http://");
        command
    }
}
