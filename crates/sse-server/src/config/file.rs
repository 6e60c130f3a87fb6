//! The configuration file: from TOML to what it gives for each setting, with line numbers.

use std::fs::File;
use std::io::Read;
use std::ops::Range;
use std::path::{Path, PathBuf};

use toml::Spanned;
use toml::de::{DeString, DeTable, DeValue};

use super::fault::{Fault, Origin};
use super::setting::{Given, Setting};
use super::settings::SETTINGS;
use super::suggest::{Layer, unknown};
use super::topic::TOPIC_SETTINGS;
use super::value::Item;

/// Far above any real file; a wrong path such as a device must not fill the memory.
const FILE_BYTES_MAX: u64 = 4 * 1024 * 1024;

/// What one setting was given, by its row.
pub(super) type Entries = Vec<(&'static Setting, Given)>;

/// All that a file gives.
#[derive(Debug, Default)]
pub(super) struct FileLayer {
    pub(super) settings: Entries,
    /// The `[[topic]]` tables with the line each begins on.
    pub(super) topics: Vec<(Origin, Entries)>,
}

/// Reads the whole file as text; the problem comes back without its origin.
pub(super) fn read(path: &Path) -> Result<String, String> {
    let mut bytes = Vec::new();
    File::open(path)
        .and_then(|file| file.take(FILE_BYTES_MAX + 1).read_to_end(&mut bytes))
        .map_err(|error| format!("reading {}: {error}", path.display()))?;
    if bytes.len() as u64 > FILE_BYTES_MAX {
        return Err(format!("{} is larger than 4MiB", path.display()));
    }
    String::from_utf8(bytes).map_err(|_| format!("{} is not UTF-8", path.display()))
}

/// Reads what `text` gives. Faults are pushed, and what is right is kept all the same.
pub(super) fn parse(path: &Path, text: &str, renamed: &[(&str, &str)], faults: &mut Vec<Fault>) -> FileLayer {
    let file = Source { path, text, renamed };
    let (document, errors) = DeTable::parse_recoverable(text);
    for error in &errors {
        // Only the message: the rendering of the whole error quotes the line, and with it perhaps a secret.
        let origin = file.origin(error.span().unwrap_or_default(), "");
        faults.push(Fault::new(origin, error.message()));
    }
    file.layer(document.get_ref(), faults)
}

struct Source<'a> {
    path: &'a Path,
    text: &'a str,
    renamed: &'a [(&'a str, &'a str)],
}

impl Source<'_> {
    fn layer(&self, document: &DeTable<'_>, faults: &mut Vec<Fault>) -> FileLayer {
        let mut layer = FileLayer::default();
        for (key, value) in document {
            if key.get_ref() == "topic" {
                layer.topics = self.topics(key, value, faults);
            } else {
                layer.settings.extend(self.entry(SETTINGS, key, value, faults));
            }
        }
        layer
    }

    fn topics(
        &self,
        key: &Spanned<DeString<'_>>,
        value: &Spanned<DeValue<'_>>,
        faults: &mut Vec<Fault>,
    ) -> Vec<(Origin, Entries)> {
        let mut topics = Vec::new();
        for element in value.get_ref().as_array().into_iter().flat_map(|array| array.iter()) {
            if let DeValue::Table(table) = element.get_ref() {
                let entries =
                    table.iter().filter_map(|(key, value)| self.entry(TOPIC_SETTINGS, key, value, faults)).collect();
                topics.push((self.origin(element.span(), "topic"), entries));
            }
        }
        let elements = value.get_ref().as_array().map(|array| array.len());
        if elements != Some(topics.len()) {
            faults.push(Fault::new(self.origin(key.span(), "topic"), "expected tables headed [[topic]]"));
        }
        topics
    }

    fn entry(
        &self,
        known: &'static [Setting],
        key: &Spanned<DeString<'_>>,
        value: &Spanned<DeValue<'_>>,
        faults: &mut Vec<Fault>,
    ) -> Option<(&'static Setting, Given)> {
        let name = key.get_ref().as_ref();
        let origin = self.origin(key.span(), name);
        let Some(setting) = known.iter().find(|setting| setting.key() == name) else {
            let known = known.iter().filter(|setting| setting.rules.in_file).map(Setting::key);
            faults.push(Fault::new(origin, unknown(Layer::File, name, known, self.renamed)));
            return None;
        };
        if !setting.rules.in_file {
            let (flag, variable) = (Layer::Flag.spell(name), Layer::Environment.spell(name));
            faults.push(Fault::new(origin, format!("cannot stand in the file, set {flag} or {variable}")));
            return None;
        }
        let items = self.items(setting, name, value, faults)?;
        Some((setting, Given { origin, items }))
    }

    /// A list setting takes an array or one value, any other just one value.
    fn items(
        &self,
        setting: &Setting,
        key: &str,
        value: &Spanned<DeValue<'_>>,
        faults: &mut Vec<Fault>,
    ) -> Option<Vec<Item>> {
        let values: Vec<&Spanned<DeValue<'_>>> = match value.get_ref() {
            DeValue::Array(array) if setting.kind.list => array.iter().collect(),
            _ => vec![value],
        };
        let mut items = Vec::with_capacity(values.len());
        for value in values {
            let origin = self.origin(value.span(), key);
            match scalar_text(value.get_ref()) {
                Ok(text) => items.push(Item { text, origin }),
                Err(kind) => {
                    faults.push(Fault::new(origin, format!("expected {}, got {kind}", setting.kind.expected())));
                    return None;
                }
            }
        }
        Some(items)
    }

    fn origin(&self, span: Range<usize>, key: &str) -> Origin {
        let before = self.text.as_bytes().get(..span.start).unwrap_or_default();
        let line = 1 + before.iter().filter(|byte| **byte == b'\n').count();
        Origin::File { path: PathBuf::from(self.path), line, key: key.to_owned() }
    }
}

/// A TOML value as the text the other layers would have, or what it is instead.
fn scalar_text(value: &DeValue<'_>) -> Result<String, &'static str> {
    match value {
        DeValue::String(text) => Ok(text.clone().into_owned()),
        DeValue::Integer(integer) => i128::from_str_radix(integer.as_str(), integer.radix())
            .map(|number| number.to_string())
            .map_err(|_| "a number that is too large"),
        DeValue::Float(float) => Ok(float.as_str().to_owned()),
        DeValue::Boolean(true) => Ok("on".to_owned()),
        DeValue::Boolean(false) => Ok("off".to_owned()),
        DeValue::Datetime(time) => Ok(time.to_string()),
        DeValue::Array(_) => Err("a list"),
        DeValue::Table(_) => Err("a table"),
    }
}
