//! Several nodes, and the engine between them.
#![expect(dead_code, reason = "the node that uses the engines comes next")]

mod address;
mod engine;
mod redis;
#[cfg(test)]
mod tests;
mod tls;
