//! A laptop from which somebody works on another machine: a folder with a
//! `matrix.toml`, and an ssh that knows that machine.

use std::{
    fs::{self, File},
    net::TcpListener,
    os::unix::fs::PermissionsExt as _,
    path::PathBuf,
    process::{Child, Command, Stdio},
    time::Duration,
};

use crate::{Invocation, Lab, Ran, wait_until};

/// A laptop. In its `ssh_config` the machine is called `box`; `stranger` is the
/// same machine, whose host key nobody knows.
pub struct Laptop {
    /// Its folder with the config.
    pub folder: PathBuf,
    keys: PathBuf,
}

impl Laptop {
    /// One that reaches root of the machine at this address and port. The keys
    /// of both sides are new.
    #[track_caller]
    pub fn new(lab: &Lab, address: &str, port: u16) -> Self {
        let keys = lab.path("ssh");
        fs::create_dir_all(&keys).unwrap_or_else(|e| panic!("make {}: {e}", keys.display()));
        for key in ["host", "own"] {
            let file = keys.join(key).display().to_string();
            Invocation::new(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", &file])
                .quietly()
                .run()
                .ok();
        }
        let folder = lab.path("laptop");
        fs::create_dir_all(folder.join("bin")).unwrap_or_else(|e| panic!("make {}: {e}", folder.display()));
        let laptop = Self { folder, keys };
        let at = laptop.keys.display();
        laptop.knows(address, port, &laptop.key("host.pub"));
        laptop.write_key(
            "config",
            &format!(
                "Host box stranger\n  HostName {address}\n  Port {port}\n  User root\n  IdentityFile {at}/own\n  IdentitiesOnly yes\n  \
                 StrictHostKeyChecking yes\n  BatchMode yes\n\nHost box\n  UserKnownHostsFile {at}/known_hosts\n\n\
                 Host stranger\n  UserKnownHostsFile /dev/null\n",
            ),
        );
        let ssh = laptop.folder.join("bin/ssh");
        let script = format!("#!/bin/sh\nexec /usr/bin/ssh -F {at}/config \"$@\"\n");
        fs::write(&ssh, script).unwrap_or_else(|e| panic!("write {}: {e}", ssh.display()));
        fs::set_permissions(&ssh, fs::Permissions::from_mode(0o755)).unwrap_or_else(|e| panic!("chmod: {e}"));
        laptop
    }

    /// Knows this host key as that of the machine.
    #[track_caller]
    pub fn knows(&self, address: &str, port: u16, key: &str) {
        // As ssh writes them, port 22 has no brackets.
        let host = if port == 22 { address.to_owned() } else { format!("[{address}]:{port}") };
        self.write_key("known_hosts", &format!("{host} {key}"));
    }

    #[track_caller]
    fn write_key(&self, name: &str, text: &str) {
        let path = self.keys.join(name);
        fs::write(&path, text).unwrap_or_else(|e| panic!("write {}: {e}", path.display()));
    }

    /// A key: `own` and `host`, each with its `.pub`.
    pub fn key(&self, name: &str) -> String {
        let path = self.keys.join(name);
        fs::read_to_string(&path).unwrap_or_else(|e| panic!("read {}: {e}", path.display()))
    }

    /// Where that key is.
    pub fn key_file(&self, name: &str) -> PathBuf {
        self.keys.join(name)
    }

    /// The search path with its ssh in front.
    pub fn path(&self) -> String {
        format!("{}:{}", self.folder.join("bin").display(), std::env::var("PATH").unwrap_or_default())
    }

    /// Its ssh.
    #[track_caller]
    pub fn ssh(&self, words: &[&str]) -> Ran {
        Invocation::new(["ssh"].iter().chain(words)).env("PATH", &self.path()).quietly().run()
    }

    /// Waits until the machine lets it in.
    #[track_caller]
    pub fn gets_in(&self) {
        wait_until("the sshd lets in", Duration::from_secs(20), || {
            let ran = self.ssh(&["box", "true"]);
            if ran.code == 0 { Ok(()) } else { Err(ran.evidence()) }
        });
    }

    /// The program, typed on it.
    pub fn command(&self, lab: &Lab, words: &[&str]) -> Invocation {
        lab.command(words).folder(&self.folder).env("PATH", &self.path())
    }
}

/// An sshd on this machine that lets the laptop in. It ends when it is dropped.
pub struct Sshd(Child);

impl Sshd {
    /// A port that is free.
    #[track_caller]
    pub fn free_port() -> u16 {
        let listener = TcpListener::bind("127.0.0.1:0").and_then(|listener| listener.local_addr());
        listener.unwrap_or_else(|e| panic!("find a free port: {e}")).port()
    }

    /// Starts it; whoever comes in has this search path.
    #[track_caller]
    pub fn start(laptop: &Laptop, port: u16, path: &str) -> Self {
        let at = laptop.keys.display();
        laptop.write_key(
            "sshd_config",
            &format!(
                "ListenAddress 127.0.0.1:{port}\nHostKey {at}/host\nPidFile none\nAuthorizedKeysFile {at}/own.pub\n\
                 StrictModes no\nUsePAM no\nPasswordAuthentication no\nPermitRootLogin yes\nSetEnv PATH={path}\n\
                 Subsystem sftp internal-sftp\n",
            ),
        );
        let start = || -> std::io::Result<Child> {
            fs::create_dir_all("/run/sshd")?;
            Command::new("/usr/sbin/sshd")
                .args(["-D", "-e", "-f", &laptop.key_file("sshd_config").display().to_string()])
                .stdin(Stdio::null())
                .stderr(File::create(laptop.key_file("log"))?)
                .spawn()
        };
        Self(start().unwrap_or_else(|e| panic!("start sshd: {e}")))
    }
}

impl Drop for Sshd {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}
