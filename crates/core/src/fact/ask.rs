//! How each question is asked, how its answer is read, and what the answer is where
//! nothing is yet.

use std::collections::{BTreeMap, BTreeSet};

use super::{
    Ask, Fact, GuestProgram, Output, Value, ailment, apt, inside, last_line, link, podman, spare, system,
    usage,
};
use crate::{
    firewall,
    name::{AbsPath, Invalid},
};

impl Fact {
    /// The question about one file with its content.
    pub fn file(path: &AbsPath) -> Self {
        Fact::File(path.clone())
    }

    /// How a probe finds the answer.
    pub fn ask(&self) -> Ask {
        let argv = |words: &[&str]| words.iter().map(|w| (*w).to_owned()).collect::<Vec<_>>();
        Ask::Run(match self {
            Fact::Packages(names) => {
                let mut argv = argv(&[
                    "dpkg-query",
                    "--show",
                    "--showformat=${db:Status-Abbrev}|${Package}|${Version}\\n",
                ]);
                argv.extend(names.iter().cloned());
                argv
            }
            Fact::Units(names) => {
                let mut argv = argv(&[
                    "systemctl",
                    "show",
                    "--property=Id,LoadState,ActiveState,SubState,UnitFileState,NeedDaemonReload,NRestarts",
                    "--",
                ]);
                argv.extend(names.iter().cloned());
                argv
            }
            Fact::Containers => argv(&["podman", "ps", "--all", "--no-trunc", "--format=json"]),
            Fact::Images(names) => {
                let mut argv = argv(&["podman", "image", "inspect", "--"]);
                argv.extend(names.iter().cloned());
                argv
            }
            Fact::Proxmox(question) => question.argv(),
            Fact::Link(name) => link::ask(name),
            Fact::Rules(table) => argv(&["nft", "--json", "list", "table", "inet", table]),
            Fact::Journal(unit) => argv(&[
                "journalctl",
                &format!("--unit={unit}"),
                "--boot",
                "--lines=200",
                "--output=cat",
                "--no-pager",
                "--quiet",
            ]),
            Fact::Canary { image, networks, name } => {
                let mut argv = argv(&[
                    "podman",
                    "run",
                    "--rm",
                    "--pull=never",
                    "--read-only",
                    "--cap-drop=all",
                    "--security-opt=no-new-privileges",
                    "--log-driver=none",
                    "--user=65534:65534",
                    "--entrypoint=getent",
                ]);
                match networks.as_slice() {
                    [] => argv.push("--network=none".to_owned()),
                    some => argv.extend(some.iter().map(|network| format!("--network={network}"))),
                }
                argv.extend([image, "hosts", name].map(str::to_owned));
                argv
            }
            Fact::Lookup { container, name } => argv(&["podman", "exec", container, "getent", "hosts", name]),
            Fact::Mounts(container) => argv(&["podman", "container", "inspect", "--", container]),
            Fact::Listeners => {
                argv(&["ss", "--listening", "--tcp", "--numeric", "--processes", "--no-header"])
            }
            Fact::SigningKeysInUse(server) => usage::ask_read_only(
                8000,
                &format!(
                    "SELECT jsonb_object_keys(json::jsonb->'signatures'->'{server}') FROM event_json \
                     WHERE event_id = (SELECT event_id FROM events WHERE sender LIKE '@%:{server}' \
                     ORDER BY stream_ordering DESC LIMIT 1)"
                ),
            ),
            Fact::File(_)
            | Fact::Meta(_)
            | Fact::Target(_)
            | Fact::Edition(_)
            | Fact::Commands(_)
            | Fact::System
            | Fact::LxcGuest(_)
            | Fact::GuestRoot(_)
            | Fact::GuestDisk(_)
            | Fact::LxcNeighbours
            | Fact::Interface(_)
            | Fact::Ways(_)
            | Fact::Process(_)
            | Fact::SecretFile { .. }
            | Fact::TakenPorts(_)
            | Fact::TakenUdpPorts(_)
            | Fact::GuestProgram
            | Fact::InstalledProgram
            | Fact::Edge(_)
            | Fact::Room(_)
            | Fact::Newest(_)
            | Fact::OomKills(_)
            | Fact::RedisPing
            | Fact::HeldRequests
            | Fact::NameServer(_)
            | Fact::SigningKeyOnDisk
            | Fact::Http(_)
            | Fact::Addresses(_)
            | Fact::Srv(_)
            | Fact::Clock
            | Fact::SigningKey
            | Fact::Relay
            | Fact::Trial(_)
            | Fact::Memory(_)
            | Fact::Files(_)
            | Fact::Reachable(_) => return Ask::Builtin,
            Fact::StoredImages => argv(&["podman", "images", "--no-trunc", "--format=json"]),
            Fact::Spare { media_before } => spare::ask_spare(*media_before),
            Fact::FolderSizes(folders) => spare::ask_sizes(folders),
            Fact::Contents => usage::ask_contents(),
            Fact::Timers => argv(&["systemctl", "list-timers", "--all", "--output=json"]),
            Fact::Database => inside::ask_database(),
            Fact::Roles => inside::ask_roles(),
            Fact::InsideSynapse => inside::ask_synapse(),
            Fact::ImageSchema(image) => inside::ask_image(image),
            Fact::Clusters => argv(&[
                "find",
                crate::cluster::FOLDER,
                "-mindepth",
                "1",
                "-maxdepth",
                "1",
                "-type",
                "d",
                "-printf",
                "%f\\n",
            ]),
            Fact::NewerPackages => {
                // It only says what it would do, and asks for no lock.
                argv(&["apt-get", "--simulate", "--quiet=2", "-o", "Debug::NoLocking=1", "upgrade"])
            }
            Fact::RegistryTags(repository) => {
                argv(&["podman", "search", "--list-tags", "--limit=20000", "--format=json", "--", repository])
            }
        })
    }

    /// Reads what the command of [`Fact::ask`] printed.
    pub fn parse(&self, output: &Output) -> Result<Value, Invalid> {
        match self {
            Fact::Packages(_) => Ok(Value::Found(system::parse_packages(&output.stdout))),
            Fact::Units(_) => system::parse_units(&output.stdout).map(Value::Units),
            Fact::Containers => match output.status {
                Some(0) => podman::parse_containers(&output.stdout).map(Value::Containers),
                // No podman at all: nothing can run.
                None => Ok(Value::Containers(Vec::new())),
                Some(_) => Err(Invalid::new(last_line(&output.stderr))),
            },
            Fact::Images(names) => Ok(Value::Images(podman::parse_images(&output.stdout, names))),
            Fact::Proxmox(question) => question.parse(output).map(|answer| Value::Proxmox(Box::new(answer))),
            Fact::Link(_) => link::parse(output).map(Value::Link),
            Fact::Rules(_) => firewall::parse_comments(output.status, &output.stdout).map(Value::Lines),
            Fact::Journal(_) => Ok(Value::Lines(ailment::parse_lines(&output.stdout))),
            Fact::Canary { .. } | Fact::Lookup { .. } => Ok(Value::Ran(ailment::parse_ran(output))),
            Fact::Mounts(_) => match output.status {
                Some(0) => ailment::parse_mounts(&output.stdout).map(Value::Mounts),
                _ => Ok(Value::Mounts(None)),
            },
            Fact::Listeners => Ok(Value::Listeners(ailment::parse_listeners(&output.stdout))),
            Fact::SigningKeysInUse(_) => match output.status {
                Some(0) => {
                    let mut keys = ailment::parse_lines(&output.stdout);
                    keys.retain(|key| !key.trim().is_empty());
                    Ok(Value::Lines(keys))
                }
                _ => Err(Invalid::new(last_line(&output.stderr))),
            },
            Fact::Database => inside::parse_database(output).map(|d| Value::Database(Box::new(d))),
            Fact::Roles => inside::parse_roles(output).map(Value::Roles),
            Fact::InsideSynapse => inside::parse_synapse(output).map(Value::InsideSynapse),
            Fact::ImageSchema(_) => inside::parse_image(output).map(Value::ImageSchema),
            Fact::Clusters => match output.status {
                Some(0) => Ok(Value::Lines(ailment::parse_lines(&output.stdout))),
                _ => Err(Invalid::new(last_line(&output.stderr))),
            },
            Fact::NewerPackages => apt::parse_newer(output).map(Value::Lines),
            Fact::RegistryTags(_) => podman::parse_tags(output).map(Value::Lines),
            Fact::Contents => usage::parse_contents(output).map(Value::Contents),
            Fact::Timers => usage::parse_timers(output).map(Value::Timers),
            Fact::StoredImages => spare::parse_images(output).map(Value::StoredImages),
            Fact::Spare { .. } => spare::parse_spare(output).map(Value::Spare),
            Fact::FolderSizes(_) => spare::parse_sizes(output).map(Value::Files),
            Fact::File(_)
            | Fact::Meta(_)
            | Fact::Target(_)
            | Fact::Edition(_)
            | Fact::Commands(_)
            | Fact::System
            | Fact::LxcGuest(_)
            | Fact::GuestRoot(_)
            | Fact::GuestDisk(_)
            | Fact::LxcNeighbours
            | Fact::Interface(_)
            | Fact::Ways(_)
            | Fact::Process(_)
            | Fact::SecretFile { .. }
            | Fact::TakenPorts(_)
            | Fact::TakenUdpPorts(_)
            | Fact::GuestProgram
            | Fact::InstalledProgram
            | Fact::Edge(_)
            | Fact::Room(_)
            | Fact::Newest(_)
            | Fact::OomKills(_)
            | Fact::RedisPing
            | Fact::HeldRequests
            | Fact::NameServer(_)
            | Fact::SigningKeyOnDisk
            | Fact::Http(_)
            | Fact::Addresses(_)
            | Fact::Srv(_)
            | Fact::Clock
            | Fact::SigningKey
            | Fact::Relay
            | Fact::Trial(_)
            | Fact::Memory(_)
            | Fact::Files(_)
            | Fact::Reachable(_) => Err(Invalid::new("this fact is not found by running a command")),
        }
    }

    /// The answer in a world where the place asked does not exist yet.
    pub fn nowhere(&self) -> Option<Value> {
        Some(match self {
            Fact::File(_) | Fact::Meta(_) | Fact::Target(_) => Value::File(None),
            Fact::Edition(_) => Value::Edition(None),
            Fact::Packages(_) | Fact::Commands(_) => Value::Found(BTreeMap::new()),
            Fact::Units(_) => Value::Units(BTreeMap::new()),
            Fact::Containers => Value::Containers(Vec::new()),
            Fact::Images(_) => Value::Images(BTreeMap::new()),
            Fact::TakenPorts(_) | Fact::TakenUdpPorts(_) => Value::Ports(BTreeSet::new()),
            Fact::GuestProgram => Value::GuestProgram(GuestProgram::Other),
            Fact::InstalledProgram | Fact::Process(_) | Fact::SecretFile { .. } => Value::Yes(false),
            Fact::Rules(_) => Value::Lines(Vec::new()),
            Fact::SigningKey => Value::SigningKey(None),
            Fact::Clusters => Value::Lines(Vec::new()),
            Fact::Files(_) | Fact::FolderSizes(_) => Value::Files(Vec::new()),
            Fact::StoredImages => Value::StoredImages(Vec::new()),
            Fact::Spare { .. }
            | Fact::System
            | Fact::LxcGuest(_)
            | Fact::GuestRoot(_)
            | Fact::GuestDisk(_)
            | Fact::LxcNeighbours
            | Fact::Interface(_)
            | Fact::Link(_)
            | Fact::Ways(_)
            | Fact::Edge(_)
            | Fact::Journal(_)
            | Fact::Room(_)
            | Fact::Newest(_)
            | Fact::OomKills(_)
            | Fact::Canary { .. }
            | Fact::Lookup { .. }
            | Fact::Mounts(_)
            | Fact::Listeners
            | Fact::RedisPing
            | Fact::HeldRequests
            | Fact::NameServer(_)
            | Fact::SigningKeysInUse(_)
            | Fact::SigningKeyOnDisk
            | Fact::Http(_)
            | Fact::Addresses(_)
            | Fact::Srv(_)
            | Fact::Database
            | Fact::Roles
            | Fact::InsideSynapse
            | Fact::ImageSchema(_)
            | Fact::RegistryTags(_)
            | Fact::NewerPackages
            | Fact::Clock
            | Fact::Relay
            | Fact::Trial(_)
            | Fact::Proxmox(_)
            | Fact::Contents
            | Fact::Memory(_)
            | Fact::Timers
            | Fact::Reachable(_) => return None,
        })
    }
}
