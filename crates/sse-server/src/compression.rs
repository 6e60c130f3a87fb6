//! One compression for many streams.
//!
//! The followers of a topic get the same text, so it is compressed once for all of them, into one running deflate context:
//! what a stream of its own would take from the events before, the shared one takes as well. A stream cannot begin in the
//! middle of that, as what is compressed refers to text it never had. Until the context begins anew it gets blocks that
//! refer to nothing but themselves; from then on it *rides*: it gets the shared blocks. So does one that has been given
//! something of its own, such as an event that tells of a gap.
//!
//! Nothing here knows of sockets. A lane has a [`Shared`], each of its streams a [`Rider`] of a few numbers, and a thread
//! one [`Alone`] for what is compressed for a stream by itself. A [`Passenger`] is a rider whom nobody serves in turn with
//! the others of its lane: it comes for the lane's blocks itself.

mod accept;
mod block;
mod deflate;
mod passenger;
mod permits;
mod rider;
mod shared;
mod sum;
#[cfg(test)]
mod tests;

pub(crate) use accept::accepts_gzip;
pub(crate) use block::{Block, Secrecy, Standing};
pub(crate) use deflate::Alone;
pub(crate) use passenger::{Passenger, Stop};
pub(crate) use permits::Compressors;
pub(crate) use rider::Rider;
pub(crate) use shared::{Ride, Shared, Text};
