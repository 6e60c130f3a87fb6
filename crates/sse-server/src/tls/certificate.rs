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

    /// When the first of the chain's certificates is over, in seconds since 1970.
    pub(super) fn valid_until(&self) -> Option<i64> {
        valid_until(&self.current.read().cert)
    }
}

impl ResolvesServerCert for ReloadingCertificate {
    fn resolve(&self, _hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(self.current.read().clone())
    }
}

/// What cannot be read is left out: clients judge it, not this.
fn valid_until(chain: &[CertificateDer<'_>]) -> Option<i64> {
    let until = |der: &CertificateDer<'_>| {
        let (_, certificate) = x509_parser::parse_x509_certificate(der).ok()?;
        Some(certificate.validity().not_after.timestamp())
    };
    chain.iter().filter_map(until).min()
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

#[cfg(test)]
mod tests {
    use super::*;

    fn certificate_until(year: i32) -> CertificateDer<'static> {
        let mut params = rcgen::CertificateParams::new(vec!["localhost".to_owned()]).unwrap();
        params.not_after = rcgen::date_time_ymd(year, 1, 1);
        params.self_signed(&rcgen::KeyPair::generate().unwrap()).unwrap().der().clone()
    }

    #[test]
    fn a_chain_is_valid_until_the_first_of_it_is_over() {
        let [first, second] = [2030, 2049].map(certificate_until);
        let junk = CertificateDer::from(vec![0x30, 0x03, 1, 2]);
        assert_eq!(valid_until(&[second.clone(), junk.clone(), first]), Some(1_893_456_000));
        assert_eq!(valid_until(&[second]), Some(2_493_072_000));
        assert_eq!(valid_until(&[junk]), None);
    }
}
