//! A disk whose power can be cut.

use std::{
    fs,
    os::unix::{fs::MetadataExt as _, process::CommandExt as _},
    path::{Path, PathBuf},
    process::Command,
    time::Duration,
};

use crate::{
    Invocation, Lab, cleaning,
    mounts::{self, share_mounts},
    wait_until,
};

/// Set in a process that has a mount namespace of its own.
const IN_NAMESPACE: &str = "CAMPAIGN_NAMESPACE";
/// How large the disk seems.
const SIZE: &str = "14G";
/// Has the kernel stop a file system where it is, with nothing of its log written:
/// EXT4_IOC_SHUTDOWN with EXT4_GOING_FLAGS_NOLOGFLUSH.
const SHUTDOWN: &str = "import fcntl, os, struct, sys\n\
                        fd = os.open(sys.argv[1], os.O_RDONLY)\n\
                        fcntl.ioctl(fd, 0x8004587d, struct.pack('I', 2))\n";
/// Where LXC looks for what all containers have in their configs.
const COMMON: &str = "/usr/share/lxc/config/common.conf.d";

/// Runs this program in a mount namespace of its own, unless it is in one: what is
/// mounted over the machine's folders is then seen by nobody else.
pub fn in_own_namespace() {
    if std::env::var_os(IN_NAMESPACE).is_some() {
        return;
    }
    let program = std::env::current_exe().unwrap_or_else(|e| panic!("find this program: {e}"));
    share_mounts();
    let [unshare, options @ ..] = mounts::IN_NAMESPACE;
    let error = Command::new(unshare)
        .args(options)
        .arg("--")
        .arg(program)
        .args(std::env::args_os().skip(1))
        .env(IN_NAMESPACE, "1")
        .exec();
    panic!("run unshare: {error}");
}

/// A disk with everything of a lab's site on it: its folder, its guest, and what the
/// machine remembers of it.
pub struct PowerDisk {
    image: PathBuf,
    place: PathBuf,
    targets: [(&'static str, PathBuf); 3],
    common: PathBuf,
    boots: u32,
}

impl PowerDisk {
    /// A new one below `lab`, which has to be empty.
    #[track_caller]
    pub fn below(lab: &Lab) -> Self {
        assert!(std::env::var_os(IN_NAMESPACE).is_some(), "this needs a mount namespace of its own");
        let folder = lab.folder.parent().unwrap_or(Path::new("/var/tmp"));
        let own = |what: &str| folder.join(format!(".{what}-{}", lab.name));
        let disk = Self {
            image: own("disk"),
            place: own("mount"),
            targets: [
                ("lxc", PathBuf::from("/var/lib/lxc")),
                ("state", PathBuf::from("/var/lib/matrix-podman")),
                ("lab", lab.folder.clone()),
            ],
            common: own("common"),
            boots: 0,
        };
        for folder in [&disk.place, &disk.common] {
            fs::create_dir_all(folder).unwrap_or_else(|e| panic!("make {}: {e}", folder.display()));
        }
        // Each boot of a machine has an id, and a guest sees its machine's.
        let entry = format!(
            "lxc.mount.entry = {}/boot_id proc/sys/kernel/random/boot_id none bind,optional 0 0\n",
            disk.common.display()
        );
        fs::write(disk.common.join("boot.conf"), entry).unwrap_or_else(|e| panic!("write boot.conf: {e}"));
        run(&["mount", "--bind", &shown(&disk.common), COMMON]);
        let mut disk = disk;
        disk.format();
        disk.mount();
        disk
    }

    /// Empties it.
    #[track_caller]
    pub fn format(&mut self) {
        let _ = fs::remove_file(&self.image);
        run(&["truncate", &format!("--size={SIZE}"), &shown(&self.image)]);
        run(&[
            "mkfs.ext4",
            "-q",
            "-m",
            "0",
            "-E",
            "lazy_itable_init=1,lazy_journal_init=1",
            &shown(&self.image),
        ]);
    }

    /// The machine boots: its journal is replayed, and everything is in its place.
    #[track_caller]
    pub fn mount(&mut self) {
        self.boots += 1;
        let id = format!("00000000-0000-4000-8000-{:012x}\n", self.boots);
        fs::write(self.common.join("boot_id"), id).unwrap_or_else(|e| panic!("write boot_id: {e}"));
        run(&["mount", "-o", "loop", &shown(&self.image), &shown(&self.place)]);
        for (name, target) in &self.targets {
            let source = self.place.join(name);
            fs::create_dir_all(&source).unwrap_or_else(|e| panic!("make {}: {e}", source.display()));
            fs::create_dir_all(target).unwrap_or_else(|e| panic!("make {}: {e}", target.display()));
            run(&["mount", "--bind", &shown(&source), &shown(target)]);
        }
    }

    /// Has it hold what was written long ago, as an operator's config was.
    #[track_caller]
    pub fn flush(&self) {
        run(&["sync", "--file-system", &shown(&self.place)]);
    }

    /// Cuts its power: what was not flushed is lost from now on.
    #[track_caller]
    pub fn cut(&self) {
        run(&["python3", "-c", SHUTDOWN, &shown(&self.place)]);
    }

    /// Takes it out, once nobody is at it, and has it looked at as at a boot.
    #[track_caller]
    pub fn take_out(&self) {
        for (_, target) in &self.targets {
            self.unmount(target);
        }
        self.unmount(&self.place);
        // As long as somebody has it open elsewhere, it is the same that lost its power.
        let image = shown(&self.image);
        wait_until("nobody has the disk any more", Duration::from_secs(60), || {
            let devices = Invocation::new(["losetup", "--associated", &image]).quietly().run();
            if devices.text().is_empty() { Ok(()) } else { Err(devices.stdout) }
        });
        // 0: clean; 1: errors were corrected.
        let checked = Invocation::new(["e2fsck", "-p", &shown(&self.image)]).quietly().run();
        assert!(checked.code <= 1, "{}", checked.evidence());
    }

    #[track_caller]
    fn unmount(&self, target: &Path) {
        wait_until(&format!("{} is unmounted", target.display()), Duration::from_secs(60), || {
            let ran = Invocation::new(["umount", &shown(target)]).quietly().run();
            if ran.code == 0 || ran.stderr.contains("not mounted") {
                return Ok(());
            }
            let holders = holders(&self.place);
            for process in &holders {
                kill(*process);
            }
            Err(format!("{} held by {holders:?}", ran.stderr.trim()))
        });
    }

    /// Keeps what is on it, which is taken out, under a name.
    #[track_caller]
    pub fn keep(&self, name: &str) {
        run(&["cp", "--sparse=always", "--reflink=auto", &shown(&self.image), &shown(&self.kept(name))]);
    }

    /// Goes back to what was kept; it is taken out.
    #[track_caller]
    pub fn go_back(&self, name: &str) {
        run(&["cp", "--sparse=always", "--reflink=auto", &shown(&self.kept(name)), &shown(&self.image)]);
    }

    fn kept(&self, name: &str) -> PathBuf {
        self.image.with_extension(name)
    }
}

impl Drop for PowerDisk {
    fn drop(&mut self) {
        for target in self.targets.iter().map(|(_, target)| target).chain([&self.place]) {
            Invocation::new(["umount", "--lazy", &shown(target)]).quietly().run();
        }
        Invocation::new(["umount", "--lazy", COMMON]).quietly().run();
        let _ = fs::remove_dir_all(&self.common);
        let _ = fs::remove_dir(&self.place);
        let folder = self.image.parent().unwrap_or(Path::new("/var/tmp"));
        let name = self.image.file_stem().unwrap_or_default().to_string_lossy().into_owned();
        for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
            if entry.path().is_file()
                && entry.path().file_stem().is_some_and(|stem| stem.to_string_lossy() == name)
            {
                let _ = fs::remove_file(entry.path());
            }
        }
    }
}

/// The processes that have something of the file system open: those of the site, which
/// has no others on it.
fn holders(place: &Path) -> Vec<u32> {
    let Ok(device) = fs::metadata(place).map(|meta| meta.dev()) else { return Vec::new() };
    let here = |path: PathBuf| fs::metadata(path).is_ok_and(|meta| meta.dev() == device);
    let mut found = Vec::new();
    for id in processes() {
        let path = PathBuf::from(format!("/proc/{id}"));
        let files = fs::read_dir(path.join("fd")).into_iter().flatten().flatten().map(|entry| entry.path());
        if id != std::process::id()
            && ["cwd", "root", "exe"].map(|l| path.join(l)).into_iter().chain(files).any(here)
        {
            found.push(id);
        }
    }
    found
}

fn shown(path: &Path) -> String {
    path.display().to_string()
}

#[track_caller]
fn run(argv: &[&str]) {
    Invocation::new(argv).quietly().within(Duration::from_secs(600)).run().ok();
}

/// Takes away what a machine loses that loses its power, beside its disk: the guest's
/// processes, whose config LXC can no longer read, and the network.
#[track_caller]
pub(super) fn power_off(lab: &Lab) {
    let guest = lab.guest();
    let socket = format!("@/var/lib/lxc/{}/command", guest.name);
    let monitor = format!("[lxc monitor] /var/lib/lxc {}", guest.name);
    wait_until("the guest is gone", Duration::from_secs(60), || {
        for process in processes().filter(|id| is_called(*id, &monitor)) {
            // The first process of the guest takes all others with it.
            for child in children(process) {
                kill(child);
            }
            kill(process);
        }
        let sockets = fs::read_to_string("/proc/net/unix").unwrap_or_default();
        let there = sockets.lines().any(|line| line.split_whitespace().last() == Some(socket.as_str()));
        if there { Err(format!("{socket} is there")) } else { Ok(()) }
    });
    cleaning::remove_bridge(&lab.bridge());
}

fn processes() -> impl Iterator<Item = u32> {
    let entries = fs::read_dir("/proc").into_iter().flatten().flatten();
    entries.filter_map(|entry| entry.file_name().to_str()?.parse().ok())
}

fn is_called(process: u32, name: &str) -> bool {
    let argv = fs::read(format!("/proc/{process}/cmdline")).unwrap_or_default();
    let words: Vec<_> = argv.split(|byte| *byte == 0).map(String::from_utf8_lossy).collect();
    words.join(" ").trim() == name
}

fn children(of: u32) -> Vec<u32> {
    let text = fs::read_to_string(format!("/proc/{of}/task/{of}/children")).unwrap_or_default();
    text.split_whitespace().filter_map(|id| id.parse().ok()).collect()
}

fn kill(process: u32) {
    Invocation::new(["kill", "-KILL", &process.to_string()]).quietly().run();
}
