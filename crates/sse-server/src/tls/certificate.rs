//! The certificate and its key, as files that change.

use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use parking_lot::{Mutex, RwLock};
use rustls::crypto::aws_lc_rs;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;

use crate::stamp::{Stamp, stamp};

/// A chain of certificates is a few kilobytes.
const FILE_BYTES_MAX: u64 = 1 << 20;

/// Files that hold no usable certificate and key.
#[derive(Debug, thiserror::Error)]
pub(crate) enum CertificateError {
    #[error("cannot read {}: {source}", path.display())]
    Read { path: PathBuf, source: io::Error },
    #[error("{} is larger than a mebibyte", path.display())]
    TooLarge { path: PathBuf },
    #[error("{} holds no certificate in PEM", path.display())]
    NoCertificate { path: PathBuf },
    #[error("{} holds no private key in PEM", path.display())]
    NoKey { path: PathBuf },
    #[error("{} and {} do not belong together or cannot be used: {source}", cert.display(), key.display())]
    Unusable { cert: PathBuf, key: PathBuf, source: rustls::Error },
}

impl CertificateError {
    /// Whether the fault is the key's file.
    pub(crate) fn is_of_key(&self, key: &Path) -> bool {
        match self {
            Self::Read { path, .. } | Self::TooLarge { path } => path == key,
            Self::NoKey { .. } => true,
            Self::NoCertificate { .. } | Self::Unusable { .. } => false,
        }
    }
}

/// What two files hold now.
#[derive(Debug)]
pub(super) struct ReloadingCertificate {
    cert: PathBuf,
    key: PathBuf,
    current: RwLock<Arc<CertifiedKey>>,
    /// What the files were like when they were read.
    seen: Mutex<[Option<Stamp>; 2]>,
}

/// Whether the files hold a certificate and its key.
///
/// # Errors
/// Why they do not.
pub(crate) fn check(cert: &Path, key: &Path) -> Result<(), CertificateError> {
    read_pair(cert, key).map(drop)
}

impl ReloadingCertificate {
    /// # Errors
    /// When the files hold nothing usable.
    pub(super) fn load(cert: PathBuf, key: PathBuf) -> Result<Self, CertificateError> {
        let seen = Mutex::new([stamp(&cert), stamp(&key)]);
        let current = RwLock::new(Arc::new(read_pair(&cert, &key)?));
        Ok(Self { cert, key, current, seen })
    }

    /// Reads the files again if they have changed, or if that `is_asked` for. Whether they were.
    ///
    /// # Errors
    /// When they hold nothing usable: then what was read before stays.
    pub(super) fn reload(&self, is_asked: bool) -> Result<bool, CertificateError> {
        let stamps = [stamp(&self.cert), stamp(&self.key)];
        let before = std::mem::replace(&mut *self.seen.lock(), stamps);
        if before == stamps && !is_asked {
            return Ok(false);
        }
        *self.current.write() = Arc::new(read_pair(&self.cert, &self.key)?);
        Ok(true)
    }
}

impl ResolvesServerCert for ReloadingCertificate {
    fn resolve(&self, _hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(self.current.read().clone())
    }
}

fn read_pair(cert: &Path, key: &Path) -> Result<CertifiedKey, CertificateError> {
    let no_certificate = || CertificateError::NoCertificate { path: cert.to_owned() };
    let chain: Result<Vec<CertificateDer<'static>>, _> = CertificateDer::pem_slice_iter(&read(cert)?).collect();
    let chain = chain.ok().filter(|chain| !chain.is_empty()).ok_or_else(no_certificate)?;
    let no_key = |_| CertificateError::NoKey { path: key.to_owned() };
    let private = PrivateKeyDer::from_pem_slice(&read(key)?).map_err(no_key)?;
    CertifiedKey::from_der(chain, private, &aws_lc_rs::default_provider())
        .map_err(|source| CertificateError::Unusable { cert: cert.to_owned(), key: key.to_owned(), source })
}

fn read(path: &Path) -> Result<Vec<u8>, CertificateError> {
    let failed = |source| CertificateError::Read { path: path.to_owned(), source };
    let mut bytes = Vec::new();
    let file = File::open(path).map_err(failed)?;
    file.take(FILE_BYTES_MAX + 1).read_to_end(&mut bytes).map_err(failed)?;
    if bytes.len() as u64 > FILE_BYTES_MAX {
        return Err(CertificateError::TooLarge { path: path.to_owned() });
    }
    Ok(bytes)
}
