//! The commands of the binary, as they are run: against the real server, and against scripted ones that misbehave.

mod command;
mod fake;
mod health;
mod log;
mod manual;
mod publish;
mod readme;
mod reference;
mod server;
mod subscribe;
mod top;
