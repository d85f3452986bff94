//! LXC containers, read from their configs and the kernel's list of sockets:
//! no process is needed to see whether one runs.

use std::{net::Ipv4Addr, path::Path};

use matrix_podman_core::{
    fact::{GuestRoot, GuestState, Neighbour},
    render::lxc::SITE_MARK,
};

use crate::{
    apply::lxc::{LXC, PARTIAL},
    process::Program,
};

/// What is read of a container's config file.
pub struct Config {
    /// The site whose mark it carries.
    pub site: Option<String>,
    /// First id on the machine that it uses, and how many.
    pub ids: Option<(u32, u32)>,
    /// Its fixed address.
    pub address: Option<Ipv4Addr>,
}

pub(super) fn state(name: &str) -> GuestState {
    let Some(config) = read(name) else { return GuestState::Absent };
    if !runs(name) {
        return GuestState::Stopped { site: config.site };
    }
    let address = config.address.or_else(|| leased_address(name));
    GuestState::Running { site: config.site, address }
}

/// What the root file system of a container that does not run looks like.
pub fn root(name: &str) -> GuestRoot {
    root_below(&Path::new(LXC).join(name).join("rootfs"))
}

fn root_below(root: &Path) -> GuestRoot {
    let mut found = GuestRoot::default();
    for folder in ["usr/bin", "usr/sbin", "usr/lib/systemd"] {
        for entry in std::fs::read_dir(root.join(folder)).into_iter().flatten().flatten() {
            if let Ok(meta) = entry.metadata()
                && meta.is_file()
            {
                found.programs += 1;
                found.empty += u32::from(meta.len() == 0);
            }
        }
    }
    let holds_something =
        |folder: &str| std::fs::read_dir(root.join(folder)).is_ok_and(|mut all| all.next().is_some());
    found.data = ["opt/matrix/secrets", "opt/matrix/postgresdata"].into_iter().any(holds_something);
    found
}

/// All LXC containers on this machine, and those that are being made: what they
/// will use is taken. They are no site's guest yet.
pub fn neighbours() -> Vec<Neighbour> {
    let Ok(folder) = std::fs::read_dir(LXC) else { return Vec::new() };
    folder
        .filter_map(|entry| {
            let folder = entry.ok()?.file_name().into_string().ok()?;
            let Config { site, ids, address } = read(&folder)?;
            match folder.strip_prefix(PARTIAL.0).and_then(|name| name.strip_suffix(PARTIAL.1)) {
                Some(name) => Some(Neighbour { name: name.to_owned(), site: None, ids, address }),
                None if folder.starts_with('.') => None,
                None => Some(Neighbour { name: folder, site, ids, address }),
            }
        })
        .collect()
}

fn read(name: &str) -> Option<Config> {
    let text = std::fs::read_to_string(Path::new(LXC).join(name).join("config")).ok()?;
    Some(Config::parse(&text))
}

impl Config {
    /// Reads it, without what it includes.
    pub fn parse(text: &str) -> Self {
        let value = |key: &str| {
            text.lines()
                .filter_map(|line| line.split_once('='))
                .find(|(k, _)| k.trim() == key)
                .map(|(_, v)| v.trim())
        };
        // `u 0 100000 65536`: kind, first inside, first outside, how many.
        let ids = value("lxc.idmap").and_then(|map| {
            let mut fields = map.split_whitespace().skip(2);
            Some((fields.next()?.parse().ok()?, fields.next()?.parse().ok()?))
        });
        let address = value("lxc.net.0.ipv4.address")
            .and_then(|a| a.split('/').next().unwrap_or_default().parse().ok());
        let site = text.lines().find_map(|line| line.strip_prefix(SITE_MARK));
        Self { site: site.map(|site| site.trim().to_owned()), ids, address }
    }
}

/// A running container's monitor listens on an abstract socket with its name.
fn runs(name: &str) -> bool {
    let socket = format!("@{LXC}/{name}/command");
    std::fs::read_to_string("/proc/net/unix").is_ok_and(|sockets| {
        sockets.lines().any(|line| line.split_whitespace().last() == Some(socket.as_str()))
    })
}

/// The address that a running container got by DHCP.
fn leased_address(name: &str) -> Option<Ipv4Addr> {
    let output = Program::new(["lxc-info", "--name", name, "--ips", "--no-humanize"]).output();
    String::from_utf8_lossy(&output.stdout)
        .lines()
        .filter_map(|line| line.trim().parse::<Ipv4Addr>().ok())
        .find(|address| !address.is_loopback() && address.octets()[..2] != [10, 89])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_root_file_system_without_content_is_known_by_its_programs() {
        let folder = tempfile::tempdir().unwrap();
        let write = |path: &str, content: &str| {
            let path = folder.path().join(path);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, content).unwrap();
        };
        assert!(root_below(folder.path()).is_damaged(), "there is nothing at all");
        for program in ["usr/bin/sh", "usr/bin/ls", "usr/sbin/init", "usr/lib/systemd/systemd"] {
            write(program, "x");
        }
        std::os::unix::fs::symlink("sh", folder.path().join("usr/bin/dash")).unwrap();
        let whole = GuestRoot { programs: 4, empty: 0, data: false };
        assert_eq!(root_below(folder.path()), whole);
        write("usr/lib/systemd/systemd", "");
        std::fs::create_dir_all(folder.path().join("opt/matrix/secrets")).unwrap();
        assert_eq!(root_below(folder.path()), GuestRoot { empty: 1, ..whole });
        write("opt/matrix/secrets/signing.key", "ed25519");
        assert_eq!(root_below(folder.path()), GuestRoot { empty: 1, data: true, ..whole });
    }
}
