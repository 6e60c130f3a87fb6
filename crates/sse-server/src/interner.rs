//! Texts that many streams share, such as user agents.

use std::collections::HashSet;
use std::sync::Arc;

use parking_lot::Mutex;

/// Hands out one allocation per distinct text.
#[derive(Debug, Default)]
pub(crate) struct Interner {
    texts: Mutex<HashSet<Arc<str>, ahash::RandomState>>,
}

/// Distinct texts kept. Beyond it those without a stream are dropped, and if none is, a text stands alone: only memory is
/// lost.
const TEXTS_MAX: usize = 4096;

impl Interner {
    pub(crate) fn intern(&self, text: &str) -> Arc<str> {
        let mut texts = self.texts.lock();
        if let Some(known) = texts.get(text) {
            return known.clone();
        }
        if texts.len() >= TEXTS_MAX {
            texts.retain(|known| Arc::strong_count(known) > 1);
        }
        let text: Arc<str> = text.into();
        if texts.len() < TEXTS_MAX {
            texts.insert(text.clone());
        }
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn equal_texts_are_one() {
        let interner = Interner::default();
        assert!(Arc::ptr_eq(&interner.intern("a"), &interner.intern("a")));
    }

    #[test]
    fn the_table_is_bounded() {
        let interner = Interner::default();
        let held: Vec<Arc<str>> = (0..TEXTS_MAX + 10).map(|n| interner.intern(&n.to_string())).collect();
        assert_eq!(interner.texts.lock().len(), TEXTS_MAX);
        drop(held);
        interner.intern("one more");
        assert_eq!(interner.texts.lock().len(), 1);
    }
}
