//! The commands of clients: `publish`, `subscribe`, `health`, `token` and `top`.

use clap::{Arg, ArgAction, ArgMatches, Command as Clap};

use super::command::Command;

/// `sse-server publish URL`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PublishArgs {
    /// Where to publish.
    pub url: String,
    /// The event's data; without it each line of standard input is one event.
    pub data: Option<String>,
    /// The event's type.
    pub event_type: Option<String>,
    /// The event's id.
    pub id: Option<String>,
    /// The token to publish with, or `@FILE`.
    pub token: Option<HiddenText>,
}

/// `sse-server subscribe URL`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SubscribeArgs {
    /// What to follow.
    pub url: String,
    /// The id to resume after.
    pub last_event_id: Option<String>,
    /// The token to follow with, or `@FILE`.
    pub token: Option<HiddenText>,
}

/// `sse-server health [URL]`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HealthArgs {
    /// What to ask.
    pub url: String,
}

/// `sse-server token`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TokenArgs {
    /// The secret or private key, or `@FILE`.
    pub key: Option<HiddenText>,
    /// How to sign; `HS256` by default.
    pub alg: Option<String>,
    /// Selectors of what may be published.
    pub publish: Vec<String>,
    /// Selectors of the private events that may be seen.
    pub subscribe: Vec<String>,
    /// JSON to be shown in subscription documents.
    pub payload: Option<String>,
    /// Whom it is for: `sub`.
    pub subject: Option<String>,
    /// Its name: `jti`.
    pub id: Option<String>,
    /// Who makes it: `iss`.
    pub issuer: Option<String>,
    /// Who is to take it: `aud`.
    pub audience: Option<String>,
    /// The key's name in a set: `kid`.
    pub kid: Option<String>,
    /// How long it lives, or `off` for ever; an hour by default.
    pub expires_in: Option<String>,
}

/// `sse-server top`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TopArgs {
    /// The admin listener.
    pub url: String,
    /// Its token, or `@FILE`.
    pub token: Option<HiddenText>,
    /// Print once, as text.
    pub once: bool,
    /// How long each picture stands.
    pub interval: Option<String>,
}

/// An argument that is never printed.
#[derive(Clone, PartialEq, Eq)]
pub struct HiddenText(pub String);

impl std::fmt::Debug for HiddenText {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("HiddenText(hidden)")
    }
}

pub(super) fn commands() -> [Clap; 5] {
    [publish(), subscribe(), health(), token(), top()]
}

fn top() -> Clap {
    Clap::new("top")
        .about("Watch a server: rates, the busiest topics, the slowest subscribers; q ends it")
        .arg(Arg::new("url").value_name("URL").default_value("http://127.0.0.1:8081").help("The admin listener"))
        .arg(text("token", "TOKEN", "The admin token; @FILE reads it from a file"))
        .arg(Arg::new("once").long("once").action(ArgAction::SetTrue).help("Print once, as text, as into a pipe"))
        .arg(text("interval", "DURATION", "How long to wait between two looks [default: 2s]"))
}

fn publish() -> Clap {
    Clap::new("publish")
        .about("Publish one event, or one for each line of standard input")
        .arg(url().help("Where to publish, such as http://127.0.0.1:8080/events/news"))
        .arg(text("data", "DATA", "The event's data, instead of standard input"))
        .arg(text("type", "TYPE", "The event's type"))
        .arg(text("id", "ID", "The event's id"))
        .arg(text("token", "TOKEN", "The token to publish with; @FILE reads it from a file"))
}

fn subscribe() -> Clap {
    Clap::new("subscribe")
        .about("Follow and print events; reconnects after its last id")
        .arg(url().help("What to follow, such as http://127.0.0.1:8080/events/news"))
        .arg(text("last-event-id", "ID", "Resume after this id; `earliest` for all that is kept"))
        .arg(text("token", "TOKEN", "The token to follow with; @FILE reads it from a file"))
}

fn health() -> Clap {
    let url = url().required(false).default_value("http://127.0.0.1:8081/livez");
    Clap::new("health")
        .about("Ask a server's admin listener whether it is well; exit 1 if not")
        .arg(url.help("What to ask: /livez, or /readyz for whether publishing works"))
}

fn token() -> Clap {
    Clap::new("token")
        .about("Make a token (a JWT) and print it")
        .arg(
            text("key", "KEY", "The secret, or a private key in PEM (PKCS #8); @FILE reads it from a file")
                .required(true),
        )
        .arg(text("alg", "ALG", "How to sign, such as ES256 [default: HS256]"))
        .arg(text("publish", "SELECTOR", "A topic, template or * it may publish to").action(ArgAction::Append))
        .arg(
            text("subscribe", "SELECTOR", "A topic, template or * whose private events it may see")
                .action(ArgAction::Append),
        )
        .arg(text("payload", "JSON", "What subscription documents show"))
        .arg(text("subject", "TEXT", "Whom it is for (sub)"))
        .arg(text("id", "TEXT", "Its own name (jti)"))
        .arg(text("issuer", "TEXT", "Who makes it (iss)"))
        .arg(text("audience", "TEXT", "Who is to take it (aud)"))
        .arg(text("kid", "TEXT", "The key's name in its set"))
        .arg(text("expires-in", "DURATION", "How long it lives, such as 15m; off for ever [default: 1h]"))
}

fn url() -> Arg {
    Arg::new("url").value_name("URL").required(true)
}

fn text(name: &'static str, value: &'static str, help: &'static str) -> Arg {
    Arg::new(name).long(name).value_name(value).allow_hyphen_values(true).help(help)
}

/// What was given to the command of this name.
pub(super) fn read(name: &str, matches: &ArgMatches) -> Command {
    match name {
        "publish" => Command::Publish(PublishArgs {
            url: given(matches, "url").unwrap_or_default(),
            data: given(matches, "data"),
            event_type: given(matches, "type"),
            id: given(matches, "id"),
            token: given(matches, "token").map(HiddenText),
        }),
        "subscribe" => Command::Subscribe(SubscribeArgs {
            url: given(matches, "url").unwrap_or_default(),
            last_event_id: given(matches, "last-event-id"),
            token: given(matches, "token").map(HiddenText),
        }),
        "top" => Command::Top(TopArgs {
            url: given(matches, "url").unwrap_or_default(),
            token: given(matches, "token").map(HiddenText),
            once: matches.get_flag("once"),
            interval: given(matches, "interval"),
        }),
        "health" => Command::Health(HealthArgs { url: given(matches, "url").unwrap_or_default() }),
        _ => Command::Token(Box::new(token_args(matches))),
    }
}

fn token_args(matches: &ArgMatches) -> TokenArgs {
    let several = |name: &str| matches.get_many::<String>(name).into_iter().flatten().cloned().collect();
    TokenArgs {
        key: given(matches, "key").map(HiddenText),
        alg: given(matches, "alg"),
        publish: several("publish"),
        subscribe: several("subscribe"),
        payload: given(matches, "payload"),
        subject: given(matches, "subject"),
        id: given(matches, "id"),
        issuer: given(matches, "issuer"),
        audience: given(matches, "audience"),
        kid: given(matches, "kid"),
        expires_in: given(matches, "expires-in"),
    }
}

fn given(matches: &ArgMatches, name: &str) -> Option<String> {
    matches.get_one::<String>(name).cloned()
}
