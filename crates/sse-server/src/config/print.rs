//! The settings for reading: resolved as TOML, and all there are as Markdown.

use super::fault::ConfigError;
use super::setting::Setting;
use super::settings::{Config, SETTINGS};
use super::suggest::Layer;
use super::topic::TOPIC_SETTINGS;
use super::value::Notation;

impl Config {
    /// The resolved settings as a TOML file that gives them again. Secrets are left out, and said to be.
    pub fn to_toml(&self) -> String {
        let mut text = String::new();
        let mut group = "";
        for (setting, values) in self.shown() {
            if setting.group != group {
                group = setting.group;
                text.push_str(&format!("{}# {group}\n", if text.is_empty() { "" } else { "\n" }));
            }
            text.push_str(&toml_line(setting, &values));
        }
        for rule in &self.topics {
            text.push_str("\n[[topic]]\n");
            let given = rule.shown().into_iter().filter(|(_, values)| !values.is_empty());
            text.extend(given.map(|(setting, values)| toml_line(setting, &values)));
        }
        text
    }
}

fn toml_line(setting: &Setting, values: &[String]) -> String {
    let key = setting.key();
    if setting.kind.notation == Notation::Secret {
        return format!("# {key} is {}\n", if values.is_empty() { "not set" } else { "set (hidden)" });
    }
    let written: Vec<String> = values.iter().map(|value| toml_value(setting, value)).collect();
    let value = match written.as_slice() {
        written if setting.kind.list => format!("[{}]", written.join(", ")),
        // Said, not left out: the default may be another.
        [] => "\"off\"".to_owned(),
        [value, ..] => value.clone(),
    };
    let comment = if setting.rules.in_file { "" } else { "# " };
    format!("{comment}{key} = {value}\n")
}

fn toml_value(setting: &Setting, text: &str) -> String {
    match setting.kind.notation {
        Notation::Number => text.to_owned(),
        _ => toml::Value::from(text).to_string(),
    }
}

/// Every setting as Markdown, for the reference in the documentation.
pub fn reference_markdown() -> String {
    format!(
        "Flags, environment and the TOML file (`--config FILE`) are the same settings; later layers win: default, file, \
         environment, flag.\n\
         `--ring-frames-max` is `{}` in the environment and `ring_frames_max` in the file. A repeatable flag is a list \
         separated by commas in the environment and an array in the file.\n\
         Unknown names are refused, and every fault is listed at once (exit {}). What Kubernetes sets for a service called \
         `sse` or `sse-..` (`SSE_SERVER_PORT_8080_TCP_ADDR` and the like) is passed over.\n\n\
         Where a change needs a reload, the running server takes it on when the file changes, or one that an `@FILE` names, and \
         on SIGHUP. Where it needs a restart, a reload says so and leaves it.\n{}\n\
         ### `[[topic]]` tables in the file\n\n\
         The first table whose `match` fits a topic applies to it.\n\n{}",
        Layer::Environment.spell("ring_frames_max"),
        ConfigError::EXIT_CODE,
        grouped(SETTINGS),
        table(TOPIC_SETTINGS.iter(), Layer::File),
    )
}

fn grouped(settings: &[Setting]) -> String {
    let of_one_group = settings.chunk_by(|one, next| one.group == next.group);
    of_one_group
        .map(|group| {
            let heading = group.first().map_or("", |setting| setting.group);
            format!("\n### {heading}\n\n{}", table(group.iter(), Layer::Flag))
        })
        .collect()
}

fn table<'a>(settings: impl Iterator<Item = &'a Setting>, layer: Layer) -> String {
    let rows: String = settings.map(|setting| row(setting, layer)).collect();
    format!("| setting | default | meaning | a change needs |\n| --- | --- | --- | --- |\n{rows}")
}

fn row(setting: &Setting, layer: Layer) -> String {
    let repeatable = if setting.kind.list { " (repeatable)" } else { "" };
    let meaning = setting.doc_lines().collect::<Vec<_>>().join(" ");
    format!(
        "| `{} {}`{repeatable} | {} | {}{} | {} |\n",
        layer.spell(setting.key()),
        setting.kind.name.replace('|', "/"),
        setting.default_shown(),
        meaning.replace('|', "\\|"),
        bounds(setting),
        setting.applies.as_str(),
    )
}

fn bounds(setting: &Setting) -> String {
    match (setting.rules.at_least, setting.rules.at_most) {
        (Some(least), Some(most)) => format!(" From {least} to {most}."),
        (Some(least), None) => format!(" At least {least}."),
        (None, Some(most)) => format!(" At most {most}."),
        (None, None) => String::new(),
    }
}
