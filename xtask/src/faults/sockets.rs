//! What the kernel says of sockets: queues, buffers, counters.

use std::collections::HashMap;
use std::fs;
use std::process::Command;

use anyhow::{Context, Result};

use crate::program;

/// The established connections of one listening port, by the port of their client.
#[derive(Debug, Default)]
pub struct Connections(HashMap<u16, Queues>);

/// Bytes under way on one connection.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Queues {
    /// Sent by the server and not yet acknowledged.
    pub sending: u64,
    /// Arrived at the client and not yet read.
    pub unread: u64,
}

impl Connections {
    /// IPv4 connections to `port`. A connection that either side has closed is none.
    pub fn to(port: u16) -> Result<Self> {
        let table = fs::read_to_string("/proc/net/tcp").context("reading the table of sockets")?;
        Ok(Self::parse(&table, port))
    }

    fn parse(table: &str, port: u16) -> Self {
        let rows: Vec<Row> = table.lines().filter_map(Row::parse).filter(|row| row.is_established).collect();
        let mut connections = Self::default();
        for row in rows.iter().filter(|row| row.local == port) {
            connections.0.insert(row.remote, Queues { sending: row.sending, unread: 0 });
        }
        for row in rows.iter().filter(|row| row.remote == port) {
            if let Some(queues) = connections.0.get_mut(&row.local) {
                queues.unread = row.unread;
            }
        }
        connections
    }

    pub fn clients(&self) -> impl Iterator<Item = u16> {
        self.0.keys().copied()
    }

    pub fn of(&self, client: u16) -> Option<Queues> {
        self.0.get(&client).copied()
    }
}

struct Row {
    local: u16,
    remote: u16,
    is_established: bool,
    sending: u64,
    unread: u64,
}

impl Row {
    /// `  0: 0100007F:1F90 0100007F:A1B2 01 00000000:00000000 ..`: addresses, state, queues.
    fn parse(line: &str) -> Option<Self> {
        let mut fields = line.split_whitespace().skip(1);
        let mut port = || u16::from_str_radix(fields.next()?.rsplit_once(':')?.1, 16).ok();
        let (local, remote) = (port()?, port()?);
        let state = fields.next()?;
        let (sending, unread) = fields.next()?.split_once(':')?;
        let bytes = |text| u64::from_str_radix(text, 16).ok();
        Some(Self { local, remote, is_established: state == "01", sending: bytes(sending)?, unread: bytes(unread)? })
    }
}

/// Kernel memory of each of the server's sockets on `port`, in bytes: what `ss` calls skmem, queues and reserve.
pub fn kernel_bytes(port: u16) -> Result<Vec<u64>> {
    let mut command = Command::new("ss");
    command.args(["-tmnHO", "state", "established", &format!("( sport = :{port} )")]);
    Ok(program::read(&mut command)?.lines().filter_map(skmem).collect())
}

/// `.. skmem:(r0,rb131072,t0,tb131072,f0,w0,o0,bl0,d0)`: what is allocated, not what is allowed.
fn skmem(line: &str) -> Option<u64> {
    let inside = line.split_once("skmem:(")?.1.split_once(')')?.0;
    let used = |name: &str| -> u64 {
        let fields = inside.split(',');
        fields.filter_map(|field| field.strip_prefix(name)?.parse::<u64>().ok()).sum()
    };
    Some(["r", "f", "w", "o", "bl"].into_iter().map(used).sum())
}

/// Connections that this machine's listeners had no room for since it started.
pub fn listen_overflows() -> Result<u64> {
    let text = fs::read_to_string("/proc/net/netstat").context("reading the network's counters")?;
    counter(&text, "ListenOverflows").context("the kernel does not count listen overflows")
}

/// A counter of the `TcpExt` pair of lines: one with the names, one with the values.
fn counter(netstat: &str, name: &str) -> Option<u64> {
    let mut lines = netstat.lines().filter_map(|line| line.strip_prefix("TcpExt: "));
    let at = lines.next()?.split(' ').position(|field| field == name)?;
    lines.next()?.split(' ').nth(at)?.parse().ok()
}

/// Connections that may wait on the listener of `port`.
pub fn backlog(port: u16) -> Result<u64> {
    let mut command = Command::new("ss");
    command.args(["-ltnH", &format!("( sport = :{port} )")]);
    let text = program::read(&mut command)?;
    text.split_whitespace().nth(2).and_then(|count| count.parse().ok()).context("ss shows no listener on the port")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_ends_of_a_connection_make_its_queues() {
        let table = "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt\n\
            0: 0100007F:1F90 00000000:0000 0A 00000000:00000000 00:00000000 00000000\n\
            1: 0100007F:1F90 0100007F:A000 01 00000010:00000000 00:00000000 00000000\n\
            2: 0100007F:A000 0100007F:1F90 01 00000000:00000020 00:00000000 00000000\n\
            3: 0100007F:1F90 0100007F:A001 04 00000010:00000000 00:00000000 00000000\n";
        let connections = Connections::parse(table, 8080);
        assert_eq!(connections.of(0xA000), Some(Queues { sending: 16, unread: 32 }));
        assert_eq!(connections.clients().count(), 1, "a listener is no connection, nor is one that is closing");
    }

    #[test]
    fn allocated_kernel_memory_is_added_up() {
        let line = "0 5 127.0.0.1:1 127.0.0.1:2 skmem:(r1,rb131072,t9,tb131072,f20,w300,o4000,bl50000,d7)";
        assert_eq!(skmem(line), Some(54_321));
        assert_eq!(skmem("0 5 127.0.0.1:1 127.0.0.1:2"), None);
    }

    #[test]
    fn a_counter_is_found_by_its_name() {
        let text = "TcpExt: SyncookiesSent ListenOverflows\nTcpExt: 3 7\nIpExt: InOctets\nIpExt: 9\n";
        assert_eq!(counter(text, "ListenOverflows"), Some(7));
        assert_eq!(counter(text, "InOctets"), None);
        assert!(listen_overflows().is_ok());
    }
}
