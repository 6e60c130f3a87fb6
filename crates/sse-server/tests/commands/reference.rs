//! `docs/configuration.md` says what the settings are.

use std::fs;
use std::path::Path;

const HEAD: &str = "\
# Configuration

<!-- Made from the settings' own declaration; this brings it up to date:
     UPDATE_DOCS=1 cargo test -p sse-server --test commands reference -->

## Settings

";

#[test]
fn the_reference_is_up_to_date() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/configuration.md");
    let expected = format!("{HEAD}{}", sse_server::reference_markdown());
    if std::env::var_os("UPDATE_DOCS").is_some() {
        fs::write(&path, &expected).expect("the file can be written");
    }
    let written = fs::read_to_string(&path).unwrap_or_default();
    assert!(
        written == expected,
        "docs/configuration.md is not what the settings say; its first lines tell what to run"
    );
}
