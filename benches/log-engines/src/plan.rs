//! What is run, in which order, and the tables.

use std::{
    collections::BTreeMap,
    fs,
    io::{BufRead, BufReader},
    path::{Path, PathBuf},
    process::{Command, Stdio},
    thread,
    time::Duration,
};

use anyhow::{Context, Result, ensure};

use crate::{
    report::parse,
    store::{ENGINES, WITH_BASELINES},
};

type Figures = BTreeMap<String, f64>;

const GROUPS: [usize; 4] = [1, 8, 64, 512];
const SIZES: [usize; 2] = [200, 4096];
/// Synced and at an interval, with the words of the tables.
const MODES: [(&str, &str); 2] = [("1", "a sync per group"), ("0", "a sync each 100 ms")];

/// Rounds alternate the engines, so that a slow minute of the machine meets them all; the median round counts.
pub fn appends(dir: &Path, rounds: usize, millis: u64) -> Result<()> {
    for (fsync, words) in MODES {
        for size in SIZES {
            println!("\n{words}, {size} B\n");
            println!("| engine | group | events/s | p50 us | p99 us | CPU us/event | written B/event | syncs/commit |");
            println!("| --- | --- | --- | --- | --- | --- | --- | --- |");
            for group in GROUPS.into_iter().filter(|group| fsync == "1" || *group == 8 || *group == 64) {
                append_rows(dir, rounds, millis, group, size, fsync)?;
            }
        }
    }
    Ok(())
}

fn append_rows(dir: &Path, rounds: usize, millis: u64, group: usize, size: usize, fsync: &str) -> Result<()> {
    let (group, size, millis) = (group.to_string(), size.to_string(), millis.to_string());
    let mut found: Vec<Vec<Figures>> = vec![Vec::new(); WITH_BASELINES.len()];
    for _ in 0..rounds {
        for (number, engine) in WITH_BASELINES.into_iter().enumerate() {
            let data = fresh(dir, "append")?;
            found[number].push(one(engine, &data, &["append", &group, &size, fsync, "1000000", &millis])?);
        }
    }
    for (number, engine) in WITH_BASELINES.into_iter().enumerate() {
        let median = |name: &str| median(found[number].iter().map(|figures| figures[name]).collect());
        let syncs = syncs_per_commit(engine, &fresh(dir, "append")?, &group, &size, fsync)?;
        println!(
            "| {engine} | {group} | {:.0} | {:.0} | {:.0} | {:.1} | {:.0} | {syncs:.2} |",
            median("events_per_s"),
            median("p50_us"),
            median("p99_us"),
            median("cpu_us"),
            median("written_bytes"),
        );
    }
    Ok(())
}

pub fn history(dir: &Path, events: u64, only: Option<&str>) -> Result<()> {
    let with_index = WITH_BASELINES.into_iter().filter(|engine| *engine != "bare-file");
    for engine in with_index.filter(|engine| only.is_none_or(|only| only == *engine)) {
        println!("\n{engine}");
        for topics in [50, 50_000] {
            let data = fresh(dir, "history")?;
            let filled = one(engine, &data, &["fill", &events.to_string(), &topics.to_string()])?;
            println!("  fill, {topics} topics: {}", line(&filled));
            if engine != "own-log" {
                reads(engine, &data, topics)?;
            }
            if topics == 50 {
                opens(engine, &data)?;
            }
            if topics == 50 && engine != "own-log" {
                let more = (events * 2).to_string();
                let kept = one(engine, &data, &["retention", &events.to_string(), &more, "50"])?;
                println!("  retention: {}", line(&kept));
            }
        }
    }
    fresh(dir, "history")?;
    Ok(())
}

fn reads(engine: &str, data: &Path, topics: u32) -> Result<()> {
    let reads = if topics > 1000 { "5000" } else { "400" };
    for (words, reads, rate, cold) in
        [("cold", "50", "0", "1"), ("warm", reads, "0", "0"), ("warm, 5,000/s written", reads, "5000", "0")]
    {
        let figures = one(engine, data, &["read", &topics.to_string(), reads, rate, cold])?;
        println!("  read, {topics} topics, {words}: {}", line(&figures));
    }
    Ok(())
}

fn opens(engine: &str, data: &Path) -> Result<()> {
    println!("  open after a clean stop: {}", line(&one(engine, data, &["open", "0"])?));
    let promised = kill_while_appending(engine, data)?;
    let opened = one(engine, data, &["open", "0"])?;
    println!("  open after kill -9: {} promised={promised}", line(&opened));
    ensure!(opened["last_seq"] >= promised as f64, "{engine} lost what it had promised");
    kill_while_appending(engine, data)?;
    println!("  open after kill -9, cold: {}", line(&one(engine, data, &["open", "1"])?));
    Ok(())
}

/// The last sequence that the process said was on disk.
fn kill_while_appending(engine: &str, data: &Path) -> Result<u64> {
    let mut child = command(engine, data, &["forever"])?.stdout(Stdio::piped()).spawn()?;
    let output = child.stdout.take().context("stdout is piped")?;
    let reader = thread::spawn(move || BufReader::new(output).lines().map_while(Result::ok).last());
    thread::sleep(Duration::from_millis(1500));
    child.kill()?;
    child.wait()?;
    let last = reader.join().ok().flatten().context("nothing was written")?;
    Ok(last.parse()?)
}

pub fn faults(dir: &Path) -> Result<()> {
    for engine in ENGINES {
        for (what, path, when) in [
            ("the 100th sync fails", None, "100"),
            ("the 100th and all later syncs fail", None, "100+"),
            ("a sync of a checkpoint fails", Some("log.sqlite"), "2"),
        ] {
            if path.is_none() || engine == "sqlite" {
                println!("\n{engine}: {what}");
                sync_error(engine, &fresh(dir, "fault")?, path, when)?;
            }
        }
        println!("\n{engine}: a full disk of 64 MiB");
        full_disk(engine, &fresh(dir, "full")?)?;
        for (words, rounds, cut, clean) in [
            ("one bit flipped after a clean stop, 500 times", "500", "0", "1"),
            ("one bit flipped after kill -9, 500 times", "500", "0", "0"),
            ("tail cut after kill -9, 200 times", "200", "1", "0"),
        ] {
            println!("\n{engine}: {words}");
            let data = fresh(dir, "damage")?;
            // What a panicking engine says is noise here; the outcomes count them.
            command(engine, &data, &["damage", rounds, cut, clean])?.stderr(Stdio::null()).status()?;
        }
    }
    fresh(dir, "full")?;
    Ok(())
}

/// Fails the syncs of one file, or of all, counted from the start of the process.
fn sync_error(engine: &str, data: &Path, path: Option<&str>, when: &str) -> Result<()> {
    let inject = format!("inject=fdatasync,fsync,msync:error=EIO:when={when}");
    let mut options = vec!["-o", "/dev/null", "-e", "trace=fdatasync,fsync,msync", "-e", &inject];
    let file = path.map(|path| data.join(path).to_string_lossy().into_owned());
    if let Some(file) = &file {
        options.extend(["-P", file]);
    }
    let status = strace(&options, &command(engine, data, &["sync-error"])?).status().context("strace")?;
    println!("  {status}");
    Ok(())
}

fn full_disk(engine: &str, mountpoint: &Path) -> Result<()> {
    use rustix::mount::{MountFlags, UnmountFlags, mount, unmount};
    mount("none", mountpoint, "tmpfs", MountFlags::empty(), Some(c"size=64m")).context("mounting a tmpfs")?;
    let ran = command(engine, mountpoint, &["full-disk"]).and_then(|mut child| Ok(child.status()?));
    unmount(mountpoint, UnmountFlags::empty())?;
    println!("  {}", ran?);
    Ok(())
}

fn fresh(dir: &Path, name: &str) -> Result<PathBuf> {
    let data = dir.join(name);
    if data.exists() {
        fs::remove_dir_all(&data)?;
    }
    fs::create_dir_all(&data)?;
    Ok(data)
}

fn command(engine: &str, data: &Path, what: &[&str]) -> Result<Command> {
    let mut command = Command::new(std::env::current_exe()?);
    command.arg("--dir").arg(data).args(["one", "--engine", engine]).args(what);
    Ok(command)
}

fn one(engine: &str, data: &Path, what: &[&str]) -> Result<Figures> {
    let output = command(engine, data, what)?.stderr(Stdio::inherit()).output()?;
    ensure!(output.status.success(), "{engine} {what:?}: {}", output.status);
    Ok(parse(&String::from_utf8(output.stdout)?))
}

fn strace(options: &[&str], program: &Command) -> Command {
    let mut strace = Command::new("strace");
    strace.args(["-f", "-qq"]).args(options).arg(program.get_program()).args(program.get_args());
    strace
}

/// All syncs of a process that makes 100 commits, less those of one that makes none but opens and closes too.
fn syncs_per_commit(engine: &str, data: &Path, group: &str, size: &str, fsync: &str) -> Result<f64> {
    let none = count_syncs(engine, data, &["append", group, size, fsync, "0", "60000"])?;
    fs::remove_dir_all(data)?;
    let some = count_syncs(engine, data, &["append", group, size, fsync, "100", "60000"])?;
    Ok((some - none) / 100.0)
}

fn count_syncs(engine: &str, data: &Path, what: &[&str]) -> Result<f64> {
    let log = data.with_extension("strace");
    let log_text = log.to_string_lossy().into_owned();
    let trace = ["-e", "trace=fsync,fdatasync,msync,sync_file_range", "-o", &log_text];
    let status = strace(&trace, &command(engine, data, what)?).stdout(Stdio::null()).status().context("strace")?;
    ensure!(status.success(), "strace of {engine}: {status}");
    let text = fs::read_to_string(&log)?;
    fs::remove_file(log)?;
    Ok(text.lines().filter(|line| line.contains("sync") && !line.contains("resumed")).count() as f64)
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

fn line(figures: &Figures) -> String {
    figures.iter().map(|(name, value)| format!("{name}={value:.1}")).collect::<Vec<_>>().join(" ")
}
