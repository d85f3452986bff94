//! Test files side by side: most of what an end-to-end test does is waiting for
//! a guest.

use std::{
    collections::VecDeque,
    fs,
    path::PathBuf,
    process::{Command, Stdio},
    sync::{Mutex, PoisonError, mpsc},
    time::{Duration, Instant},
};

use rustix::fs::statvfs;

use crate::phase::workspace;

/// A built file of tests.
pub struct File {
    /// Its name in e2e/tests.
    pub name: String,
    /// What to run.
    pub executable: PathBuf,
}

/// Those that take longest, longest first: begun last, one of them would keep
/// everybody waiting alone.
const LONG: [&str; 14] = [
    "proxmox",
    "backup",
    "update",
    "postgres",
    "proxmox_faults",
    "registry",
    "doctor",
    "server",
    "faults",
    "edge",
    "network",
    "silence",
    "campaign",
    "remote",
];

/// Where the tests put guests that they are done with: deleting tens of
/// thousands of files slows ext4 down for minutes, so that waits as long as
/// there is room.
const TRASH: &str = "/var/lib/lxc/.matrix-podman-e2e-trash";
/// A file of tests begins with at least this much room, as far as the trash can
/// give it.
const ROOM_GB: f64 = 40.0;

/// How much of a panic is told once more at the end.
const PANIC_LINES: usize = 16;

/// Two files of tests keep one processor half busy.
const LANES_PER_PROCESSOR: usize = 2;

/// How a file ended.
struct Ended {
    name: String,
    well: bool,
    output: String,
    took: Duration,
}

/// Runs all files; `surround` sets a command's environment. What a file printed
/// is shown when it has ended: all of it where a test failed, else its verdicts.
pub fn run(mut files: Vec<File>, surround: &(impl Fn(&mut Command) + Sync)) -> Result<(), String> {
    let place = |file: &File| LONG.iter().position(|name| *name == file.name).unwrap_or(LONG.len());
    files.sort_by_key(|file| (place(file), file.name.clone()));
    let processors = std::thread::available_parallelism().map_or(1, usize::from);
    let lanes = (processors * LANES_PER_PROCESSOR).min(files.len());
    println!("{} files of tests in {lanes} lanes", files.len());
    let waiting = Mutex::new(VecDeque::from(files));
    let next = || waiting.lock().unwrap_or_else(PoisonError::into_inner).pop_front();
    let (report, reports) = mpsc::channel();
    let mut failed = Vec::new();
    std::thread::scope(|scope| {
        for _ in 0..lanes {
            let report = report.clone();
            let next = &next;
            scope.spawn(move || {
                while let Some(file) = next() {
                    println!("begin {}, {:.0} GB free", file.name, room());
                    if report.send(one(&file, surround)).is_err() {
                        break;
                    }
                }
            });
        }
        drop(report);
        for ended in reports {
            show(&ended);
            if !ended.well {
                failed.push(format!("{}\n{}", ended.name, causes(&ended.output)));
            }
        }
    });
    if failed.is_empty() { Ok(()) } else { Err(format!("tests failed in:\n{}", failed.join("\n"))) }
}

/// Gigabytes that are free where the guests lie. The trash is emptied where that
/// is little.
fn room() -> f64 {
    let free = || statvfs("/var/lib").map_or(0.0, |fs| fs.f_bavail as f64 * fs.f_frsize as f64 / 1e9);
    if free() < ROOM_GB {
        empty_trash();
    }
    free()
}

/// Removes for good what the tests are done with.
pub fn empty_trash() {
    match fs::remove_dir_all(TRASH) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            println!("{TRASH} is not empty: {error}")
        }
        _ => {}
    }
}

/// What a file's failures began with: the first lines of each panic, and the
/// verdict.
fn causes(output: &str) -> String {
    let mut told = Vec::new();
    let mut of_panic = 0;
    for line in output.lines() {
        of_panic = if line.contains(" panicked at ") { PANIC_LINES } else { of_panic };
        if line == "stack backtrace:" {
            of_panic = 0;
        }
        if of_panic > 0 || line.contains("... FAILED") {
            told.push(format!("  {line}"));
        }
        of_panic = of_panic.saturating_sub(1);
    }
    told.join("\n")
}

fn one(file: &File, surround: &impl Fn(&mut Command)) -> Ended {
    let started = Instant::now();
    let (well, output) = match attempt(file, surround) {
        Ok(result) => result,
        Err(error) => (false, format!("cannot run {}: {error}", file.executable.display())),
    };
    Ended { name: file.name.clone(), well, output, took: started.elapsed() }
}

fn attempt(file: &File, surround: &impl Fn(&mut Command)) -> std::io::Result<(bool, String)> {
    let said = std::env::temp_dir().join(format!("matrix-podman-e2e-{}-{}", std::process::id(), file.name));
    let output = fs::File::create(&said)?;
    let mut command = Command::new(&file.executable);
    command.args(["--test-threads=1", "--nocapture"]).current_dir(workspace().join("e2e"));
    surround(&mut command);
    let status = command.stdin(Stdio::null()).stderr(output.try_clone()?).stdout(output).status()?;
    let text = String::from_utf8_lossy(&fs::read(&said)?).into_owned();
    fs::remove_file(&said)?;
    Ok((status.success(), text))
}

fn show(ended: &Ended) {
    let verdict = |line: &&str| line.starts_with("test ") || line.starts_with("not run: ");
    let lines = ended.output.lines().filter(|line| !ended.well || verdict(line));
    let word = if ended.well { "ok" } else { "FAILED" };
    println!("\n--- {} {word} ({:.0} s)", ended.name, ended.took.as_secs_f32());
    lines.for_each(|line| println!("{line}"));
}
