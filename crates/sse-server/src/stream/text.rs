//! Events as the bytes of a stream.

use bytes::Bytes;
use sse_hub::{Batch, Item};

use super::{Framing, Notices, Shape, envelope_frame, push_frame};
use crate::compression::Secrecy;

/// Whether a batch may be compressed.
pub(crate) fn secrecy(batch: &Batch) -> Secrecy {
    if batch.has_private() { Secrecy::Private } else { Secrecy::Public }
}

/// The items' bytes on a stream of this kind. A single frame is shared with the ring; several are put together once.
pub(crate) fn encode(items: &[Item], shape: Shape, framing: Framing, notices: Notices) -> Bytes {
    let is_shown = |item: &&Item| notices == Notices::On || !item.is_end;
    if let ([item], Shape::Plain) = (items, shape)
        && is_shown(&item)
    {
        return match framing {
            Framing::Chunked => item.frame.chunk().clone(),
            Framing::UntilClose => item.frame.text(),
        };
    }
    let mut bytes = Vec::with_capacity(items.iter().map(|item| item.frame.chunk().len()).sum());
    for item in items.iter().filter(is_shown) {
        match shape {
            Shape::Plain => push_frame(&mut bytes, &item.frame, framing),
            Shape::Envelope => push_frame(&mut bytes, &envelope_frame(item), framing),
        }
    }
    Bytes::from(bytes)
}
