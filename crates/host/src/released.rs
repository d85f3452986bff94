//! What every released version left behind, read by this program: the documents, one by one.
//! `cargo xtask released` records what this program leaves; fixtures/released/README.md says
//! what is where.

use std::{collections::BTreeMap, fs, path::PathBuf, sync::Once};

use matrix_podman_core::{
    backup::{Content, Manifest, MediaSum, News, Record, RepositoryName, Snapshot, format_with},
    edge::record::{self, Adopted, CloudflareRecord, NpmRecord, Route},
    effect::Container,
    lock::{Lock, LockedImage},
    name::{AbsPath, ContainerId, Digest, ServerName},
    resource::Claim,
    stack,
    state::WrittenBy,
    update::{self, Ended, Generation, History, Outcome, Unattended, Undo},
};
use serde::{Serialize, de::DeserializeOwned};
use serde_json::{Value, json};

use crate::{
    backup::Proof,
    failure::Kind,
    guest::{
        Connection, Doorway,
        wire::{PROTOCOL, Reply, write_message},
    },
    journal::Journal,
    lock::LockHolder,
    notify,
    state::{self, VERSION},
    unattended::Watch,
};

const FOLDER: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../fixtures/released");
/// Set where what this program writes is to be kept as that of its version.
const RECORD: &str = "MATRIX_PODMAN_RECORD";
const AT: &str = "2026-11-30T03:04:05Z";

/// A kind of document that outlives a run.
struct Document {
    name: &'static str,
    /// One as this program writes it.
    written: fn() -> String,
    /// What this program understands of it: that of [`Self::written`], for every version.
    understood: fn(&str) -> Result<Value, String>,
    /// Whether it has a format of its own; the others go with the one of the site's state.
    numbered: bool,
}

const DOCUMENTS: &[Document] = &[
    Document { name: "written-by.json", written: written_by, understood: of_written_by, numbered: true },
    Document { name: "matrix.lock", written: lock, understood: of_lock, numbered: true },
    Document { name: "matrix.history.json", written: history, understood: of_history, numbered: true },
    Document { name: "manifest.json", written: manifest, understood: of_manifest, numbered: true },
    Document { name: "journal.jsonl", written: journal, understood: of_journal, numbered: true },
    Document { name: "matrix.update.json", written: unattended, understood: of_unattended, numbered: false },
    Document { name: "run.lock", written: holder, understood: of_holder, numbered: false },
    Document { name: "backup-last.json", written: backup, understood: of_backup, numbered: false },
    Document { name: "backup-drill.json", written: proof, understood: of_proof, numbered: false },
    Document { name: "backups.json", written: news, understood: of_news, numbered: false },
    Document { name: "notice-last.json", written: notice, understood: of_notice, numbered: false },
    Document { name: "watch.json", written: watch, understood: of_watch, numbered: false },
    Document {
        name: "edge-cloudflare.json",
        written: cloudflare,
        understood: of_cloudflare,
        numbered: false,
    },
    Document { name: "edge-npm.json", written: npm, understood: of_npm, numbered: false },
    Document { name: "container-claim.json", written: claim, understood: of_claim, numbered: false },
    Document { name: "hello.json", written: hello, understood: of_hello, numbered: false },
];

/// Every version that was released, with its documents.
fn released() -> Vec<(String, PathBuf)> {
    static RECORDED: Once = Once::new();
    RECORDED.call_once(|| {
        if std::env::var_os(RECORD).is_some() {
            let folder = PathBuf::from(FOLDER).join(VERSION).join("documents");
            fs::create_dir_all(&folder).unwrap();
            for document in DOCUMENTS {
                fs::write(folder.join(document.name), (document.written)()).unwrap();
            }
            fs::write(folder.join("paths"), paths()).unwrap();
        }
    });
    let mut all: Vec<(String, PathBuf)> = fs::read_dir(FOLDER)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.is_dir())
        .map(|path| (path.file_name().unwrap().to_str().unwrap().to_owned(), path.join("documents")))
        .collect();
    all.sort();
    assert!(!all.is_empty(), "no version is kept in {FOLDER}");
    all
}

#[test]
fn what_every_released_version_left_is_understood() {
    for (version, folder) in released() {
        for document in DOCUMENTS {
            // A kind of document that came later was not left by an earlier version.
            let Ok(text) = fs::read_to_string(folder.join(document.name)) else {
                assert_ne!(version, VERSION, "{} is not recorded: cargo xtask released", document.name);
                continue;
            };
            let understood = (document.understood)(&text)
                .unwrap_or_else(|why| panic!("{version}, {}: {why}", document.name));
            let meant = (document.understood)(&(document.written)()).unwrap();
            assert_eq!(understood, meant, "{version}: {}", document.name);
            if version == VERSION {
                assert_eq!(
                    (document.written)(),
                    text,
                    "{}: {VERSION} does not write this any more. Where {VERSION} is not released yet, `cargo xtask \
                     released` records it anew; where it is, raise the program's version first",
                    document.name
                );
            }
        }
    }
}

#[test]
fn a_newer_format_of_every_document_that_has_one_is_refused() {
    for document in DOCUMENTS.iter().filter(|document| document.numbered) {
        let text = (document.written)();
        let newer = ["\"format\": ", "\"format\":", "format = "].iter().fold(text.clone(), |text, label| {
            [1, 2]
                .iter()
                .fold(text, |text, number| text.replace(&format!("{label}{number}"), &format!("{label}99")))
        });
        assert_ne!(newer, text, "{} says no format", document.name);
        let why = (document.understood)(&newer).unwrap_err();
        assert!(why.contains("newer matrix-podman"), "{}: {why}", document.name);
    }
}

#[test]
fn another_version_takes_over_in_a_line() {
    for (version, folder) in released() {
        let Ok(text) = fs::read_to_string(folder.join("written-by.json")) else { continue };
        let own = tempfile::tempdir().unwrap();
        let path = own.path().join("written-by.json");
        fs::write(&path, text).unwrap();
        let next = format!("{VERSION}-next");
        for (program, told) in [(VERSION, version != VERSION), (next.as_str(), true)] {
            fs::copy(folder.join("written-by.json"), &path).unwrap();
            let line = state::take_over_in(&path, program).unwrap();
            assert_eq!(line.is_some_and(|line| line.contains(&version)), told, "{version} to {program}");
            assert_eq!(state::take_over_in(&path, program).unwrap(), None, "it is said once");
        }
    }
}

fn json<T: Serialize>(value: &T) -> String {
    serde_json::to_string_pretty(value).unwrap() + "\n"
}

fn parsed<T: DeserializeOwned>(text: &str) -> Result<T, String> {
    serde_json::from_str(text).map_err(|e| e.to_string())
}

fn name() -> ServerName {
    ServerName::parse("matrix.chat.home.arpa").unwrap()
}

fn image() -> LockedImage {
    let digest = Digest::of_sha256(&[7; 32]);
    LockedImage {
        wanted: "build synapse newest".to_owned(),
        run: digest.hex().to_owned(),
        digest: digest.clone(),
        id: digest,
        version: "1.157.1".to_owned(),
    }
}

fn written_by() -> String {
    WrittenBy::this(VERSION).render().unwrap()
}

fn of_written_by(text: &str) -> Result<Value, String> {
    WrittenBy::parse(text).map(|by| json!(by.format)).map_err(|e| e.to_string())
}

fn lock() -> String {
    let mut lock = Lock::new(name());
    lock.images.insert(stack::synapse::ID, image());
    lock.render().unwrap()
}

fn of_lock(text: &str) -> Result<Value, String> {
    let lock = Lock::parse(text).map_err(|e| e.to_string())?;
    let images: BTreeMap<String, (String, String)> = lock
        .images
        .iter()
        .map(|(service, image)| (service.name().to_owned(), (image.run.clone(), image.version.clone())))
        .collect();
    Ok(json!([lock.server_name, images]))
}

fn history() -> String {
    let mut history = History::default();
    for (number, outcome) in [
        (1, Outcome::Kept),
        (2, Outcome::Undone { why: "it was never healthy".to_owned(), log: vec!["a line".to_owned()] }),
        (3, Outcome::UnderWay),
    ] {
        history.push(Generation {
            number,
            at: AT.to_owned(),
            by: "update".to_owned(),
            images: [(stack::synapse::ID, image())].into(),
            dump: Some(update::dump_of(number)),
            snapshot: None,
            restores: None,
            undo: Some(Undo::Dump),
            outcome,
        });
    }
    history.render().unwrap()
}

fn of_history(text: &str) -> Result<Value, String> {
    let history = History::parse(text).map_err(|e| e.to_string())?;
    let said = |g: &Generation| json!([g.number, g.at, g.outcome.name(), g.dump, g.undo]);
    Ok(json!([history.generations.iter().map(said).collect::<Vec<_>>(), history.next()]))
}

fn manifest() -> String {
    Manifest {
        format: format_with(&BTreeMap::new()),
        server_name: name(),
        program: VERSION.to_owned(),
        made_at: AT.to_owned(),
        versions: [("synapse".to_owned(), "1.157.1".to_owned())].into(),
        content: Content {
            schema: 93,
            tables: [("events".to_owned(), 120)].into(),
            signing_key: ("ed25519:a_x".to_owned(), "KEY".to_owned()),
        },
        databases: BTreeMap::new(),
        media: MediaSum { files: 2, bytes: 30, digest: "ab".to_owned() },
    }
    .render()
    .unwrap()
}

fn of_manifest(text: &str) -> Result<Value, String> {
    let manifest = Manifest::parse(text).map_err(|e| e.to_string())?;
    let Content { schema, tables, signing_key } = &manifest.content;
    Ok(json!([manifest.server_name, manifest.made_at, schema, tables, signing_key, manifest.media.files]))
}

fn journal() -> String {
    crate::journal::journal_of_a_run_that_was_cut_off(AT)
}

fn of_journal(text: &str) -> Result<Value, String> {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("journal.jsonl");
    fs::write(&path, text).unwrap();
    let (_, before) = Journal::open(&path, "up").map_err(|e| e.to_string())?;
    let before = before.ok_or("no run was cut off in it")?;
    Ok(json!([before.command, before.since, before.acts]))
}

fn unattended() -> String {
    Unattended { at: AT.to_owned(), outcome: Ended::LeftAlone, what: "synapse waits".to_owned() }
        .render()
        .unwrap()
}

fn of_unattended(text: &str) -> Result<Value, String> {
    Unattended::parse(text)
        .map(|last| json!([last.outcome, last.line()]))
        .ok_or_else(|| "it is none".to_owned())
}

fn holder() -> String {
    json(&LockHolder {
        command: "up".to_owned(),
        pid: 4711,
        since: AT.to_owned(),
        host: "attic".to_owned(),
        finishing: false,
    })
}

fn of_holder(text: &str) -> Result<Value, String> {
    let holder: LockHolder = parsed(text)?;
    Ok(json!([holder.command, holder.pid, holder.since, holder.finishing]))
}

fn snapshot() -> Snapshot {
    Snapshot {
        id: "0123abcd".to_owned(),
        time: AT.to_owned(),
        server_name: name().to_string(),
        bytes: 4096,
        added: 512,
    }
}

fn record() -> Record {
    Record {
        at: AT.to_owned(),
        why: Some("the folder is full".to_owned()),
        unreachable: false,
        failures: 1,
        snapshot: Some(snapshot()),
    }
}

fn backup() -> String {
    json(&record())
}

fn of_backup(text: &str) -> Result<Value, String> {
    let record: Record = parsed(text)?;
    Ok(json!([record.at, record.why, record.snapshot.map(|s| (s.id, s.time, s.bytes))]))
}

fn proof() -> String {
    json(&Proof {
        at: AT.to_owned(),
        snapshot: snapshot(),
        seconds: 90,
        tables: 181,
        media: 2,
        signing_key: Some(("ed25519:a_x".to_owned(), "KEY".to_owned())),
        logged_in: Some("@drill:matrix.chat.home.arpa".to_owned()),
        wrong: Vec::new(),
        signature: None,
    })
}

fn of_proof(text: &str) -> Result<Value, String> {
    let proof: Proof = parsed(text)?;
    Ok(json!([proof.at, proof.snapshot.id, proof.tables, proof.wrong]))
}

fn news() -> String {
    json(&[News::of(&RepositoryName::main(), Some(&record()), None)])
}

fn of_news(text: &str) -> Result<Value, String> {
    let news = News::parse(text).ok_or("it is none")?;
    Ok(json!(news.iter().map(|news| news.line(AT)).collect::<Vec<_>>()))
}

fn notice() -> String {
    json(&notify::Record { at: AT.to_owned(), unsent: vec!["the webhook did not answer".to_owned()] })
}

fn of_notice(text: &str) -> Result<Value, String> {
    notify::Record::parse(text)
        .map(|last| json!([last.at, last.unsent]))
        .ok_or_else(|| "it is none".to_owned())
}

fn watch() -> String {
    json(&Watch { since: AT.to_owned(), told: [("backup".to_owned(), AT.to_owned())].into() })
}

fn of_watch(text: &str) -> Result<Value, String> {
    let watch: Watch = parsed(text)?;
    Ok(json!([watch.since, watch.told]))
}

fn cloudflare() -> String {
    let was = Some(json!({"hostname": "matrix.chat.home.arpa", "service": "http://localhost"}));
    record::render(&CloudflareRecord {
        tunnel: Some("home".to_owned()),
        tunnel_id: Some("f70ff985-a4ef-4643-bbbc-4a0ed4fc8415".to_owned()),
        routes: vec![Route { hostname: "matrix.chat.home.arpa".to_owned(), path: None, was }],
    })
}

fn of_cloudflare(text: &str) -> Result<Value, String> {
    let record: CloudflareRecord = record::parse(Some(text))?;
    let routes: Vec<_> =
        record.routes.iter().map(|route| json!([route.hostname, route.path, route.was])).collect();
    Ok(json!([record.tunnel, record.tunnel_id, routes]))
}

fn npm() -> String {
    record::render(&NpmRecord {
        certificates: vec![vec!["matrix.chat.home.arpa".to_owned()]],
        certificate_ids: vec![7],
        adopted: vec![Adopted { id: 3, was: json!({"forward_host": "192.168.1.20"}) }],
    })
}

fn of_npm(text: &str) -> Result<Value, String> {
    let record: NpmRecord = record::parse(Some(text))?;
    let adopted: Vec<_> = record.adopted.iter().map(|adopted| json!([adopted.id, adopted.was])).collect();
    Ok(json!([record.certificates, record.certificate_ids, adopted]))
}

fn claim() -> String {
    Claim {
        container: Container { id: ContainerId(104), node: "pve".to_owned() },
        made: true,
        storages: Vec::new(),
        volumes: vec!["local:104/vm-104-disk-9.raw".to_owned()],
    }
    .render()
        + "\n"
}

fn of_claim(text: &str) -> Result<Value, String> {
    let claim = Claim::parse(text).ok_or("it is none")?;
    Ok(json!([claim.container.id, claim.container.node, claim.made, claim.volumes]))
}

fn hello() -> String {
    json(&Reply::Hello { protocol: PROTOCOL, version: VERSION.to_owned(), digest: "0".repeat(64) })
}

/// A guest with a released program in it is spoken with, or says by what it can be replaced.
fn of_hello(text: &str) -> Result<Value, String> {
    let said: Value = parsed(text)?;
    let protocol = said["Hello"]["protocol"].as_u64().ok_or("it says no protocol")?;
    let folder = tempfile::tempdir().unwrap();
    let mut frame = Vec::new();
    write_message(&mut frame, 0, &said).unwrap();
    fs::write(folder.path().join("hello"), frame).unwrap();
    let script = "cat \"$1/hello\"; exec sleep 5";
    let prefix = ["sh", "-c", script, "sh", &folder.path().display().to_string()].map(str::to_owned).to_vec();
    let guest = Doorway { prefix, guest: "g".to_owned(), lxc: "no-such-container".to_owned() };
    match Connection::open(&guest) {
        Ok(_) if protocol == u64::from(PROTOCOL) => Ok(json!("taken over")),
        Ok(_) => Err(format!("protocol {protocol} was taken for {PROTOCOL}")),
        Err(why)
            if why.kind == Kind::Other
                && why.hint.as_ref().is_some_and(|hint| hint.contains("puts this version")) =>
        {
            Ok(json!("taken over"))
        }
        Err(why) => Err(why.to_string()),
    }
}

/// Where this program looks for documents.
fn paths() -> String {
    let site = "chat.home.arpa";
    let known: [AbsPath; 11] = [
        matrix_podman_core::layout::lock_file(),
        update::history_file(),
        update::unattended_file(),
        matrix_podman_core::state::file(site),
        matrix_podman_core::layout::backup_record(site, &RepositoryName::main()),
        matrix_podman_core::layout::backup_drill(site, &RepositoryName::main()),
        matrix_podman_core::backup::news_file(),
        matrix_podman_core::layout::notice_record(site),
        matrix_podman_core::layout::container_claim(site),
        record::path(site, "cloudflare"),
        record::path(site, "npm"),
    ];
    known.iter().map(|path| format!("{path}\n")).collect()
}

/// A document that is looked for elsewhere than it was left is not there.
#[test]
fn documents_are_looked_for_where_every_released_version_left_them() {
    let paths = paths();
    for (version, folder) in released() {
        for line in fs::read_to_string(folder.join("paths")).unwrap().lines() {
            assert!(paths.lines().any(|path| path == line), "{version} left {line}, which is not looked at");
        }
    }
}
