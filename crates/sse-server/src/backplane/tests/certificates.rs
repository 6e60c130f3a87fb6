//! Certificates for engines that encrypt.

use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};
use tempfile::TempDir;

/// `ca.pem`, and of that authority `server.pem` with `server.key`, for 127.0.0.1.
#[derive(Debug)]
pub(super) struct Certificates {
    dir: TempDir,
}

impl Certificates {
    pub(super) fn make() -> Self {
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let key = KeyPair::generate().unwrap();
        let authority = params.self_signed(&key).unwrap();
        let issuer = Issuer::new(params, key);
        let server_key = KeyPair::generate().unwrap();
        let server =
            CertificateParams::new(vec!["127.0.0.1".to_owned()]).unwrap().signed_by(&server_key, &issuer).unwrap();
        let made = Self { dir: tempfile::tempdir().unwrap() };
        for (name, text) in
            [("ca.pem", authority.pem()), ("server.pem", server.pem()), ("server.key", server_key.serialize_pem())]
        {
            std::fs::write(made.file(name), text).unwrap();
        }
        made
    }

    pub(super) fn file(&self, name: &str) -> String {
        self.dir.path().join(name).to_str().unwrap().to_owned()
    }
}
