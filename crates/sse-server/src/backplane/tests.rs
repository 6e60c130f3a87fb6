//! What every engine has to do, tried with the programs themselves.

mod contract;
mod process;
mod redis;
mod rig;
