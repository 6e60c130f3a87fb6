//! What a release has, in `target/dist`: archives, a package for Debian, a bill of materials and checksums. Then each is tried.

mod archive;
mod licences;
mod materials;
mod package;
mod stage;
mod target;
mod trial;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, ensure};

use crate::faults::finding::Findings;
use crate::loadtest::Folder;
use crate::{parts, program, setup, workspace};
use stage::Stage;
use target::Target;

#[derive(Debug, clap::Args)]
pub struct Args {
    /// Parts by name: gnu, musl, deb, sbom; all of them when none is given
    parts: Vec<String>,
    /// Make them, and try none
    #[arg(long)]
    untried: bool,
}

/// What all parts have in common.
#[derive(Debug)]
struct Release {
    version: String,
    /// The time that everything in it is of, in seconds since 1970: the same sources give the same bytes.
    epoch: u64,
    /// Where it goes.
    out: PathBuf,
    /// Where parts do their work.
    work: PathBuf,
}

struct Part {
    name: &'static str,
    /// Makes it, and says what was made.
    make: fn(&Release) -> Result<PathBuf>,
    try_out: fn(&Release, &Path, &mut Findings) -> Result<()>,
}

const PARTS: &[Part] = &[
    Part { name: "gnu", make: |release| archived(release, &Target::gnu()), try_out: trial::gnu },
    Part { name: "musl", make: |release| archived(release, &Target::musl()), try_out: trial::musl },
    Part { name: "deb", make: package::make, try_out: package::try_out },
    Part { name: "sbom", make: materials::make, try_out: materials::try_out },
];

/// Makes the parts and tries them, and fails if one does not hold.
pub fn run(args: Args) -> Result<()> {
    let parts = parts::chosen(PARTS, |part| part.name, &args.parts)?;
    setup::run_for_releases()?;
    let folder = Folder::take("dist")?;
    let release = Release::of_workspace(folder.path())?;
    fs::create_dir_all(&release.out)?;
    let made = parts.iter().map(|part| (part.make)(&release).with_context(|| part.name));
    let made = made.collect::<Result<Vec<PathBuf>>>()?;
    write_sums(&release.out)?;
    let tried = parts.iter().zip(&made).filter(|_| !args.untried).map(|(part, file)| examine(part, &release, file));
    let failed = tried.filter(|holds| !holds).count();
    for file in &made {
        println!("{:>11} B  {}", file.metadata()?.len(), file.display());
    }
    ensure!(failed == 0, "{failed} of {} parts do not hold", parts.len());
    Ok(())
}

impl Release {
    fn of_workspace(dir: &Path) -> Result<Self> {
        let manifest = program::read(&mut workspace::cargo(&["pkgid", "--package", "sse-server"]))?;
        let version = manifest.trim().rsplit(['@', '#']).next().context("the server has no version")?.to_owned();
        Ok(Self { version, epoch: epoch()?, out: dir.join("out"), work: dir.join("work") })
    }

    /// A folder of its own for this part, empty.
    fn room(&self, part: &str) -> Result<PathBuf> {
        let dir = self.work.join(part);
        if dir.exists() {
            fs::remove_dir_all(&dir).with_context(|| dir.display().to_string())?;
        }
        fs::create_dir_all(&dir).with_context(|| dir.display().to_string())?;
        Ok(dir)
    }
}

/// As `SOURCE_DATE_EPOCH` says, which tools for reproducible builds share, or when the last commit was made.
fn epoch() -> Result<u64> {
    let text = match std::env::var("SOURCE_DATE_EPOCH") {
        Ok(text) => text,
        Err(_) => {
            let mut git = Command::new("git");
            git.current_dir(workspace::root()).args(["log", "-1", "--format=%ct"]);
            program::read(&mut git).context("outside a clone SOURCE_DATE_EPOCH has to be set")?
        }
    };
    text.trim().parse().context("SOURCE_DATE_EPOCH is a number of seconds")
}

fn archived(release: &Release, target: &Target) -> Result<PathBuf> {
    let stage = Stage::fill(release, target)?;
    archive::make(release, target, &stage)
}

/// The checksums of all that lies in the folder, from earlier runs too.
fn write_sums(out: &Path) -> Result<()> {
    let mut names = Vec::new();
    for entry in fs::read_dir(out)? {
        let name = entry?.file_name().into_string().ok().context("a file's name is no text")?;
        names.extend((name != "SHA256SUMS").then_some(name));
    }
    names.sort_unstable();
    let sums = program::read(Command::new("sha256sum").current_dir(out).args(&names))?;
    fs::write(out.join("SHA256SUMS"), sums).context("writing the checksums")
}

fn examine(part: &Part, release: &Release, file: &Path) -> bool {
    let findings = Findings::of(|findings| (part.try_out)(release, file, findings));
    findings.print(part.name);
    findings.hold()
}
