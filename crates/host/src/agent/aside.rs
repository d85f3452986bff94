//! Containers beside the server, in the guest: put up, asked, removed (see
//! [`matrix_podman_core::aside`]).

use std::{
    fs::{self, File},
    path::Path,
    thread,
    time::{Duration, Instant},
};

use matrix_podman_core::{
    aside::{self, Containers},
    name::{Digest, Mode, Owner},
    stack::RoomDatabase,
};
use serde_json::{Value as Json, json};

use crate::{
    failure::{Doing, Failure},
    file,
    process::{Input, Program},
    synapse,
};

/// How long PostgreSQL may take to come up.
const DATABASE_UP: Duration = Duration::from_secs(5 * 60);
/// How long the database may take to be filled.
const FILLED: Duration = Duration::from_secs(24 * 3600);
/// How long anything else may take.
const ONCE: Duration = Duration::from_secs(120);
/// Between two looks.
const LOOK: Duration = Duration::from_millis(500);

/// Removes the containers, those of one that was cut off too.
pub(crate) fn remove(containers: &Containers) -> Result<(), Failure> {
    let doing = format!("remove the containers of the {}", containers.aside.name());
    containers.remove.iter().try_for_each(|argv| Program::new(argv).deadline(ONCE).run(&doing, &|_| {}))
}

/// Removes what one that was cut off left running, and makes what the containers need.
pub(crate) fn prepare(containers: &Containers) -> Result<(), Failure> {
    remove(containers)?;
    for (path, mode, owner) in &containers.folders {
        file::make_dir(Path::new(path.as_str()), *mode, *owner)?;
    }
    for (path, content, mode, owner) in &containers.files {
        file::write(Path::new(path.as_str()), content.as_bytes(), *mode, *owner)?;
    }
    let (hosts, names) = &containers.hosts;
    file::write(Path::new(hosts.as_str()), names.as_bytes(), Mode(0o644), Owner::ROOT)
}

/// Starts PostgreSQL with empty databases and waits until it answers.
pub(crate) fn start_database(containers: &Containers) -> Result<(), Failure> {
    let (argv, answers) = (&containers.database, &containers.database_answers);
    start(containers, "PostgreSQL", &containers.aside.database(), (argv, answers), DATABASE_UP)
}

/// Fills a database from its dump.
pub(crate) fn fill(containers: &Containers, database: &RoomDatabase, dump: File) -> Result<(), Failure> {
    Program::new(containers.aside.fill(database))
        .ends_with_us()
        .deadline(FILLED)
        .input(Input::Stream(Box::new(dump)))
        .run(&format!("fill the database of the {}", containers.aside.name()), &|_| {})
}

/// Starts Synapse on the database and waits until it answers.
pub(crate) fn start_synapse(containers: &Containers, patience: Duration) -> Result<(), Failure> {
    let (argv, answers) = (&containers.synapse, &containers.synapse_answers);
    start(containers, "Synapse", &containers.aside.homeserver(), (argv, answers), patience)
}

fn start(
    containers: &Containers,
    title: &str,
    name: &str,
    (argv, answers): (&[String], &[String]),
    patience: Duration,
) -> Result<(), Failure> {
    let doing = format!("start {title} for the {}", containers.aside.name());
    Program::new(argv).deadline(ONCE).run(&doing, &|_| {})?;
    let started = Instant::now();
    loop {
        if Program::new(answers).deadline(ONCE).output().status == Some(0) {
            return Ok(());
        }
        let state = Program::new(["podman", "container", "inspect", "--format={{.State.Status}}", name])
            .deadline(ONCE)
            .output();
        let runs = String::from_utf8_lossy(&state.stdout).trim() == "running";
        if !runs || started.elapsed() > patience {
            let why = if runs {
                format!("it did not answer within {} s", patience.as_secs())
            } else {
                "it ended".to_owned()
            };
            let logs = Program::new(["podman", "logs", "--tail=15", name]).deadline(ONCE).output();
            let said = [logs.stdout, logs.stderr].concat();
            let lines = String::from_utf8_lossy(&said).lines().map(str::to_owned).collect();
            return Err(Failure::new(doing, why).evidence(lines));
        }
        thread::sleep(LOOK);
    }
}

/// Makes a user on what came back and logs in as that; the user's id. Both are
/// gone with the containers.
pub(crate) fn log_in(containers: &Containers) -> Result<String, Failure> {
    let doing = "log a test user in to what came back";
    let secret = containers.registration_secret.as_str();
    let secret = fs::read_to_string(secret).doing(|| format!("read {secret}"))?;
    let mut random = [0; 32];
    getrandom::fill(&mut random).doing(|| "get random bytes from the system")?;
    let word = Digest::of_sha256(&random).hex().to_owned();
    let (name, password) = (format!("drill-{}", &word[..8]), &word[8..]);
    let account = synapse::NewAccount {
        localpart: &name,
        password,
        admin: false,
        display_name: None,
        user_type: None,
        log_in: None,
    };
    let nonce = text_of(&ask(containers, synapse::REGISTER, None, None, doing)?, "nonce", doing)?;
    let body = synapse::registration(secret.trim(), &nonce, &account, doing)?;
    ask(containers, synapse::REGISTER, None, Some(&body), doing)?;
    let body = json!({
        "type": "m.login.password",
        "identifier": {"type": "m.id.user", "user": name},
        "password": password,
    });
    let answer = ask(containers, "/_matrix/client/v3/login", None, Some(&body), doing)?;
    let token = text_of(&answer, "access_token", doing)?;
    let answer = ask(containers, "/_matrix/client/v3/account/whoami", Some(&token), None, doing)?;
    text_of(&answer, "user_id", doing)
}

/// Asks that Synapse something, over standard input: what is asked holds
/// secrets.
fn ask(
    containers: &Containers,
    path: &str,
    token: Option<&str>,
    body: Option<&Json>,
    doing: &str,
) -> Result<Json, Failure> {
    let body = body.map(Json::to_string);
    let ask = |port| {
        let request = aside::request(port, path, token, body.as_deref());
        Program::new(&containers.ask)
            .deadline(ONCE)
            .input(Input::Bytes(request.as_bytes()))
            .run_keeping(doing, &|_| {})
    };
    // A config of before the admin API had a port of its own comes back as it was.
    let [first, last] = aside::PORTS;
    let answer = ask(first).or_else(|_| ask(last))?;
    let (text, status) = answer.trim_end().rsplit_once('\n').unwrap_or(("", &answer));
    if status != "200" {
        // What it says of an error holds no secret.
        let said: Json = serde_json::from_str(text).unwrap_or_default();
        let said = said.get("error").and_then(Json::as_str).unwrap_or_default().to_owned();
        return Err(Failure::new(doing, format!("Synapse answered {status} to {path}: {said}")));
    }
    serde_json::from_str(text).doing(|| doing)
}

fn text_of(answer: &Json, key: &str, doing: &str) -> Result<String, Failure> {
    let text = answer.get(key).and_then(Json::as_str);
    text.map(str::to_owned).ok_or_else(|| Failure::new(doing, format!("Synapse's answer has no {key}")))
}
