//! A log's directory: its files, and who may use it.
//!
//! A directory is a log's if it has the manifest; one without must be empty. What does not fit is refused before anything is
//! changed, and nothing is ever deleted.

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::{DirBuilderExt, MetadataExt};
use std::path::{Path, PathBuf};

use rusqlite::Connection;

use super::OpenLogError;

const MANIFEST: &str = "sse-log.json";
const LOCK: &str = "LOCK";
pub(super) const DATABASE: &str = "log.sqlite";
pub(super) const WAL: &str = "log.sqlite-wal";
pub(super) const WAL_INDEX: &str = "log.sqlite-shm";
/// What a log's directory may hold.
pub(super) const FILES: [&str; 6] = [MANIFEST, "sse-log.json.new", LOCK, DATABASE, WAL, WAL_INDEX];
const FORMAT: i64 = 1;
/// `sseL`.
const APPLICATION: i64 = 0x7373_654c;

pub(super) fn io_error(path: &Path) -> impl FnOnce(io::Error) -> OpenLogError + use<> {
    let path = path.to_owned();
    move |source| OpenLogError::Io { path, source }
}

/// What a directory is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Found {
    Log,
    /// A log may be begun here.
    Nothing,
}

/// Looks at a directory, which is made if it is not there; refuses what is no log's.
pub(super) fn look(dir: &Path) -> Result<Found, OpenLogError> {
    make(dir).map_err(io_error(dir))?;
    let not_a_log = |path: PathBuf, problem: &str| OpenLogError::NotALog { path, problem: problem.to_owned() };
    let mut names = Vec::new();
    for entry in fs::read_dir(dir).map_err(io_error(dir))? {
        names.push(entry.map_err(io_error(dir))?.file_name());
    }
    let is_foreign = |name: &std::ffi::OsString| !FILES.iter().any(|known| name == known) && name != "lost+found";
    if let Some(foreign) = names.iter().find(|name| is_foreign(name)) {
        return Err(not_a_log(dir.join(foreign), "this is no file of a log"));
    }
    let manifest = dir.join(MANIFEST);
    if !names.iter().any(|name| name == MANIFEST) {
        return match names.iter().find(|name| *name != LOCK && *name != "lost+found") {
            Some(_) => Err(not_a_log(manifest, "it is missing, and the directory is not empty")),
            None => Ok(Found::Nothing),
        };
    }
    let text = fs::read_to_string(&manifest).map_err(io_error(&manifest))?;
    let Manifest { format, state } =
        serde_json::from_str(&text).map_err(|error| not_a_log(manifest.clone(), &error.to_string()))?;
    if format != FORMAT {
        return Err(OpenLogError::Version { dir: dir.to_owned(), found: format, known: FORMAT });
    }
    match &*state {
        "new" => Ok(Found::Nothing),
        "ready" if !names.iter().any(|name| name == DATABASE) => Err(not_a_log(dir.join(DATABASE), "it is missing")),
        // SQLite would take an empty file for a new database, and everything would seem never to have been.
        "ready" if fs::metadata(dir.join(DATABASE)).map_err(io_error(&dir.join(DATABASE)))?.len() == 0 => {
            Err(not_a_log(dir.join(DATABASE), "it is empty"))
        }
        "ready" => check_database(dir).map(|()| Found::Log),
        _ => Err(not_a_log(manifest, "its state is neither new nor ready")),
    }
}

/// Nobody else has to do with what is published.
fn make(dir: &Path) -> io::Result<()> {
    DirBuilder::new().recursive(true).mode(0o700).create(dir)
}

/// Tells a log's database from any other that SQLite reads.
pub(super) fn mark(connection: &Connection) -> rusqlite::Result<()> {
    connection.pragma_update(None, "application_id", APPLICATION)?;
    connection.pragma_update(None, "user_version", FORMAT)
}

/// Whether the database is a log's, of the format that is known. Its header says so (<https://sqlite.org/fileformat2.html>,
/// 1.3): it was written when the log was begun, and never since.
fn check_database(dir: &Path) -> Result<(), OpenLogError> {
    let path = dir.join(DATABASE);
    let mut header = [0; 72];
    match File::open(&path).and_then(|mut file| file.read_exact(&mut header)) {
        Err(error) if error.kind() != io::ErrorKind::UnexpectedEof => return Err(io_error(&path)(error)),
        _ => (),
    }
    let number = |at: usize| header[at..at + 4].iter().fold(0, |number: i64, byte| number << 8 | i64::from(*byte));
    let (version, application) = (number(60), number(68));
    if !header.starts_with(b"SQLite format 3\0") || application != APPLICATION {
        return Err(OpenLogError::NotALog { path, problem: "this is not the database of a log".to_owned() });
    }
    if version != FORMAT {
        return Err(OpenLogError::Version { dir: dir.to_owned(), found: version, known: FORMAT });
    }
    Ok(())
}

/// The log that must be there.
pub(super) fn existing(dir: &Path) -> Result<File, OpenLogError> {
    let missing = |problem: &str| OpenLogError::NotALog { path: dir.to_owned(), problem: problem.to_owned() };
    if !dir.exists() {
        return Err(missing("there is no such directory"));
    }
    match look(dir)? {
        Found::Log => lock(dir),
        Found::Nothing => Err(missing("there is no log")),
    }
}

/// Begins a log; until [`finish`] it may be begun again.
pub(super) fn begin(dir: &Path) -> Result<File, OpenLogError> {
    let lock = lock(dir)?;
    write_manifest(dir, "new")?;
    Ok(lock)
}

/// The log is one from now on.
pub(super) fn finish(dir: &Path) -> Result<(), OpenLogError> {
    write_manifest(dir, "ready")
}

/// Bytes of a log's files.
pub(super) fn disk_bytes(dir: &Path) -> u64 {
    FILES.iter().filter_map(|name| fs::metadata(dir.join(name)).ok()).map(|file| file.len()).sum()
}

/// What tells a log's directory from any other.
#[derive(Debug, serde::Serialize, serde::Deserialize)]
#[serde(deny_unknown_fields)]
struct Manifest {
    format: i64,
    /// `new` until the database is there: nothing was promised until then.
    state: String,
}

fn write_manifest(dir: &Path, state: &str) -> Result<(), OpenLogError> {
    let (unfinished, manifest) = (dir.join("sse-log.json.new"), dir.join(MANIFEST));
    let text = serde_json::to_string(&Manifest { format: FORMAT, state: state.to_owned() });
    let write = || {
        let mut file = File::create(&unfinished)?;
        file.write_all(text.map_err(io::Error::other)?.as_bytes())?;
        file.sync_all()?;
        fs::rename(&unfinished, &manifest)?;
        File::open(dir)?.sync_all()
    };
    write().map_err(io_error(&manifest))
}

/// Whether this file is the lock of this directory.
pub(super) fn is_lock_of(dir: &Path, lock: &File) -> bool {
    let file = |file: fs::Metadata| (file.dev(), file.ino());
    let theirs = fs::metadata(dir.join(LOCK)).map(file);
    matches!((theirs, lock.metadata().map(file)), (Ok(theirs), Ok(ours)) if theirs == ours)
}

/// Keeps everybody else out.
pub(super) fn lock(dir: &Path) -> Result<File, OpenLogError> {
    let path = dir.join(LOCK);
    let file =
        OpenOptions::new().create(true).truncate(false).read(true).write(true).open(&path).map_err(io_error(&path))?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(fs::TryLockError::WouldBlock) => Err(OpenLogError::InUse { dir: dir.to_owned() }),
        Err(fs::TryLockError::Error(error)) => Err(io_error(&path)(error)),
    }
}
