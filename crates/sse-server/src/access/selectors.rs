//! Selectors of tokens and streams, each compiled once.

use quick_cache::sync::Cache;
use sse_hub::Selector;

/// Distinct selectors that are remembered; a compiled template takes a few KiB.
const SELECTORS_KEPT: usize = 4096;

/// Compiled selectors by their text. Most tokens say the same as the others, in the same templates.
pub(crate) struct SelectorCache(Cache<Box<str>, Selector>);

impl SelectorCache {
    pub(crate) fn new() -> Self {
        Self(Cache::new(SELECTORS_KEPT))
    }

    /// `None` if the text is no selector.
    pub(crate) fn compile(&self, text: &str) -> Option<Selector> {
        if !text.contains('{') {
            // There is nothing to compile.
            return Selector::parse(text).ok();
        }
        if let Some(selector) = self.0.get(text) {
            return Some(selector);
        }
        let selector = Selector::parse(text).ok()?;
        self.0.insert(text.into(), selector.clone());
        Some(selector)
    }
}

impl std::fmt::Debug for SelectorCache {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("SelectorCache").field("kept", &self.0.len()).finish()
    }
}
