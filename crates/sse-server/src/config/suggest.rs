//! Answers to names that are no setting.

/// A setting's name as each layer writes it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Layer {
    File,
    Environment,
    Flag,
}

/// What every environment name of this server begins with.
pub(super) const ENVIRONMENT_PREFIX: &str = "SSE_";

impl Layer {
    /// `ring_frames_max`, `SSE_RING_FRAMES_MAX` or `--ring-frames-max`.
    pub(super) fn spell(self, key: &str) -> String {
        match self {
            Self::File => key.to_owned(),
            Self::Environment => format!("{ENVIRONMENT_PREFIX}{}", key.to_uppercase()),
            Self::Flag => format!("--{}", key.replace('_', "-")),
        }
    }
}

/// Says that `name` is no setting, and which one was probably meant.
pub(super) fn unknown<'a>(
    layer: Layer,
    name: &str,
    known: impl Iterator<Item = &'a str>,
    renamed: &[(&str, &str)],
) -> String {
    let key = as_key(name);
    if let Some((_, new)) = renamed.iter().find(|(old, _)| *old == key) {
        return format!("this setting is now `{}`", layer.spell(new));
    }
    match nearest(&key, known) {
        Some(meant) => format!("unknown setting, did you mean `{}`?", layer.spell(meant)),
        None => "unknown setting, `sse-server --help` lists them all".to_owned(),
    }
}

/// Any layer's spelling as a key.
fn as_key(name: &str) -> String {
    let name = name.strip_prefix(ENVIRONMENT_PREFIX).unwrap_or(name);
    name.trim_start_matches('-').replace('-', "_").to_lowercase()
}

/// The candidate most like `word`, if any is like it at all.
pub(super) fn nearest<'a>(word: &str, candidates: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    /// Below this likeness a suggestion misleads more often than it helps.
    const LIKENESS_MIN: f64 = 0.8;
    candidates
        .map(|candidate| (strsim::jaro_winkler(word, candidate), candidate))
        .filter(|(likeness, _)| *likeness >= LIKENESS_MIN)
        .max_by(|(a, _), (b, _)| a.total_cmp(b))
        .map(|(_, candidate)| candidate)
}
