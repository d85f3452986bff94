//! What the tests need beside the compiler, installed by name from Debian.
//! What the program itself needs is not among it: installing that is the
//! program's own task, and a part of what is tested.

use std::{
    path::Path,
    process::{Command, Stdio},
};

use crate::phase::run;

/// A command or module that must be there, and the package that brings it.
const NEEDED: [(&str, &str); 23] = [
    ("chromium", "chromium"),
    ("skopeo", "skopeo"),
    ("node", "nodejs"),
    ("npm", "npm"),
    ("python3", "python3"),
    ("script", "bsdutils"),
    ("curl", "curl"),
    ("openssl", "openssl"),
    ("restic", "restic"),
    ("tmux", "tmux"),
    ("rclone", "rclone"),
    ("pgrep", "procps"),
    ("nginx", "nginx"),
    ("haproxy", "haproxy"),
    ("caddy", "caddy"),
    ("ssh", "openssh-client"),
    ("ping", "iputils-ping"),
    ("sshd", "openssh-server"),
    ("apt-ftparchive", "apt-utils"),
    ("gpg", "gnupg"),
    ("shellcheck", "shellcheck"),
    ("go", "golang-go"),
    ("turnutils_uclient", "coturn"),
];

/// Those that Debian starts when it installs them.
const SERVERS: [&str; 4] = ["nginx", "haproxy", "caddy", "coturn"];

/// Installs what is missing for the tests.
pub fn install() -> Result<(), String> {
    let mut missing: Vec<&str> =
        NEEDED.iter().filter(|(command, _)| !has(command)).map(|(_, package)| *package).collect();
    if !can_make_environments() {
        missing.push("python3-venv");
    }
    if missing.is_empty() {
        println!("all there");
        return Ok(());
    }
    let apt = |words: &[&str]| {
        let mut command = Command::new("apt-get");
        command.args(["--quiet=2", "--yes"]).args(words).env("DEBIAN_FRONTEND", "noninteractive");
        // Nothing that is installed for the tests is to be started, an sshd least.
        command.env("RUNLEVEL", "1");
        run(&mut command)
    };
    apt(&["update"])?;
    apt(&[&["install", "--no-install-recommends"], missing.as_slice()].concat())?;
    // Their tests start them by themselves, and want the ports free.
    let servers: Vec<&str> = missing.into_iter().filter(|package| SERVERS.contains(package)).collect();
    if servers.is_empty() || !Path::new("/run/systemd/system").exists() {
        return Ok(());
    }
    let mut command = Command::new("systemctl");
    run(command.args(["disable", "--now", "--"]).args(servers))
}

fn has(command: &str) -> bool {
    let path = std::env::var("PATH").unwrap_or_default();
    path.split(':').chain(["/usr/bin", "/usr/sbin"]).any(|folder| Path::new(folder).join(command).exists())
}

/// Debian's Python makes environments only with a package of its own.
fn can_make_environments() -> bool {
    Command::new("/usr/bin/python3")
        .args(["-c", "import venv, ensurepip"])
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status()
        .is_ok_and(|status| status.success())
}
