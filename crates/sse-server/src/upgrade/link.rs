//! The connection between the two processes: messages that are bounded, with descriptors, and in time.

use std::io::{self, IoSlice, IoSliceMut, Read, Write};
use std::mem::MaybeUninit;
use std::net::Shutdown;
use std::os::fd::{BorrowedFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::time::{Duration, Instant};

use rustix::net::{
    RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, ReturnFlags, SendAncillaryBuffer, SendAncillaryMessage,
    SendFlags, recvmsg, sendmsg,
};
use rustix::process::{Pid, geteuid};

use super::message::Message;
use crate::event_log::LeaveError;

/// Descriptors in one message; the kernel takes 253.
pub(super) const DESCRIPTORS_MAX: usize = 200;
/// Bytes of one message: the largest event and what comes with it.
const MESSAGE_BYTES_MAX: usize = 256 << 20;
/// An answer is short.
pub(super) const ANSWER_MAX: Duration = Duration::from_secs(5);
/// The lengths of a message's two parts, and the number of its descriptors.
const HEAD_BYTES: usize = 12;

/// What cannot be done over the link.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum LinkError {
    /// The other process has closed its end, or is gone.
    #[error("the other process is gone")]
    Gone,
    /// It took too long.
    #[error("the other process is too slow")]
    TooSlow,
    /// What came is not what was agreed on.
    #[error("the other process says what was not expected: {0}")]
    Unexpected(String),
    /// The other process has said why not.
    #[error("the other process refuses: {0}")]
    Refused(String),
    /// The other process belongs to another user.
    #[error("the other process belongs to user {0}")]
    Foreign(u32),
    /// Neither can learn of the end of the other.
    #[error("the other process is of another process namespace")]
    Apart,
    /// The data directory cannot be left.
    #[error(transparent)]
    Log(Box<dyn std::error::Error + Send + Sync>),
    /// The system fails.
    #[error("the system fails")]
    System(#[source] io::Error),
}

impl From<io::Error> for LinkError {
    fn from(error: io::Error) -> Self {
        match error.kind() {
            io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut => Self::TooSlow,
            io::ErrorKind::UnexpectedEof | io::ErrorKind::BrokenPipe | io::ErrorKind::ConnectionReset => Self::Gone,
            _ => Self::System(error),
        }
    }
}

impl From<LeaveError> for LinkError {
    fn from(error: LeaveError) -> Self {
        Self::Log(error.into())
    }
}

impl From<rustix::io::Errno> for LinkError {
    fn from(error: rustix::io::Errno) -> Self {
        io::Error::from(error).into()
    }
}

/// A message that has come, with what came with it.
#[derive(Debug)]
pub(super) struct Received {
    pub(super) message: Message,
    pub(super) payload: Vec<u8>,
    pub(super) descriptors: Vec<OwnedFd>,
}

/// Whether a process of this user gets, or gives, everything.
fn may_talk(user: u32, own: u32) -> bool {
    user == own || user == 0
}

/// One end.
#[derive(Debug)]
pub(crate) struct Link {
    socket: UnixStream,
    /// The process at the other end.
    pub(super) peer: Pid,
    /// Until when everything has to be done that is under way.
    deadline: Instant,
    /// The head of a message whose rest was not read in time.
    begun: Option<([u8; HEAD_BYTES], Vec<OwnedFd>)>,
}

impl Link {
    /// # Errors
    /// When the process at the other end is another user's, or cannot be known.
    pub(super) fn new(socket: tokio::net::UnixStream) -> Result<Self, LinkError> {
        let peer = socket.peer_cred()?;
        if !may_talk(peer.uid(), geteuid().as_raw()) {
            return Err(LinkError::Foreign(peer.uid()));
        }
        // The kernel says 0 of one in another process namespace.
        let pid = peer.pid().and_then(Pid::from_raw).ok_or(LinkError::Apart)?;
        let socket = socket.into_std()?;
        socket.set_nonblocking(false)?;
        Ok(Self { socket, peer: pid, deadline: Instant::now(), begun: None })
    }

    /// What follows has to be done in this time.
    pub(super) fn within(&mut self, time: Duration) -> &mut Self {
        self.deadline = Instant::now() + time;
        self
    }

    pub(super) fn send(&mut self, message: &Message) -> Result<(), LinkError> {
        self.send_with(message, &[], &[])
    }

    /// Says why it is not done.
    pub(super) fn refuse(&mut self, reason: &str) {
        let refused = Message::Refused { reason: reason.to_owned() };
        // It may be gone, and learns nothing then.
        let _ = self.within(ANSWER_MAX).send(&refused);
    }

    /// Sends a message with bytes that are none of its own, and descriptors.
    pub(super) fn send_with(
        &mut self,
        message: &Message,
        payload: &[u8],
        descriptors: &[BorrowedFd<'_>],
    ) -> Result<(), LinkError> {
        let text = serde_json::to_vec(message).map_err(|error| LinkError::System(error.into()))?;
        if text.len() + payload.len() > MESSAGE_BYTES_MAX || descriptors.len() > DESCRIPTORS_MAX {
            return Err(LinkError::Unexpected("a message too large to send".to_owned()));
        }
        let lengths = [text.len(), payload.len(), descriptors.len()].map(|len| (len as u32).to_le_bytes());
        let text = [&lengths.concat()[..], &text].concat();
        self.send_first(&text, descriptors)?;
        self.write(payload)
    }

    /// The descriptors go with the first bytes. A short message leaves whole or not at all.
    fn send_first(&mut self, bytes: &[u8], descriptors: &[BorrowedFd<'_>]) -> Result<(), LinkError> {
        let mut room = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(DESCRIPTORS_MAX))];
        let mut ancillary = SendAncillaryBuffer::new(&mut room);
        if !descriptors.is_empty() {
            let fits = ancillary.push(SendAncillaryMessage::ScmRights(descriptors));
            debug_assert!(fits, "the buffer has room for as many as there may be");
        }
        self.limit_time()?;
        let sent = sendmsg(&self.socket, &[IoSlice::new(bytes)], &mut ancillary, SendFlags::NOSIGNAL)?;
        self.write(&bytes[sent..])
    }

    fn write(&mut self, bytes: &[u8]) -> Result<(), LinkError> {
        let mut rest = bytes;
        while !rest.is_empty() {
            self.limit_time()?;
            match self.socket.write(rest) {
                Ok(0) => return Err(LinkError::Gone),
                Ok(len) => rest = &rest[len..],
                Err(error) if error.kind() == io::ErrorKind::Interrupted => (),
                Err(error) => return Err(error.into()),
            }
        }
        Ok(())
    }

    /// The next message. A short one that did not come in time may be asked for again; of a longer one the link is spoilt then.
    pub(super) fn receive(&mut self) -> Result<Received, LinkError> {
        let begun = match self.begun.take() {
            Some(begun) => begun,
            None => self.receive_head()?,
        };
        if let Err(error) = self.limit_time() {
            self.begun = Some(begun);
            return Err(error);
        }
        let (head, descriptors) = begun;
        let length = |at: usize| u32::from_le_bytes([head[at], head[at + 1], head[at + 2], head[at + 3]]) as usize;
        let (text, payload) = (length(0), length(4));
        if text.saturating_add(payload) > MESSAGE_BYTES_MAX || length(8) != descriptors.len() {
            return Err(LinkError::Unexpected("a message of another form".to_owned()));
        }
        let text = self.read(text)?;
        let payload = self.read(payload)?;
        let message = serde_json::from_slice(&text).map_err(|error| LinkError::Unexpected(error.to_string()))?;
        match message {
            Message::Refused { reason } => Err(LinkError::Refused(reason)),
            message => Ok(Received { message, payload, descriptors }),
        }
    }

    fn receive_head(&mut self) -> Result<([u8; HEAD_BYTES], Vec<OwnedFd>), LinkError> {
        let mut room = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(DESCRIPTORS_MAX))];
        let mut ancillary = RecvAncillaryBuffer::new(&mut room);
        let mut head = [0; HEAD_BYTES];
        self.limit_time()?;
        let received =
            recvmsg(&self.socket, &mut [IoSliceMut::new(&mut head)], &mut ancillary, RecvFlags::CMSG_CLOEXEC)?;
        let descriptors = ancillary.drain().flat_map(|message| match message {
            RecvAncillaryMessage::ScmRights(descriptors) => descriptors.collect::<Vec<_>>(),
            _ => Vec::new(),
        });
        let descriptors: Vec<OwnedFd> = descriptors.collect();
        if received.bytes == 0 {
            return Err(LinkError::Gone);
        }
        // The system has none left for this process: those that did not come are closed.
        if received.flags.contains(ReturnFlags::CTRUNC) {
            return Err(LinkError::Unexpected("fewer descriptors than were sent".to_owned()));
        }
        self.fill(&mut head[received.bytes..])?;
        Ok((head, descriptors))
    }

    fn read(&mut self, len: usize) -> Result<Vec<u8>, LinkError> {
        let mut bytes = vec![0; len];
        self.fill(&mut bytes)?;
        Ok(bytes)
    }

    fn fill(&mut self, mut room: &mut [u8]) -> Result<(), LinkError> {
        while !room.is_empty() {
            self.limit_time()?;
            match self.socket.read(room) {
                Ok(0) => return Err(LinkError::Gone),
                Ok(len) => room = &mut room[len..],
                Err(error) if error.kind() == io::ErrorKind::Interrupted => (),
                Err(error) => return Err(error.into()),
            }
        }
        Ok(())
    }

    /// Nothing more is sent or received, but what is here already. What the other process sends from now on fails there.
    pub(super) fn shut(&mut self) {
        // It fails where the other process is gone: then nothing comes anyway.
        let _ = self.socket.shutdown(Shutdown::Both);
        self.within(Duration::from_millis(100));
    }

    fn limit_time(&self) -> Result<(), LinkError> {
        let left = self.deadline.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Err(LinkError::TooSlow);
        }
        self.socket.set_read_timeout(Some(left))?;
        Ok(self.socket.set_write_timeout(Some(left))?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_its_own_user_and_root_may_talk() {
        assert!(may_talk(7, 7) && may_talk(0, 7) && may_talk(0, 0));
        assert!(!may_talk(8, 7) && !may_talk(7, 0));
    }
}
