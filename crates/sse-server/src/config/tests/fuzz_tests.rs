//! Fuzz target: files, environments and command lines. They are read or refused, and what is read is printed so that it reads the
//! same.

use bolero::{TypeGenerator, check};

use super::super::settings::SETTINGS;
use super::super::suggest::Layer;
use super::*;
use crate::pieces::text;

const VALUES: &[&str] = &[
    "on",
    "off",
    "0",
    "1",
    "-1",
    "99999999999999999999",
    "5s",
    "10ms",
    "4MiB",
    "0.25",
    "evict",
    "interval",
    "HS256",
    ",",
    "exp,aud",
    "127.0.0.1:8080",
    "[::1]:0",
    "https://example.com",
    "redis://127.0.0.1",
    "nats://",
    "::/64",
    "*",
    "{id}",
    "\"",
    "'",
    "\n",
    "[[topic]]\nmatch = ",
    "=",
    " ",
    "#",
    "true",
    "[",
    "]",
    "\\",
];

#[derive(Debug, Clone, TypeGenerator)]
struct Line {
    setting: u8,
    is_quoted: bool,
    value: Vec<u8>,
}

impl Line {
    fn key(&self) -> &'static str {
        SETTINGS[usize::from(self.setting) % SETTINGS.len()].key()
    }

    /// Texts only: keys may name files to read.
    fn value(&self) -> String {
        String::from_utf8_lossy(&text(VALUES, &self.value)).replace('@', "")
    }
}

#[derive(Debug, Clone, TypeGenerator)]
struct Given {
    file: Vec<Line>,
    rest: Vec<u8>,
    environment: Vec<Line>,
    flags: Vec<Line>,
}

/// Lines of each layer: more only take longer.
const LINES_MAX: usize = 6;

#[test]
fn configurations() {
    check!().with_type::<Given>().for_each(|given| {
        let line = |line: &Line| {
            let value = line.value();
            let value = if line.is_quoted { toml::Value::from(value).to_string() } else { value };
            format!("{} = {value}\n", line.key())
        };
        let lines: String = given.file.iter().take(LINES_MAX).map(line).collect();
        let file = lines + &String::from_utf8_lossy(&text(VALUES, &given.rest)).replace('@', "");
        let variable = |line: &Line| (Layer::Environment.spell(line.key()), line.value());
        let environment: Vec<(String, String)> = given.environment.iter().take(LINES_MAX).map(variable).collect();
        let environment: Vec<(&str, &str)> =
            environment.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
        let flag = |line: &Line| format!("{}={}", Layer::Flag.spell(line.key()), line.value());
        let flags: Vec<String> = given.flags.iter().take(LINES_MAX).map(flag).collect();
        let flags: Vec<&str> = flags.iter().map(String::as_str).collect();
        match load(&file, &environment, &flags) {
            Ok(Command::Serve(config)) => {
                let mut again = super::config(&config.to_toml(), &[], &[]);
                // Where it was read from, and secrets, which are not printed.
                again.config.clone_from(&config.config);
                again.admin_token.clone_from(&config.admin_token);
                again.publisher_jwt_key.clone_from(&config.publisher_jwt_key);
                again.subscriber_jwt_key.clone_from(&config.subscriber_jwt_key);
                assert_eq!(*config, again);
            }
            Ok(_) => (),
            Err(error) => {
                assert!(!error.faults().is_empty());
                assert_eq!(error.to_string().lines().count(), error.faults().len(), "{error}");
            }
        }
    });
}
