use super::*;

fn parsed(text: &str) -> Address {
    Address::parse(text).unwrap_or_else(|fault| panic!("{text}: {fault}"))
}

fn nodes(text: &str) -> Vec<String> {
    parsed(text).nodes.iter().map(ToString::to_string).collect()
}

#[test]
fn schemes_say_which_engine_and_whether_it_is_encrypted() {
    for (text, kind, encrypted) in [
        ("redis://a", EngineKind::Redis, false),
        ("rediss://a", EngineKind::Redis, true),
        ("nats://a", EngineKind::Nats, false),
        ("tls://a", EngineKind::Nats, true),
    ] {
        let address = parsed(text);
        assert_eq!((address.kind, address.encrypted), (kind, encrypted), "{text}");
    }
}

#[test]
fn nodes_have_the_ports_of_their_engine() {
    assert_eq!(nodes("redis://a"), ["a:6379"]);
    assert_eq!(nodes("nats://a,b:1,[::1],[::1]:2"), ["a:4222", "b:1", "[::1]:4222", "[::1]:2"]);
    assert_eq!(nodes("redis://127.0.0.1:7000,redis://Host.Example:7001"), ["127.0.0.1:7000", "host.example:7001"]);
}

#[test]
fn credentials_are_decoded_and_hidden() {
    let address = parsed("redis://us%40er:p%2C%3A%2Fw@a:1/3");
    let password = Password("p,:/w".to_owned());
    assert_eq!(address.credentials, Credentials::Password { user: Some("us@er".to_owned()), password });
    assert_eq!(address.database, 3);
    assert_eq!(address.to_string(), "redis://a:1/3");
    assert_eq!(format!("{address:?} {:?}", address.credentials).matches("p,").count(), 0);
    let Credentials::Password { user: None, .. } = parsed("rediss://:secret@a").credentials else { panic!("a user") };
    assert_eq!(parsed("nats://t0ken@a").credentials, Credentials::Token(Password("t0ken".to_owned())));
}

#[test]
fn options_are_said_once_or_alike() {
    let address = parsed("rediss://a?ca=/etc/ca.pem&master=main,b?master=main");
    assert_eq!(address.options.ca, Some("/etc/ca.pem".into()));
    assert_eq!(address.options.master.as_deref(), Some("main"));
    let address = parsed("nats://a?creds=/run/n.creds&replicas=3");
    assert_eq!((address.options.creds, address.options.replicas), (Some("/run/n.creds".into()), Some(3)));
}

#[test]
fn what_is_wrong_is_said_without_secrets() {
    for (text, fault) in [
        ("", AddressFault::Scheme),
        ("localhost:6379", AddressFault::Scheme),
        ("http://a", AddressFault::Scheme),
        ("redis://a,nats://b", AddressFault::OtherScheme("redis")),
        ("redis://", AddressFault::NoHost(1)),
        ("redis://a,", AddressFault::NoHost(2)),
        ("redis://:5", AddressFault::NoHost(1)),
        ("redis://a b", AddressFault::Host(1)),
        ("redis://[::1", AddressFault::Host(1)),
        ("redis://[::1]5", AddressFault::Host(1)),
        ("redis://a:0", AddressFault::Port(1)),
        ("redis://a,b:70000", AddressFault::Port(2)),
        ("redis://secret@a", AddressFault::NoPassword),
        ("redis://u:%ff@a", AddressFault::Encoding),
        ("redis://a/x", AddressFault::Database),
        ("redis://a/-1", AddressFault::Database),
        ("nats://a/1", AddressFault::Path("NATS")),
        ("redis://u:p@a,u:q@b", AddressFault::Different("users or passwords")),
        ("redis://a/1,b/2", AddressFault::Different("databases")),
        ("redis://a?creds=x", AddressFault::Option("Redis", "ca and master")),
        ("nats://a?master=x", AddressFault::Option("NATS", "ca, creds and replicas")),
        ("rediss://a?ca=", AddressFault::OptionEmpty("ca")),
        ("redis://a?ca=/x", AddressFault::CaUnused("rediss")),
        ("nats://a?replicas=9", AddressFault::Replicas),
        ("nats://u:p@a?creds=/x", AddressFault::TwoCredentials),
    ] {
        assert_eq!(Address::parse(text), Err(fault), "{text}");
    }
    for text in ["redis://u:hunter2/x@a", "redis://u:hunter2,@a", "nats://hunter2", "redis://hunter2@a", "hunter2"] {
        if let Err(fault) = Address::parse(text) {
            assert!(!fault.to_string().contains("hunter"), "{fault}");
        }
    }
}

proptest::proptest! {
    #[test]
    fn no_text_is_too_strange(text in "(redis|rediss|nats|tls)?(://)?[a-z@:/?,%\\[\\]0-9&=\\PC]{0,40}") {
        if let Ok(address) = Address::parse(&text) {
            proptest::prop_assert!(!address.nodes.is_empty());
            proptest::prop_assert!(Address::parse(&address.to_string()).is_ok(), "{}", address);
        }
    }
}
