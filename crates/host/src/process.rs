//! Running programs: argv only, output captured or followed line by line.

use std::{
    collections::VecDeque,
    ffi::OsStr,
    io::{BufRead, BufReader, Read, Write},
    process::{Child, Command, Stdio},
    sync::{Arc, Mutex, mpsc},
    time::{Duration, Instant},
};

use matrix_podman_core::fact::Output;

use crate::failure::{Doing, Failure};

/// How many lines of what a program said are kept as evidence.
const EVIDENCE_LINES: usize = 15;

/// Words before a command that is to have its standard output as the file
/// descriptor 3 too. A fixed text: what is run are its arguments, as they are.
pub(crate) const STDOUT_ON_3_TOO: [&str; 4] = ["sh", "-c", "exec \"$@\" 3>&1", "sh"];

/// What a program reads on standard input.
pub enum Input<'a> {
    /// Nothing.
    None,
    /// These bytes.
    Bytes(&'a [u8]),
    /// Whatever this gives, until its end.
    Stream(Box<dyn Read + Send + 'a>),
}

/// A program to run.
pub struct Program<'a> {
    argv: Vec<String>,
    named: Option<String>,
    env: Vec<(String, String)>,
    input: Input<'a>,
    deadline: Option<Duration>,
}

impl<'a> Program<'a> {
    /// `argv[0]` with the rest as its arguments.
    pub fn new<S: AsRef<str>>(argv: impl IntoIterator<Item = S>) -> Self {
        Self {
            argv: argv.into_iter().map(|word| word.as_ref().to_owned()).collect(),
            named: None,
            env: Vec::new(),
            input: Input::None,
            deadline: None,
        }
    }

    /// Ends it when this program is ended, even by SIGKILL: it would go on
    /// writing where the next run begins anew. Not for what must be finished
    /// once it was begun, such as an installation of packages.
    #[must_use]
    pub fn ends_with_us(mut self) -> Self {
        let tied = ["setpriv", "--pdeathsig=TERM", "--"].map(str::to_owned);
        self.named = Some(self.name());
        self.argv.splice(0..0, tied);
        self
    }

    /// Gives it its standard output as the file descriptor 3 too, for programs that
    /// want one for their own account and not for what they start.
    #[must_use]
    pub fn accounts_on_3(mut self) -> Self {
        self.named = Some(self.name());
        self.argv.splice(0..0, STDOUT_ON_3_TOO.map(str::to_owned));
        self
    }

    /// Sets an environment variable. Never a secret.
    #[must_use]
    pub fn env(mut self, key: &str, value: &str) -> Self {
        self.env.push((key.to_owned(), value.to_owned()));
        self
    }

    /// What it reads on standard input.
    #[must_use]
    pub fn input(mut self, input: Input<'a>) -> Self {
        self.input = input;
        self
    }

    /// Ends it when it takes longer.
    #[must_use]
    pub fn deadline(mut self, deadline: Duration) -> Self {
        self.deadline = Some(deadline);
        self
    }

    /// The program's name, for messages.
    fn name(&self) -> String {
        self.named.clone().unwrap_or_else(|| self.argv.iter().take(2).cloned().collect::<Vec<_>>().join(" "))
    }

    fn command(&self) -> Command {
        let mut words = self.argv.iter();
        let mut command = Command::new(words.next().map(OsStr::new).unwrap_or_default());
        command.args(words).envs(self.env.iter().map(|(k, v)| (k, v)));
        // Messages are read by programs here and quoted to people.
        command.env("LC_ALL", "C.UTF-8").env("DEBIAN_FRONTEND", "noninteractive");
        command
    }

    /// Runs it to its end and hands back all that it printed, whatever its
    /// exit status. For questions whose answer is short.
    pub fn output(self) -> Output {
        let mut stdout = Vec::new();
        let stderr = Arc::new(Mutex::new(Vec::new()));
        let keep = Arc::clone(&stderr);
        let ended = self.drive(
            &mut |pipe| {
                let _ = pipe.read_to_end(&mut stdout);
            },
            move |line| {
                if let Ok(mut stderr) = keep.lock() {
                    stderr.extend_from_slice(line.as_bytes());
                    stderr.push(b'\n');
                }
            },
        );
        let status = ended.ok().flatten();
        let stderr = stderr.lock().map(|s| s.clone()).unwrap_or_default();
        Output { status, stdout, stderr }
    }

    /// Runs it to its end, handing each line that it prints to `line`; an exit
    /// status that is not 0 is a failure with the last lines as evidence.
    /// `doing` completes "could not …".
    pub fn run(self, doing: &str, line: &(dyn Fn(&str) + Sync)) -> Result<(), Failure> {
        self.run_keeping(doing, line).map(drop)
    }

    /// Like [`Program::run`]; hands back all of standard output.
    pub fn run_keeping(self, doing: &str, line: &(dyn Fn(&str) + Sync)) -> Result<String, Failure> {
        let name = self.name();
        let tail = Mutex::new(VecDeque::<String>::new());
        let note = |text: &str| {
            let text = text.trim_end();
            if text.is_empty() {
                return;
            }
            if let Ok(mut tail) = tail.lock() {
                if tail.len() == EVIDENCE_LINES {
                    tail.pop_front();
                }
                tail.push_back(text.to_owned());
            }
            line(text);
        };
        let mut stdout = String::new();
        let status = self.drive(
            &mut |pipe| {
                each_line(pipe, &mut |text| {
                    stdout.push_str(text);
                    stdout.push('\n');
                    note(text);
                })
            },
            note,
        );
        let evidence = || tail.lock().map(|t| t.iter().cloned().collect()).unwrap_or_default();
        match status {
            Ok(Some(0)) => Ok(stdout),
            Ok(Some(code)) => {
                Err(Failure::new(doing, format!("{name} ended with status {code}")).evidence(evidence()))
            }
            Ok(None) => {
                Err(Failure::new(doing, format!("{name} was ended by a signal")).evidence(evidence()))
            }
            Err(why) => Err(Failure::new(doing, format!("{name}: {}", why.why)).evidence(evidence())),
        }
    }

    /// Like [`Program::run`], with standard output going into `to`.
    pub fn run_into(self, doing: &str, to: &mut (dyn Write + Send)) -> Result<(), Failure> {
        let name = self.name();
        let said = Mutex::new(Vec::new());
        let mut copied = Ok(0);
        let status = self.drive(&mut |pipe| copied = std::io::copy(pipe, to), |line| {
            if let Ok(mut said) = said.lock() {
                said.push(line.to_owned());
            }
        });
        let said = said.into_inner().unwrap_or_default();
        let evidence = said[said.len().saturating_sub(EVIDENCE_LINES)..].to_vec();
        // A program whose output nobody takes any more fails as well, with less
        // to say about it.
        copied.doing(|| doing)?;
        match status {
            Ok(Some(0)) => Ok(()),
            Ok(Some(code)) => Err(Failure::new(doing, format!("{name} ended with status {code}"))),
            Ok(None) => Err(Failure::new(doing, format!("{name} was ended by a signal"))),
            Err(why) => Err(Failure::new(doing, format!("{name}: {}", why.why))),
        }
        .map_err(|failure| failure.evidence(evidence))
    }

    /// Runs a program that leaves a daemon behind, which would keep pipes open:
    /// standard error goes to a file instead.
    pub fn run_daemon(self, doing: &str) -> Result<(), Failure> {
        let name = self.name();
        let log = tempfile::tempfile().doing(|| doing)?;
        let stderr = log.try_clone().doing(|| doing)?;
        let status = self
            .command()
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(stderr)
            .status()
            .doing(|| format!("{doing} with {name}"))?;
        if status.success() {
            return Ok(());
        }
        let mut text = String::new();
        let mut log = log;
        let _ = std::io::Seek::rewind(&mut log);
        let _ = log.read_to_string(&mut text);
        let lines: Vec<String> = text.lines().map(str::to_owned).collect();
        let evidence = lines[lines.len().saturating_sub(EVIDENCE_LINES)..].to_vec();
        Err(Failure::new(doing, format!("{name} ended with {status}")).evidence(evidence))
    }

    /// Starts it, feeds and drains it, and waits for its end: its exit status,
    /// `None` after a signal.
    fn drive(
        mut self,
        stdout: &mut (dyn FnMut(&mut dyn Read) + Send),
        stderr_line: impl Fn(&str) + Send + Sync,
    ) -> Result<Option<i32>, Failure> {
        let input = std::mem::replace(&mut self.input, Input::None);
        let mut command = self.command();
        command.stdin(if matches!(input, Input::None) { Stdio::null() } else { Stdio::piped() });
        command.stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().doing(|| format!("start {}", self.name()))?;
        let (stdin, out, err) = (child.stdin.take(), child.stdout.take(), child.stderr.take());
        let started = Instant::now();
        std::thread::scope(|scope| {
            let (ended, end) = mpsc::channel();
            if let (Some(mut stdin), input) = (stdin, input) {
                scope.spawn(move || {
                    // A program that stops reading early says itself why.
                    let _ = match input {
                        Input::None => Ok(0),
                        Input::Bytes(bytes) => stdin.write_all(bytes).map(|()| 0),
                        Input::Stream(mut stream) => std::io::copy(&mut stream, &mut stdin),
                    };
                });
            }
            let ended_err = ended.clone();
            scope.spawn(move || {
                if let Some(mut err) = err {
                    each_line(&mut err, &mut |line| stderr_line(line));
                }
                let _ = ended_err.send(());
            });
            scope.spawn(move || {
                if let Some(mut out) = out {
                    stdout(&mut out);
                }
                let _ = ended.send(());
            });
            for _ in 0..2 {
                let left = self.deadline.map(|d| d.saturating_sub(started.elapsed()));
                let timed_out = match left {
                    None => end.recv().is_err(),
                    Some(left) => matches!(end.recv_timeout(left), Err(mpsc::RecvTimeoutError::Timeout)),
                };
                if timed_out && let Some(deadline) = self.deadline {
                    let _ = child.kill();
                    let _ = child.wait();
                    return Err(Failure::new(
                        format!("wait for {}", self.name()),
                        format!("it took longer than {} s", deadline.as_secs()),
                    ));
                }
            }
            wait(&mut child).doing(|| format!("wait for {}", self.name()))
        })
    }
}

fn wait(child: &mut Child) -> std::io::Result<Option<i32>> {
    child.wait().map(|status| status.code())
}

/// Hands each line to `line`; a carriage return ends one too, as in progress
/// displays.
fn each_line(pipe: &mut dyn Read, line: &mut dyn FnMut(&str)) {
    let mut reader = BufReader::new(pipe);
    let mut buffer = Vec::new();
    while matches!(reader.read_until(b'\n', &mut buffer), Ok(1..)) {
        for part in String::from_utf8_lossy(&buffer).trim_end_matches('\n').split('\r') {
            line(part);
        }
        buffer.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failing_program_is_quoted() {
        let failure = Program::new(["ls", "/nowhere-at-all"]).run("list a folder", &|_| {}).unwrap_err();
        assert!(failure.why.contains("ended with status 2"), "{failure}");
        assert!(failure.evidence[0].contains("No such file"), "{failure:?}");
    }

    #[test]
    fn a_program_that_is_not_there_is_named() {
        let failure = Program::new(["no-such-program"]).run("try", &|_| {}).unwrap_err();
        assert!(failure.why.contains("no-such-program"), "{failure}");
    }

    #[test]
    fn input_reaches_the_program() {
        let output = Program::new(["cat"]).input(Input::Bytes(b"hello")).output();
        assert_eq!((output.status, output.stdout.as_slice()), (Some(0), b"hello".as_slice()));
    }

    #[test]
    fn what_ends_with_us_keeps_its_name() {
        let failure =
            Program::new(["ls", "/nowhere-at-all"]).ends_with_us().run("list a folder", &|_| {}).unwrap_err();
        assert!(failure.why.starts_with("ls /nowhere-at-all ended with status 2"), "{failure}");
    }

    #[test]
    fn what_accounts_on_3_keeps_its_name_and_its_arguments() {
        let said = Program::new(["sh", "-c", "echo \"$1\" >&3", "sh", "two  words; $HOME"])
            .accounts_on_3()
            .run_keeping("say something", &|_| {})
            .unwrap();
        assert_eq!(said.trim(), "two  words; $HOME");
        let failure =
            Program::new(["ls", "/nowhere-at-all"]).accounts_on_3().run("list", &|_| {}).unwrap_err();
        assert!(failure.why.starts_with("ls /nowhere-at-all ended with status 2"), "{failure}");
    }

    #[test]
    fn a_deadline_ends_it() {
        let started = Instant::now();
        let failure = Program::new(["sleep", "20"])
            .deadline(Duration::from_millis(100))
            .run("wait", &|_| {})
            .unwrap_err();
        assert!(started.elapsed() < Duration::from_secs(5));
        assert!(failure.why.contains("longer than"), "{failure}");
    }
}
