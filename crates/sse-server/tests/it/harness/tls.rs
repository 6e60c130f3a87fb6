//! Certificates for the server under test, and clients that trust them.

use std::fs;
use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};

use rustls::crypto::aws_lc_rs;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, ClientConnection, RootCertStore, StreamOwned};
use tokio_rustls::TlsConnector;

use super::DEADLINE;

/// A certificate and its key, as files.
pub(crate) struct Files {
    pub(crate) cert: String,
    pub(crate) key: String,
}

impl Files {
    /// A new certificate, in files of this folder.
    pub(crate) fn make(folder: &Path) -> Self {
        fs::create_dir_all(folder).unwrap();
        let path = |name: &str| folder.join(name).to_str().unwrap().to_owned();
        let files = Self { cert: path("cert.pem"), key: path("key.pem") };
        files.renew();
        files
    }

    /// Writes another certificate and key into the files.
    pub(crate) fn renew(&self) {
        self.renew_until(4096);
    }

    /// The same with a certificate that is over when this year begins.
    pub(crate) fn renew_until(&self, year: i32) {
        let key = rcgen::KeyPair::generate().unwrap();
        let mut params = rcgen::CertificateParams::new(vec!["localhost".to_owned()]).unwrap();
        params.not_after = rcgen::date_time_ymd(year, 1, 1);
        fs::write(&self.key, key.serialize_pem()).unwrap();
        fs::write(&self.cert, params.self_signed(&key).unwrap().pem()).unwrap();
    }

    /// The certificate as it stands in its file.
    pub(crate) fn der(&self) -> CertificateDer<'static> {
        CertificateDer::from_pem_file(&self.cert).unwrap()
    }
}

/// The files that servers of this run share.
pub(super) fn files() -> &'static Files {
    static FILES: OnceLock<Files> = OnceLock::new();
    let folder = || PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(format!("it-tls-{}", std::process::id()));
    FILES.get_or_init(|| Files::make(&folder()))
}

pub(crate) fn name() -> ServerName<'static> {
    ServerName::try_from("localhost").unwrap()
}

/// How a client speaks that trusts these certificates and offers these protocols.
pub(crate) fn client(trusted: &[CertificateDer<'static>], protocols: &[&str]) -> ClientConfig {
    let mut roots = RootCertStore::empty();
    trusted.iter().for_each(|cert| roots.add(cert.clone()).unwrap());
    let builder = ClientConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()));
    let builder = builder.with_safe_default_protocol_versions().unwrap();
    let mut config = builder.with_root_certificates(roots).with_no_client_auth();
    config.alpn_protocols = protocols.iter().map(|name| name.as_bytes().to_vec()).collect();
    config
}

/// A connector to servers of this run.
pub(super) fn connector(protocols: &[&str]) -> TlsConnector {
    TlsConnector::from(Arc::new(client(&[files().der()], protocols)))
}

/// A connection over TLS.
pub(crate) type Secure = StreamOwned<ClientConnection, TcpStream>;

/// Connects and shakes hands.
///
/// # Errors
/// What went wrong with the handshake.
pub(crate) fn connect(addr: SocketAddr, config: ClientConfig) -> std::io::Result<Secure> {
    let mut socket = TcpStream::connect(addr)?;
    socket.set_nodelay(true)?;
    socket.set_read_timeout(Some(DEADLINE))?;
    let mut connection = ClientConnection::new(Arc::new(config), name()).unwrap();
    while connection.is_handshaking() {
        connection.complete_io(&mut socket)?;
    }
    Ok(StreamOwned::new(connection, socket))
}

/// Reads up to and including `end`.
#[track_caller]
pub(crate) fn read_through(stream: &mut Secure, end: &str) -> String {
    let mut text = Vec::new();
    while !text.ends_with(end.as_bytes()) {
        let mut byte = [0];
        stream.read_exact(&mut byte).unwrap_or_else(|error| panic!("{error}: {}", String::from_utf8_lossy(&text)));
        text.push(byte[0]);
    }
    String::from_utf8(text).unwrap()
}

/// Asks for a stream and reads its head and first bytes.
#[track_caller]
pub(crate) fn follow(stream: &mut Secure, topic: &str) {
    stream.write_all(format!("GET /events/{topic} HTTP/1.1\r\nHost: localhost\r\n\r\n").as_bytes()).unwrap();
    let head = read_through(stream, "\r\n\r\n");
    assert!(head.starts_with("HTTP/1.1 200 OK\r\n"), "{head}");
    read_through(stream, "\n\n\r\n");
}

/// The server ends the connection, in whatever way.
#[track_caller]
pub(crate) fn expect_end(socket: &mut TcpStream) {
    socket.set_read_timeout(Some(DEADLINE)).unwrap();
    loop {
        match socket.read(&mut [0; 4096]) {
            Ok(0) => return,
            Ok(_) => (),
            Err(error) if error.kind() == ErrorKind::ConnectionReset => return,
            Err(error) => panic!("still open: {error}"),
        }
    }
}
