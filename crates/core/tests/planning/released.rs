//! Servers as every released version left them: the files on machine and guest, timers and
//! units among them. One `up` of this program makes of each what it makes of an empty machine.
//! `cargo xtask released` records what this program leaves.

#![allow(clippy::disallowed_methods, reason = "what was released is kept in files")]

use std::{collections::BTreeMap, fs, path::PathBuf};

use matrix_podman_core::{name::AbsPath, resource::Diff};
use serde_json::{Value, json};

use crate::{
    convergence::{DEFAULT, NODE, fresh, same_end},
    drive::{bring_up, plan_for},
    memory::{MemoryWorld, Node},
};

const FOLDER: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../fixtures/released");
const VERSION: &str = env!("CARGO_PKG_VERSION");
/// Set where what this program leaves is to be kept as that of its version.
const RECORD: &str = "MATRIX_PODMAN_RECORD";
/// Kinds of machines, each with a config.
const KINDS: [(&str, &str); 2] = [("lxc", DEFAULT), ("proxmox", NODE)];

/// A server that this program made.
fn made(config: &str) -> MemoryWorld {
    let mut world = fresh(config, false);
    bring_up(&mut world);
    world
}

fn kept(files: &BTreeMap<AbsPath, Node>) -> Value {
    let node = |node: &Node| {
        let lines: Vec<&str> = node.content.split('\n').collect();
        json!({"kind": node.kind, "mode": node.mode.to_string(), "owner": node.owner, "lines": lines})
    };
    files.iter().map(|(path, at)| (path.to_string(), node(at))).collect::<serde_json::Map<_, _>>().into()
}

fn read(kept: &Value) -> BTreeMap<AbsPath, Node> {
    let node = |at: &Value| {
        let lines = at["lines"].as_array().unwrap().iter().map(|line| line.as_str().unwrap());
        Node {
            kind: serde_json::from_value(at["kind"].clone()).unwrap(),
            content: lines.collect::<Vec<_>>().join("\n"),
            mode: matrix_podman_core::name::Mode(
                u32::from_str_radix(at["mode"].as_str().unwrap(), 8).unwrap(),
            ),
            owner: serde_json::from_value(at["owner"].clone()).unwrap(),
        }
    };
    kept.as_object().unwrap().iter().map(|(path, at)| (AbsPath::parse(path).unwrap(), node(at))).collect()
}

/// What a version keeps of a server: its files on both sides, and what starts automatically.
fn document(world: &MemoryWorld) -> String {
    let guest = world.guest.as_ref().unwrap();
    let value = json!({
        "machine": {"files": kept(&world.machine.files), "enabled": world.enabled},
        "guest": {"files": kept(&guest.place.files), "enabled": guest.enabled},
    });
    serde_json::to_string_pretty(&value).unwrap() + "\n"
}

/// Puts what a released version kept in the place of what this one does.
fn as_left(world: &mut MemoryWorld, document: &str) {
    let value: Value = serde_json::from_str(document).unwrap();
    let enabled = |side: &str| serde_json::from_value(value[side]["enabled"].clone()).unwrap();
    world.machine.files = read(&value["machine"]["files"]);
    world.enabled = enabled("machine");
    let guest = world.guest_mut();
    guest.place.files = read(&value["guest"]["files"]);
    guest.enabled = enabled("guest");
}

#[test]
fn one_up_takes_over_a_server_of_every_released_version() {
    let recording = std::env::var_os(RECORD).is_some();
    let folder = PathBuf::from(FOLDER);
    for (kind, config) in KINDS {
        let today = made(config);
        let own = folder.join(VERSION).join(format!("server-{kind}.json"));
        if recording {
            fs::create_dir_all(own.parent().unwrap()).unwrap();
            fs::write(&own, document(&today)).unwrap();
        }
        let mut count = 0;
        for version in
            fs::read_dir(&folder).unwrap().map(|entry| entry.unwrap().path()).filter(|path| path.is_dir())
        {
            let Ok(left) = fs::read_to_string(version.join(format!("server-{kind}.json"))) else { continue };
            count += 1;
            let case = format!("{kind} of {}", version.display());
            let mut world = today.clone();
            as_left(&mut world, &left);
            // The newer program is put into the guest before it looks at anything there.
            world.guest_mut().program = false;
            let plan = plan_for(&world);
            let blocked: Vec<_> =
                plan.entries.iter().filter(|entry| matches!(entry.diff, Diff::Blocked { .. })).collect();
            assert!(blocked.is_empty(), "{case}: {blocked:#?}");
            assert!(bring_up(&mut world) > 0, "{case}: the guest keeps the older program");
            same_end(&world.end_state(), &today.end_state(), &case);
            assert_eq!(bring_up(&mut world), 0, "{case}: a second run does nothing");
        }
        assert!(count > 0, "no released version is kept for {kind}");
    }
}

/// A guest whose lock a newer program wrote: nothing on either side is changed.
#[test]
fn a_server_of_a_newer_program_is_left_as_it_is() {
    let lock = AbsPath::parse("/opt/matrix/matrix.lock").unwrap();
    let history = AbsPath::parse("/opt/matrix/matrix.history.json").unwrap();
    for (path, text) in [(&lock, "format = 99\nanything = true\n"), (&history, "{\"format\": 99}")] {
        let mut world = made(DEFAULT);
        let file = world.guest_mut().place.files.get(&lock).unwrap().clone();
        world.guest_mut().place.files.insert(path.clone(), Node { content: text.to_owned(), ..file });
        let plan = plan_for(&world);
        let (id, why, hint) = plan.blocked().next().expect("something is blocked");
        assert_eq!(id.as_str(), "server-name", "all that is in the guest stands behind it");
        assert!(why.contains("newer matrix-podman") && hint.contains("apt upgrade"), "{why}; {hint}");
        let changes: Vec<_> =
            plan.entries.iter().filter(|entry| matches!(entry.diff, Diff::Change(_))).collect();
        assert!(changes.is_empty(), "{changes:#?}");
    }
}
