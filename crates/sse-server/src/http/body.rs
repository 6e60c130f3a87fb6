//! Bodies of requests: read into memory, within bounds for each and for all of them.

use std::sync::Arc;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use http_body_util::BodyExt;
use hyper::StatusCode;
use hyper::body::Body;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::{Problem, declared_len};

/// How long a publisher may take to send its body.
const BODY_DEADLINE: Duration = Duration::from_secs(15);
/// How long a large body waits until those before it are read.
const ROOM_DEADLINE: Duration = Duration::from_secs(10);
/// Bytes of large bodies in memory at a time: four batches of the largest kind, or 64 events of a mebibyte.
const BYTES_MAX: u32 = 64 << 20;
/// A smaller body needs no room of its own: the number of connections bounds those.
const SMALL_BYTES: usize = 64 << 10;

/// The room for bodies.
#[derive(Debug)]
pub(crate) struct Bodies {
    /// A permit for each byte.
    room: Arc<Semaphore>,
    bytes_max: u32,
}

/// A body's room, free again when this is dropped: once what was read is queued or published.
#[derive(Debug)]
#[must_use = "the body's bytes are still there"]
pub(crate) struct BodyShare(#[expect(dead_code, reason = "its drop is what matters")] Option<OwnedSemaphorePermit>);

impl Default for Bodies {
    fn default() -> Self {
        Self::new(BYTES_MAX)
    }
}

impl Bodies {
    fn new(bytes_max: u32) -> Self {
        Self { room: Arc::new(Semaphore::new(bytes_max as usize)), bytes_max }
    }

    /// Reads a body of a publisher, once there is room for it.
    ///
    /// # Errors
    /// 413 for one that is too large, 408 for one that does not come, 503 when there is no room.
    pub(crate) async fn read<B>(&self, body: B, bytes_max: usize) -> Result<(Bytes, BodyShare), Problem>
    where
        B: Body<Data = Bytes> + Unpin,
    {
        check_declared(&body, bytes_max)?;
        let share = self.share(&body, bytes_max).await?;
        Ok((receive(body, bytes_max).await?, share))
    }

    async fn share<B: Body>(&self, body: &B, bytes_max: usize) -> Result<BodyShare, Problem> {
        // One that does not say how large it is may be as large as may be.
        let bytes = body.size_hint().upper().map_or(bytes_max, |bytes| bytes.min(bytes_max as u64) as usize);
        if bytes <= SMALL_BYTES {
            return Ok(BodyShare(None));
        }
        // One alone is read however large it is.
        let bytes = u32::try_from(bytes).unwrap_or(u32::MAX).min(self.bytes_max);
        let room = self.room.clone().acquire_many_owned(bytes);
        match tokio::time::timeout(ROOM_DEADLINE, room).await {
            Ok(Ok(permit)) => Ok(BodyShare(Some(permit))),
            _ => {
                let detail = "too many large bodies are being read";
                Err(Problem::unavailable("bodies_busy", detail, Duration::from_secs(1)))
            }
        }
    }
}

/// Reads a body within its bound and deadline.
///
/// # Errors
/// 413, 408, or 400 for one that breaks off.
pub(crate) async fn read_body<B>(body: B, bytes_max: usize) -> Result<Bytes, Problem>
where
    B: Body<Data = Bytes> + Unpin,
{
    check_declared(&body, bytes_max)?;
    receive(body, bytes_max).await
}

/// Waits for a body whose declared length was found to be within its bound.
async fn receive<B>(body: B, bytes_max: usize) -> Result<Bytes, Problem>
where
    B: Body<Data = Bytes> + Unpin,
{
    // An empty body is there already; most small ones arrived with their head.
    if body.is_end_stream() {
        return Ok(Bytes::new());
    }
    match tokio::time::timeout(BODY_DEADLINE, collect(body, bytes_max)).await {
        Ok(collected) => collected,
        Err(_) => Err(Problem::new(StatusCode::REQUEST_TIMEOUT, "body_timeout", "the body did not arrive in time")),
    }
}

/// All of it in one place, each byte copied once: pieces kept until the last has come would be there twice.
async fn collect<B>(mut body: B, bytes_max: usize) -> Result<Bytes, Problem>
where
    B: Body<Data = Bytes> + Unpin,
{
    let mut whole = BytesMut::new();
    while let Some(frame) = body.frame().await {
        let Ok(frame) = frame else { return Err(Problem::bad("body", "the body broke off")) };
        let Ok(piece) = frame.into_data() else { continue };
        if whole.len() + piece.len() > bytes_max {
            return Err(Problem::too_large(bytes_max));
        }
        if whole.is_empty() {
            if body.is_end_stream() {
                return Ok(piece);
            }
            // Memory that nothing has been written to costs nothing.
            let more = body.size_hint().lower().min(bytes_max as u64) as usize;
            whole.reserve(piece.len() + more);
        }
        whole.extend_from_slice(&piece);
    }
    Ok(whole.freeze())
}

fn check_declared<B: Body>(body: &B, bytes_max: usize) -> Result<(), Problem> {
    if declared_len(body) > bytes_max as u64 { Err(Problem::too_large(bytes_max)) } else { Ok(()) }
}

#[cfg(test)]
mod tests {
    use std::pin::pin;
    use std::task::{Context, Poll, Waker};

    use http_body_util::Full;

    use super::*;

    const LARGE: usize = 2 * SMALL_BYTES;

    fn body(len: usize) -> Full<Bytes> {
        Full::new(vec![b'x'; len].into())
    }

    async fn read(bodies: &Bodies, len: usize) -> BodyShare {
        let (bytes, share) = bodies.read(body(len), usize::MAX).await.unwrap();
        assert_eq!(bytes.len(), len);
        share
    }

    #[tokio::test]
    async fn large_bodies_wait_for_room_and_small_ones_do_not() {
        let bodies = Bodies::new(LARGE as u32 + 10);
        let first = read(&bodies, LARGE).await;
        drop(read(&bodies, SMALL_BYTES).await);
        let mut second = pin!(read(&bodies, LARGE));
        let mut cx = Context::from_waker(Waker::noop());
        assert!(second.as_mut().poll(&mut cx).is_pending());
        drop(first);
        let Poll::Ready(second) = second.as_mut().poll(&mut cx) else { panic!("there is room") };
        drop(second);
        // Larger than all the room, and alone.
        drop(read(&bodies, 10 * LARGE).await);
    }

    #[tokio::test(start_paused = true)]
    async fn who_waits_too_long_is_refused() {
        let bodies = Bodies::new(LARGE as u32);
        let _first = read(&bodies, LARGE).await;
        let refused = bodies.read(body(LARGE), usize::MAX).await.err().unwrap();
        assert_eq!(refused.reason(), "bodies_busy");
    }

    #[tokio::test]
    async fn too_large_is_refused_before_there_is_room() {
        let bodies = Bodies::new(1);
        let _all = read(&bodies, LARGE).await;
        assert_eq!(bodies.read(body(LARGE), LARGE - 1).await.err().unwrap().reason(), "too_large");
    }

    #[tokio::test]
    async fn pieces_are_put_together() {
        use futures_util::stream;
        use http_body_util::StreamBody;
        use hyper::body::Frame;

        let pieces = |count: usize| {
            let piece = |n: usize| Ok::<_, std::convert::Infallible>(Frame::data(Bytes::from(format!("{n};"))));
            StreamBody::new(stream::iter((0..count).map(piece).collect::<Vec<_>>()))
        };
        assert_eq!(read_body(pieces(3), 6).await.unwrap(), "0;1;2;");
        assert_eq!(read_body(pieces(3), 5).await.err().unwrap().reason(), "too_large");
        assert_eq!(read_body(pieces(0), 5).await.unwrap(), "");
    }
}
