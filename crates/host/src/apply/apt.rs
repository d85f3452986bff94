//! Debian packages.

use std::{
    fs,
    path::Path,
    sync::{Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use matrix_podman_core::name::{AbsPath, Mode, Owner};

use crate::{
    failure::Failure,
    file,
    process::Program,
    progress::{Saying, Sink},
};

/// How long another apt may hold its lock before it is a failure.
const LOCK: &str = "DPkg::Lock::Timeout=600";
/// The same, for the locks that apt has no patience with.
const OTHERS: Duration = Duration::from_secs(600);
/// How long a whole apt run may take.
const PATIENCE: Duration = Duration::from_secs(3600);
/// Package lists younger than this are not fetched again.
const FRESH: Duration = Duration::from_secs(3600);

/// One apt run at a time in this process.
static ONE: Mutex<()> = Mutex::new(());

/// Keeps other runs of apt in this process out, and finishes what one was cut
/// off at.
pub(super) fn alone(sink: &Sink) -> Result<MutexGuard<'static, ()>, Failure> {
    let one = ONE.lock().unwrap_or_else(PoisonError::into_inner);
    recover(sink)?;
    Ok(one)
}

/// Fetches packages that are installed, in exactly these versions
/// (`name=version`), and what they need, into `folder`.
pub(super) fn fetch(packages: &[String], folder: &Path, sink: &Sink) -> Result<(), Failure> {
    newer(&["--download-only"], packages, folder, sink)
}

/// Fetches the packages (`name=version`) that are installed into `folder`, so that
/// they can be put back. A source may no longer have them.
pub(super) fn fetch_installed(packages: &[String], folder: &Path, sink: &Sink) -> Result<(), Failure> {
    back(&["--download-only", "--reinstall"], packages, folder, sink)
}

/// Puts packages back that were fetched into `folder` before newer ones came.
pub(super) fn put_back(packages: &[String], folder: &Path, sink: &Sink) -> Result<(), Failure> {
    back(&["--no-download"], packages, folder, sink)
}

fn back(how: &[&str], packages: &[String], folder: &Path, sink: &Sink) -> Result<(), Failure> {
    let archives = format!("Dir::Cache::archives={}/", folder.display());
    let fixed = ["install", "--allow-downgrades", "--no-install-recommends", "-o", &archives];
    let verb: Vec<&str> = fixed.into_iter().chain(how.iter().copied()).collect();
    let words: Vec<&str> = packages.iter().map(String::as_str).collect();
    apt(&verb, &words).run(&format!("put back {}", packages.join(" ")), &line(sink)).map_err(explain)
}

/// Installs what was fetched into `folder`.
pub(super) fn install_fetched(packages: &[String], folder: &Path, sink: &Sink) -> Result<(), Failure> {
    newer(&[], packages, folder, sink)
}

fn newer(how: &[&str], packages: &[String], folder: &Path, sink: &Sink) -> Result<(), Failure> {
    let archives = format!("Dir::Cache::archives={}/", folder.display());
    let fixed = ["install", "--only-upgrade", "--no-install-recommends", "-o", &archives];
    let verb: Vec<&str> = fixed.into_iter().chain(how.iter().copied()).collect();
    let words: Vec<&str> = packages.iter().map(String::as_str).collect();
    apt(&verb, &words).run(&format!("upgrade {}", packages.join(" ")), &line(sink)).map_err(explain)
}

/// Installs packages, without what they merely recommend.
pub(super) fn install(packages: &[String], sink: &Sink) -> Result<(), Failure> {
    let _one = ONE.lock();
    recover(sink)?;
    let doing = format!("install {}", packages.join(" "));
    if !lists_are_fresh() {
        update(sink)?;
    }
    let words: Vec<&str> = packages.iter().map(String::as_str).collect();
    let first = apt(&["install", "--no-install-recommends"], &words).run(&doing, &line(sink));
    match first {
        Ok(()) => Ok(()),
        // Lists that are only hours old can already name versions that are gone.
        Err(_) => {
            update(sink)?;
            apt(&["install", "--no-install-recommends"], &words).run(&doing, &line(sink)).map_err(explain)
        }
    }
}

/// Removes packages with their configuration.
pub(super) fn purge(packages: &[String], sink: &Sink) -> Result<(), Failure> {
    let _one = ONE.lock();
    recover(sink)?;
    let words: Vec<&str> = packages.iter().map(String::as_str).collect();
    apt(&["purge", "--auto-remove"], &words)
        .run(&format!("remove {}", packages.join(" ")), &line(sink))
        .map_err(explain)
}

/// Brings everything up to date, then leaves the stamp.
pub(super) fn upgrade(stamp: &AbsPath, sink: &Sink) -> Result<(), Failure> {
    let _one = ONE.lock();
    recover(sink)?;
    if !lists_are_fresh() {
        update(sink)?;
    }
    apt(&["dist-upgrade"], &[]).run("update the Debian packages", &line(sink)).map_err(explain)?;
    file::write(Path::new(stamp.as_str()), b"", Mode(0o644), Owner::ROOT)
}

pub(super) fn update(sink: &Sink) -> Result<(), Failure> {
    sink(Saying::WaitsFor("the list of Debian packages".to_owned()));
    // Without this, apt calls it a success when a source cannot be reached.
    patiently(sink, &|| {
        Program::new(["apt-get", "update", "--error-on=any", "-o", LOCK])
            .deadline(PATIENCE)
            .run("fetch the list of Debian packages", &line(sink))
    })
    .map_err(explain)
}

/// Waits for locks that the programs themselves do not wait for: apt's of its
/// lists, dpkg's of everything.
fn patiently(sink: &Sink, run: &dyn Fn() -> Result<(), Failure>) -> Result<(), Failure> {
    let started = Instant::now();
    loop {
        match run() {
            Err(failure) if is_locked(&failure) && started.elapsed() < OTHERS => {
                sink(Saying::WaitsFor("another apt to end".to_owned()));
                std::thread::sleep(Duration::from_secs(1));
            }
            result => return result,
        }
    }
}

/// A power cut in the middle of an installation leaves packages half
/// configured; apt then refuses everything until they are finished.
fn recover(sink: &Sink) -> Result<(), Failure> {
    let interrupted = fs::read_dir("/var/lib/dpkg/updates").is_ok_and(|mut d| d.next().is_some());
    let half = fs::read_to_string("/var/lib/dpkg/status").is_ok_and(|status| {
        status.lines().any(|line| {
            line.strip_prefix("Status: ").is_some_and(|s| {
                s.ends_with("half-configured") || s.ends_with("unpacked") || s.ends_with("half-installed")
            })
        })
    });
    if !interrupted && !half {
        return Ok(());
    }
    sink(Saying::WaitsFor("an interrupted installation to be finished".to_owned()));
    // What looks interrupted may be another apt at work. What cannot be
    // configured for want of another package, the next act mends.
    let _ = patiently(sink, &|| {
        Program::new(["dpkg", "--force-confdef", "--force-confold", "--configure", "--pending"])
            .deadline(PATIENCE)
            .run("finish an interrupted installation", &line(sink))
    });
    apt(&["install", "--fix-broken"], &[])
        .run("mend an interrupted installation", &line(sink))
        .map_err(explain)
}

fn lists_are_fresh() -> bool {
    fs::read_dir("/var/lib/apt/lists").is_ok_and(|lists| {
        lists.filter_map(Result::ok).any(|entry| {
            entry.file_name().to_string_lossy().contains("_Packages")
                && entry
                    .metadata()
                    .and_then(|m| m.modified())
                    .is_ok_and(|m| m.elapsed().is_ok_and(|age| age < FRESH))
        })
    })
}

fn apt(verb: &[&str], packages: &[&str]) -> Program<'static> {
    let options = [
        "--yes",
        "--quiet=2",
        "-o",
        LOCK,
        "-o",
        "Dpkg::Options::=--force-confdef",
        "-o",
        "Dpkg::Options::=--force-confold",
        "-o",
        "APT::Color=0",
        "-o",
        "Dpkg::Use-Pty=0",
        "-o",
        // Not 1: apt closes it for dpkg, and maintainer scripts would have no output.
        "APT::Status-Fd=3",
    ];
    let argv = ["apt-get"].iter().chain(verb).chain(&options).chain(&["--"]).chain(packages);
    Program::new(argv.collect::<Vec<_>>()).accounts_on_3().deadline(PATIENCE)
}

fn line<'a>(sink: &'a Sink) -> impl Fn(&str) + Sync + 'a {
    |line| sink(progress(line).unwrap_or_else(|| Saying::Line(line.to_owned())))
}

/// Reads apt's own account of how far it is (apt's progress-reporting.md):
/// `pmstatus:podman:61.5:Unpacking podman (amd64)`, `dlstatus:3:20.1:…`.
fn progress(line: &str) -> Option<Saying> {
    let mut fields = line.splitn(4, ':');
    let kind = fields.next().filter(|kind| matches!(*kind, "pmstatus" | "dlstatus"))?;
    let (_, percent, at) = (fields.next()?, fields.next()?, fields.next()?);
    // Fetching is taken as the first half, installing as the second.
    let half = percent.parse::<f32>().ok()?.clamp(0.0, 100.0) / 2.0;
    let percent = if kind == "dlstatus" { half } else { 50.0 + half };
    Some(Saying::Share { percent: percent as u8, at: at.to_owned() })
}

fn is_locked(failure: &Failure) -> bool {
    let locked =
        |line: &String| line.contains("Could not get lock") || line.contains("lock was locked by another");
    failure.evidence.iter().any(locked)
}

fn explain(failure: Failure) -> Failure {
    let said = |what: &str| failure.evidence.iter().any(|line| line.contains(what));
    let hint = if said("Temporary failure resolving")
        || said("Could not connect")
        || said("Could not resolve")
    {
        "the package source cannot be reached: see that this side has a working network and DNS, then run the same again"
    } else if failure.is_full_disk() {
        "the disk is full: make room, then run the same again"
    } else if is_locked(&failure) {
        "another apt is at work: wait until it has ended, then run the same again"
    } else {
        "what is there is left as it is; run the same again to go on"
    };
    failure.hint(hint)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn apt_says_how_far_it_is() {
        let share = |percent, at: &str| Some(Saying::Share { percent, at: at.to_owned() });
        assert_eq!(
            progress("pmstatus:podman:50.0:Unpacking podman (amd64)"),
            share(75, "Unpacking podman (amd64)")
        );
        assert_eq!(progress("dlstatus:3:20.1:Retrieving file 3 of 9"), share(10, "Retrieving file 3 of 9"));
        assert_eq!(progress("Setting up podman (5.4.2) ..."), None);
        assert_eq!(progress("pmstatus:x"), None);
    }
}
