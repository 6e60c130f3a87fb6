//! What settings must hold among each other.

use std::net::SocketAddr;

use super::fault::{Fault, Origin};
use super::setting::Source;
use super::settings::{Config, SETTINGS};
use super::token::{JwtAlg, JwtKey};
use super::value::Scalar;
use super::weak::weakness;
use super::words::Durability;
use crate::access::VerifyKey;
use crate::tls::check_certificate;

/// A token shorter than this can be guessed over a network.
const TOKEN_BYTES_MIN: usize = 16;

/// Lets defaults follow what was set, then checks what was set against each other.
///
/// `rule_origins` are the places of `config.topics`, in order.
pub(super) fn settle(config: &mut Config, sources: Vec<Source>, rule_origins: &[Origin], faults: &mut Vec<Fault>) {
    let sources = Sources { rows: sources };
    follow(config, &sources);
    Checks { config, sources: &sources, rule_origins, faults }.run();
}

/// Defaults that depend on other settings: they never contradict what was set.
fn follow(config: &mut Config, sources: &Sources) {
    if sources.is_default("open_publish") {
        config.open_publish = !config.publisher_is_keyed() && !config.is_off_loopback();
    }
    if sources.is_default("anonymous") {
        config.anonymous = !config.subscriber_is_keyed();
    }
    if sources.is_default("durability") && config.data_dir.is_some() {
        config.durability = Durability::Fsync;
    }
    if sources.is_default("ring_bytes_max") {
        config.ring_bytes_max = config.ring_bytes_max.min(config.rings_bytes_max);
    }
    if sources.is_default("event_bytes_max") {
        config.event_bytes_max = config.event_bytes_max.min(config.ring_bytes_max);
    }
}

impl Config {
    /// Whether other machines may reach a public listener.
    fn is_off_loopback(&self) -> bool {
        self.listen.iter().any(|address| !is_loopback(*address))
    }

    /// What is dangerous or surprising about these settings, and was allowed by `insecure` or because only this machine is served.
    pub fn dangers(&self) -> Vec<String> {
        let mut dangers = Vec::new();
        if self.is_off_loopback() && !self.publisher_is_keyed() {
            dangers.push("whoever reaches a listener may follow every topic: there is no publisher key".to_owned());
        }
        if self.is_off_loopback() && self.open_publish {
            dangers.push("whoever reaches a listener may publish: open_publish is on".to_owned());
        }
        if self.is_off_loopback() && !self.publisher_is_keyed() && self.host.is_empty() {
            let refused = "a Host that is neither loopback nor an address listened on gets 421: --host names others";
            dangers.push(refused.to_owned());
        }
        dangers
            .extend(self.weak_keys().into_iter().map(|(setting, weakness)| format!("{setting} is weak: {weakness}")));
        dangers
    }

    /// Keys that anybody could guess, and why.
    fn weak_keys(&self) -> Vec<(&'static str, String)> {
        let keys = [
            ("publisher_jwt_key", &self.publisher_jwt_key, self.publisher_jwt_alg),
            ("subscriber_jwt_key", &self.subscriber_jwt_key, self.subscriber_jwt_alg),
        ];
        let weak = |(setting, key, alg): (&'static str, &Option<JwtKey>, JwtAlg)| {
            Some((setting, weakness(alg, key.as_ref()?)?))
        };
        keys.into_iter().filter_map(weak).collect()
    }
}

/// Whether only this machine reaches the address. `::ffff:127.0.0.1` is loopback too.
fn is_loopback(address: SocketAddr) -> bool {
    address.ip().to_canonical().is_loopback()
}

/// Where the values came from, in the order of the table.
struct Sources {
    rows: Vec<Source>,
}

impl Sources {
    fn of(&self, key: &str) -> Option<&Source> {
        let index = SETTINGS.iter().position(|setting| setting.key() == key)?;
        self.rows.get(index)
    }

    fn is_default(&self, key: &str) -> bool {
        self.of(key).is_some_and(|source| matches!(source.origin, Origin::Default(_)))
    }

    /// Whether conclusions may be drawn from these: a value with a fault of its own would only produce a second one.
    fn sound(&self, keys: &[&str]) -> bool {
        keys.iter().all(|key| self.of(key).is_some_and(|source| source.sound))
    }

    fn origin(&self, key: &str) -> Origin {
        self.of(key).map_or(Origin::CommandLine, |source| source.origin.clone())
    }
}

struct Checks<'a> {
    config: &'a Config,
    sources: &'a Sources,
    rule_origins: &'a [Origin],
    faults: &'a mut Vec<Fault>,
}

impl Checks<'_> {
    fn run(&mut self) {
        self.listeners();
        self.public_listeners_are_protected();
        self.keys_are_keys();
        self.keys_are_strong();
        self.admin_is_protected();
        self.certificate_is_usable();
        self.sizes();
        self.durability();
        self.one_history();
        self.topic_rules();
    }

    fn fault(&mut self, key: &str, problem: impl Into<String>) {
        self.faults.push(Fault::new(self.sources.origin(key), problem));
    }

    fn listeners(&mut self) {
        if !self.sources.sound(&["listen", "admin_listen"]) {
            return;
        }
        if self.config.listen.is_empty() {
            self.fault("listen", "at least one address is needed, such as 127.0.0.1:8080");
        }
        let addresses: Vec<SocketAddr> = self.config.listen.iter().chain(&self.config.admin_listen).copied().collect();
        for (index, address) in addresses.iter().enumerate() {
            let earlier = addresses.get(..index).unwrap_or_default();
            if address.port() != 0 && earlier.contains(address) {
                let key = if index < self.config.listen.len() { "listen" } else { "admin_listen" };
                self.fault(key, format!("{address} is listened on already"));
            }
        }
    }

    /// Without a key anyone who reaches a listener may read and nobody or everybody may publish: never by accident.
    fn public_listeners_are_protected(&mut self) {
        let keys = ["publisher_jwt_key", "publisher_jwks_url"];
        if self.config.insecure || !self.sources.sound(&["listen", "insecure"]) || !self.sources.sound(&keys) {
            return;
        }
        if self.config.publisher_is_keyed() {
            if self.config.open_publish && self.config.is_off_loopback() && self.sources.sound(&["open_publish"]) {
                let problem = "whoever reaches the listener could publish, although there is a publisher key; turn it \
                               off, or set --insecure to accept that";
                self.fault("open_publish", problem);
            }
            return;
        }
        for address in self.config.listen.iter().filter(|address| !is_loopback(**address)) {
            let origin = self.sources.origin("listen");
            self.faults.push(Fault::new(
                origin,
                format!(
                    "{address} is not loopback and there is no publisher key, so whoever reaches it could follow every \
                     topic; set --publisher-jwt-key (and --subscriber-jwt-key), or listen on 127.0.0.1:{port}, or set \
                     --insecure to accept that (and --open-publish on to let anyone publish as well)",
                    port = address.port()
                ),
            ));
        }
    }

    fn keys_are_keys(&mut self) {
        let config = self.config;
        for (setting, alg_setting, key, alg) in [
            ("publisher_jwt_key", "publisher_jwt_alg", &config.publisher_jwt_key, config.publisher_jwt_alg),
            ("subscriber_jwt_key", "subscriber_jwt_alg", &config.subscriber_jwt_key, config.subscriber_jwt_alg),
        ] {
            let Some(key) = key.as_ref().filter(|_| self.sources.sound(&[setting, alg_setting])) else { continue };
            if let Err(error) = VerifyKey::parse(alg, key.reveal()) {
                self.fault(setting, error.to_string());
            }
        }
    }

    /// Other machines can try out keys: those that can be guessed are as good as none.
    fn keys_are_strong(&mut self) {
        let is_guarded = !self.config.insecure && self.config.is_off_loopback();
        if !is_guarded || !self.sources.sound(&["listen", "insecure"]) {
            return;
        }
        for (setting, weakness) in self.config.weak_keys() {
            if self.sources.sound(&[setting]) {
                let problem = format!(
                    "the secret is weak: {weakness}; make one with `openssl rand -hex 32`, or set --insecure to accept that"
                );
                self.fault(setting, problem);
            }
        }
    }

    fn admin_is_protected(&mut self) {
        let Some(address) = self.config.admin_listen.filter(|address| !is_loopback(*address)) else { return };
        if !self.sources.sound(&["admin_listen", "admin_token"]) {
            return;
        }
        match &self.config.admin_token {
            None => self.fault(
                "admin_listen",
                format!("{address} is not loopback, so --admin-token is required; or listen on 127.0.0.1, or off"),
            ),
            Some(token) if token.reveal().len() < TOKEN_BYTES_MIN => self.fault(
                "admin_token",
                format!("{address} is not loopback, so the token needs at least {TOKEN_BYTES_MIN} characters"),
            ),
            Some(_) => {}
        }
    }

    fn durability(&mut self) {
        let is_set = !self.sources.is_default("durability") && self.sources.sound(&["durability", "data_dir"]);
        if is_set && self.config.data_dir.is_none() && self.config.durability != Durability::Memory {
            let problem = format!("{} needs a --data-dir to keep events in", self.config.durability.as_str());
            self.fault("durability", problem);
        }
    }

    fn one_history(&mut self) {
        let keys = ["backplane", "data_dir"];
        if self.config.backplane.is_some() && self.config.data_dir.is_some() && self.sources.sound(&keys) {
            let problem = "the engine keeps the events, and so would the data_dir: set one of them";
            self.fault("backplane", problem);
        }
    }

    fn certificate_is_usable(&mut self) {
        if !self.sources.sound(&["tls_cert", "tls_key"]) {
            return;
        }
        match (&self.config.tls_cert, &self.config.tls_key) {
            (None, None) => (),
            (Some(_), None) => self.fault("tls_cert", "the certificate needs its key: set --tls-key"),
            (None, Some(_)) => self.fault("tls_key", "the key needs its certificate: set --tls-cert"),
            (Some(cert), Some(key)) => {
                if let Err(error) = check_certificate(cert, key) {
                    let at_fault = if error.is_of_key(key) { "tls_key" } else { "tls_cert" };
                    self.fault(at_fault, error.to_string());
                }
            }
        }
    }

    fn sizes(&mut self) {
        self.at_most("event_bytes_max", self.config.event_bytes_max, "ring_bytes_max", self.config.ring_bytes_max);
        self.at_most("ring_bytes_max", self.config.ring_bytes_max, "rings_bytes_max", self.config.rings_bytes_max);
    }

    fn at_most<T: Scalar>(&mut self, low_key: &str, low: T, high_key: &str, high: T) {
        if low > high && self.sources.sound(&[low_key, high_key]) {
            self.fault(
                low_key,
                format!(
                    "{} is more than {high_key}, which is {}; lower one or raise the other",
                    low.text(),
                    high.text()
                ),
            );
        }
    }

    fn topic_rules(&mut self) {
        for (index, (rule, origin)) in self.config.topics.iter().zip(self.rule_origins).enumerate() {
            let earlier = self.config.topics.get(..index).unwrap_or_default();
            if earlier.iter().any(|earlier| earlier.pattern == rule.pattern) {
                let problem = format!("an earlier table already matches `{}`", rule.pattern.as_str());
                self.faults.push(Fault::new(origin.clone(), problem));
            }
            let bytes = rule.ring_bytes_max.filter(|bytes| *bytes > self.config.rings_bytes_max);
            if let Some(bytes) = bytes.filter(|_| self.sources.sound(&["rings_bytes_max"])) {
                let (low, high) = (bytes.text(), self.config.rings_bytes_max.text());
                let problem = format!("its ring_bytes_max {low} is more than rings_bytes_max, which is {high}");
                self.faults.push(Fault::new(origin.clone(), problem));
            }
        }
    }
}
