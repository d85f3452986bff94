//! The page that lists every call of Proxmox's commands: written from the
//! calls themselves, so that it cannot say anything else.

use super::{Act, Question, act::exec};
use crate::{
    config::{Config, Defaults},
    name::{ContainerId, SnapshotName, StorageName},
    size::Bytes,
};

/// One line of the page.
pub struct Entry {
    /// The words of the call; what differs from case to case is in capitals.
    pub argv: Vec<String>,
    /// When it is made.
    pub when: &'static str,
    /// Whether it changes something.
    pub changes: bool,
    /// How its success is seen, its exit code not being believed.
    pub verified: &'static str,
}

const ID: ContainerId = ContainerId(4_000_000_000);
const NODE: &str = "NODE";
const VOLUME: &str = "STORAGE-X:VOLUME";

fn question(question: Question, when: &'static str) -> Entry {
    Entry { argv: named(question.argv()), when, changes: false, verified: "" }
}

fn act(act: &Act, when: &'static str, verified: &'static str) -> Entry {
    Entry { argv: named(act.argv()), when, changes: true, verified }
}

fn named(argv: Vec<String>) -> Vec<String> {
    argv.into_iter()
        .map(|word| {
            word.replace(&ID.to_string(), "ID").replace("STORAGE-X", "STORAGE").replace("32G", "SIZE")
        })
        .collect()
}

/// Every call.
pub fn entries() -> Vec<Entry> {
    let (node, id) = (NODE.to_owned(), ID);
    let storage = StorageName::known("STORAGE-X");
    let snapshot = SnapshotName::known("NAME");
    let options = Config::from_domain("chat.home.arpa", &Defaults::default().on_proxmox(true))
        .map(|config| super::create_options(&config, &[]))
        .unwrap_or_default()
        .into_iter()
        .map(|(key, _)| (key.clone(), key.to_ascii_uppercase()))
        .collect();
    let mut executed = named(exec(id));
    executed.push("COMMAND".to_owned());
    vec![
        question(Question::Guests, "always: which containers there are, and their tags"),
        question(Question::Settings { node: node.clone(), id }, "a container that may be the site's"),
        question(Question::Status { node: node.clone(), id }, "the site's container; after acts on it"),
        question(Question::Storages { node: node.clone() }, "before a container is made"),
        question(Question::Bridges { node: node.clone() }, "before a container is made"),
        question(Question::Cluster, "before a container is made"),
        question(Question::Versions, "before a container is made"),
        question(Question::NextId, "before a container is made, when the config names no id"),
        question(Question::Templates { storage: storage.clone() }, "before a container is made"),
        question(Question::Offered, "when the storage has no fitting template"),
        question(
            Question::Tasks { node: node.clone(), id },
            "before what was left of a container or a snapshot that was cut off is removed",
        ),
        question(
            Question::Snapshots { node: node.clone(), id },
            "`guest snapshot`, `snapshots`, `rollback`, `remove-snapshot`; `update` of Synapse or PostgreSQL",
        ),
        question(
            Question::Creation { node: node.clone(), id },
            "when a run was cut off while the container was made: whether Proxmox finished it",
        ),
        question(
            Question::Volumes { node: node.clone(), storage: storage.clone(), id },
            "before a container is made, and before what was left of its creation is removed",
        ),
        question(
            Question::VolumePath { volume: VOLUME.to_owned() },
            "a disk that is larger than its file system",
        ),
        question(
            Question::CanSnapshot { node, id },
            "`guest snapshot` and `update` of Synapse or PostgreSQL, before anything is done",
        ),
        act(&Act::UpdateOffers, "when no fitting template is offered", "the template is offered then"),
        act(
            &Act::Download { storage, file: "FILE".to_owned() },
            "when the storage has no fitting template",
            "`pveam list` names it",
        ),
        act(
            &Act::Create { id, template: "STORAGE:vztmpl/FILE".to_owned(), options, password: false },
            "once; `--mp0`, `--startup`, `--nameserver`, `--pool`, `--ssh-public-keys` when the config asks for \
             them; `--password` last and without a value when there is one, which then comes on standard input",
            "it ended well, and its settings carry the mark; else the task's own end, and the pool",
        ),
        act(
            &Act::Set { id, options: vec![("KEY".to_owned(), "VALUE".to_owned())], delete: Vec::new() },
            "settings that differ; the description, once the address is known; `--protection 0` before a removal; \
             `--delete` when a fixed address and its name servers go",
            "the settings are what was asked for; for the interface, the address in the guest",
        ),
        act(
            &Act::Resize { id, volume: "rootfs|mp0".to_owned(), size: Bytes::gib(32) },
            "a disk that is to be larger",
            "the settings name the new size, and the file system in the guest has it",
        ),
        act(
            &Act::Start { id },
            "it does not run",
            "the status says that it runs; for HA it is only a request",
        ),
        act(
            &Act::Reboot { id },
            "at the end of the first `up`; changes that need it",
            "it runs, and for less time than has passed",
        ),
        act(
            &Act::Push {
                id,
                from: "/usr/local/bin/matrix-podman".to_owned(),
                to: "/usr/local/bin/matrix-podman.new".to_owned(),
            },
            "the program in the container is not this one",
            "the program is run there and tells its digest",
        ),
        Entry {
            argv: executed,
            when: "once for each run, to speak with the program in the container; to put the program in place",
            changes: true,
            verified: "what is said on the connection",
        },
        act(
            &Act::Snapshot { id, name: snapshot.clone(), description: "TEXT".to_owned() },
            "`guest snapshot`; `update` of Synapse or PostgreSQL, before anything is replaced",
            "the list of snapshots has it, whole",
        ),
        act(
            &Act::Rollback { id, name: snapshot.clone() },
            "`guest rollback`, after asking",
            "it does not run any more, or for less time than has passed; what holds Synapse back is there",
        ),
        act(
            &Act::RemoveSnapshot { id, name: snapshot.clone(), part: false },
            "`guest remove-snapshot`, after asking; `update` that did, for those that earlier ones made automatically",
            "the list of snapshots does not have it",
        ),
        act(
            &Act::RemoveSnapshot { id, name: snapshot, part: true },
            "a snapshot of ours that was cut off, before the next one, and `guest remove-snapshot`",
            "the list of snapshots does not have it",
        ),
        act(&Act::Shutdown { id }, "before it is removed", "the status says that it is stopped"),
        act(
            &Act::Unlock { id },
            "a creation or a snapshot of ours that was cut off, before what is left of it is removed",
            "the next call",
        ),
        act(
            &Act::FreeVolume { volume: VOLUME.to_owned() },
            "a volume that a creation which was cut off has left, and that was not there before it",
            "the storage has no such volume any more",
        ),
        act(
            &Act::Destroy { id },
            "`destroy`; `up --remove-failed`",
            "the cluster has no guest of that number any more",
        ),
    ]
}

const HEADER: &str = "\
<!-- Generated from the program's own calls; `cargo xtask docs` writes it anew. -->

# Calls of Proxmox's commands

Every call that the program makes on a Proxmox VE node, with its exact arguments; what differs from case to case is in
capitals. Several of these commands end with exit code 0 after failing, so the program looks at what became of it, and shows
what they said on standard error. Secrets travel on standard input.

Each act runs in a session of its own, with files for its output: when the program is killed or its terminal goes away,
Proxmox finishes what it has begun. A command whose output breaks ends its own worker in the middle.

What the real commands do that their manual pages do not say:

- `pct set --net0` changes a running container from outside and starts no DHCP client in it. From one fixed address to
  another takes hold at once; everything else when the container is restarted, and the program restarts it.
- `pct resize` writes the new size first. When the file system then cannot be made larger, it only warns.
- `pct create` writes the whole config, without a lock, before it sets root's password, ssh keys and pool.
- `pveam update`, `pveam download` and `pct push` end with 0 whatever happened; `pct push` says nothing of a full disk.
- A task that was killed is listed as at work until `pvestatd` comes round. An open console is listed, too.
- After a container was killed, each ext4 volume takes some 45 seconds to be mounted again.

";

/// The page.
pub fn render() -> String {
    let mut page = HEADER.to_owned();
    for (title, changes) in [("Questions", false), ("Acts", true)] {
        page.push_str(&format!("## {title}\n\n"));
        page.push_str(if changes {
            "| Call | When | Seen by |\n|---|---|---|\n"
        } else {
            "| Call | When |\n|---|---|\n"
        });
        for entry in entries().into_iter().filter(|entry| entry.changes == changes) {
            let call = entry.argv.join(" ").replace('|', "\\|");
            page.push_str(&format!("| `{call}` | {} |", entry.when));
            if changes {
                page.push_str(&format!(" {} |", entry.verified));
            }
            page.push('\n');
        }
        page.push('\n');
    }
    page.truncate(page.trim_end().len());
    page.push('\n');
    page
}
