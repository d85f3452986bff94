//! A place for one site.

use std::{
    collections::BTreeMap,
    fs::{self, File},
    path::{Path, PathBuf},
    process::Command,
    sync::{Mutex, OnceLock},
    time::Duration,
};

use serde_json::Value;

use crate::{
    Guest, Invocation, Matrix, Ran, archive, cleaning,
    cleaning::{BRIDGE_PREFIX, GUEST_PREFIX},
    command::read,
    make_archives, wait_until,
};

/// The domain of all labs' sites; each has a name of its own below it.
pub const DOMAIN: &str = "e2e.home.arpa";

/// The built program: `MATRIX_PODMAN_BINARY`, else what cargo builds now.
pub fn binary() -> &'static Path {
    static BINARY: OnceLock<PathBuf> = OnceLock::new();
    BINARY.get_or_init(|| {
        if let Some(given) = std::env::var_os("MATRIX_PODMAN_BINARY") {
            return fs::canonicalize(&given).unwrap_or_else(|e| panic!("{}: {e}", given.display()));
        }
        let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
        let output = Command::new(cargo)
            .args(["build", "--release", "--package", "matrix-podman", "--message-format=json"])
            .current_dir(env!("CARGO_MANIFEST_DIR"))
            .stderr(std::process::Stdio::inherit())
            .output()
            .unwrap_or_else(|e| panic!("run cargo build: {e}"));
        assert!(output.status.success(), "cargo build --release failed");
        String::from_utf8_lossy(&output.stdout)
            .lines()
            .filter_map(|line| serde_json::from_str::<Value>(line).ok())
            .filter(|message| message["target"]["name"] == "matrix-podman")
            .find_map(|message| Some(PathBuf::from(message["executable"].as_str()?)))
            .unwrap_or_else(|| panic!("cargo build names no program"))
    })
}

/// Lies in the folder of a lab that was kept with `E2E_KEEP=1` to be looked at;
/// the next lab of its name replaces it.
const KEPT: &str = ".kept";

/// Folder of the labs.
fn labs() -> PathBuf {
    PathBuf::from("/var/tmp/matrix-podman-e2e")
}

/// A place on this machine for one site: folder, guest, bridge. All of it is
/// removed on drop, and what an earlier test run left is removed at the start.
pub struct Lab {
    /// Its name, unique among all tests.
    pub name: String,
    /// The folder in which commands are run.
    pub folder: PathBuf,
    /// The domain of its site.
    pub domain: String,
    /// Its number, which tells the networks apart.
    pub number: u8,
    sessions: Mutex<BTreeMap<String, crate::Session>>,
    _lock: File,
    _number_lock: File,
}

impl Lab {
    /// A new lab, with an empty folder. There is one of a name at a time on the
    /// machine; a second one waits for the first.
    #[track_caller]
    pub fn new(name: &str) -> Self {
        let locks = labs().join(".locks");
        fs::create_dir_all(&locks).unwrap_or_else(|e| panic!("make {}: {e}", locks.display()));
        sweep(&locks);
        let lock = open_lock(&locks.join(format!("lab-{name}")));
        wait_until(&format!("the lab {name} is free"), Duration::from_secs(1800), || {
            lock.try_lock().map_err(|e| format!("another test run has it: {e}"))
        });
        remove(name);
        let (number, number_lock) = take_number(&locks);
        cleaning::remove_bridge(&bridge(number));
        let folder = labs().join(name);
        fs::create_dir_all(&folder).unwrap_or_else(|e| panic!("make {}: {e}", folder.display()));
        fs::write(folder.join(".number"), number.to_string()).unwrap_or_else(|e| panic!("write: {e}"));
        Self {
            name: name.to_owned(),
            folder,
            domain: format!("{name}.{DOMAIN}"),
            number,
            sessions: Mutex::default(),
            _lock: lock,
            _number_lock: number_lock,
        }
    }

    /// A new lab with a `matrix.toml`: what `init --yes` writes, with guest and
    /// network of its own.
    #[track_caller]
    pub fn with_config(name: &str) -> Self {
        let lab = Self::new(name);
        lab.run(&["init", "--domain", &lab.domain, "--guest-name", &lab.guest().name, "--yes"]).ok();
        lab.own_network();
        lab
    }

    /// Puts the guest of the config that is there on the lab's own bridge.
    #[track_caller]
    pub fn own_network(&self) {
        self.set("[guest.network]", "bridge", &format!("{:?}", self.bridge()));
        self.set("[guest.network]", "subnet", &format!("\"{}/24\"", self.gateway()));
        // The tests' proxies are hosts on that bridge.
        self.set("[edge]", "proxies", &format!("[\"10.87.{}.0/24\"]", self.number));
    }

    /// The guest.
    pub fn guest(&self) -> Guest {
        Guest::new(format!("{GUEST_PREFIX}{}", self.name))
    }

    /// Name of the site's bridge.
    pub fn bridge(&self) -> String {
        bridge(self.number)
    }

    /// The machine's address on that bridge.
    pub fn gateway(&self) -> String {
        format!("10.87.{}.1", self.number)
    }

    /// The name of the server.
    pub fn server_name(&self) -> String {
        format!("matrix.{}", self.domain)
    }

    /// What the program remembers of the site on this machine.
    pub fn state_folder(&self) -> PathBuf {
        // Sites are called by what user ids end with, or by their domain.
        [self.server_name(), self.domain.clone()]
            .iter()
            .map(|site| cleaning::site_state(site))
            .find(|folder| folder.exists())
            .unwrap_or_else(|| cleaning::site_state(&self.domain))
    }

    /// A file in the folder.
    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.join(name)
    }

    /// Writes a file in the folder.
    #[track_caller]
    pub fn write(&self, name: &str, content: &str) -> PathBuf {
        let path = self.path(name);
        fs::write(&path, content).unwrap_or_else(|e| panic!("write {}: {e}", path.display()));
        path
    }

    /// The config.
    #[track_caller]
    pub fn config(&self) -> String {
        read(self.path("matrix.toml"))
    }

    /// Edits the config as a person would: the line of `key` in `section` (with
    /// its brackets; empty for the top) is replaced, or made where there is none.
    #[track_caller]
    pub fn set(&self, section: &str, key: &str, value: &str) {
        let config = self.config();
        let wanted = format!("{key} = {value}");
        let mut lines: Vec<String> = config.lines().map(str::to_owned).collect();
        let start = match section {
            "" => 0,
            section => match lines.iter().position(|line| line.trim() == section) {
                Some(at) => at + 1,
                None => {
                    lines.extend([String::new(), section.to_owned()]);
                    lines.len()
                }
            },
        };
        let end = lines[start..].iter().position(|l| l.starts_with('[')).map_or(lines.len(), |n| start + n);
        let is_key = |line: &String| {
            line.trim_start_matches('#').split_once('=').is_some_and(|(name, _)| name.trim() == key)
        };
        match lines[start..end].iter().position(is_key) {
            Some(at) => lines[start + at] = wanted,
            None => lines.insert(start, wanted),
        }
        self.write("matrix.toml", &(lines.join("\n") + "\n"));
    }

    /// Has the server made from the archives of images that are there.
    #[track_caller]
    pub fn use_archives(&self) {
        make_archives();
        for (key, recipe) in [
            ("postgres", "postgres"),
            ("redis", "redis"),
            ("synapse", "synapse"),
            ("web", "element-web"),
            ("coturn", "coturn"),
            ("gateway", "gateway"),
        ] {
            self.set(&format!("[images.{key}]"), "archive", &format!("{:?}", archive(recipe)));
        }
    }

    /// Takes the line of `key` out of the config, wherever it is.
    #[track_caller]
    pub fn unset(&self, key: &str) {
        let keep = |line: &&str| line.split_once('=').is_none_or(|(name, _)| name.trim() != key);
        let config = self.config();
        let lines: Vec<&str> = config.lines().filter(keep).collect();
        self.write("matrix.toml", &(lines.join("\n") + "\n"));
    }

    /// The program with these arguments in the lab's folder, yet to be run.
    pub fn command(&self, arguments: &[&str]) -> Invocation {
        let program = binary().display().to_string();
        Invocation::new([program.as_str()].iter().chain(arguments)).folder(&self.folder)
    }

    /// Runs the program with these arguments in the lab's folder.
    #[track_caller]
    pub fn run(&self, arguments: &[&str]) -> Ran {
        self.command(arguments).run()
    }

    /// Runs the program on a terminal and plays a person: waits for each text
    /// of `dialogue` to appear, then types the answer and Enter. What was on
    /// the terminal comes back as standard output.
    #[track_caller]
    pub fn on_terminal(&self, arguments: &[&str], dialogue: &[(&str, &str)]) -> Ran {
        self.terminal(arguments, dialogue).run()
    }

    /// The same, yet to be run.
    pub fn terminal(&self, arguments: &[&str], dialogue: &[(&str, &str)]) -> Invocation {
        let script = crate::clients_folder().join("terminal.py").display().to_string();
        let program = binary().display().to_string();
        let argv = ["python3", &script, &program].into_iter().chain(arguments.iter().copied());
        let dialogue = serde_json::json!(dialogue).to_string();
        Invocation::new(argv).folder(&self.folder).input(dialogue)
    }

    /// `up --yes`, which has to do what it should.
    #[track_caller]
    pub fn up(&self) -> Ran {
        self.run(&["up", "--yes"]).ok()
    }

    /// Fails unless there is nothing to do.
    #[track_caller]
    pub fn settled(&self) {
        self.run(&["plan", "--exit-code"]).ok().says("Nothing to do");
        self.up().says("Nothing to do");
    }

    /// `status --json`.
    #[track_caller]
    pub fn status(&self) -> Value {
        self.command(&["status", "--json"]).quietly().run().json()
    }

    /// Names of the services that do not run or are not healthy.
    #[track_caller]
    pub fn ailing(&self) -> Vec<String> {
        let status = self.status();
        let services = status["services"].as_array().cloned().unwrap_or_default();
        assert!(services.len() >= 4, "four services at least in {status}");
        services
            .iter()
            .filter(|s| s["state"] != "running" || s["health"] != "healthy")
            .map(|s| format!("{} {} {}", s["name"], s["state"], s["health"]))
            .collect()
    }

    /// Fails unless all four services run and are healthy.
    #[track_caller]
    pub fn healthy(&self) {
        let ailing = self.ailing();
        assert!(ailing.is_empty(), "not healthy: {ailing:?}");
    }

    /// Waits until all four services run and are healthy.
    #[track_caller]
    pub fn becomes_healthy(&self, deadline: Duration) {
        wait_until("all services are healthy", deadline, || match self.ailing() {
            ailing if ailing.is_empty() => Ok(()),
            ailing => Err(format!("{ailing:?}")),
        });
    }

    /// Synapse, as its clients see it from this machine.
    #[track_caller]
    pub fn matrix(&self) -> Matrix {
        Matrix::new(&self.url("synapse"), &self.server_name())
    }

    /// Waits until Synapse has nothing left to rewrite in the background: no update begins before.
    #[track_caller]
    pub fn rewriting_is_over(&self) {
        let count = "podman exec postgres_db psql -U synapse -tAc 'SELECT count(*) FROM background_updates'";
        wait_until("Synapse's background updates are over", Duration::from_secs(420), || {
            match self.guest().sh(count).text() {
                "0" => Ok(()),
                more => Err(format!("{more} to go")),
            }
        });
    }

    /// The version that Synapse says it is.
    #[track_caller]
    pub fn synapse_version(&self) -> String {
        let url = format!("{}/_matrix/federation/v1/version", self.url("synapse"));
        let (_, answer) =
            crate::http("GET", &url, None, None).unwrap_or_else(|e| panic!("ask for the version: {e}"));
        answer["server"]["version"].as_str().unwrap_or_else(|| panic!("{answer}")).to_owned()
    }

    /// One request to the admin API, which is reached from within Synapse's
    /// container alone: status and body.
    #[track_caller]
    pub fn admin(&self, method: &str, path: &str, token: &str, body: Option<&Value>) -> (u16, Value) {
        let url = format!("http://127.0.0.1:8009{path}");
        let header = format!("Authorization: Bearer {token}");
        let mut argv = vec!["podman", "exec", "synapse", "curl", "--silent", "--show-error"];
        argv.extend(["--request", method, "--header", &header, "--write-out", "\n%{http_code}"]);
        let body = body.map(Value::to_string);
        if let Some(body) = &body {
            argv.extend(["--json", body]);
        }
        let said = self.guest().exec(argv.into_iter().chain([url.as_str()])).ok().stdout;
        let (text, status) = said.trim_end().rsplit_once('\n').unwrap_or(("", &said));
        let status = status.parse().unwrap_or_else(|e| panic!("{e}: {said}"));
        (status, serde_json::from_str(text).unwrap_or(Value::Null))
    }

    /// The address of `synapse` or of the web `client`.
    #[track_caller]
    pub fn url(&self, which: &str) -> String {
        let status = self.status();
        status["urls"][which]
            .as_str()
            .unwrap_or_else(|| panic!("no address of {which} in {status}"))
            .to_owned()
    }

    /// Makes a user with a password that comes on standard input.
    #[track_caller]
    pub fn add_user(&self, name: &str, password: &str) -> Ran {
        self.command(&["user", "add", name, "--password-file", "-"]).input(format!("{password}\n")).run().ok()
    }

    /// Logs a user in, who is made first where there is none.
    #[track_caller]
    pub fn user(&self, name: &str, password: &str) -> crate::Session {
        let mut sessions = self.sessions.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
        if let Some(session) = sessions.get(name) {
            return session.clone();
        }
        let matrix = self.matrix();
        let session = matrix.try_login(name, password).unwrap_or_else(|_| {
            self.add_user(name, password);
            matrix.login(name, password)
        });
        sessions.insert(name.to_owned(), session.clone());
        session
    }

    /// What the journals and states on this machine hold of the site, as text.
    pub fn machine_records(&self) -> Vec<(PathBuf, String)> {
        let mut found = Vec::new();
        collect(Path::new("/var/lib/matrix-podman"), &mut found);
        collect(&self.folder, &mut found);
        found
    }
}

fn collect(folder: &Path, found: &mut Vec<(PathBuf, String)>) {
    for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
        let path = entry.path();
        if path.is_dir() {
            collect(&path, found);
        } else if let Ok(bytes) = fs::read(&path) {
            found.push((path, String::from_utf8_lossy(&bytes).into_owned()));
        }
    }
}

impl Drop for Lab {
    fn drop(&mut self) {
        if std::env::var_os("E2E_KEEP").is_some() {
            let _ = fs::write(self.folder.join(KEPT), "");
            println!("kept: {} and the guest {}", self.folder.display(), self.guest().name);
            return;
        }
        remove(&self.name);
        cleaning::remove_bridge(&self.bridge());
    }
}

fn bridge(number: u8) -> String {
    format!("{BRIDGE_PREFIX}{number}")
}

fn open_lock(path: &Path) -> File {
    File::options()
        .create(true)
        .write(true)
        .truncate(false)
        .open(path)
        .unwrap_or_else(|e| panic!("open {}: {e}", path.display()))
}

/// Takes the first number that no other lab has.
fn take_number(locks: &Path) -> (u8, File) {
    (0..=250)
        .find_map(|number| {
            let lock = open_lock(&locks.join(format!("number-{number}")));
            lock.try_lock().is_ok().then_some((number, lock))
        })
        .unwrap_or_else(|| panic!("all numbers are taken"))
}

/// Removes the labs of test runs that were killed.
fn sweep(locks: &Path) {
    for entry in fs::read_dir(labs()).into_iter().flatten().flatten() {
        let Some(name) = entry.file_name().to_str().map(str::to_owned) else { continue };
        if name.starts_with('.') || entry.path().join(KEPT).exists() {
            continue;
        }
        let lock = open_lock(&locks.join(format!("lab-{name}")));
        if lock.try_lock().is_ok() {
            println!("  (removing what an earlier test run left of {name})");
            let number = fs::read_to_string(entry.path().join(".number")).ok().and_then(|n| n.parse().ok());
            remove(&name);
            if let Some(number) = number {
                let (_, taken) = (number, open_lock(&locks.join(format!("number-{number}"))));
                if taken.try_lock().is_ok() {
                    cleaning::remove_bridge(&bridge(number));
                }
            }
        }
    }
}

/// Removes site and folder of a lab. Not through the program's `destroy`, which
/// has tests of its own: see [`cleaning::empty_trash`].
fn remove(name: &str) {
    let folder = labs().join(name);
    let guest = format!("{GUEST_PREFIX}{name}");
    crate::proxmox::remove_guests(&format!("{guest}-"));
    cleaning::remove_guest(&guest);
    for site in [format!("{name}.{DOMAIN}"), format!("matrix.{name}.{DOMAIN}")] {
        let _ = fs::remove_dir_all(cleaning::site_state(&site));
        cleaning::remove_timers(&site);
    }
    let _ = fs::remove_dir_all(&folder);
}
