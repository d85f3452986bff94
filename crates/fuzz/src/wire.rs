//! What the guest, Podman, systemd, name servers and Proxmox answer.

use std::{collections::BTreeSet, io::Cursor};

use matrix_podman_core::{
    fact::{Fact, Output},
    name::{AbsPath, ContainerId, ServerName, StorageName},
    proxmox::{self, Question},
};
use matrix_podman_host::{
    fuzzing,
    guest::wire::{Reply, Request, read_frame},
};

/// Frames of the connection, as either side reads them.
pub fn frames(bytes: &[u8]) {
    let mut from = Cursor::new(bytes);
    while let Ok(Some(_)) = read_frame::<Reply>(&mut from) {}
    let mut from = Cursor::new(bytes);
    while let Ok(Some(_)) = read_frame::<Request>(&mut from) {}
}

/// What commands print that answer facts.
pub fn facts(bytes: &[u8]) {
    let text = String::from_utf8_lossy(bytes);
    let names: BTreeSet<String> = text.split_whitespace().take(3).map(str::to_owned).collect();
    let word = names.first().cloned().unwrap_or_default();
    let mut facts = vec![
        Fact::Packages(names.clone()),
        Fact::Units(names.clone()),
        Fact::Containers,
        Fact::Images(names),
        Fact::Journal(word.clone()),
        Fact::Canary { image: word.clone(), networks: Vec::new(), name: word.clone() },
        Fact::Lookup { container: word.clone(), name: word.clone() },
        Fact::Mounts(word.clone()),
        Fact::Listeners,
        Fact::Database,
        Fact::InsideSynapse,
        Fact::ImageSchema(word.clone()),
        Fact::Clusters,
        Fact::RegistryTags(word.clone()),
        Fact::NewerPackages,
        Fact::Contents,
        Fact::Timers,
        Fact::StoredImages,
        Fact::Spare { media_before: Some(1) },
        Fact::Rules(word.clone()),
        Fact::Link(word),
        Fact::Roles,
    ];
    facts.extend(AbsPath::parse("/opt").ok().map(|path| Fact::FolderSizes([path].into())));
    facts.extend(ServerName::parse("chat.home.arpa").ok().map(Fact::SigningKeysInUse));
    for fact in facts {
        for status in [Some(0), Some(1), None] {
            let output = Output { status, stdout: bytes.to_vec(), stderr: bytes.to_vec() };
            let _ = fact.parse(&output);
        }
    }
}

/// The answer of a name server.
pub fn dns(bytes: &[u8]) {
    let _ = fuzzing::srv_records(bytes);
}

/// An archive of an image, unpacked.
pub fn archive(bytes: &[u8]) {
    let _ = fuzzing::unpack(bytes);
}

/// What Proxmox's commands print.
pub fn proxmox(bytes: &[u8]) {
    let (node, id) = (|| "pve".to_owned(), ContainerId(100));
    let mut questions = vec![
        Question::Guests,
        Question::Settings { node: node(), id },
        Question::Status { node: node(), id },
        Question::Tasks { node: node(), id },
        Question::Storages { node: node() },
        Question::Bridges { node: node() },
        Question::Cluster,
        Question::Versions,
        Question::NextId,
        Question::Offered,
        Question::Snapshots { node: node(), id },
        Question::CanSnapshot { node: node(), id },
    ];
    questions.extend(StorageName::parse("local").ok().map(|storage| Question::Templates { storage }));
    for question in questions {
        let output = Output { status: Some(0), stdout: bytes.to_vec(), stderr: Vec::new() };
        let _ = question.parse(&output);
    }
    let text = String::from_utf8_lossy(bytes);
    let _ = proxmox::site_in(&text);
    let _ = proxmox::properties(&text);
    let words: Vec<String> = text.lines().map(str::to_owned).collect();
    let _ = proxmox::newest_template(&words, "amd64");
}
