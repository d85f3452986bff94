//! Clients and servers in other languages: matrix-nio in a Python environment of
//! its own, a browser driven from Node, an object store from npm.

use std::{
    net::TcpStream,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::OnceLock,
    time::Duration,
};

use crate::{Invocation, Ran, wait_until};

/// Folder of the clients' scripts.
pub fn clients_folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("clients")
}

/// Where a command is, if this machine has it.
pub fn tool(name: &str) -> Option<PathBuf> {
    let path = std::env::var("PATH").unwrap_or_default();
    path.split(':')
        .chain(["/usr/sbin", "/sbin", "/usr/bin"])
        .map(|folder| Path::new(folder).join(name))
        .find(|file| file.exists())
}

/// Folder of what is installed once for all tests.
fn kept(name: &str) -> PathBuf {
    Path::new("/var/cache/matrix-podman-e2e").join(name)
}

/// Scripts that run with packages from PyPI.
pub struct PythonClient {
    python: PathBuf,
}

impl PythonClient {
    /// The environment with the packages of `clients/requirements.txt`; made on
    /// first use.
    #[track_caller]
    pub fn get() -> &'static Self {
        static CLIENT: OnceLock<PythonClient> = OnceLock::new();
        CLIENT.get_or_init(|| {
            let venv = kept("venv");
            let requirements = clients_folder().join("requirements.txt").display().to_string();
            if !venv.join("bin/pip").exists() {
                Invocation::new(["/usr/bin/python3", "-m", "venv", "--clear", &venv.display().to_string()])
                    .run()
                    .ok();
            }
            let python = venv.join("bin/python");
            let pip = python.display().to_string();
            Invocation::new(
                [
                    &pip,
                    "-m",
                    "pip",
                    "install",
                    "--quiet",
                    "--disable-pip-version-check",
                    "--only-binary=:all:",
                    "--requirement",
                    &requirements,
                ]
                .map(AsRef::<str>::as_ref),
            )
            .run()
            .ok();
            PythonClient { python }
        })
    }

    /// Runs a script of `clients/`; secrets go in on standard input.
    #[track_caller]
    pub fn run(&self, script: &str, arguments: &[&str], input: &str) -> Ran {
        let (python, script) =
            (self.python.display().to_string(), clients_folder().join(script).display().to_string());
        let argv = [python.as_str(), &script].into_iter().chain(arguments.iter().copied());
        Invocation::new(argv).input(input).run()
    }
}

/// Scripts that drive a browser.
pub struct NodeClient {
    folder: PathBuf,
}

impl NodeClient {
    /// The scripts of `browser/`, with what they need installed beside a copy.
    #[track_caller]
    pub fn get() -> &'static Self {
        static CLIENT: OnceLock<NodeClient> = OnceLock::new();
        CLIENT.get_or_init(|| {
            let folder = from_npm("browser", &["hydrogen.mjs", "package.json", "package-lock.json"]);
            NodeClient { folder }
        })
    }

    /// Runs a script.
    #[track_caller]
    pub fn run(&self, script: &str, arguments: &[&str]) -> Ran {
        let argv = ["node", script].into_iter().chain(arguments.iter().copied());
        Invocation::new(argv).folder(&self.folder).run()
    }
}

/// A folder of e2e/ with what it needs from npm, kept for all tests.
#[track_caller]
fn from_npm(name: &str, files: &[&str]) -> PathBuf {
    let folder = kept(name);
    std::fs::create_dir_all(&folder).unwrap_or_else(|e| panic!("make {}: {e}", folder.display()));
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join(name);
    let mut changed = !folder.join("node_modules").exists();
    for name in files {
        let (from, to) = (source.join(name), folder.join(name));
        if std::fs::read(&from).ok() != std::fs::read(&to).ok() {
            changed |= name.ends_with("json");
            std::fs::copy(&from, &to).unwrap_or_else(|e| panic!("copy {}: {e}", from.display()));
        }
    }
    if changed {
        Invocation::new(["npm", "ci", "--no-audit", "--no-fund"]).folder(&folder).run().ok();
    }
    folder
}

/// A real object store that speaks S3 and knows whose key it is (it does not check
/// the signature itself). It ends when it is dropped; what was put into it stays.
pub struct S3Store {
    child: Child,
}

impl S3Store {
    /// The key that it knows, and its secret.
    pub const KEYS: (&str, &str) = ("S3RVER", "S3RVER");
    /// Its bucket.
    pub const BUCKET: &str = "backups";

    /// Starts it on a port of this machine, with its objects in a folder.
    #[track_caller]
    pub fn start(port: u16, objects: &Path) -> Self {
        let folder = from_npm("store", &["package.json", "package-lock.json"]);
        let child = Command::new("node")
            .arg(folder.join("node_modules/s3rver/bin/s3rver.js"))
            .args(["--address", "127.0.0.1", "--port", &port.to_string(), "--silent", "--no-vhost-buckets"])
            .args(["--configure-bucket", Self::BUCKET, "--directory"])
            .arg(objects)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap_or_else(|e| panic!("start the object store: {e}"));
        let store = Self { child };
        wait_until("the object store answers", Duration::from_secs(60), || {
            TcpStream::connect(("127.0.0.1", port)).map(drop).map_err(|e| e.to_string())
        });
        store
    }
}

impl Drop for S3Store {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
