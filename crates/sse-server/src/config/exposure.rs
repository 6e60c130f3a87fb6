//! What strangers may do.

use super::Config;
use super::checks::is_loopback;

impl Config {
    /// What whoever reaches the server may do without a token, if it can be reached from beyond this machine.
    pub fn exposure(&self) -> Option<String> {
        if !self.insecure || self.listen.iter().all(|address| is_loopback(*address)) {
            return None;
        }
        let rights: Vec<&str> = [(self.anonymous, "follow every topic"), (self.open_publish, "publish")]
            .into_iter()
            .filter_map(|(is_open, right)| is_open.then_some(right))
            .collect();
        let may = (!rights.is_empty()).then(|| format!("whoever reaches it may {}", rights.join(" and ")));
        let hosts =
            "any Host but loopback names and the addresses listened on gets 421: set --host to each name it has";
        let hosts = self.host.is_empty().then(|| hosts.to_owned());
        let told: Vec<String> = may.into_iter().chain(hosts).collect();
        (!told.is_empty()).then(|| told.join("; "))
    }
}
