//! Another machine, reached through the operator's own ssh.
//!
//! Its config, agent, keys and known hosts are ssh's affair, and so is every
//! question that it asks. One connection is opened and shared, so that nothing
//! is asked twice.

use std::{
    fs::File,
    io::{Read as _, Write as _},
    process::{Command, Stdio},
};

use matrix_podman_core::{layout, name::SshHost};
use serde::{Deserialize, Serialize};
use tempfile::TempDir;

use crate::{
    failure::{Doing, Failure},
    own_program,
};

/// What ssh ends with when the connection itself failed.
const SSH_FAILED: i32 = 255;
/// Stands in front of every line that is meant for us: a login may print more.
const MARK: &str = "matrix-podman:";
/// The program on its way.
const PARTIAL: &str = "/usr/local/bin/.matrix-podman.new";

/// Says what the machine is and which program it has.
const LOOK: &str = "echo \"matrix-podman:system $(uname -s) $(uname -m)\"; \
    echo \"matrix-podman:user $(id -u)\"; \
    echo \"matrix-podman:digest $(sha256sum /usr/local/bin/matrix-podman 2>/dev/null)\"";
/// Takes the program from standard input and says which one arrived.
const TAKE: &str = "umask 022; mkdir -p /usr/local/bin && cat >/usr/local/bin/.matrix-podman.new && \
    chmod 0755 /usr/local/bin/.matrix-podman.new && \
    echo \"matrix-podman:digest $(/usr/local/bin/.matrix-podman.new agent --digest)\"";

/// What is handed to the machine on standard input: the config and the files
/// that it names and that are here.
#[derive(Serialize, Deserialize)]
pub struct Handed {
    /// The site.
    pub site: String,
    /// The text of its config.
    pub config: String,
    /// Files, by the path in the config.
    pub files: Vec<(String, String)>,
}

/// A machine that can be reached.
pub struct Remote {
    host: SshHost,
    /// Folder of the shared connection's socket.
    control: TempDir,
}

impl Remote {
    /// Logs in, and sees to it that the machine has this very program.
    pub fn open(host: &SshHost, note: &dyn Fn(String)) -> Result<Self, Failure> {
        let control = tempfile::Builder::new()
            .prefix("mp-ssh-")
            .tempdir()
            .doing(|| "make a folder for the connection's socket")?;
        let remote = Self { host: host.clone(), control };
        let doing = || format!("reach {host} through ssh");
        let said = remote.ask(LOOK, Stdio::null(), &doing())?;
        let line = |key: &str| {
            said.lines()
                .find_map(|line| line.strip_prefix(MARK)?.strip_prefix(key))
                .map(str::trim)
                .unwrap_or_default()
        };
        let own = format!("Linux {}", std::env::consts::ARCH);
        if line("system ") != own {
            return Err(Failure::new(
                doing(),
                format!("it is {}, and this program is for {own}", line("system ")),
            )
            .hint("build matrix-podman for that machine and run it there"));
        }
        if line("user ") != "0" {
            return Err(Failure::new(doing(), "ssh logs in there as somebody else than root")
                .hint(format!("name root: host = \"ssh://root@{}\"", host.host())));
        }
        let digest = own_program::digest()?;
        if line("digest ").split_whitespace().next() != Some(digest.as_str()) {
            note(format!("copying this program to {host}"));
            remote.push(&digest)?;
        }
        Ok(remote)
    }

    fn push(&self, digest: &str) -> Result<(), Failure> {
        let doing = format!("copy matrix-podman to {}", self.host);
        let own = File::open("/proc/self/exe").doing(|| "read the program's own file")?;
        let said = self.ask(TAKE, Stdio::from(own), &doing)?;
        let arrived = said.lines().any(|line| line == format!("{MARK}digest {digest}"));
        if !arrived {
            return Err(Failure::new(doing, "it did not arrive whole, or does not run there").hint(
                "it must be built as this project's .cargo/config.toml says (statically linked); \
                 see also whether /usr/local there is full",
            ));
        }
        self.ask(&format!("mv -f {PARTIAL} {}", layout::BINARY), Stdio::null(), &doing).map(drop)
    }

    /// Hands over config and files.
    pub fn hand(&self, handed: &Handed) -> Result<(), Failure> {
        let doing = format!("hand the config to {}", self.host);
        let text = serde_json::to_vec(handed).doing(|| doing.clone())?;
        let mut child = self
            .ssh(false)
            .arg(command(&[layout::BINARY, "receive"]))
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .spawn()
            .doing(|| doing.clone())?;
        if let Some(mut stdin) = child.stdin.take() {
            // A machine that stops reading early says itself why.
            let _ = stdin.write_all(&text);
        }
        match child.wait().doing(|| doing.clone())?.code() {
            Some(0) => Ok(()),
            code => Err(self.ended(&doing, code)),
        }
    }

    /// Runs the program there with these arguments; its exit code. With a
    /// terminal, that is the one that it is typed on.
    pub fn run(&self, arguments: &[String], terminal: bool, input: Option<&[u8]>) -> Result<u8, Failure> {
        let doing = format!("run this on {}", self.host);
        let words: Vec<&str> =
            [layout::BINARY].into_iter().chain(arguments.iter().map(String::as_str)).collect();
        let mut line = command(&words);
        if std::env::var_os("NO_COLOR").is_some() {
            line = format!("env NO_COLOR=1 {line}");
        }
        let mut ssh = self.ssh(terminal);
        ssh.arg(line);
        if input.is_some() {
            ssh.stdin(Stdio::piped());
        }
        let mut child = ssh.spawn().doing(|| doing.clone())?;
        if let (Some(input), Some(mut stdin)) = (input, child.stdin.take()) {
            let _ = stdin.write_all(input);
        }
        match child.wait().doing(|| doing.clone())?.code() {
            Some(code) if code != SSH_FAILED => Ok(u8::try_from(code).unwrap_or(1)),
            code => Err(self.ended(&doing, code)),
        }
    }

    /// Runs a line there and hands back what it printed.
    fn ask(&self, line: &str, input: Stdio, doing: &str) -> Result<String, Failure> {
        let mut child = self
            .ssh(false)
            .arg(line)
            .stdin(input)
            .stdout(Stdio::piped())
            .spawn()
            .doing(|| format!("{doing} (is the package openssh-client installed?)"))?;
        let mut said = String::new();
        if let Some(mut stdout) = child.stdout.take() {
            stdout.read_to_string(&mut said).doing(|| doing)?;
        }
        match child.wait().doing(|| doing)?.code() {
            Some(0) => Ok(said),
            code => Err(self.ended(doing, code)),
        }
    }

    fn ended(&self, doing: &str, code: Option<i32>) -> Failure {
        let target = match self.host.user() {
            Some(user) => format!("{user}@{}", self.host.host()),
            None => self.host.host().to_owned(),
        };
        match code {
            Some(SSH_FAILED) | None => Failure::new(doing, "the connection failed or was cut; ssh said why above").hint(
                format!(
                    "`ssh {target}` has to work by hand first; what was begun there is finished or left as it is, and \
                     the same command goes on from it"
                ),
            ),
            Some(code) => Failure::new(doing, format!("it ended with status {code}; what it said is above")),
        }
    }

    fn ssh(&self, terminal: bool) -> Command {
        let mut ssh = Command::new("ssh");
        ssh.arg(if terminal { "-t" } else { "-T" });
        let socket = self.control.path().join("%C");
        ssh.args(["-o", "ControlMaster=auto", "-o", "ControlPersist=60", "-o"]);
        ssh.arg(format!("ControlPath={}", socket.display()));
        // A machine that went away is noticed within a minute.
        ssh.args(["-o", "ServerAliveInterval=15", "-o", "ServerAliveCountMax=4"]);
        if let Some(port) = self.host.port() {
            ssh.args(["-p", &port.to_string()]);
        }
        if let Some(user) = self.host.user() {
            ssh.args(["-l", user]);
        }
        ssh.arg("--").arg(self.host.host());
        ssh
    }
}

impl Drop for Remote {
    fn drop(&mut self) {
        // The shared connection would stay for a minute otherwise.
        let _ = self
            .ssh(false)
            .args(["-O", "exit"])
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .status();
    }
}

/// Words as one line for the shell there, which ssh always calls: each in
/// single quotes, in which nothing has a meaning.
fn command(words: &[&str]) -> String {
    let quoted: Vec<String> = words.iter().map(|word| format!("'{}'", word.replace('\'', "'\\''"))).collect();
    quoted.join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::process::{Input, Program};

    #[test]
    fn words_survive_a_shell() {
        for word in ["plain", "two words", "it's", "$HOME `x` \"y\" \\", "", "--a=b", "ü\nz"] {
            let line = command(&["printf", "%s", word]);
            let output = Program::new(["sh", "-s"]).input(Input::Bytes(line.as_bytes())).output();
            assert_eq!(String::from_utf8_lossy(&output.stdout), word);
        }
    }
}
