//! Running programs: argv only, output captured or followed line by line, and
//! none for longer than it was given.

mod drive;
mod lines;
mod question;

use std::{
    collections::VecDeque,
    ffi::OsStr,
    io::{self, Read, Write},
    process::{Command, Stdio},
    time::{Duration, Instant},
};

use matrix_podman_core::fact::Output;

use drive::End;
pub(crate) use drive::{end_group, leave, spawn, wait};
pub(crate) use lines::Lines;
pub(crate) use question::ask;

use crate::failure::{Doing, Failure};

/// How long a program may take that was given no other time.
const ORDINARY: Duration = Duration::from_secs(120);
/// How much of what a program prints is kept in memory, in bytes.
const MOST: usize = 8 << 20;
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
    Stream(Box<dyn Read + Send>),
}

/// A program to run.
pub struct Program<'a> {
    argv: Vec<String>,
    named: Option<String>,
    env: Vec<(String, String)>,
    input: Input<'a>,
    deadline: Duration,
}

impl<'a> Program<'a> {
    /// `argv[0]` with the rest as its arguments.
    pub fn new<S: AsRef<str>>(argv: impl IntoIterator<Item = S>) -> Self {
        Self {
            argv: argv.into_iter().map(|word| word.as_ref().to_owned()).collect(),
            named: None,
            env: Vec::new(),
            input: Input::None,
            deadline: ORDINARY,
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

    /// Ends it, and all that it started, when it takes longer than this. Without,
    /// that is two minutes.
    #[must_use]
    pub fn deadline(mut self, deadline: Duration) -> Self {
        self.deadline = deadline;
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
        let (mut stdout, mut stderr) = (Vec::new(), Vec::new());
        let ended = self.drive(&mut |bytes| keep(&mut stdout, bytes), &mut |bytes| {
            // Endless complaints are read no further.
            let _ = keep(&mut stderr, bytes);
        });
        match ended {
            Ok(status) => Output { status, stdout, stderr },
            Err(failure) => {
                if stderr.last().is_some_and(|last| *last != b'\n') {
                    stderr.push(b'\n');
                }
                stderr.extend_from_slice(failure.why.as_bytes());
                Output { status: None, stdout, stderr }
            }
        }
    }

    /// Runs it to its end, handing each line that it prints to `line`; an exit
    /// status that is not 0 is a failure with the last lines as evidence.
    /// `doing` completes "could not …".
    pub fn run(self, doing: &str, line: &(dyn Fn(&str) + Sync)) -> Result<(), Failure> {
        self.follow(doing, line, &mut |_| Ok(()))
    }

    /// Like [`Program::run`]; hands back all of standard output.
    pub fn run_keeping(self, doing: &str, line: &(dyn Fn(&str) + Sync)) -> Result<String, Failure> {
        let mut stdout = Vec::new();
        self.follow(doing, line, &mut |bytes| keep(&mut stdout, bytes))?;
        let mut text = String::new();
        let mut add = |line: &str| {
            text.push_str(line);
            text.push('\n');
        };
        let mut lines = Lines::default();
        lines.push(&stdout, &mut add);
        lines.finish(&mut add);
        Ok(text)
    }

    fn follow(
        self,
        doing: &str,
        line: &(dyn Fn(&str) + Sync),
        out: &mut dyn FnMut(&[u8]) -> io::Result<()>,
    ) -> Result<(), Failure> {
        let name = self.name();
        let tail = std::cell::RefCell::new(Tail::default());
        let note = |text: &str| {
            let text = text.trim_end();
            if !text.is_empty() {
                tail.borrow_mut().push(text);
                line(text);
            }
        };
        let (mut printed, mut complained) = (Lines::default(), Lines::default());
        let status = self.drive(
            &mut |bytes| {
                printed.push(bytes, &mut &note);
                out(bytes)
            },
            &mut |bytes| complained.push(bytes, &mut &note),
        );
        printed.finish(&mut &note);
        complained.finish(&mut &note);
        judge(doing, &name, status).map_err(|failure| failure.evidence(tail.into_inner().lines()))
    }

    /// Like [`Program::run`], with standard output going into `to`.
    pub fn run_into(self, doing: &str, to: &mut (dyn Write + Send)) -> Result<(), Failure> {
        let name = self.name();
        let mut tail = Tail::default();
        let mut said = Lines::default();
        // What cannot be written any more ends the program, and is the reason.
        let mut refused = None;
        let status = self.drive(
            &mut |bytes| {
                to.write_all(bytes).map_err(|why| {
                    let told = io::Error::from(why.kind());
                    refused = Some(why);
                    told
                })
            },
            &mut |bytes| said.push(bytes, &mut |line| tail.push(line)),
        );
        said.finish(&mut |line| tail.push(line));
        if let Some(why) = refused {
            return Err(why).doing(|| doing);
        }
        to.flush().doing(|| doing)?;
        judge(doing, &name, status).map_err(|failure| failure.evidence(tail.lines()))
    }

    /// Runs a program that leaves a daemon behind, which would keep pipes open:
    /// standard error goes to a file instead.
    pub fn run_daemon(self, doing: &str) -> Result<(), Failure> {
        let name = self.name();
        let log = tempfile::tempfile().doing(|| doing)?;
        let stderr = log.try_clone().doing(|| doing)?;
        let mut command = self.command();
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(stderr);
        let mut child = drive::spawn(&mut command).doing(|| format!("{doing} with {name}"))?;
        let status = match drive::wait(&mut child, Instant::now().checked_add(self.deadline)) {
            Ok(Some(Some(0))) => return Ok(()),
            Ok(Some(status)) => Ok(status),
            Ok(None) => {
                end_group(child);
                Err(self.overdue())
            }
            Err(error) => Err(error).doing(|| format!("wait for {name}")),
        };
        let (mut text, mut log) = (String::new(), log);
        let _ = io::Seek::rewind(&mut log);
        let _ = log.take(MOST as u64).read_to_string(&mut text);
        let mut tail = Tail::default();
        text.lines().for_each(|line| tail.push(line));
        judge(doing, &name, status).map_err(|failure| failure.evidence(tail.lines()))
    }

    /// Starts it, feeds and drains it, and waits for its end: its exit status,
    /// `None` after a signal.
    fn drive(
        mut self,
        out: &mut dyn FnMut(&[u8]) -> io::Result<()>,
        err: &mut dyn FnMut(&[u8]),
    ) -> Result<Option<i32>, Failure> {
        let input = std::mem::replace(&mut self.input, Input::None);
        let mut command = self.command();
        drive::piped(&mut command, &input);
        let child = drive::spawn(&mut command).doing(|| format!("start {}", self.name()))?;
        let until = Instant::now().checked_add(self.deadline);
        let ended = drive::drive(child, input, until, out, err);
        match ended.doing(|| format!("wait for {}", self.name()))? {
            End::Status(status) => Ok(status),
            End::Overdue => Err(self.overdue()),
            End::Refused(why) => Err(Failure::of(format!("read what {} prints", self.name()), &why)),
        }
    }

    fn overdue(&self) -> Failure {
        let deadline = self.deadline;
        let limit = match deadline.as_secs() {
            0 => format!("{} s", deadline.as_secs_f32()),
            seconds => format!("{seconds} s"),
        };
        Failure::new(
            format!("wait for {}", self.name()),
            format!("it took longer than {limit} and was ended, with all that it had started"),
        )
    }
}

/// What the end of a program means.
fn judge(doing: &str, name: &str, status: Result<Option<i32>, Failure>) -> Result<(), Failure> {
    match status {
        Ok(Some(0)) => Ok(()),
        Ok(Some(code)) => Err(Failure::new(doing, format!("{name} ended with status {code}"))),
        Ok(None) => Err(Failure::new(doing, format!("{name} was ended by a signal"))),
        Err(why) => Err(Failure { kind: why.kind, ..Failure::new(doing, format!("{name}: {}", why.why)) }),
    }
}

/// Keeps what was printed, within bounds.
fn keep(kept: &mut Vec<u8>, bytes: &[u8]) -> io::Result<()> {
    if kept.len() + bytes.len() > MOST {
        return Err(io::Error::other(format!("it prints more than {} MiB", MOST >> 20)));
    }
    kept.extend_from_slice(bytes);
    Ok(())
}

/// The last lines that a program said.
#[derive(Default)]
struct Tail(VecDeque<String>);

impl Tail {
    fn push(&mut self, line: &str) {
        if self.0.len() == EVIDENCE_LINES {
            self.0.pop_front();
        }
        self.0.push_back(line.to_owned());
    }

    fn lines(self) -> Vec<String> {
        self.0.into()
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
        assert!(failure.why.contains("longer than 0.1 s"), "{failure}");
    }

    /// A program whose grandchild, in a session of its own, holds its pipes.
    fn held() -> Program<'static> {
        Program::new(["sh", "-c", "setsid sleep 25 & echo begun; exec sleep 25"])
    }

    #[test]
    fn a_grandchild_that_holds_the_pipe_does_not_make_a_deadline_longer() {
        let started = Instant::now();
        let output = held().deadline(Duration::from_millis(300)).output();
        assert!(started.elapsed() < Duration::from_millis(1500), "{:?}", started.elapsed());
        assert_eq!((output.status, output.stdout.as_slice()), (None, b"begun\n".as_slice()));
        assert!(String::from_utf8_lossy(&output.stderr).contains("longer than 0.3 s"));
        let started = Instant::now();
        let failure = held().deadline(Duration::from_millis(300)).run("wait", &|_| {}).unwrap_err();
        assert!(started.elapsed() < Duration::from_millis(1500), "{:?}", started.elapsed());
        assert_eq!(failure.evidence, ["begun"]);
    }

    #[test]
    fn a_deadline_ends_the_whole_group() {
        let folder = tempfile::tempdir().unwrap();
        let mark = folder.path().join("mark");
        // Without the end of its group, the grandchild would write in a second.
        let script = "(sleep 1; echo late >\"$1\") & sleep 25";
        Program::new(["sh", "-c", script, "sh", mark.to_str().unwrap()])
            .deadline(Duration::from_millis(100))
            .output();
        std::thread::sleep(Duration::from_millis(1500));
        assert!(!mark.exists());
    }

    #[test]
    fn what_ended_is_not_waited_for_because_of_a_daemon() {
        let started = Instant::now();
        let output = Program::new(["sh", "-c", "setsid sleep 25 & echo done"]).output();
        assert!(started.elapsed() < Duration::from_secs(10), "{:?}", started.elapsed());
        assert_eq!((output.status, output.stdout.as_slice()), (Some(0), b"done\n".as_slice()));
    }

    #[test]
    fn a_source_that_gives_nothing_keeps_nobody_waiting() {
        let (source, _held) = io::pipe().unwrap();
        let started = Instant::now();
        let failure = Program::new(["cat"])
            .input(Input::Stream(Box::new(source)))
            .deadline(Duration::from_millis(200))
            .run("copy", &|_| {})
            .unwrap_err();
        assert!(started.elapsed() < Duration::from_secs(2), "{failure}");
    }

    #[test]
    fn output_without_end_is_refused() {
        let output = Program::new(["cat", "/dev/zero"]).output();
        assert!(output.stdout.len() <= MOST, "{}", output.stdout.len());
        assert!(String::from_utf8_lossy(&output.stderr).contains("prints more than"), "{:?}", output.status);
        let failure = Program::new(["cat", "/dev/zero"]).run_keeping("read", &|_| {}).unwrap_err();
        assert!(failure.why.contains("prints more than"), "{failure}");
    }

    #[test]
    fn what_is_written_elsewhere_arrives_whole() {
        let mut to = Vec::new();
        let words = ["head", "--bytes=3000000", "/dev/zero"];
        Program::new(words).run_into("copy", &mut to).unwrap();
        assert_eq!(to.len(), 3_000_000);
        struct Full;
        impl Write for Full {
            fn write(&mut self, _: &[u8]) -> io::Result<usize> {
                Err(io::ErrorKind::StorageFull.into())
            }
            fn flush(&mut self) -> io::Result<()> {
                Ok(())
            }
        }
        let failure = Program::new(words).run_into("copy", &mut Full).unwrap_err();
        assert!(failure.why.contains("no storage space"), "{failure}");
    }

    #[test]
    fn a_program_that_leaves_a_daemon_has_a_deadline_too() {
        let started = Instant::now();
        let failure = Program::new(["sleep", "20"])
            .deadline(Duration::from_millis(100))
            .run_daemon("start it")
            .unwrap_err();
        assert!(started.elapsed() < Duration::from_secs(5));
        assert!(failure.why.contains("longer than"), "{failure}");
        Program::new(["sh", "-c", "setsid sleep 2 &"]).run_daemon("start it").unwrap();
    }
}
