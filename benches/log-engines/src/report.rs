//! One line of figures from a child process to the one that makes the tables.

use std::{collections::BTreeMap, fmt::Write};

#[derive(Default)]
pub struct Report(String);

impl Report {
    pub fn new() -> Self {
        Self::default()
    }

    pub fn add(mut self, name: &str, value: f64) -> Self {
        let _ = write!(self.0, "{name}={value} ");
        self
    }

    pub fn print(self) {
        println!("{}", self.0);
    }
}

pub fn parse(line: &str) -> BTreeMap<String, f64> {
    let pairs = line.split_whitespace().filter_map(|pair| pair.split_once('='));
    pairs.filter_map(|(name, value)| Some((name.to_owned(), value.parse().ok()?))).collect()
}
