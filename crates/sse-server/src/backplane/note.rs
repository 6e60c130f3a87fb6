//! What nodes tell each other, through the same stream as events.

use std::net::IpAddr;

use serde::{Deserialize, Serialize};
use serde_json::Value;
use uuid::Uuid;

use crate::access::Revocation;

/// One node's word.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Note {
    /// Whose it is. Of a node that is gone another one tells.
    pub(crate) node: Uuid,
    #[serde(flatten)]
    pub(crate) said: Said,
}

/// What it says.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "say", rename_all = "snake_case")]
pub(crate) enum Said {
    /// What was known of this node counts no longer; it tells anew. If it asks, all others are to tell, too.
    Hello { asks: bool },
    /// It is there.
    Alive,
    /// A part of what it has.
    Have { present: Vec<Presence>, revoked: Vec<Revocation> },
    /// A subscription has begun.
    Entered { present: Presence },
    /// One has ended.
    Left { present: Presence },
    /// Tokens are to count no longer.
    Revoked { revocation: Revocation },
    /// They count again.
    Restored { revocation: Revocation },
    /// This subject's streams are to end, those of one topic or from one address if that is said.
    Kick {
        subject: Box<str>,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        topic: Option<Box<str>>,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        ip: Option<IpAddr>,
    },
}

/// A subscription that others may follow.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Presence {
    pub(crate) selector: String,
    pub(crate) subscriber: Uuid,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) payload: Option<Value>,
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, UNIX_EPOCH};

    use super::*;
    use crate::access::Revoked;

    #[test]
    fn notes_come_back_as_they_were() {
        let present =
            Presence { selector: "a{b}".to_owned(), subscriber: Uuid::nil(), payload: Some(Value::Bool(true)) };
        let revocation = Revocation::new(Revoked::Id("x".into()), Some(UNIX_EPOCH + Duration::from_secs(7)));
        for said in [
            Said::Hello { asks: true },
            Said::Alive,
            Said::Have { present: vec![present.clone()], revoked: vec![revocation.clone()] },
            Said::Entered { present: present.clone() },
            Said::Left { present },
            Said::Revoked { revocation: revocation.clone() },
            Said::Restored { revocation },
            Said::Kick { subject: "ada".into(), topic: None, ip: Some(IpAddr::from([127, 0, 0, 1])) },
        ] {
            let note = Note { node: Uuid::nil(), said };
            let text = serde_json::to_string(&note).unwrap();
            assert_eq!(serde_json::from_str::<Note>(&text).unwrap(), note, "{text}");
        }
    }
}
