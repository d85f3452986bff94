//! Commands: run as a person or a script would, and what they said.

use std::{
    fs::File,
    io::{Read as _, Seek as _, Write as _},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use serde_json::Value;

use crate::{at_this_pace, wait_closely};

/// How long a command may take, unless it is said otherwise.
const PATIENCE: Duration = Duration::from_secs(15 * 60);

/// A command that has ended.
#[derive(Debug)]
pub struct Ran {
    /// What was typed.
    pub line: String,
    /// Its exit code; -1 when a signal ended it.
    pub code: i32,
    /// What it said on standard output.
    pub stdout: String,
    /// What it said on standard error.
    pub stderr: String,
    /// How long it took.
    pub took: Duration,
}

impl Ran {
    /// It did what it should: exit code 0.
    #[track_caller]
    pub fn ok(self) -> Self {
        self.exits(0)
    }

    /// It ended with this exit code.
    #[track_caller]
    pub fn exits(self, code: i32) -> Self {
        assert!(self.code == code, "expected exit code {code}\n{}", self.evidence());
        self
    }

    /// It said this, on either stream.
    #[track_caller]
    pub fn says(self, text: &str) -> Self {
        assert!(
            self.stdout.contains(text) || self.stderr.contains(text),
            "expected it to say {text:?}\n{}",
            self.evidence()
        );
        self
    }

    /// It said `what` of a time less than two hours ago.
    #[track_caller]
    pub fn says_lately(self, what: &str) -> Self {
        let lately = |line: &str| {
            line.split_once(what).is_some_and(|(_, when)| {
                when.trim_start().starts_with("just now") || when.contains(" min ago")
            })
        };
        assert!(
            self.stdout.lines().any(lately),
            "expected it to say {what:?} of a moment ago\n{}",
            self.evidence()
        );
        self
    }

    /// It said nothing of the kind.
    #[track_caller]
    pub fn never_says(self, text: &str) -> Self {
        assert!(
            !self.stdout.contains(text) && !self.stderr.contains(text),
            "it must not say {text:?}\n{}",
            self.evidence()
        );
        self
    }

    /// Its standard output as JSON.
    #[track_caller]
    pub fn json(&self) -> Value {
        serde_json::from_str(&self.stdout)
            .unwrap_or_else(|e| panic!("expected JSON on standard output: {e}\n{}", self.evidence()))
    }

    /// Its standard output as JSON, one value a line.
    #[track_caller]
    pub fn json_lines(&self) -> Vec<Value> {
        self.stdout
            .lines()
            .map(|line| {
                serde_json::from_str(line).unwrap_or_else(|e| {
                    panic!("expected a line of JSON, got {line:?}: {e}\n{}", self.evidence())
                })
            })
            .collect()
    }

    /// Its standard output without white space around it.
    pub fn text(&self) -> &str {
        self.stdout.trim()
    }

    /// Everything that is known of it, for a person who has to find out why.
    pub fn evidence(&self) -> String {
        format!(
            "$ {}\nexit code {} after {:.1} s\n--- standard output\n{}\n--- standard error\n{}\n---",
            self.line,
            self.code,
            self.took.as_secs_f32(),
            last_lines(&self.stdout, 80),
            last_lines(&self.stderr, 120),
        )
    }
}

fn last_lines(text: &str, count: usize) -> String {
    let lines: Vec<&str> = text.lines().collect();
    lines[lines.len().saturating_sub(count)..].join("\n")
}

/// A command that is going to be run.
pub struct Invocation {
    argv: Vec<String>,
    folder: Option<PathBuf>,
    input: Option<Vec<u8>>,
    env: Vec<(String, Option<String>)>,
    patience: Duration,
    quiet: bool,
}

impl Invocation {
    /// `argv[0]` with the rest as arguments; standard input is empty.
    pub fn new<S: AsRef<str>>(argv: impl IntoIterator<Item = S>) -> Self {
        Self {
            argv: argv.into_iter().map(|word| word.as_ref().to_owned()).collect(),
            folder: None,
            input: None,
            env: Vec::new(),
            patience: PATIENCE,
            quiet: false,
        }
    }

    /// Runs in this folder.
    pub fn folder(mut self, folder: impl AsRef<Path>) -> Self {
        self.folder = Some(folder.as_ref().to_owned());
        self
    }

    /// Gets this on standard input.
    pub fn input(mut self, input: impl AsRef<[u8]>) -> Self {
        self.input = Some(input.as_ref().to_owned());
        self
    }

    /// Has this variable in its environment.
    pub fn env(mut self, name: &str, value: &str) -> Self {
        self.env.push((name.to_owned(), Some(value.to_owned())));
        self
    }

    /// Does not have this variable in its environment.
    pub fn without_env(mut self, name: &str) -> Self {
        self.env.push((name.to_owned(), None));
        self
    }

    /// May take this long.
    pub fn within(mut self, patience: Duration) -> Self {
        self.patience = patience;
        self
    }

    /// Is not mentioned in the output of the tests unless it goes wrong.
    pub fn quietly(mut self) -> Self {
        self.quiet = true;
        self
    }

    /// Starts it and does not wait.
    #[track_caller]
    pub fn start(self) -> Running {
        let line = self.argv.join(" ");
        let [program, arguments @ ..] = self.argv.as_slice() else { panic!("no command") };
        let mut command = Command::new(program);
        command.args(arguments);
        if let Some(folder) = &self.folder {
            command.current_dir(folder);
        }
        for (name, value) in &self.env {
            match value {
                Some(value) => command.env(name, value),
                None => command.env_remove(name),
            };
        }
        // Files, not pipes: what inherits them (dnsmasq, lxc-start) may live on.
        let (stdout, stderr) = (scratch(), scratch());
        let clone =
            |file: &File| Stdio::from(file.try_clone().unwrap_or_else(|e| panic!("clone a file: {e}")));
        let stdin = match &self.input {
            Some(input) => {
                let mut file = scratch();
                file.write_all(input)
                    .and_then(|()| file.rewind())
                    .unwrap_or_else(|e| panic!("write input: {e}"));
                Stdio::from(file)
            }
            None => Stdio::null(),
        };
        let child = command
            .stdin(stdin)
            .stdout(clone(&stdout))
            .stderr(clone(&stderr))
            .spawn()
            .unwrap_or_else(|e| panic!("cannot run {line}: {e}"));
        Running {
            child,
            line,
            stdout,
            stderr,
            started: Instant::now(),
            patience: self.patience,
            quiet: self.quiet,
        }
    }

    /// Runs it to its end.
    #[track_caller]
    pub fn run(self) -> Ran {
        self.start().wait()
    }
}

/// A file without a name that both streams of a command can be written to.
#[track_caller]
fn scratch() -> File {
    let folder = std::env::temp_dir();
    let number = std::sync::atomic::AtomicU64::fetch_add(&NUMBER, 1, std::sync::atomic::Ordering::Relaxed);
    let path = folder.join(format!(".matrix-podman-e2e-{}-{number}", std::process::id()));
    let file = File::options()
        .read(true)
        .write(true)
        .create_new(true)
        .open(&path)
        .unwrap_or_else(|e| panic!("make {}: {e}", path.display()));
    std::fs::remove_file(&path).unwrap_or_else(|e| panic!("remove {}: {e}", path.display()));
    file
}

static NUMBER: std::sync::atomic::AtomicU64 = std::sync::atomic::AtomicU64::new(0);

/// A command that is under way. It is killed when the test ends before it does.
pub struct Running {
    child: Child,
    line: String,
    stdout: File,
    stderr: File,
    started: Instant,
    patience: Duration,
    quiet: bool,
}

impl Running {
    /// Its process id.
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// How long it has been at work.
    pub fn elapsed(&self) -> Duration {
        self.started.elapsed()
    }

    /// Whether it is still at work.
    #[track_caller]
    pub fn is_running(&mut self) -> bool {
        self.child.try_wait().unwrap_or_else(|e| panic!("look after {}: {e}", self.line)).is_none()
    }

    /// What it has said so far, on both streams.
    pub fn said(&mut self) -> String {
        format!("{}{}", content(&self.stdout), content(&self.stderr))
    }

    /// Waits until it has said `text`.
    #[track_caller]
    pub fn comes_to(&mut self, text: &str) {
        wait_closely(text, self.patience, || {
            // Asked first: what it said last may be what is waited for.
            let runs = self.is_running();
            let said = self.said();
            assert!(said.contains(text) || runs, "it ended without saying {text:?}:\n{said}");
            if said.contains(text) { Ok(()) } else { Err("it was not said yet".to_owned()) }
        });
    }

    /// Kills it with SIGKILL between saying that it begins `act` and saying that it
    /// is done with it. The test has to see to it that `act` takes its time.
    #[track_caller]
    pub fn kill_within(mut self, act: &str) -> Ran {
        self.comes_to(&format!("begin  {act}"));
        let ran = self.kill();
        assert!(
            !ran.stderr.contains(&format!("done   {act}")),
            "the kill came too late: it was done with {act:?} already, so this test proves nothing; give it more to do \
             there\n{}",
            ran.evidence()
        );
        ran
    }

    /// Kills it with SIGKILL, at once.
    #[track_caller]
    pub fn kill(mut self) -> Ran {
        // It may have ended by itself in the meantime.
        let _ = self.child.kill();
        self.wait()
    }

    /// Waits for its end.
    #[track_caller]
    pub fn wait(mut self) -> Ran {
        let status = loop {
            if let Some(status) =
                self.child.try_wait().unwrap_or_else(|e| panic!("look after {}: {e}", self.line))
            {
                break Some(status);
            }
            if self.started.elapsed() > at_this_pace(self.patience) {
                let _ = self.child.kill();
                let _ = self.child.wait();
                break None;
            }
            std::thread::sleep(Duration::from_millis(10));
        };
        let ran = Ran {
            line: std::mem::take(&mut self.line),
            code: status.and_then(|s| s.code()).unwrap_or(-1),
            stdout: content(&self.stdout),
            stderr: content(&self.stderr),
            took: self.started.elapsed(),
        };
        assert!(status.is_some(), "it did not end in {} s\n{}", self.patience.as_secs(), ran.evidence());
        if !self.quiet {
            let short: String = ran.line.replace('\n', "⏎").chars().take(140).collect();
            println!("  $ {short}  → {} in {:.1} s", ran.code, ran.took.as_secs_f32());
        }
        ran
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        if matches!(self.child.try_wait(), Ok(None)) {
            let _ = self.child.kill();
            let _ = self.child.wait();
        }
    }
}

/// All that was written to a file, whatever the position of whoever writes: a
/// clone shares its position, so that it is read by offsets.
fn content(file: &File) -> String {
    use std::os::unix::fs::FileExt as _;
    let mut bytes = Vec::new();
    let mut buffer = vec![0; 64 << 10];
    while let Ok(count @ 1..) = file.read_at(&mut buffer, bytes.len() as u64) {
        bytes.extend_from_slice(&buffer[..count]);
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

/// Reads a file of the machine.
#[track_caller]
pub(crate) fn read(path: impl AsRef<Path>) -> String {
    let path = path.as_ref();
    let mut text = String::new();
    File::open(path)
        .and_then(|mut f| f.read_to_string(&mut text))
        .unwrap_or_else(|e| panic!("read {}: {e}", path.display()));
    text
}
