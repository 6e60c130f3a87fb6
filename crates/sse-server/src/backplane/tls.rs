//! Encrypted connections to an engine.

use std::path::Path;
use std::sync::Arc;

use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use rustls::{ClientConfig, RootCertStore};

use super::engine::EngineError;

/// Trusts the certificates in the file `ca`, or the system's. They are read anew for every connection, as files change.
pub(super) async fn client_config(ca: Option<&Path>) -> Result<ClientConfig, EngineError> {
    let ca = ca.map(Path::to_owned);
    let roots = tokio::task::spawn_blocking(move || match ca {
        Some(path) => roots_of(&path),
        None => Ok(roots_of_system()),
    });
    let roots = roots.await.map_err(|error| EngineError::Refused(format!("reading certificates: {error}")))??;
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|error| EngineError::Refused(format!("setting up TLS: {error}")))?;
    Ok(config.with_root_certificates(roots).with_no_client_auth())
}

fn roots_of(path: &Path) -> Result<RootCertStore, EngineError> {
    let wrong =
        |error: &dyn std::fmt::Display| EngineError::Refused(format!("the option ca, {}: {error}", path.display()));
    let mut roots = RootCertStore::empty();
    for certificate in CertificateDer::pem_file_iter(path).map_err(|error| wrong(&error))? {
        roots.add(certificate.map_err(|error| wrong(&error))?).map_err(|error| wrong(&error))?;
    }
    match roots.is_empty() {
        true => Err(wrong(&"it has no certificate")),
        false => Ok(roots),
    }
}

/// Whatever the system trusts; certificates that cannot be read are no reason to trust none.
fn roots_of_system() -> RootCertStore {
    let mut roots = RootCertStore::empty();
    roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
    roots
}
