//! The disk of a plain LXC guest: an image in the guest's folder, whose file system is
//! mounted where the guest has its root. It takes of the machine's disk what is on it.

use std::{
    collections::BTreeMap,
    fs::{self, File},
    os::unix::fs::OpenOptionsExt as _,
    path::Path,
    time::{Duration, Instant},
};

use matrix_podman_core::size::Bytes;

use crate::{
    failure::{Doing, Failure},
    probe::{
        disk::{IMAGE, ROOT, mounts, size_of},
        lxc::LXC,
    },
    process::Program,
    progress::{Saying, Sink},
};

/// How long looking through a file system may take, on a slow disk.
const CHECKED: Duration = Duration::from_secs(3600);
/// How long a mount may take.
const MOUNTED: Duration = Duration::from_secs(300);
/// How long a disk that is unmounted may still be in use.
const RELEASED: Duration = Duration::from_secs(60);
/// How long that is not worth a word.
const NOTICEABLE: Duration = Duration::from_secs(2);
/// No devices; what is deleted is given back to the machine.
const OPTIONS: &str = "loop,nodev,discard,errors=remount-ro";
/// From this exit status on, e2fsck has left something unmended.
const UNMENDED: i32 = 4;

/// Makes a disk in the folder of a guest that is being made, and mounts it.
pub(super) fn make(folder: &Path, size: Bytes, sink: &Sink) -> Result<(), Failure> {
    let image = folder.join(IMAGE);
    let doing = || format!("make the disk {}", image.display());
    let file = File::options().write(true).create_new(true).mode(0o600).open(&image).doing(doing)?;
    file.set_len(size.0).doing(doing)?;
    sink(Saying::WaitsFor("a file system to be made".to_owned()));
    // Nothing is kept for the machine's root, who is nobody in the guest.
    let words = ["mkfs.ext4", "-q", "-F", "-b", "4096", "-m", "0", "-L", "matrix", "--"];
    Program::new(words.into_iter().chain([image.display().to_string().as_str()]))
        .ends_with_us()
        .deadline(CHECKED)
        .run(&doing(), &|_| {})?;
    file.sync_all().doing(doing)?;
    attach(folder)?;
    // Of a root file system it is no part.
    let found = folder.join(ROOT).join("lost+found");
    fs::remove_dir(&found).doing(|| format!("remove {}", found.display()))
}

/// Mounts the disk of a guest that does not run, after a look at its file system.
pub(super) fn mount(name: &str, sink: &Sink) -> Result<(), Failure> {
    let folder = Path::new(LXC).join(name);
    if mounts(&folder.join(ROOT))? > 0 {
        return Ok(());
    }
    if !is_in_use(&folder.join(IMAGE)) {
        check(&folder.join(IMAGE), false, sink)?;
    }
    attach(&folder)
}

/// Makes the disk of a guest that does not run larger, and mounts it again.
pub(super) fn grow(name: &str, size: Bytes, sink: &Sink) -> Result<(), Failure> {
    let folder = Path::new(LXC).join(name);
    let image = folder.join(IMAGE);
    let doing = || format!("make the disk of the guest {name} larger");
    if size_of(&image)?.is_some_and(|has| has < size) {
        unmount(&folder)?;
        if !is_released(&image, sink) {
            let why = format!("it is still in use by {}", users(&image));
            // Whoever gives up here has a guest that can be started.
            mount(name, sink)?;
            return Err(Failure::new(doing(), why)
                .hint("end that, or write the size of before into guest.disk; then `matrix-podman up`"));
        }
        let file = File::options().write(true).open(&image).doing(doing)?;
        let has = file.metadata().doing(doing)?.len();
        // One that was cut off may have made the file longer, and not what is in it.
        file.set_len(size.0.max(has)).doing(doing)?;
        file.sync_all().doing(doing)?;
        check(&image, true, sink)?;
        sink(Saying::WaitsFor("its file system to be made larger".to_owned()));
        let blocks = format!("{}K", size.0 >> 10);
        Program::new(["resize2fs", "--", &image.display().to_string(), &blocks])
            .deadline(CHECKED)
            .run(&doing(), &|line| sink(Saying::Line(line.to_owned())))?;
        file.sync_all().doing(doing)?;
    }
    mount(name, sink)
}

/// Has e2fsck look at a file system that is not mounted, and mend what it can without
/// losing anything. Where all is well, that takes a moment unless all is to be read.
fn check(image: &Path, all: bool, sink: &Sink) -> Result<(), Failure> {
    let doing = format!("check the file system on {}", image.display());
    sink(Saying::WaitsFor("its file system to be checked".to_owned()));
    let path = image.display().to_string();
    let words = if all { vec!["e2fsck", "-f", "-p"] } else { vec!["e2fsck", "-p"] };
    let output = Program::new(words.into_iter().chain(["--", path.as_str()])).deadline(CHECKED).output();
    match output.status {
        Some(status) if status < UNMENDED => Ok(()),
        status => {
            let said = [output.stdout, output.stderr].concat();
            let lines: Vec<String> = String::from_utf8_lossy(&said).lines().map(str::to_owned).collect();
            let why = status.map_or("e2fsck did not end".to_owned(), |s| format!("e2fsck ended with {s}"));
            Err(Failure::new(doing, why)
                .evidence(lines[lines.len().saturating_sub(12)..].to_vec())
                .hint(format!("copy {path} away, then let `e2fsck -f {path}` repair it")))
        }
    }
}

/// Mounts the disk in a guest's folder.
fn attach(folder: &Path) -> Result<(), Failure> {
    let (image, root) = (folder.join(IMAGE).display().to_string(), folder.join(ROOT).display().to_string());
    Program::new(["mount", "-t", "ext4", "-o", OPTIONS, "--", &image, &root])
        .deadline(MOUNTED)
        .run(&format!("mount the disk {image}"), &|_| {})
        .map_err(|failure| failure.hint("the last lines of `dmesg` say what the kernel has against it"))
}

/// Unmounts what is mounted at the root in a guest's folder; the loop device goes with
/// it.
pub(super) fn unmount(folder: &Path) -> Result<(), Failure> {
    let root = folder.join(ROOT);
    let path = root.display().to_string();
    for _ in 0..mounts(&root)? {
        Program::new(["umount", "--", &path])
            .deadline(MOUNTED)
            .run(&format!("unmount {path}"), &|_| {})
            .map_err(|failure| failure.hint(format!("`fuser -vm {path}` says who is in it")))?;
    }
    Ok(())
}

/// Waits until no loop device has the image any more: what the guest had of it goes a
/// moment after the guest.
fn is_released(image: &Path, sink: &Sink) -> bool {
    let begun = Instant::now();
    let mut told = false;
    while is_in_use(image) {
        if begun.elapsed() > RELEASED {
            return false;
        }
        if !told && begun.elapsed() > NOTICEABLE {
            told = true;
            sink(Saying::WaitsFor(format!("its disk to be let go of by {}", users(image))));
        }
        std::thread::sleep(Duration::from_millis(100));
    }
    true
}

/// Whether a loop device has the image, mounted here or for somebody else.
fn is_in_use(image: &Path) -> bool {
    !devices(image).is_empty()
}

/// The loop devices that have the image, as the kernel calls them.
fn devices(image: &Path) -> Vec<String> {
    let all = fs::read_dir("/sys/block").into_iter().flatten().flatten();
    all.filter(|device| {
        fs::read_to_string(device.path().join("loop/backing_file"))
            .is_ok_and(|file| Path::new(file.trim_end_matches('\n')) == image)
    })
    .map(|device| device.file_name().to_string_lossy().into_owned())
    .collect()
}

/// Who keeps the image in use: programs whose mount namespace has it. One that was made
/// while the disk was mounted, and that hears of no change, keeps it for as long as it is there.
fn users(image: &Path) -> String {
    let devices: Vec<String> = devices(image).iter().map(|device| format!(" /dev/{device} ")).collect();
    let mut namespaces = BTreeMap::new();
    for process in fs::read_dir("/proc").into_iter().flatten().flatten() {
        let of = |file: &str| fs::read_to_string(process.path().join(file)).unwrap_or_default();
        let mounts = of("mountinfo");
        if devices.iter().any(|device| mounts.contains(device))
            && let Ok(namespace) = fs::read_link(process.path().join("ns/mnt"))
        {
            let name = format!("{} (process {})", of("comm").trim(), process.file_name().to_string_lossy());
            namespaces.entry(namespace).or_insert(name);
        }
    }
    match namespaces.is_empty() {
        true => format!("something that cannot be seen from here ({})", image.display()),
        false => namespaces.into_values().collect::<Vec<_>>().join(", "),
    }
}
