//! Answers the core's questions about the side that the program runs on.
//!
//! Nothing here changes anything: questions are [`Fact`]s, and the commands
//! that answer them stand in the core.

mod ailment;
pub(crate) mod disk;
pub(crate) mod dns;
pub(crate) mod lxc;
mod net;
mod relay;
mod system;
mod trial;
mod usage;
pub(crate) mod web;

use std::{
    collections::BTreeMap,
    fs::Metadata,
    io::Read as _,
    os::unix::fs::{MetadataExt as _, PermissionsExt as _},
    path::{Path, PathBuf},
    sync::{
        OnceLock,
        atomic::{AtomicUsize, Ordering},
    },
};

use matrix_podman_core::{
    fact::{Edition, Fact, FileKind, FileState, Value},
    name::{AbsPath, Digest, Mode, Owner},
    observed::Answer,
};
use sha2::{Digest as _, Sha256};

use crate::{file::folder::Folder, front, process, secret};

/// Largest content that an answer carries.
const MAX_CONTENT: u64 = 256 << 10;
/// How many questions are put at once: each has a thread, and some a connection.
const AT_ONCE: usize = 32;

/// Answers questions, side by side: many wait for a program or for somebody
/// far away, and none for another. Their order is kept.
pub fn answer_all(facts: &[Fact]) -> Vec<Answer> {
    let answers: Vec<OnceLock<Answer>> = facts.iter().map(|_| OnceLock::new()).collect();
    let next = AtomicUsize::new(0);
    std::thread::scope(|scope| {
        for _ in 0..facts.len().min(AT_ONCE) {
            // Each thread takes the next question.
            scope.spawn(|| {
                loop {
                    let index = next.fetch_add(1, Ordering::Relaxed);
                    let (Some(fact), Some(slot)) = (facts.get(index), answers.get(index)) else { break };
                    let _ = slot.set(answer(fact));
                }
            });
        }
    });
    let failed =
        || Answer::Unknown("the question could not be put; this is a mistake in matrix-podman".to_owned());
    answers.into_iter().map(|slot| slot.into_inner().unwrap_or_else(failed)).collect()
}

/// Answers one question.
pub fn answer(fact: &Fact) -> Answer {
    match process::ask(fact).unwrap_or_else(|| builtin(fact)) {
        Ok(value) => Answer::Known(value),
        Err(why) => Answer::Unknown(why),
    }
}

fn builtin(fact: &Fact) -> Result<Value, String> {
    match fact {
        Fact::File(path) => file(path, true).map(Value::File),
        Fact::Meta(path) => file(path, false).map(Value::File),
        Fact::Target(path) => target(path).map(Value::File),
        Fact::Edition(path) => edition(path).map(Value::Edition),
        Fact::Commands(names) => Ok(Value::Found(
            names
                .iter()
                .filter_map(|name| Some((name.clone(), command(name)?.display().to_string())))
                .collect::<BTreeMap<_, _>>(),
        )),
        Fact::System => system::info().map(|info| Value::System(Box::new(info))),
        Fact::LxcGuest(name) => Ok(Value::LxcGuest(lxc::state(name))),
        Fact::GuestRoot(name) => lxc::root(name).map(Value::GuestRoot),
        Fact::GuestDisk(name) => disk::look(name).map(Value::GuestDisk),
        Fact::LxcNeighbours => Ok(Value::Neighbours(lxc::neighbours())),
        Fact::Interface(name) => Ok(Value::Address(net::address_of(name))),
        Fact::Ways(addresses) => net::ways(addresses.iter().copied()).map(Value::Lines),
        Fact::Process(pid_file) => Ok(Value::Yes(process_lives(pid_file))),
        Fact::SecretFile { path, template } => {
            secret::holds(path, template).map(Value::Yes).map_err(|failure| failure.to_string())
        }
        Fact::TakenPorts(ports) => Ok(Value::Ports(net::taken(ports, net::LISTENING))),
        Fact::TakenUdpPorts(ports) => Ok(Value::Ports(net::taken(ports, net::WAITING))),
        Fact::Reachable(place) => Ok(Value::Yes(net::reachable(place))),
        Fact::Room(path) => ailment::room(path).map(Value::Room),
        Fact::Newest(files) => Ok(Value::Newest(ailment::newest(files))),
        Fact::OomKills(name) => Ok(Value::Count(ailment::oom_kills(name))),
        Fact::HeldRequests => front::held_requests().map(Value::HeldRequests).map_err(|f| f.to_string()),
        Fact::RedisPing => ailment::redis_ping().map(Value::Text),
        Fact::NameServer(address) => Ok(Value::Yes(ailment::name_server(*address))),
        Fact::SigningKeyOnDisk => ailment::signing_key_id().map(Value::Text),
        Fact::InstalledProgram => {
            crate::own_program::is_installed().map(Value::Yes).map_err(|failure| failure.to_string())
        }
        Fact::Http(question) => web::ask(question).map(|answer| Value::Http(Box::new(answer))),
        Fact::Addresses(name) => dns::addresses(name).map(Value::Addresses),
        Fact::Srv(name) => dns::srv(name).map(Value::Srv),
        Fact::Clock => Ok(Value::Clock(system::clock())),
        Fact::SigningKey => secret::public_signing_key().map(Value::SigningKey).map_err(|f| f.to_string()),
        Fact::Relay => relay::attempt().map(Value::Relay).map_err(|f| f.to_string()),
        Fact::Trial(trial) => trial::attempt(trial).map(Value::Tried).map_err(|f| f.to_string()),
        Fact::Files(folder) => files(folder).map(Value::Files),
        Fact::Memory(units) => usage::memory(units).map(Value::Memory),
        Fact::GuestProgram
        | Fact::Contents
        | Fact::Timers
        | Fact::StoredImages
        | Fact::Spare { .. }
        | Fact::FolderSizes(_)
        | Fact::Edge(_)
        | Fact::Database
        | Fact::Roles
        | Fact::InsideSynapse
        | Fact::ImageSchema(_)
        | Fact::Clusters
        | Fact::RegistryTags(_)
        | Fact::NewerPackages
        | Fact::Packages(_)
        | Fact::Units(_)
        | Fact::Containers
        | Fact::Images(_)
        | Fact::Journal(_)
        | Fact::Canary { .. }
        | Fact::Lookup { .. }
        | Fact::Mounts(_)
        | Fact::Listeners
        | Fact::SigningKeysInUse(_)
        | Fact::Link(_)
        | Fact::Proxmox(_)
        | Fact::Rules(_) => Err("this question is not answered here".to_owned()),
    }
}

pub use lxc::{
    Config as LxcConfig, memory_is_used_up, neighbours as lxc_neighbours, root as lxc_root,
    state as lxc_state,
};
pub use system::own_address;
pub use web::certificates_in;

/// Where in `PATH` a command is, the administrator's folders included.
pub fn command(name: &str) -> Option<PathBuf> {
    let path = std::env::var("PATH").unwrap_or_default();
    path.split(':')
        .chain(["/usr/local/sbin", "/usr/sbin", "/sbin", "/usr/bin"])
        .map(|folder| Path::new(folder).join(name))
        .find(|file| {
            std::fs::metadata(file).is_ok_and(|m| m.is_file() && m.permissions().mode() & 0o111 != 0)
        })
}

/// A number may be another process's by now: the one that was told to write it
/// has the file on its command line.
fn process_lives(pid_file: &AbsPath) -> bool {
    let told = format!("--pid-file={pid_file}");
    std::fs::read_to_string(pid_file.as_str())
        .ok()
        .and_then(|text| text.trim().parse::<u32>().ok())
        .and_then(|pid| std::fs::read(format!("/proc/{pid}/cmdline")).ok())
        .is_some_and(|argv| argv.split(|byte| *byte == 0).any(|word| word == told.as_bytes()))
}

fn edition(path: &AbsPath) -> Result<Option<Edition>, String> {
    match std::fs::metadata(path.as_str()) {
        Ok(meta) => {
            Ok(Some(Edition { size: meta.size(), written: u64::try_from(meta.mtime()).unwrap_or_default() }))
        }
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => Ok(None),
        Err(e) => Err(format!("{path}: {e}")),
    }
}

/// The files in a folder; none where there is no such folder.
fn files(folder: &AbsPath) -> Result<Vec<(String, u64)>, String> {
    let unreadable = |e: std::io::Error| format!("{folder}: {e}");
    let opened = Folder::open(Path::new(folder.as_str()));
    let entries = match opened.as_ref().map_err(repeated).and_then(|opened| std::fs::read_dir(opened.path()))
    {
        Ok(entries) => entries,
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(e) => return Err(unreadable(e)),
    };
    let mut files = Vec::new();
    for entry in entries {
        let entry = entry.map_err(unreadable)?;
        let meta = entry.metadata().map_err(unreadable)?;
        if let (true, Some(name)) = (meta.is_file(), entry.file_name().to_str()) {
            files.push((name.to_owned(), meta.len()));
        }
    }
    files.sort();
    Ok(files)
}

/// The same error once more, where it is only looked at.
fn repeated(error: &std::io::Error) -> std::io::Error {
    std::io::Error::new(error.kind(), error.to_string())
}

/// What is at `path`; a link that a container put on the way leads nowhere.
fn file(path: &AbsPath, with_content: bool) -> Result<Option<FileState>, String> {
    let unreadable = |e: std::io::Error| format!("{path}: {e}");
    let found = Folder::of(Path::new(path.as_str())).and_then(|(folder, name)| {
        let meta = std::fs::symlink_metadata(folder.at(&name))?;
        Ok((folder, name, meta))
    });
    let (folder, name, meta) = match found {
        Ok(found) => found,
        Err(e) if matches!(e.kind(), std::io::ErrorKind::NotFound | std::io::ErrorKind::NotADirectory) => {
            return Ok(None);
        }
        Err(e) => return Err(unreadable(e)),
    };
    let mut state = FileState {
        kind: kind(&meta),
        mode: Mode(meta.mode() & 0o7777),
        owner: Owner { uid: meta.uid(), gid: meta.gid() },
        content: None,
        digest: None,
        target: None,
        age: meta.modified().ok().and_then(|m| m.elapsed().ok()).map_or(0, |age| age.as_secs()),
    };
    if state.kind == FileKind::Link {
        state.target = std::fs::read_link(folder.at(&name)).ok().map(|t| t.display().to_string());
    }
    if state.kind == FileKind::File && meta.len() <= MAX_CONTENT {
        let mut bytes = Vec::new();
        // Files of the kernel say that they are empty, so the length is no guide.
        folder.read(&name).and_then(|f| f.take(MAX_CONTENT).read_to_end(&mut bytes)).map_err(unreadable)?;
        state.digest = Some(Digest::of_sha256(&Sha256::digest(&bytes)));
        if with_content {
            state.content = String::from_utf8(bytes).ok();
        }
    }
    Ok(Some(state))
}

/// What `path` leads to in the end.
fn target(path: &AbsPath) -> Result<Option<FileState>, String> {
    let end = match std::fs::canonicalize(path.as_str()) {
        Ok(end) => end,
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        Err(e) => return Err(format!("{path}: {e}")),
    };
    let end = AbsPath::parse(&end.display().to_string()).map_err(|why| format!("{path}: {why}"))?;
    file(&end, false)
}

fn kind(meta: &Metadata) -> FileKind {
    let kind = meta.file_type();
    if kind.is_file() {
        FileKind::File
    } else if kind.is_dir() {
        FileKind::Dir
    } else if kind.is_symlink() {
        FileKind::Link
    } else {
        FileKind::Other
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn path(path: &Path) -> AbsPath {
        AbsPath::parse(path.to_str().unwrap()).unwrap()
    }

    #[test]
    fn files_are_described() {
        let folder = tempfile::tempdir().unwrap();
        let file_path = folder.path().join("a");
        std::fs::write(&file_path, "hello").unwrap();
        std::fs::set_permissions(&file_path, std::fs::Permissions::from_mode(0o640)).unwrap();
        let Answer::Known(Value::File(Some(state))) = answer(&Fact::File(path(&file_path))) else { panic!() };
        assert_eq!(
            (state.kind, state.mode, state.content.as_deref()),
            (FileKind::File, Mode(0o640), Some("hello"))
        );
        let Answer::Known(Value::File(Some(state))) = answer(&Fact::Meta(path(&file_path))) else { panic!() };
        assert_eq!(state.content, None);
        assert_eq!(answer(&Fact::File(path(&folder.path().join("b")))), Answer::Known(Value::File(None)));
    }

    #[test]
    fn many_questions_are_answered_in_their_order() {
        let folder = tempfile::tempdir().unwrap();
        let paths: Vec<PathBuf> = (0..100).map(|number| folder.path().join(number.to_string())).collect();
        for (number, file) in paths.iter().enumerate() {
            std::fs::write(file, "x".repeat(number)).unwrap();
        }
        let facts: Vec<Fact> = paths.iter().map(|file| Fact::Edition(path(file))).collect();
        let sizes: Vec<u64> = answer_all(&facts)
            .into_iter()
            .map(|answer| match answer {
                Answer::Known(Value::Edition(Some(edition))) => edition.size,
                other => panic!("{other:?}"),
            })
            .collect();
        assert_eq!(sizes, (0..100).collect::<Vec<u64>>());
        assert!(answer_all(&[]).is_empty());
    }

    #[test]
    fn commands_are_found() {
        let names = ["sh".to_owned(), "no-such-command".to_owned()].into();
        let Answer::Known(Value::Found(found)) = answer(&Fact::Commands(names)) else { panic!() };
        assert_eq!(found.keys().collect::<Vec<_>>(), ["sh"]);
    }
}
