//! A plain Debian 13 machine, and a network for it: made without the program,
//! so that the program can be tried on what it did not make.

use std::{fs, path::Path};

use crate::{Guest, Invocation, Lab, archives};

/// Root of the machine is this id outside; the range is that of first guests.
const FIRST_ID: u32 = 100_000;

impl Lab {
    /// Brings up the lab's bridge with address, names and a way out, as the
    /// program would.
    #[track_caller]
    pub fn raise_network(&self) {
        self.raise_network_with(&[]);
    }

    /// The same with leases for guests that ask for them.
    #[track_caller]
    pub fn raise_network_with_leases(&self) {
        let (first, last) = (format!("10.87.{}.100", self.number), format!("10.87.{}.200", self.number));
        self.raise_network_with(&[format!("--dhcp-range={first},{last},1h"), "--leasefile-ro".to_owned()]);
    }

    /// The same, whose name server is told more: dnsmasq's own options.
    #[track_caller]
    pub fn raise_network_with(&self, names: &[String]) {
        let (bridge, gateway) = (self.bridge(), self.gateway());
        let network = format!("{gateway}/24");
        let run = |argv: &[&str]| Invocation::new(argv).quietly().run().ok();
        run(&["ip", "link", "add", "name", &bridge, "type", "bridge"]);
        run(&["ip", "address", "add", &network, "dev", &bridge]);
        run(&["ip", "link", "set", "dev", &bridge, "up"]);
        fs::write("/proc/sys/net/ipv4/ip_forward", "1\n")
            .unwrap_or_else(|e| panic!("turn forwarding on: {e}"));
        let rules = format!(
            "table inet matrix-podman-{bridge} {{ chain out {{\ntype nat hook postrouting priority 100\n\
             ip saddr {network} oifname != \"{bridge}\" masquerade\n}}\n}}\n"
        );
        Invocation::new(["nft", "--file", "-"]).input(rules).quietly().run().ok();
        let folder = format!("/run/matrix-podman/{bridge}");
        fs::create_dir_all(&folder).unwrap_or_else(|e| panic!("make {folder}: {e}"));
        let own = [
            "dnsmasq",
            "--conf-file=/dev/null",
            "--no-hosts",
            &format!("--interface={bridge}"),
            "--except-interface=lo",
            "--bind-dynamic",
            &format!("--pid-file={folder}/dnsmasq.pid"),
            "--user=nobody",
        ];
        let argv: Vec<&str> = own.into_iter().chain(names.iter().map(String::as_str)).collect();
        run(&argv);
    }

    /// A machine with a plain Debian 13 on the lab's bridge, which runs.
    #[track_caller]
    pub fn plain_machine(&self) -> Guest {
        let guest = self.guest();
        let rootfs = guest.folder().join("rootfs");
        fs::create_dir_all(&rootfs).unwrap_or_else(|e| panic!("make {}: {e}", rootfs.display()));
        let root = rootfs.display().to_string();
        let archive = archives::rootfs().display().to_string();
        Invocation::new([
            "tar",
            "--extract",
            "--numeric-owner",
            "--same-owner",
            "--preserve-permissions",
            "--xattrs",
            "--xattrs-include=*",
            "--exclude=./dev/*",
            "--file",
            &archive,
            "--directory",
            &root,
        ])
        .run()
        .ok();
        let write = |path: &str, content: &str| {
            let path = rootfs.join(path);
            let _ = fs::remove_file(&path);
            fs::write(&path, content).unwrap_or_else(|e| panic!("write {}: {e}", path.display()));
        };
        write("etc/hostname", &format!("{}\n", guest.name));
        write("etc/hosts", &format!("127.0.0.1 localhost\n127.0.1.1 {}\n", guest.name));
        write("etc/machine-id", "");
        write("etc/resolv.conf", &format!("nameserver {}\n", self.gateway()));
        let config = guest.folder().join("config");
        fs::write(&config, self.machine_config(&root))
            .unwrap_or_else(|e| panic!("write {}: {e}", config.display()));
        guest.start();
        guest.booted();
        guest
    }

    /// Puts archives of the images into a plain machine; the part of a config that
    /// uses them.
    #[track_caller]
    fn give_archives(&self) -> String {
        let root = self.guest().folder().join("rootfs");
        let mut config = String::new();
        for (key, recipe) in
            [("postgres", "postgres"), ("redis", "redis"), ("synapse", "synapse"), ("web", "element-web")]
        {
            put(&archives::archive(recipe), &root.join(format!("srv/images/{recipe}.tar")));
            config.push_str(&format!("\n[images.{key}]\narchive = \"/srv/images/{recipe}.tar\"\n"));
        }
        config
    }

    /// A config that makes a server of the plain machine itself, from these archives.
    /// The tests ask from outside it, as a reverse proxy would.
    #[track_caller]
    pub fn machine_toml(&self) -> String {
        format!(
            "domain = \"{}\"\n\n[guest]\nbackend = \"this-machine\"\n\n[edge]\nproxies = [\"{}/32\"]\n{}",
            self.domain,
            self.gateway(),
            self.give_archives()
        )
    }

    /// The address of a plain machine.
    pub fn machine_address(&self) -> String {
        format!("10.87.{}.20", self.number)
    }

    fn machine_config(&self, root: &str) -> String {
        let mut lines = lxc_config(&self.guest().name, root, &self.bridge());
        lines.extend([
            format!("lxc.net.0.ipv4.address = {}/24", self.machine_address()),
            format!("lxc.net.0.ipv4.gateway = {}", self.gateway()),
        ]);
        lines.join("\n") + "\n"
    }
}

/// Copies a file to a place whose folder may not be there yet: into another
/// machine's root file system, say.
#[track_caller]
pub fn put(from: &Path, to: &Path) {
    let made = to.parent().map_or(Ok(()), fs::create_dir_all);
    made.and_then(|()| fs::copy(from, to))
        .unwrap_or_else(|e| panic!("copy {} to {}: {e}", from.display(), to.display()));
}

/// Lines of the LXC config of an unprivileged guest whose root file system is
/// the folder `root`, without an address.
pub fn lxc_config(hostname: &str, root: &str, bridge: &str) -> Vec<String> {
    let mut lines: Vec<String> = ["common", "userns", "nesting"]
        .map(|name| format!("lxc.include = /usr/share/lxc/config/{name}.conf"))
        .to_vec();
    lines.extend([
        "# made by the tests of matrix-podman".to_owned(),
        format!("lxc.uts.name = {hostname}"),
        format!("lxc.rootfs.path = dir:{root}"),
        "lxc.rootfs.options = idmap=container".to_owned(),
        format!("lxc.idmap = u 0 {FIRST_ID} 65536"),
        format!("lxc.idmap = g 0 {FIRST_ID} 65536"),
        "lxc.net.0.type = veth".to_owned(),
        format!("lxc.net.0.link = {bridge}"),
        "lxc.net.0.flags = up".to_owned(),
        "lxc.net.0.name = eth0".to_owned(),
        "lxc.apparmor.profile = unconfined".to_owned(),
    ]);
    let mounts = fs::read_to_string("/proc/self/mounts").unwrap_or_default();
    if !mounts.lines().any(|line| line.contains(" /sys/fs/cgroup cgroup2 ")) {
        // Debian 13's systemd wants version 2; without it on the machine, an
        // empty hierarchy of its own.
        lines.extend([
            "lxc.mount.auto =".to_owned(),
            "lxc.mount.auto = proc:mixed sys:mixed".to_owned(),
            "lxc.mount.entry = cgroup2 sys/fs/cgroup cgroup2 rw,nosuid,nodev,noexec,create=dir 0 0"
                .to_owned(),
        ]);
    }
    lines
}
