//! What is printed: settings as TOML, and the reference.

use super::super::reference_markdown;
use super::super::setting::{Rules, Setting};
use super::super::settings::SETTINGS;
use super::super::topic::TOPIC_SETTINGS;
use super::*;

#[test]
fn printed_settings_load_again() {
    let file = "\
listen = ['127.0.0.1:1', '[::1]:2']
admin_listen = 'off'
ready_file = \"quote\\\" back\\\\slash\"
retry = '1500ms'
retry_jitter = 0.125
connection_age_max = '90m'
cors_origin = ['https://a.example', 'http://[::1]:3000', 'http://[::1]']
host = ['a.example', '::1']
trusted_proxy = ['10.0.0.0/8', '2001:db8::/32', '192.0.2.1']
connections_per_ip_max = 7
busy_reply = '503'
coalesce_window = '250us'
open_publish = false
[[topic]]
match = '/a/{b}'
preset = 'bursty'
ring_bytes_max = '100KiB'
[[topic]]
match = '*'
slow_policy = 'latest'
";
    let first = config(file, &[], &[]);
    let second = config(&first.to_toml(), &[], &[]);
    assert_eq!(first, second, "{}", first.to_toml());
    assert_eq!(first.topics.len(), 2);
}

fn all() -> impl Iterator<Item = &'static Setting> {
    SETTINGS.iter().chain(TOPIC_SETTINGS)
}

/// A limit that does not parse would hold nobody back.
#[test]
fn bounds_are_values_of_their_setting() {
    let mut bounds = 0;
    for setting in SETTINGS {
        let Rules { at_least, at_most, .. } = setting.rules;
        for bound in [at_least, at_most].into_iter().flatten() {
            let args = [format!("{}={bound}", super::super::suggest::Layer::Flag.spell(setting.key()))];
            let found = load("ring_bytes_max = '1GiB'", &[], &[args[0].as_str()]);
            assert!(found.is_ok(), "{}: {found:?}", setting.key());
            bounds += 1;
        }
    }
    assert!(bounds > 5);
}

#[test]
fn keys_are_unique_and_spelt_alike() {
    let keys: Vec<&str> = SETTINGS.iter().map(Setting::key).collect();
    for (index, key) in keys.iter().enumerate() {
        assert!(!keys[..index].contains(key), "{key} is declared twice");
        assert!(key.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'_'), "{key}");
    }
}

#[test]
fn the_reference_names_everything() {
    let text = reference_markdown();
    for setting in all() {
        let name = match SETTINGS.iter().any(|other| std::ptr::eq(other, setting)) {
            true => super::super::suggest::Layer::Flag.spell(setting.key()),
            false => setting.key().to_owned(),
        };
        let row =
            text.lines().find(|line| line.starts_with(&format!("| `{name} "))).unwrap_or_else(|| panic!("{name}"));
        let cells: Vec<&str> = row.split(" | ").collect();
        assert_eq!(cells.len(), 4, "{row}");
        assert_eq!(cells[1], setting.default_shown(), "{row}");
        assert!(cells[2].ends_with(['.', '`']), "a sentence: {row}");
        assert_eq!(cells[3], format!("{} |", setting.applies.as_str()), "{row}");
    }
    let headings: Vec<&str> = text.lines().filter_map(|line| line.strip_prefix("### ")).collect();
    let mut groups: Vec<&str> = SETTINGS.iter().map(|setting| setting.group).collect();
    groups.dedup();
    groups.push("`[[topic]]` tables in the file");
    assert_eq!(headings, groups);
    assert_eq!(text.matches(" (repeatable) |").count(), 5, "{text}");
    assert!(text.contains("`--listen ADDR` (repeatable) | 127.0.0.1:8080 |"), "{text}");
    assert!(text.contains("| cores |") && text.contains("| a quarter of memory |"), "{text}");
    assert!(text.contains("From 1ms to 24h."), "{text}");
    assert!(text.contains("evict/skip/latest"), "{text}");
}
