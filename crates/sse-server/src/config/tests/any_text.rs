//! Whatever is written: read or refused, never a panic, and what is read is printed so that it reads the same.

use std::net::SocketAddr;
use std::num::NonZeroUsize;
use std::path::PathBuf;
use std::time::Duration;

use proptest::prelude::*;

use super::super::settings::SETTINGS;
use super::super::suggest::Layer;
use super::super::value::Scalar;
use super::super::{
    ByteSize, ClaimText, CookieName, HostName, JwksUrl, LogLevel, Network, OriginPattern, Ratio, RequiredClaims,
    TopicPattern, WebOrigin,
};
use super::*;

/// Texts near what the types take, so that the edges of their grammars are met.
fn texts() -> impl Strategy<Value = String> {
    prop_oneof![
        "[0-9_]{0,22} ?(us|ms|s|m|h|d|B|KiB|MiB|GiB|TiB|)",
        "-?[0-9]{0,3}\\.?[0-9]{0,3}(e[0-9]{1,3})?",
        "(https?://)?[\\[\\]a-zA-Z0-9:.*-]{0,12}(:[0-9]{1,5})?",
        "[0-9a-f:.]{0,16}/[0-9]{0,3}",
        "(on|off|true|evict|503|info|\\*|localhost:[0-9]{1,5})",
        "\\PC{0,12}",
        any::<String>(),
    ]
}

fn reads_back<T: Scalar + std::fmt::Debug>(text: &str) {
    if let Ok(value) = T::parse(text) {
        let again = T::parse(&value.text());
        assert!(again.as_ref().is_ok_and(|again| *again == value), "{text:?}: {value:?}, then {again:?}");
    }
}

proptest! {
    #[test]
    fn values_read_back(text in texts()) {
        reads_back::<bool>(&text);
        reads_back::<NonZeroUsize>(&text);
        reads_back::<Duration>(&text);
        reads_back::<ByteSize>(&text);
        reads_back::<Ratio>(&text);
        reads_back::<SocketAddr>(&text);
        reads_back::<PathBuf>(&text);
        reads_back::<HostName>(&text);
        reads_back::<Network>(&text);
        reads_back::<WebOrigin>(&text);
        reads_back::<LogLevel>(&text);
        reads_back::<OriginPattern>(&text);
        reads_back::<JwksUrl>(&text);
        reads_back::<RequiredClaims>(&text);
        reads_back::<CookieName>(&text);
        reads_back::<ClaimText>(&text);
        reads_back::<TopicPattern>(&text);
    }

    #[test]
    fn every_layer_takes_or_refuses(index in 0..SETTINGS.len(), text in texts(), file in "[\\PC\\n]{0,40}") {
        let key = SETTINGS[index].key();
        // Tokens may name files to read; this is about texts.
        prop_assume!(!text.trim_start().starts_with('@'));
        let quoted = toml::Value::from(text.as_str());
        let variable = Layer::Environment.spell(key);
        let flag = format!("{}={text}", Layer::Flag.spell(key));
        for (file, env, args) in [
            (file, vec![], vec![]),
            (format!("{key} = {quoted}"), vec![], vec![]),
            (format!("[[topic]]\nmatch = {quoted}\n{key} = {quoted}"), vec![], vec![]),
            (format!("{key} = {text}"), vec![], vec![]),
            (String::new(), vec![(variable.as_str(), text.as_str())], vec![]),
            (String::new(), vec![], vec![flag.as_str()]),
            (String::new(), vec![], vec![text.as_str(), flag.as_str()]),
        ] {
            match load(&file, &env, &args) {
                Ok(Command::Serve(config)) => {
                    let printed = config.to_toml();
                    let mut again = super::config(&printed, &[], &[]);
                    again.config = config.config.clone();
                    again.admin_token = config.admin_token.clone();
                    again.publisher_jwt_key = config.publisher_jwt_key.clone();
                    again.subscriber_jwt_key = config.subscriber_jwt_key.clone();
                    prop_assert_eq!(*config, again);
                }
                Ok(_) => {}
                Err(error) => prop_assert!(!error.faults().is_empty() && error.to_string().lines().count() == error.faults().len()),
            }
        }
    }
}
