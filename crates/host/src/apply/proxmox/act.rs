//! Acts of Proxmox's commands.
//!
//! A command whose output breaks ends its own worker in the middle of what it does,
//! and so does one that is ended with whoever called it. So each act gets files for its
//! output and a session of its own: when this program is killed, Proxmox finishes what
//! it has begun.

use std::{
    fs::File,
    io::Write as _,
    os::unix::fs::FileExt as _,
    process::{Command, Stdio},
    time::{Duration, Instant},
};

use matrix_podman_core::proxmox::Act;

use super::{LOOK, Sink};
use crate::{
    failure::{Doing, Failure},
    progress::Saying,
};

/// How long an act is waited for; a download or a large disk is slow.
const PATIENCE: Duration = Duration::from_secs(1800);
/// Between two looks at what it printed.
const FOLLOW: Duration = Duration::from_millis(50);
/// How many lines of each kind are kept as evidence.
const LINES: usize = 15;
/// How often in a row a look may fail before it counts: a container that goes down is
/// not always described.
const LOOKS: u32 = 8;

/// What a Proxmox command said, which ended with 0.
#[derive(Debug, Clone, Default)]
pub struct Said {
    /// The last lines of standard output: what its worker said.
    lines: Vec<String>,
    /// The last lines of standard error: often the only place where a failure is told.
    complaints: Vec<String>,
}

impl Said {
    fn evidence(&self) -> Vec<String> {
        [self.lines.as_slice(), &self.complaints].concat()
    }

    /// The failure of an act that ended with 0, and of which nothing came.
    pub(super) fn nothing_came(self, doing: &str, why: impl Into<String>) -> Failure {
        let why = match self.complaints.last() {
            Some(last) => format!("{}: {last}", why.into()),
            None => why.into(),
        };
        explained(Failure::new(doing, why).evidence(self.evidence()))
    }
}

/// Makes a call. That it ended with 0 says little; what it said comes back to be
/// shown if nothing became of it.
pub fn call(act: &Act, doing: &str, sink: &Sink) -> Result<Said, Failure> {
    call_with(act, doing, None, sink)
}

/// The same with something on standard input.
pub(super) fn call_with(act: &Act, doing: &str, input: Option<&str>, sink: &Sink) -> Result<Said, Failure> {
    run(&act.argv(), doing, input, sink).map_err(explained)
}

fn run(argv: &[String], doing: &str, input: Option<&str>, sink: &Sink) -> Result<Said, Failure> {
    let name = argv.iter().take(2).cloned().collect::<Vec<_>>().join(" ");
    let (mut out, mut err) = (Tail::new(doing)?, Tail::new(doing)?);
    let mut child = Command::new("setsid")
        .arg("--wait")
        .args(argv)
        .env("LC_ALL", "C.UTF-8")
        .stdin(if input.is_some() { Stdio::piped() } else { Stdio::null() })
        .stdout(out.writer(doing)?)
        .stderr(err.writer(doing)?)
        .spawn()
        .doing(|| format!("{doing} with {name}"))?;
    if let (Some(text), Some(mut stdin)) = (input, child.stdin.take()) {
        // One that reads none of it says itself why.
        let _ = stdin.write_all(text.as_bytes());
    }
    let started = Instant::now();
    let mut line = |text: &str| sink(Saying::Line(text.to_owned()));
    let status = loop {
        // Asked first: all that it printed is there then.
        let ended = child.try_wait().doing(|| format!("wait for {name}"))?;
        out.follow(&mut line);
        err.follow(&mut line);
        if let Some(status) = ended {
            break status;
        }
        if started.elapsed() > PATIENCE {
            return Err(Failure::new(doing, format!("{name} is still at it after {} s", PATIENCE.as_secs()))
                .evidence(out.lines)
                .hint("it goes on; its task in Proxmox's web pages shows how far it is. Then run the same again"));
        }
        std::thread::sleep(FOLLOW);
    };
    out.end(&mut line);
    err.end(&mut line);
    let said = Said { lines: out.lines, complaints: err.lines };
    match status.code() {
        Some(0) => Ok(said),
        Some(code) => {
            Err(Failure::new(doing, format!("{name} ended with status {code}")).evidence(said.evidence()))
        }
        None => Err(Failure::new(doing, format!("{name} was ended by a signal")).evidence(said.evidence())),
    }
}

/// A file that somebody writes into, and of which each line is read once.
struct Tail {
    file: File,
    at: u64,
    partial: Vec<u8>,
    lines: Vec<String>,
}

impl Tail {
    fn new(doing: &str) -> Result<Self, Failure> {
        let file = tempfile::tempfile().doing(|| doing)?;
        Ok(Self { file, at: 0, partial: Vec::new(), lines: Vec::new() })
    }

    fn writer(&self, doing: &str) -> Result<File, Failure> {
        self.file.try_clone().doing(|| doing)
    }

    fn follow(&mut self, line: &mut dyn FnMut(&str)) {
        let mut buffer = [0; 8192];
        // The place in the file is the writer's, too, so it is read from where we were.
        while let Ok(count @ 1..) = self.file.read_at(&mut buffer, self.at) {
            self.at += count as u64;
            for byte in &buffer[..count] {
                // A carriage return ends a line too, as in progress displays.
                if matches!(byte, b'\n' | b'\r') { self.take(line) } else { self.partial.push(*byte) }
            }
        }
    }

    fn end(&mut self, line: &mut dyn FnMut(&str)) {
        self.take(line);
    }

    fn take(&mut self, line: &mut dyn FnMut(&str)) {
        let bytes = std::mem::take(&mut self.partial);
        let text = String::from_utf8_lossy(&bytes);
        let text = text.trim_end();
        if text.is_empty() {
            return;
        }
        line(text);
        if self.lines.len() == LINES {
            self.lines.remove(0);
        }
        self.lines.push(text.to_owned());
    }
}

/// What to do about the failures that Proxmox's commands know.
fn explained(failure: Failure) -> Failure {
    let all = failure.evidence.join("\n").to_lowercase();
    let hint = if all.contains("is locked (") {
        "something else is at work on the container, or was cut off at it: `matrix-podman doctor` says which; then run \
         the same again"
    } else if all.contains("got timeout") {
        "another of Proxmox's commands held the container's lock; run the same again"
    } else if all.contains("no quorum") || all.contains("not ready - no quorum") {
        "the cluster lost its quorum; `pvecm status` shows which nodes are missing"
    } else if all.contains("already exists") {
        "somebody took that number meanwhile; run the same again"
    } else if all.contains("not most recent snapshot") {
        "this storage goes back to its newest snapshot only; `matrix-podman guest remove-snapshot NAME` removes newer \
         ones, and `matrix-podman guest snapshots` lists them"
    } else if all.contains("snapshot feature is not available") {
        "a storage of its disks makes no snapshots; `matrix-podman backup now` makes a backup to go back to"
    } else if all.contains("ssh public key validation error") {
        "a line of the file in proxmox.ssh_keys is no public key; `ssh-keygen -l -f FILE` reads each"
    } else if failure.is_full_disk() {
        "the storage is full; make room, or choose another with proxmox.storage"
    } else {
        return failure;
    };
    failure.hint(hint)
}

/// Looks until `shows` says so. A look that fails is repeated.
pub(super) fn until(
    doing: &str,
    what: &str,
    patience: Duration,
    said: &Result<Said, Failure>,
    mut shows: impl FnMut() -> Result<bool, Failure>,
) -> Result<(), Failure> {
    let started = Instant::now();
    loop {
        if look(&mut shows)? {
            return Ok(());
        }
        if let Err(failure) = said {
            return Err(failure.clone());
        }
        if started.elapsed() > patience {
            let why = format!("Proxmox took it, but {what} after {} s", patience.as_secs());
            return Err(said.clone().unwrap_or_default().nothing_came(doing, why).or_hint(TASK_LOG));
        }
        std::thread::sleep(LOOK);
    }
}

/// Looks; a look that fails is repeated some times.
pub(super) fn look<T>(mut look: impl FnMut() -> Result<T, Failure>) -> Result<T, Failure> {
    let mut failed = 0;
    loop {
        match look() {
            Err(failure) if failed + 1 == LOOKS => return Err(failure),
            Err(_) => failed += 1,
            seen => return seen,
        }
        std::thread::sleep(LOOK);
    }
}

/// Where more is said.
pub(super) const TASK_LOG: &str = "the task log of the node in Proxmox's web pages says more";

/// A hint for a failure that has none.
pub(super) trait OrHint {
    /// The failure with a hint.
    fn or_hint(self, hint: &str) -> Self;
}

impl OrHint for Failure {
    fn or_hint(self, hint: &str) -> Self {
        if self.hint.is_some() { self } else { self.hint(hint) }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use super::*;

    fn shell(script: &str) -> Vec<String> {
        ["sh", "-c", script].map(str::to_owned).to_vec()
    }

    #[test]
    fn both_outputs_are_told_and_kept() {
        let told = Mutex::new(Vec::new());
        let sink = |saying: Saying| {
            if let Saying::Line(line) = saying {
                told.lock().unwrap().push(line);
            }
        };
        let script = "read x; echo \"got $x\"; printf '1%%\\r2%%\\n'; echo 'cause' >&2";
        let said = run(&shell(script), "try", Some("hello\n"), &sink).unwrap();
        assert_eq!(said.lines, ["got hello", "1%", "2%"]);
        assert_eq!(said.complaints, ["cause"]);
        let mut told = told.into_inner().unwrap();
        told.sort();
        assert_eq!(told, ["1%", "2%", "cause", "got hello"]);
        let failure = said.nothing_came("try", "it did not arrive");
        assert_eq!(failure.why, "it did not arrive: cause");
        assert_eq!(failure.evidence.last().map(String::as_str), Some("cause"));
    }

    #[test]
    fn a_reason_on_standard_error_is_explained_whatever_the_exit_code() {
        let said = run(&shell("echo 'CT is locked (backup)' >&2"), "try", None, &|_| {}).unwrap();
        assert!(said.nothing_came("try", "nothing came").hint.is_some_and(|hint| hint.contains("doctor")));
        let failure = run(&shell("echo a; echo b >&2; exit 4"), "try", None, &|_| {}).unwrap_err();
        assert!(failure.why.ends_with("ended with status 4"), "{failure}");
        assert_eq!(failure.evidence, ["a", "b"]);
    }

    #[test]
    fn it_has_a_session_of_its_own_and_output_that_does_not_break() {
        let own = std::fs::read_to_string("/proc/self/stat").unwrap();
        let session =
            |stat: &str| stat.rsplit_once(')').unwrap().1.split_whitespace().nth(3).unwrap().to_owned();
        let script = "cat /proc/self/stat; readlink /proc/self/fd/1 >&2";
        let said = run(&shell(script), "try", None, &|_| {}).unwrap();
        assert_ne!(session(&said.lines[0]), session(&own));
        assert!(said.complaints[0].starts_with('/'), "a file, not a pipe: {:?}", said.complaints);
    }

    #[test]
    fn one_look_that_fails_ends_no_wait() {
        let mut looks = 0;
        let shows = || {
            looks += 1;
            match looks {
                1 | 3 => Err(Failure::new("look", "it went down just now")),
                _ => Ok(looks > 3),
            }
        };
        until("wait", "nothing shows", Duration::from_secs(20), &Ok(Said::default()), shows).unwrap();
        let mut looks = 0;
        let failure = look(|| -> Result<(), Failure> {
            looks += 1;
            Err(Failure::new("look", "gone"))
        });
        assert_eq!((failure.unwrap_err().why.as_str(), looks), ("gone", LOOKS));
    }
}
