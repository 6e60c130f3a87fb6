//! A certificate for 127.0.0.1 and localhost, which nobody trusts who was not told to.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result};

use crate::program;

/// A certificate and its key, as files in PEM.
#[derive(Debug, Clone)]
pub struct Certificate {
    pub chain: PathBuf,
    pub key: PathBuf,
}

impl Certificate {
    /// Makes a new one in this folder, in the place of any older one.
    pub fn make(dir: &Path) -> Result<Self> {
        let certificate = Self { chain: dir.join("certificate.pem"), key: dir.join("key.pem") };
        certificate.renew()?;
        Ok(certificate)
    }

    /// Puts another one into the same files.
    pub fn renew(&self) -> Result<()> {
        let mut openssl = Command::new("openssl");
        openssl.args([
            "req",
            "-x509",
            "-newkey",
            "ec",
            "-pkeyopt",
            "ec_paramgen_curve:prime256v1",
            "-nodes",
            "-days",
            "30",
        ]);
        openssl.args(["-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost,IP:127.0.0.1"]);
        // Otherwise it would be one that may sign others, and no server's.
        openssl.args(["-addext", "basicConstraints=critical,CA:FALSE"]);
        openssl.arg("-out").arg(&self.chain).arg("-keyout").arg(&self.key);
        program::read(&mut openssl).context("making a certificate").map(drop)
    }

    /// The server's flags.
    pub fn flags(&self) -> [String; 2] {
        [format!("--tls-cert={}", self.chain.display()), format!("--tls-key={}", self.key.display())]
    }
}
