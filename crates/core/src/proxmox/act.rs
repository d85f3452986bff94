//! What Proxmox is told to do.

use serde::{Deserialize, Serialize};

use crate::{
    name::{ContainerId, SnapshotName, StorageName},
    size::Bytes,
};

/// One call of a Proxmox command that changes something. Secrets travel on
/// standard input, never in here.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Act {
    /// Refreshes the list of templates that can be downloaded.
    UpdateOffers,
    /// Downloads a template.
    Download {
        /// To where.
        storage: StorageName,
        /// Which.
        file: String,
    },
    /// Makes a container.
    Create {
        /// Its number.
        id: ContainerId,
        /// The template's volume.
        template: String,
        /// Its settings.
        options: Vec<(String, String)>,
        /// Whether root's password comes on standard input, twice.
        password: bool,
    },
    /// Changes settings of a container.
    Set {
        /// Its number.
        id: ContainerId,
        /// What is set.
        options: Vec<(String, String)>,
        /// What is taken away.
        delete: Vec<String>,
    },
    /// Makes a disk of a container larger.
    Resize {
        /// Its number.
        id: ContainerId,
        /// `rootfs` or `mp0`.
        volume: String,
        /// The size that it is to have.
        size: Bytes,
    },
    /// Starts a container.
    Start {
        /// Its number.
        id: ContainerId,
    },
    /// Shuts a container down and starts it again.
    Reboot {
        /// Its number.
        id: ContainerId,
    },
    /// Shuts a container down; after a minute, its plug is pulled.
    Shutdown {
        /// Its number.
        id: ContainerId,
    },
    /// Removes the lock that was left by a creation, or by something done to a
    /// snapshot, which was cut off.
    Unlock {
        /// Its number.
        id: ContainerId,
    },
    /// Removes a container with its disks.
    Destroy {
        /// Its number.
        id: ContainerId,
    },
    /// Makes a snapshot of a container's disks; it is frozen for that moment.
    Snapshot {
        /// The container's number.
        id: ContainerId,
        /// The snapshot's name.
        name: SnapshotName,
        /// What people see beside it.
        description: String,
    },
    /// Brings a container's disks back to a snapshot. It is not shut down for
    /// that but stopped, and stays stopped.
    Rollback {
        /// The container's number.
        id: ContainerId,
        /// The snapshot's name.
        name: SnapshotName,
    },
    /// Removes a snapshot of a container.
    RemoveSnapshot {
        /// The container's number.
        id: ContainerId,
        /// The snapshot's name.
        name: SnapshotName,
        /// Whether it is a part of one, of which some disks may have nothing.
        part: bool,
    },
    /// Removes a volume that a creation which was cut off has left.
    FreeVolume {
        /// The volume.
        volume: String,
    },
    /// Copies a file of the node into a container.
    Push {
        /// The container's number.
        id: ContainerId,
        /// The file on the node.
        from: String,
        /// Its place in the container.
        to: String,
    },
}

/// The words in front of a command that is to run in a container, as its root
/// and with a clean environment. All three standard streams have to be pipes:
/// with a terminal among them, they would be one terminal.
pub fn exec(id: ContainerId) -> Vec<String> {
    ["pct", "exec", &id.to_string(), "--keep-env", "0", "--", "env", "HOME=/root", "LANG=C.UTF-8"]
        .map(str::to_owned)
        .to_vec()
}

impl Act {
    /// The command that does it.
    pub fn argv(&self) -> Vec<String> {
        let pct = |verb: &str, id: &ContainerId, more: &[&str]| {
            let mut argv = vec!["pct".to_owned(), verb.to_owned(), id.to_string()];
            argv.extend(more.iter().map(|word| (*word).to_owned()));
            argv
        };
        match self {
            Act::UpdateOffers => ["pveam", "update"].map(str::to_owned).to_vec(),
            Act::Download { storage, file } => {
                ["pveam", "download", storage.as_str(), file].map(str::to_owned).to_vec()
            }
            Act::Create { id, template, options, password } => {
                let mut argv = pct("create", id, &[template]);
                argv.extend(flags(options));
                // Without a value, and last: it is read from standard input then.
                argv.extend(password.then(|| "--password".to_owned()));
                argv
            }
            Act::Set { id, options, delete } => {
                let mut argv = pct("set", id, &[]);
                argv.extend(flags(options));
                if !delete.is_empty() {
                    argv.extend(["--delete".to_owned(), delete.join(",")]);
                }
                argv
            }
            Act::Resize { id, volume, size } => pct("resize", id, &[volume, &gibibytes(*size)]),
            Act::Start { id } => pct("start", id, &[]),
            Act::Reboot { id } => pct("reboot", id, &["--timeout", "180"]),
            Act::Shutdown { id } => pct("shutdown", id, &["--timeout", "60", "--forceStop", "1"]),
            Act::Unlock { id } => pct("unlock", id, &[]),
            Act::Destroy { id } => pct("destroy", id, &["--purge", "1"]),
            Act::Snapshot { id, name, description } => {
                pct("snapshot", id, &[name.as_str(), "--description", description])
            }
            Act::Rollback { id, name } => pct("rollback", id, &[name.as_str()]),
            Act::RemoveSnapshot { id, name, part: false } => pct("delsnapshot", id, &[name.as_str()]),
            Act::RemoveSnapshot { id, name, part: true } => {
                pct("delsnapshot", id, &[name.as_str(), "--force", "1"])
            }
            Act::FreeVolume { volume } => ["pvesm", "free", volume].map(str::to_owned).to_vec(),
            Act::Push { id, from, to } => pct("push", id, &[from, to, "--perms", "0755"]),
        }
    }
}

/// A size in whole gibibytes, rounded up, as `pct resize` wants it.
fn gibibytes(size: Bytes) -> String {
    format!("{}G", size.0.div_ceil(Bytes::gib(1).0))
}

fn flags(options: &[(String, String)]) -> impl Iterator<Item = String> {
    options.iter().flat_map(|(key, value)| [format!("--{key}"), value.clone()])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_password_is_the_last_word_and_has_no_value() {
        let act = Act::Create {
            id: ContainerId(120),
            template: "local:vztmpl/x".to_owned(),
            options: vec![("cores".to_owned(), "4".to_owned())],
            password: true,
        };
        assert_eq!(act.argv().join(" "), "pct create 120 local:vztmpl/x --cores 4 --password");
    }

    #[test]
    fn disks_grow_to_whole_gibibytes() {
        let act = Act::Resize { id: ContainerId(120), volume: "rootfs".to_owned(), size: Bytes::mib(20_000) };
        assert_eq!(act.argv().join(" "), "pct resize 120 rootfs 20G");
    }
}
