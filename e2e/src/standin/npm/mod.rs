//! Nginx Proxy Manager: its API with its closed schemas, odd status codes,
//! users and permissions, and a real nginx that serves the hosts as NPM
//! renders them.
//!
//! Written from NPM's own backend, versions 2.12 to 2.15. What surprises there
//! is here: nginx' config is tested *before* a write as well as after it; a
//! request for a certificate takes the hosts of those names out of nginx and
//! writes them back without their certificate; a removed certificate takes its
//! files along, whoever uses them.

mod certificates;
mod hosts;
mod nginx;
mod users;

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::{Arc, Mutex, MutexGuard},
    time::Duration,
};

use serde_json::{Value, json};

pub use certificates::Certbot;
pub use hosts::Kind;
pub use users::NpmUser;

use super::{
    Authority,
    http::{Answer, Asked, Gate, Server, none, parts},
};
use users::May;

/// How the stand-in is.
#[derive(Debug, Clone)]
pub struct NpmOptions {
    /// 2.`minor`.`revision`
    pub version: (u32, u32),
    /// A code that is wanted besides the password.
    pub code: Option<String>,
    /// The Cloudflare token with which names can be proved.
    pub dns_token: String,
    /// Address on this machine that its nginx listens on.
    pub address: String,
}

/// What NPM keeps.
pub struct State {
    /// How it is.
    pub options: NpmOptions,
    /// Who may log in; the first is its administrator.
    pub users: Vec<NpmUser>,
    /// Proxy hosts.
    pub hosts: Vec<Value>,
    /// Redirection hosts.
    pub redirections: Vec<Value>,
    /// 404 hosts.
    pub dead: Vec<Value>,
    /// Streams.
    pub streams: Vec<Value>,
    /// Certificates.
    pub certificates: Vec<Value>,
    /// nginx refuses the next host, with these words.
    pub refuse_next: Option<String>,
    /// So long it takes until the next write of a host reaches nginx: the row
    /// is there before.
    pub slow: Option<Duration>,
    /// What takes its time is answered with 504 meanwhile, once.
    pub gives_up: bool,
    /// Something that happens right behind the next write.
    pub meanwhile: Option<fn(&mut State)>,
    /// How certbot is.
    pub certbot: Certbot,
    authority: Arc<Authority>,
    folder: PathBuf,
    /// Who has which token; nobody once it has expired.
    sessions: BTreeMap<String, Option<u64>>,
    made: u64,
}

/// What comes of a request: an answer, or something later.
enum Step {
    Done(Answer),
    Later(Duration, Next),
}

type Next = Box<dyn FnOnce(&mut State) -> Step + Send>;

/// Does what is left of a request that nobody waits for any more.
fn go_on(state: &Mutex<State>, mut pause: Duration, mut next: Next) {
    loop {
        std::thread::sleep(pause);
        let step = next(&mut state.lock().unwrap_or_else(|e| e.into_inner()));
        match step {
            Step::Done(_) => break,
            Step::Later(again, then) => (pause, next) = (again, then),
        }
    }
}

impl From<Answer> for Step {
    fn from(answer: Answer) -> Self {
        Step::Done(answer)
    }
}

/// The stand-in.
pub struct Npm {
    state: Arc<Mutex<State>>,
    server: Server,
    nginx: Option<Child>,
}

impl Npm {
    /// An NPM without hosts and certificates, in a folder of its own, whose
    /// administrator is `identity`; `gate` can hold clients.
    #[track_caller]
    pub fn start(
        folder: &Path,
        authority: Arc<Authority>,
        identity: &str,
        password: &str,
        options: NpmOptions,
        gate: &Arc<Gate>,
    ) -> Self {
        Self::start_at("127.0.0.1", folder, authority, (identity, password), options, gate)
    }

    /// The same, administered at an address of this machine's.
    #[track_caller]
    pub fn start_at(
        address: &str,
        folder: &Path,
        authority: Arc<Authority>,
        (identity, password): (&str, &str),
        options: NpmOptions,
        gate: &Arc<Gate>,
    ) -> Self {
        for below in ["proxy_host", "redirection_host", "dead_host", "stream", "certs", "logs", "body"] {
            fs::create_dir_all(folder.join(below)).unwrap_or_else(|e| panic!("make {below}: {e}"));
        }
        let state = State {
            options,
            users: vec![NpmUser::administrator(1, identity, password)],
            hosts: Vec::new(),
            redirections: Vec::new(),
            dead: Vec::new(),
            streams: Vec::new(),
            certificates: Vec::new(),
            refuse_next: None,
            slow: None,
            gives_up: false,
            meanwhile: None,
            certbot: Certbot::default(),
            authority,
            folder: folder.to_owned(),
            sessions: BTreeMap::new(),
            made: 0,
        };
        state.write_main();
        let config = folder.join("nginx.conf").display().to_string();
        let nginx = Command::new("nginx")
            .args(["-e", "stderr", "-c", &config, "-g", "daemon off;"])
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(fs::File::create(folder.join("nginx.log")).unwrap_or_else(|e| panic!("nginx.log: {e}")))
            .spawn()
            .unwrap_or_else(|e| panic!("start nginx: {e}"));
        let state = Arc::new(Mutex::new(state));
        let inner = Arc::clone(&state);
        let server = Server::start_at(
            address,
            Arc::clone(gate),
            Arc::new(move |asked: &Asked| {
                // What takes its time lets others ask meanwhile, as Node does.
                let lock = || inner.lock().unwrap_or_else(|e| e.into_inner());
                let mut step = lock().answer(asked);
                let answer = loop {
                    match step {
                        Step::Done(answer) => break answer,
                        Step::Later(pause, next) => {
                            if std::mem::take(&mut lock().gives_up) {
                                let late = Arc::clone(&inner);
                                std::thread::spawn(move || go_on(&late, pause, next));
                                break refused(504, "Gateway Time-out");
                            }
                            std::thread::sleep(pause);
                            step = next(&mut lock());
                        }
                    }
                };
                if asked.is_write() {
                    let mut state = lock();
                    if let Some(meanwhile) = state.meanwhile.take() {
                        meanwhile(&mut state);
                    }
                }
                answer
            }),
        );
        Self { state, server, nginx: Some(nginx) }
    }

    /// Where it is administered.
    pub fn url(&self) -> String {
        format!("http://{}", self.server.address)
    }

    /// What it keeps, to be looked at and clicked into.
    pub fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(|e| e.into_inner())
    }

    /// What was asked since the last time.
    pub fn take_asked(&self) -> Vec<Asked> {
        std::mem::take(&mut *self.server.asked.lock().unwrap_or_else(|e| e.into_inner()))
    }
}

impl Drop for Npm {
    fn drop(&mut self) {
        if let Some(mut nginx) = self.nginx.take() {
            // The master ends its workers when it is asked to.
            let _ = Command::new("kill").arg(nginx.id().to_string()).status();
            let _ = nginx.wait();
        }
    }
}

/// Whether a row has the id that stands in a path.
fn is_id(row: &Value, id: &str) -> bool {
    id.parse().is_ok_and(|id: u64| row["id"] == id)
}

fn refused(status: u16, message: &str) -> Answer {
    Answer::new(status, json!({"error": {"code": status, "message": message}}))
}

/// Only in answers about certificates there is more than this.
fn internal() -> Answer {
    refused(500, "Internal Error")
}

fn strings(value: &Value) -> Vec<String> {
    value.as_array().into_iter().flatten().filter_map(|n| Some(n.as_str()?.to_owned())).collect()
}

impl State {
    fn answer(&mut self, asked: &Asked) -> Step {
        let path = asked.path.strip_prefix("/api").unwrap_or("/nowhere");
        let (minor, revision) = self.options.version;
        if path == "/" {
            return Answer::new(
                200,
                json!({"status": "OK", "setup": true, "version": {"major": 2, "minor": minor, "revision": revision}}),
            )
            .into();
        }
        if path == "/tokens" && asked.method == "POST" {
            return self.log_in(&asked.body).into();
        }
        if path == "/tokens/2fa" && asked.method == "POST" {
            return self.second_factor(&asked.body).into();
        }
        let user = match self.who(asked.authorization.as_deref(), path) {
            Ok(user) => user,
            Err(answer) => return answer.into(),
        };
        let method = asked.method.as_str();
        match (method, parts(path).as_slice()) {
            ("GET", ["users", "me"]) => user.shown(asked.query.get("expand").map(String::as_str)).into(),
            (_, ["nginx", "certificates", rest @ ..]) => {
                if let Some(answer) = user.refused("certificates", May::of(method), path) {
                    return answer.into();
                }
                match (method, rest) {
                    ("GET", []) => self.certificates_of(&user, asked.query.get("expand")).into(),
                    ("POST", []) => self.request_certificate(&user, &asked.body),
                    ("DELETE", [id]) => self.delete_certificate(&user, id).into(),
                    _ => refused(404, &format!("Not Found - {path}")).into(),
                }
            }
            (_, ["nginx", kind, rest @ ..]) => {
                let Some(kind) = Kind::of_path(kind) else {
                    return refused(404, &format!("Not Found - {path}")).into();
                };
                if let Some(answer) = user.refused(kind.permission(), May::of(method), path) {
                    return answer.into();
                }
                match (method, rest) {
                    ("GET", []) => Answer::new(200, json!(self.seen_by(&user, kind))).into(),
                    ("POST", []) if kind == Kind::Proxy => self.create_host(&user, &asked.body),
                    ("PUT", [id]) if kind != Kind::Stream => self.change_host(&user, kind, id, &asked.body),
                    ("DELETE", [id]) => self.delete_host(&user, kind, id).into(),
                    _ => refused(404, &format!("Not Found - {path}")).into(),
                }
            }
            _ => refused(404, &format!("Not Found - {path}")).into(),
        }
    }

    /// What is kept, as text that can be compared.
    pub fn shown(&self) -> String {
        let all: BTreeMap<&str, &Vec<Value>> = [
            ("hosts", &self.hosts),
            ("certificates", &self.certificates),
            ("redirections", &self.redirections),
            ("dead hosts", &self.dead),
            ("streams", &self.streams),
        ]
        .into();
        serde_json::to_string_pretty(&all).unwrap_or_default()
    }
}

/// Those of `rows` that `user` sees.
fn visible(user: &NpmUser, rows: &[Value]) -> Value {
    let mut seen = none();
    if let Some(list) = seen.as_array_mut() {
        list.extend(rows.iter().filter(|row| user.sees(row)).cloned());
    }
    seen
}
