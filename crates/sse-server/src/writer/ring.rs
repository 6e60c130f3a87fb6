//! Sends to many sockets in one system call, where the kernel has io_uring and lets us use it.
//!
//! A round of a thousand streams is a thousand `send`s, and entering the kernel is a fifth of what each costs. Here the
//! kernel gets a batch of them at once. It takes no file, thread or buffer of its own for it: a send that finds its socket
//! full says so like `send` does, so every one is over when the call returns.

use std::io;
use std::os::fd::RawFd;

use bytes::Bytes;
use io_uring::{IoUring, opcode, types};

/// Sends in one system call, at most.
pub(super) const SENDS_MAX: usize = 64;
/// Below, what a batch costs by itself is more than it saves. Tests with few clients are to meet batches too.
pub(super) const SENDS_MIN: usize = if cfg!(test) { 2 } else { 8 };

/// One thread's way to send batches.
pub(super) struct Ring {
    ring: IoUring,
    /// What is being sent. Kept here, for the kernel reads it.
    sends: Vec<(RawFd, Bytes)>,
    /// How many bytes of each were taken.
    taken: Vec<usize>,
}

impl Ring {
    /// # Errors
    /// What the kernel says: it has no io_uring, it is too old (6.1 is needed), or this process may not use it.
    pub(super) fn open() -> io::Result<Self> {
        let mut builder = IoUring::builder();
        // No thread but the writer's submits, so nothing is locked or interrupted for what has ended.
        builder.setup_single_issuer().setup_defer_taskrun();
        let ring = builder.build(SENDS_MAX as u32)?;
        Ok(Self { ring, sends: Vec::with_capacity(SENDS_MAX), taken: Vec::with_capacity(SENDS_MAX) })
    }

    /// Adds one to the next batch; of more than [`SENDS_MAX`] the rest are not sent. The socket must stay open until then.
    pub(super) fn push(&mut self, socket: RawFd, bytes: Bytes) {
        self.sends.push((socket, bytes));
    }

    /// Sends the batch: how many bytes each socket took, in order. That is 0 for a socket that is full or gone, which
    /// the caller finds out by `send`.
    ///
    /// # Errors
    /// When the kernel takes no more submissions. What it took of the batch is unknown then, and the ring is not to be
    /// used again.
    pub(super) fn send(&mut self) -> io::Result<&[usize]> {
        self.taken.clear();
        self.taken.resize(self.sends.len(), 0);
        let outcome = self.submit();
        if outcome.is_err() {
            // The kernel may read them yet.
            std::mem::forget(std::mem::take(&mut self.sends));
        }
        self.sends.clear();
        outcome.map(|()| self.taken.as_slice())
    }

    fn submit(&mut self) -> io::Result<()> {
        let batch = self.sends.len().min(SENDS_MAX);
        for (index, (socket, bytes)) in self.sends[..batch].iter().enumerate() {
            let len = u32::try_from(bytes.len()).unwrap_or(u32::MAX);
            let send = opcode::Send::new(types::Fd(*socket), bytes.as_ptr(), len)
                .flags(libc::MSG_DONTWAIT | libc::MSG_NOSIGNAL)
                .build()
                .user_data(index as u64);
            #[expect(unsafe_code, reason = "the kernel reads the bytes until the send has ended")]
            // SAFETY: `sends` owns the bytes and is neither changed nor freed before all of the batch have ended: below
            // each is waited for, and if that fails they are leaked.
            unsafe { self.ring.submission().push(&send) }.map_err(|_| io::ErrorKind::StorageFull)?;
        }
        let mut ended = 0;
        while ended < batch {
            match self.ring.submit_and_wait(batch - ended) {
                Ok(_) => (),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => (),
                Err(error) => return Err(error),
            }
            for completion in self.ring.completion() {
                ended += 1;
                if let (Ok(index), Ok(len)) =
                    (usize::try_from(completion.user_data()), usize::try_from(completion.result()))
                {
                    self.taken[index] = len;
                }
            }
        }
        Ok(())
    }
}

impl std::fmt::Debug for Ring {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Ring").field("sends", &self.sends.len()).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use std::io::{Read, Write};
    use std::net::{TcpListener, TcpStream};
    use std::os::fd::AsRawFd;

    use super::*;

    fn pair() -> (TcpStream, TcpStream) {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let client = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let server = listener.accept().unwrap().0;
        server.set_nonblocking(true).unwrap();
        (server, client)
    }

    /// None where the kernel has none for us: then the writers send one by one, which every other test covers.
    fn ring() -> Option<Ring> {
        Ring::open().inspect_err(|error| eprintln!("not tested, for there is no io_uring: {error}")).ok()
    }

    #[test]
    fn everybody_gets_his_own_bytes() {
        let Some(mut ring) = ring() else { return };
        let mut pairs: Vec<_> = (0..SENDS_MAX).map(|_| pair()).collect();
        for round in 0..3 {
            for (index, (server, _)) in pairs.iter().enumerate() {
                ring.push(server.as_raw_fd(), format!("{round}: {index:04}").into());
            }
            assert_eq!(ring.send().unwrap(), [7; SENDS_MAX]);
            for (index, (_, client)) in pairs.iter_mut().enumerate() {
                let mut text = [0; 7];
                client.read_exact(&mut text).unwrap();
                assert_eq!(text, format!("{round}: {index:04}").as_bytes());
            }
        }
    }

    #[test]
    fn a_socket_takes_what_it_can_and_holds_up_nobody() {
        let Some(mut ring) = ring() else { return };
        let ((full, mut slow), (gone, client), (sound, mut reader)) = (pair(), pair(), pair());
        drop(client);
        let page = Bytes::from(vec![b'x'; 1 << 20]);
        let mut given = 0;
        let mut last = usize::MAX;
        while last > 0 {
            ring.push(full.as_raw_fd(), page.clone());
            last = ring.send().unwrap()[0];
            given += last;
        }
        // Twice: the first send to who has gone is answered by a reset.
        while (&gone).write(b"x").is_ok() {}
        for socket in [&full, &gone, &sound] {
            ring.push(socket.as_raw_fd(), Bytes::from_static(b"news"));
        }
        assert_eq!(ring.send().unwrap(), [0, 0, 4]);
        let mut news = [0; 4];
        reader.read_exact(&mut news).unwrap();
        assert_eq!(&news, b"news");
        drop(full);
        let mut got = Vec::new();
        slow.read_to_end(&mut got).unwrap();
        assert_eq!(got.len(), given);
    }
}
