//! Answers the core's questions about the side that the program runs on.
//!
//! Nothing here changes anything: questions are [`Fact`]s, and the commands
//! that answer them stand in the core.

mod ailment;
mod dns;
mod lxc;
mod net;
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
    time::Duration,
};

use matrix_podman_core::{
    fact::{Ask, Edition, Fact, FileKind, FileState, Value},
    name::{AbsPath, Digest, Mode, Owner},
    observed::Answer,
};
use sha2::{Digest as _, Sha256};

use crate::{apply::secret, process::Program};

/// Largest content that an answer carries.
const MAX_CONTENT: u64 = 256 << 10;
/// How long a command that answers a question may take.
const PATIENCE: Duration = Duration::from_secs(30);

/// Answers questions, side by side: many wait for a program or for somebody
/// far away, and none for another. Their order is kept.
pub fn answer_all(facts: &[Fact]) -> Vec<Answer> {
    std::thread::scope(|scope| {
        let threads: Vec<_> = facts.iter().map(|fact| scope.spawn(|| answer(fact))).collect();
        let failed = |_| {
            Answer::Unknown("the question could not be put; this is a mistake in matrix-podman".to_owned())
        };
        threads.into_iter().map(|thread| thread.join().unwrap_or_else(failed)).collect()
    })
}

/// Answers one question.
pub fn answer(fact: &Fact) -> Answer {
    let result = match fact.ask() {
        Ask::Run(argv) => {
            let output = Program::new(argv).deadline(PATIENCE).output();
            fact.parse(&output).map_err(|e| e.to_string())
        }
        Ask::Builtin => builtin(fact),
    };
    match result {
        Ok(value) => Answer::Known(value),
        Err(why) => Answer::Unknown(why),
    }
}

fn builtin(fact: &Fact) -> Result<Value, String> {
    match fact {
        Fact::File(path) => file(path, true).map(Value::File),
        Fact::Meta(path) => file(path, false).map(Value::File),
        Fact::Edition(path) => edition(path).map(Value::Edition),
        Fact::Commands(names) => Ok(Value::Found(
            names
                .iter()
                .filter_map(|name| Some((name.clone(), command(name)?.display().to_string())))
                .collect::<BTreeMap<_, _>>(),
        )),
        Fact::System => system::info().map(|info| Value::System(Box::new(info))),
        Fact::LxcGuest(name) => Ok(Value::LxcGuest(lxc::state(name))),
        Fact::GuestRoot(name) => Ok(Value::GuestRoot(lxc::root(name))),
        Fact::LxcNeighbours => Ok(Value::Neighbours(lxc::neighbours())),
        Fact::Interface(name) => Ok(Value::Address(net::address_of(name))),
        Fact::Process(pid_file) => Ok(Value::Yes(process_lives(pid_file))),
        Fact::TakenPorts(ports) => Ok(Value::Ports(net::taken(ports))),
        Fact::Reachable(place) => Ok(Value::Yes(net::reachable(place))),
        Fact::Room(path) => ailment::room(path).map(Value::Room),
        Fact::Newest(files) => Ok(Value::Newest(ailment::newest(files))),
        Fact::OomKills(name) => Ok(Value::Count(ailment::oom_kills(name))),
        Fact::RedisPing => ailment::redis_ping().map(Value::Text),
        Fact::NameServer(address) => Ok(Value::Yes(ailment::name_server(*address))),
        Fact::SigningKeyOnDisk => ailment::signing_key_id().map(Value::Text),
        Fact::InstalledProgram => {
            crate::run::installed_is_own().map(Value::Yes).map_err(|failure| failure.to_string())
        }
        Fact::Http(question) => web::ask(question).map(|answer| Value::Http(Box::new(answer))),
        Fact::Addresses(name) => dns::addresses(name).map(Value::Addresses),
        Fact::Srv(name) => dns::srv(name).map(Value::Srv),
        Fact::Clock => Ok(Value::Clock(system::clock())),
        Fact::SigningKey => secret::public_signing_key().map(Value::SigningKey).map_err(|f| f.to_string()),
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
        | Fact::Proxmox(_)
        | Fact::NatTable(_) => Err("this question is not answered here".to_owned()),
    }
}

pub use lxc::{Config as LxcConfig, neighbours as lxc_neighbours, root as lxc_root};
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

fn process_lives(pid_file: &AbsPath) -> bool {
    std::fs::read_to_string(pid_file.as_str())
        .ok()
        .and_then(|text| text.trim().parse::<u32>().ok())
        .is_some_and(|pid| Path::new("/proc").join(pid.to_string()).exists())
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
    let entries = match std::fs::read_dir(folder.as_str()) {
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

fn file(path: &AbsPath, with_content: bool) -> Result<Option<FileState>, String> {
    let unreadable = |e: std::io::Error| format!("{path}: {e}");
    let meta = match std::fs::symlink_metadata(path.as_str()) {
        Ok(meta) => meta,
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
        state.target = std::fs::read_link(path.as_str()).ok().map(|t| t.display().to_string());
    }
    if state.kind == FileKind::File && meta.len() <= MAX_CONTENT {
        let mut bytes = Vec::new();
        // Files of the kernel say that they are empty, so the length is no guide.
        std::fs::File::open(path.as_str())
            .and_then(|f| f.take(MAX_CONTENT).read_to_end(&mut bytes))
            .map_err(unreadable)?;
        state.digest = Some(Digest::of_sha256(&Sha256::digest(&bytes)));
        if with_content {
            state.content = String::from_utf8(bytes).ok();
        }
    }
    Ok(Some(state))
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
    fn commands_are_found() {
        let names = ["sh".to_owned(), "no-such-command".to_owned()].into();
        let Answer::Known(Value::Found(found)) = answer(&Fact::Commands(names)) else { panic!() };
        assert_eq!(found.keys().collect::<Vec<_>>(), ["sh"]);
    }
}
