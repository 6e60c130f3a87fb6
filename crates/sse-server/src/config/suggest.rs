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

/// Says that `name` is no setting of the file or the environment, and which one was probably meant.
pub(super) fn unknown<'a>(
    layer: Layer,
    name: &str,
    known: impl Iterator<Item = &'a str>,
    renamed: &[(&str, &str)],
) -> String {
    let meant = nearest(&as_key(name), known).map(|key| layer.spell(key));
    renamed_or_unknown(layer, name, meant, renamed)
}

/// Says that `flag` is none of this command; `meant` is the one most like it.
pub(super) fn unknown_flag(flag: &str, meant: Option<&str>, renamed: &[(&str, &str)]) -> String {
    renamed_or_unknown(Layer::Flag, flag, meant.map(str::to_owned), renamed)
}

fn renamed_or_unknown(layer: Layer, name: &str, meant: Option<String>, renamed: &[(&str, &str)]) -> String {
    let key = as_key(name);
    let new = renamed.iter().find(|(old, _)| *old == key).map(|(_, new)| layer.spell(new));
    let noun = if layer == Layer::Flag { "flag" } else { "setting" };
    match (new, meant) {
        (Some(new), _) => format!("this {noun} is now `{new}`"),
        (None, Some(meant)) => format!("unknown {noun}, did you mean `{meant}`?"),
        (None, None) => format!("unknown {noun}, `--help` lists them all"),
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
