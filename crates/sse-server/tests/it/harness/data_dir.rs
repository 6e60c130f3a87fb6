//! A data directory that goes with its test.

use std::path::Path;

use super::{Server, StreamPath};

pub(crate) struct DataDir(tempfile::TempDir);

impl DataDir {
    pub(crate) fn new() -> Self {
        Self(tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap())
    }

    pub(crate) fn path(&self) -> &Path {
        self.0.path()
    }

    /// Starts a server that keeps its events here.
    pub(crate) fn start(&self, path: StreamPath, flags: &[&str]) -> Server {
        let dir = self.path().to_str().unwrap();
        path.start(&[&["--data-dir", dir, "--retry-jitter", "0"], flags].concat())
    }

    /// Takes it away from under the server.
    pub(crate) fn remove(&self) {
        std::fs::remove_dir_all(self.path()).unwrap();
    }
}
