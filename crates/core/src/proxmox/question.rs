//! Questions to Proxmox: none of them changes anything.

use serde::{Deserialize, Serialize};

use super::answer::{self, Answer};
use crate::{
    name::{ContainerId, Invalid, StorageName},
    output::{Output, last_line},
};

/// A question to Proxmox. Few and broad: each costs the start of a large Perl
/// program.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Question {
    /// All guests of the cluster. Tags and their being there are current; names
    /// may lag some seconds behind.
    Guests,
    /// The settings of a container, with those that wait for a reboot.
    Settings {
        /// The node that it is on.
        node: String,
        /// Its number.
        id: ContainerId,
    },
    /// Whether a container runs, since when, and whether HA has it.
    Status {
        /// The node that it is on.
        node: String,
        /// Its number.
        id: ContainerId,
    },
    /// What is being done to a container now.
    Tasks {
        /// The node that it is on.
        node: String,
        /// Its number.
        id: ContainerId,
    },
    /// The storages of a node, with what they hold and their room.
    Storages {
        /// The node.
        node: String,
    },
    /// The bridges of a node.
    Bridges {
        /// The node.
        node: String,
    },
    /// Whether the cluster has quorum.
    Cluster,
    /// The versions of Proxmox's packages on this node.
    Versions,
    /// A number that no guest has.
    NextId,
    /// The templates that a storage holds.
    Templates {
        /// The storage.
        storage: StorageName,
    },
    /// The templates that can be downloaded.
    Offered,
    /// The snapshots of a container.
    Snapshots {
        /// The node that it is on.
        node: String,
        /// Its number.
        id: ContainerId,
    },
    /// The volumes of a container that are on a storage, whether its settings know
    /// them or not.
    Volumes {
        /// The node.
        node: String,
        /// The storage.
        storage: StorageName,
        /// The container's number.
        id: ContainerId,
    },
    /// The file or device of a volume on this node.
    VolumePath {
        /// The volume.
        volume: String,
    },
    /// How the last creation of a container of that number ended.
    Creation {
        /// The node that it is on.
        node: String,
        /// Its number.
        id: ContainerId,
    },
    /// Whether snapshots can be made of all disks of a container.
    CanSnapshot {
        /// The node that it is on.
        node: String,
        /// Its number.
        id: ContainerId,
    },
}

impl Question {
    /// The command that asks it.
    pub fn argv(&self) -> Vec<String> {
        let get = |path: String, more: &[&str]| {
            let mut argv = vec!["pvesh".to_owned(), "get".to_owned(), path];
            argv.extend(more.iter().map(|word| (*word).to_owned()));
            argv.extend(["--output-format", "json"].map(str::to_owned));
            argv
        };
        match self {
            Question::Guests => get("/cluster/resources".to_owned(), &["--type", "vm"]),
            Question::Settings { node, id } => get(format!("/nodes/{node}/lxc/{id}/pending"), &[]),
            Question::Status { node, id } => get(format!("/nodes/{node}/lxc/{id}/status/current"), &[]),
            Question::Tasks { node, id } => {
                get(format!("/nodes/{node}/tasks"), &["--source", "active", "--vmid", &id.to_string()])
            }
            Question::Storages { node } => get(format!("/nodes/{node}/storage"), &[]),
            Question::Bridges { node } => get(format!("/nodes/{node}/network"), &["--type", "any_bridge"]),
            Question::Cluster => get("/cluster/status".to_owned(), &[]),
            Question::Versions => ["pveversion", "--verbose"].map(str::to_owned).to_vec(),
            Question::NextId => get("/cluster/nextid".to_owned(), &[]),
            Question::Templates { storage } => {
                ["pveam", "list", storage.as_str()].map(str::to_owned).to_vec()
            }
            Question::Offered => ["pveam", "available", "--section", "system"].map(str::to_owned).to_vec(),
            Question::Snapshots { node, id } => get(format!("/nodes/{node}/lxc/{id}/snapshot"), &[]),
            Question::Volumes { node, storage, id } => {
                get(format!("/nodes/{node}/storage/{storage}/content"), &["--vmid", &id.to_string()])
            }
            Question::VolumePath { volume } => ["pvesm", "path", volume].map(str::to_owned).to_vec(),
            Question::Creation { node, id } => {
                let id = id.to_string();
                let last = ["--vmid", &id, "--typefilter", "vzcreate", "--limit", "1"];
                get(format!("/nodes/{node}/tasks"), &last)
            }
            Question::CanSnapshot { node, id } => {
                get(format!("/nodes/{node}/lxc/{id}/feature"), &["--feature", "snapshot"])
            }
        }
    }

    /// Whether an act on one guest, its settings included, can change the answer.
    pub fn is_about_guests(&self) -> bool {
        self.is_about_one_guest() || matches!(self, Question::Guests | Question::NextId)
    }

    /// Whether starting or restarting a container can change the answer.
    pub fn is_about_one_guest(&self) -> bool {
        matches!(
            self,
            Question::Settings { .. }
                | Question::Status { .. }
                | Question::Tasks { .. }
                | Question::Snapshots { .. }
                | Question::Volumes { .. }
                | Question::Creation { .. }
                | Question::CanSnapshot { .. }
        )
    }

    /// Whether fetching a template can change the answer.
    pub fn is_about_templates(&self) -> bool {
        matches!(self, Question::Templates { .. } | Question::Offered)
    }

    /// Reads what that command printed.
    pub fn parse(&self, output: &Output) -> Result<Answer, Invalid> {
        if output.status != Some(0) {
            let command = self.argv().join(" ");
            return Err(Invalid::new(match output.status {
                None => format!("`{command}` could not be run, or took too long"),
                Some(status) => {
                    format!("`{command}` ended with status {status}: {}", last_line(&output.stderr))
                }
            }));
        }
        let text = String::from_utf8_lossy(&output.stdout);
        let wrong = |what: &str| {
            Invalid::new(format!("`{}` printed {what}, which cannot be read", self.argv().join(" ")))
        };
        let json = || {
            // Warnings of Perl's may stand in front.
            let from = text.find(['[', '{', '"']).or_else(|| text.find(|c: char| c.is_ascii_digit()));
            serde_json::from_str(&text[from.unwrap_or_default()..]).map_err(|_| wrong("no JSON"))
        };
        Ok(match self {
            Question::Templates { .. } => {
                Answer::Names(answer::parse_templates(&text).ok_or_else(|| wrong("no list"))?)
            }
            Question::Offered => {
                Answer::Names(answer::parse_offered(&text).ok_or_else(|| wrong("no templates"))?)
            }
            Question::Versions => {
                Answer::Versions(answer::parse_versions(&text).ok_or_else(|| wrong("no versions"))?)
            }
            Question::Guests => Answer::Guests(answer::guests(&json()?)),
            Question::Settings { .. } => Answer::Settings(answer::settings(&json()?)),
            Question::Status { .. } => {
                Answer::Status(answer::status(&json()?).ok_or_else(|| wrong("no status"))?)
            }
            Question::Tasks { .. } => Answer::Names(answer::texts(&json()?, "type")),
            Question::Storages { .. } => Answer::Storages(answer::storages(&json()?)),
            Question::Bridges { .. } => Answer::Names(answer::texts(&json()?, "iface")),
            Question::Cluster => Answer::Cluster(answer::cluster(&json()?)),
            Question::NextId => {
                let id = answer::number(&json()?).and_then(|id| u32::try_from(id).ok());
                Answer::Id(ContainerId(id.ok_or_else(|| wrong("no number"))?))
            }
            Question::Snapshots { .. } => {
                Answer::Snapshots(answer::snapshots(&json()?).ok_or_else(|| wrong("no snapshots"))?)
            }
            Question::Volumes { .. } => Answer::Names(answer::texts(&json()?, "volid")),
            Question::VolumePath { .. } => {
                let path = text.lines().rev().map(str::trim).find(|line| line.starts_with('/'));
                Answer::Names(vec![path.ok_or_else(|| wrong("no path"))?.to_owned()])
            }
            Question::Creation { .. } => Answer::Ended(answer::texts(&json()?, "status").into_iter().next()),
            Question::CanSnapshot { .. } => {
                Answer::Yes(answer::has_feature(&json()?).ok_or_else(|| wrong("no answer"))?)
            }
        })
    }
}
