//! What every engine has to do, tried with the programs themselves.

mod certificates;
mod contract;
mod nats;
mod process;
mod redis;
mod rig;
