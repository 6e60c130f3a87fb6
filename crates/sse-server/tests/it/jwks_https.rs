//! Keys that are fetched over https.

use std::io::{Read, Write};
use std::net::TcpListener;
use std::path::PathBuf;
use std::sync::Arc;

use rustls::pki_types::PrivateKeyDer;
use rustls::{ServerConfig, ServerConnection, StreamOwned};
use serde_json::json;

use crate::harness::token::Pair;
use crate::harness::{Launch, eventually};

/// The system's certificates, or those that `SSL_CERT_FILE` names in their place, say whose keys are believed.
#[test]
fn keys_come_over_https_from_whom_the_system_believes() {
    let pair = Pair::ed25519();
    let keys = HttpsKeys::start(json!({ "keys": [pair.jwk("a")] }).to_string());
    let launch = || Launch::new(&["--publisher-jwks-url", &keys.url, "--subscriber-jwt-key", "x"]);
    let token = pair.token_of("a", &json!({ "mercure": { "publish": ["*"] } }));
    let fetches = |result: &str| format!(r#"sse_jwks_fetches_total{{role="publisher",result="{result}"}}"#);

    let believing = launch().environment("SSL_CERT_FILE", keys.certificate.to_str().unwrap()).start();
    eventually("the keys", || believing.metric(&fetches("ok")));
    assert_eq!(believing.post("/events/a", "x").bearer(&token).send().status(), 200);

    let doubting = launch().start();
    eventually("the refusal", || doubting.metric(&fetches("unreachable")));
    assert_eq!(doubting.post("/events/a", "x").bearer(&token).send().status(), 503);
    assert_eq!(doubting.metric(&fetches("ok")), None);
}

/// A server of keys with a certificate of its own making.
struct HttpsKeys {
    url: String,
    certificate: PathBuf,
}

impl HttpsKeys {
    fn start(document: String) -> Self {
        let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
        let certificate = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(format!("jwks-{}.pem", std::process::id()));
        std::fs::write(&certificate, made.cert.pem()).unwrap();
        let key = PrivateKeyDer::try_from(made.signing_key.serialize_der()).unwrap();
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let config = ServerConfig::builder_with_provider(provider).with_safe_default_protocol_versions().unwrap();
        let config = config.with_no_client_auth().with_single_cert(vec![made.cert.der().clone()], key).unwrap();
        let (config, listener) = (Arc::new(config), TcpListener::bind("127.0.0.1:0").unwrap());
        let url = format!("https://localhost:{}/jwks.json", listener.local_addr().unwrap().port());
        std::thread::spawn(move || {
            for socket in listener.incoming().map_while(Result::ok) {
                let mut stream = StreamOwned::new(ServerConnection::new(config.clone()).unwrap(), socket);
                // Whoever does not believe the certificate ends here.
                let _ = answer(&mut stream, &document);
            }
        });
        Self { url, certificate }
    }
}

fn answer(stream: &mut (impl Read + Write), document: &str) -> std::io::Result<()> {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        let mut byte = [0];
        stream.read_exact(&mut byte)?;
        head.push(byte[0]);
    }
    write!(stream, "HTTP/1.1 200 OK\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{document}", document.len())?;
    stream.flush()
}
