//! A node that a test holds.

use std::{cell::Cell, collections::BTreeSet, fs, os::unix::fs::PermissionsExt as _, path::PathBuf};

use super::{
    CallsPage, standin,
    state::{Call, Fault, Folder, GuestState, How, State, Storage},
};
use crate::{Guest, Invocation, Lab, Ran, archives, cleaning};

/// A template that every node can have.
const TEMPLATE: &str = "debian-13-standard_13.1-2_amd64.tar.zst";

/// A node of Proxmox VE, stood in for. Its containers are removed when it is
/// dropped.
pub struct Node {
    folder: Folder,
    prefix: String,
    /// How many calls were asked about.
    told: Cell<usize>,
}

impl Node {
    /// A node in the lab's folder: one storage for disks, one for templates,
    /// and the lab's bridge, which is up, with DHCP. Its name is this machine's.
    #[track_caller]
    pub fn new(lab: &Lab) -> Self {
        let folder = Folder(lab.path("proxmox"));
        let bin = folder.join("bin");
        fs::create_dir_all(&bin).unwrap_or_else(|e| panic!("make {}: {e}", bin.display()));
        let program = program();
        for name in ["pct", "pveam", "pvesh", "pvesm", "pveversion"] {
            let place = bin.join(name);
            let _ = fs::remove_file(&place);
            fs::copy(&program, &place).unwrap_or_else(|e| panic!("copy {}: {e}", program.display()));
            fs::set_permissions(&place, fs::Permissions::from_mode(0o755))
                .unwrap_or_else(|e| panic!("{}: {e}", place.display()));
        }
        lab.raise_network_with_leases();
        let hostname = fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
        let words = |words: &[&str]| words.iter().map(|word| (*word).to_owned()).collect::<Vec<_>>();
        let prefix = format!("{}-", lab.guest().name);
        let node = Self { folder, prefix: prefix.clone(), told: Cell::new(0) };
        node.change(|state| {
            *state = State {
                node: hostname.trim().split('.').next().unwrap_or_default().to_owned(),
                versions: [("pve-manager", "9.0.11"), ("pve-container", "6.0.13")]
                    .map(|(package, version)| (package.to_owned(), version.to_owned()))
                    .into(),
                storages: vec![
                    Storage {
                        name: "local".to_owned(),
                        kind: "dir".to_owned(),
                        content: words(&["vztmpl", "iso", "backup"]),
                        active: true,
                        free: 50,
                    },
                    Storage {
                        name: "local-lvm".to_owned(),
                        kind: "lvmthin".to_owned(),
                        content: words(&["rootdir", "images"]),
                        active: true,
                        free: 200,
                    },
                ],
                bridges: vec![lab.bridge()],
                offered: words(&[
                    "alpine-3.22-default_20250617_amd64.tar.xz",
                    "debian-12-standard_12.12-1_amd64.tar.zst",
                    TEMPLATE,
                ]),
                archive: archives::prepared_template().display().to_string(),
                // On a real node, 45.
                unclean_start: 2,
                prefix,
                ..State::default()
            };
        });
        node
    }

    /// Writes a config for the lab's server on this node, with nothing but what
    /// must be apart on a machine with several sites.
    #[track_caller]
    pub fn write_config(&self, lab: &Lab) {
        lab.write(
            "matrix.toml",
            &format!(
                "domain = \"{}\"\n\n[guest]\nname = \"{}\"\n\n[guest.network]\nbridge = \"{}\"\n",
                lab.domain,
                lab.guest().name,
                lab.bridge()
            ),
        );
    }

    /// From now on its templates have nothing of the program's, as on a real node;
    /// those of [`Node::new`] have the packages already, which saves a minute.
    pub fn has_plain_templates(&self) {
        let archive = archives::template().display().to_string();
        self.change(|state| state.archive = archive);
    }

    /// From now on its templates have the packages again.
    pub fn has_prepared_templates(&self) {
        let archive = archives::prepared_template().display().to_string();
        self.change(|state| state.archive = archive);
    }

    /// Looks at the node, or changes it.
    pub fn change<R>(&self, edit: impl FnOnce(&mut State) -> R) -> R {
        self.folder.state(edit)
    }

    /// Puts a guest of somebody else on it; a container or a virtual machine.
    pub fn add_guest(&self, id: u32, kind: &str, node: Option<&str>, config: &[(&str, &str)]) {
        self.change(|state| {
            let config = config.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect();
            let node = node.map_or_else(|| state.node.clone(), str::to_owned);
            state
                .guests
                .insert(id, GuestState { kind: kind.to_owned(), node, config, ..GuestState::default() });
        });
    }

    /// A setting of a container.
    pub fn setting(&self, id: u32, key: &str) -> Option<String> {
        self.change(|state| state.guests.get(&id)?.config.get(key).cloned())
    }

    /// The volumes of a container's number that are on its storages.
    pub fn volumes(&self, id: u32) -> Vec<String> {
        self.change(|state| {
            let of = |volume: &&String| volume.contains(&format!(":vm-{id}-"));
            state.volumes.iter().filter(of).cloned().collect()
        })
    }

    /// Numbers of its guests.
    pub fn ids(&self) -> Vec<u32> {
        self.change(|state| state.guests.keys().copied().collect())
    }

    /// Has a call go wrong, once.
    pub fn breaks(&self, call: &str, how: How) {
        self.breaks_after(call, 0, how);
    }

    /// Has a call go wrong, once, after some that go well.
    pub fn breaks_after(&self, call: &str, after: u32, how: How) {
        self.folder.faults(|faults| faults.push(Fault { call: call.to_owned(), after, how }));
    }

    /// Whether all that was to go wrong has; what has not is forgotten.
    pub fn broke(&self) -> bool {
        self.folder.faults(|faults| std::mem::take(faults).is_empty())
    }

    /// The calls since the last time this was asked.
    pub fn calls(&self) -> Vec<Vec<String>> {
        let all = self.all_calls();
        let told = self.told.replace(all.len());
        all.into_iter().skip(told).collect()
    }

    /// All calls that were ever made.
    pub fn all_calls(&self) -> Vec<Vec<String>> {
        self.folder.calls().into_iter().map(|Call { argv }| argv).collect()
    }

    /// Fails unless the page lists every call that was ever made. Hands back
    /// the rows of the page that nobody needed.
    #[track_caller]
    pub fn calls_are_listed(&self) -> Vec<String> {
        let page = CallsPage::read();
        let made: BTreeSet<String> =
            self.all_calls().iter().map(|call| page.find(call).0.to_owned()).collect();
        page.all().filter(|call| !made.contains(*call)).map(str::to_owned).collect()
    }

    /// The folder with its commands.
    pub fn bin(&self) -> PathBuf {
        self.folder.join("bin")
    }

    /// The search path with its commands in front.
    pub fn path(&self) -> String {
        format!("{}:{}", self.bin().display(), std::env::var("PATH").unwrap_or_default())
    }

    /// The program in the lab's folder, on this node.
    pub fn command(&self, lab: &Lab, arguments: &[&str]) -> Invocation {
        lab.command(arguments).env("PATH", &self.path())
    }

    /// Runs it.
    #[track_caller]
    pub fn run(&self, lab: &Lab, arguments: &[&str]) -> Ran {
        self.command(lab, arguments).run()
    }

    /// Runs it on a terminal, with somebody who answers.
    #[track_caller]
    pub fn on_terminal(&self, lab: &Lab, arguments: &[&str], dialogue: &[(&str, &str)]) -> Ran {
        lab.terminal(arguments, dialogue).env("PATH", &self.path()).run()
    }

    /// The LXC guest behind a container.
    pub fn guest(&self, id: u32) -> Guest {
        Guest::new(format!("{}{id}", self.prefix))
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        if std::env::var_os("E2E_KEEP").is_none() {
            remove_guests(&self.prefix);
        }
    }
}

/// Removes the guests whose names begin so.
pub(crate) fn remove_guests(prefix: &str) {
    for entry in fs::read_dir("/var/lib/lxc").into_iter().flatten().flatten() {
        if let Some(name) = entry.file_name().to_str().filter(|name| {
            name.strip_prefix(prefix)
                .is_some_and(|rest| rest.chars().all(|c| c.is_ascii_digit()) && !rest.is_empty())
        }) {
            if let Ok(id) = name[prefix.len()..].parse() {
                standin::unmount_left(id);
            }
            cleaning::remove_guest(name);
        }
    }
}

/// The stand-in, built beside the tests, which are in a folder of their own, and
/// beside the bench.
fn program() -> PathBuf {
    let own = std::env::current_exe().unwrap_or_else(|e| panic!("find the tests' own folder: {e}"));
    let folders = own.ancestors().skip(1).take(2);
    folders
        .map(|folder| folder.join("proxmox_standin"))
        .find(|path| path.exists())
        .unwrap_or_else(|| panic!("there is no stand-in beside {}", own.display()))
}
