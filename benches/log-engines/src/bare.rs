//! The bare system calls: one write to a plain file, one `fdatasync`.

use std::{
    fs::{File, OpenOptions},
    io::Write,
    path::Path,
};

use anyhow::{Result, bail};

use crate::{
    event::Event,
    store::{Durability, Reader, Store},
};

pub struct BareFile(File);

impl BareFile {
    pub fn open(dir: &Path) -> Result<Self> {
        Ok(Self(OpenOptions::new().create(true).append(true).open(dir.join("bare"))?))
    }
}

impl Store for BareFile {
    fn append(&mut self, group: &[Event], durability: Durability) -> Result<()> {
        let bytes = group.iter().map(Event::record).collect::<Vec<_>>().concat();
        self.0.write_all(&bytes)?;
        if durability == Durability::Fsync {
            self.0.sync_data()?;
        }
        Ok(())
    }

    fn delete_oldest(&mut self, _: u32, _: u64, _: usize) -> Result<(usize, u64)> {
        bail!("a plain file has no index")
    }

    fn reader(&self) -> Result<Box<dyn Reader>> {
        bail!("a plain file has no index")
    }

    fn last_seq(&self) -> Result<u64> {
        Ok(0)
    }

    fn close(self: Box<Self>) -> Result<()> {
        Ok(self.0.sync_data()?)
    }
}
