//! A guest with a disk of its own: how it is made, what it keeps from the machine, and
//! how it comes back, grows and goes.

use std::{
    fs,
    os::unix::fs::{MetadataExt as _, PermissionsExt as _},
    path::PathBuf,
    process::ExitCode,
    time::Duration,
};

use matrix_podman_e2e::{Invocation, Lab, Scenario, wait_closely};

const PASSWORD: &str = "correct horse battery staple";
const GIB: u64 = 1 << 30;
/// How long the stack may take to be well again.
const WELL: Duration = Duration::from_secs(120);

/// The guest's disk, seen from the machine.
struct Disk {
    image: PathBuf,
    root: PathBuf,
    name: String,
}

impl Disk {
    fn of(lab: &Lab) -> Self {
        let folder = lab.guest().folder();
        Self { image: folder.join("disk.ext4"), root: folder.join("rootfs"), name: lab.guest().name }
    }

    /// The options that it is mounted with; none while it is not.
    fn options(&self) -> Option<String> {
        let mounts = fs::read_to_string("/proc/self/mountinfo").unwrap();
        let mut mine = mounts.lines().map(|line| line.split(' ').collect::<Vec<_>>());
        let line = mine.find(|fields| fields[4] == self.root.display().to_string())?;
        Some(line[5].to_owned())
    }

    /// The loop devices of whatever has the guest's name.
    fn devices(&self) -> Vec<String> {
        let all = fs::read_dir("/sys/block").unwrap().flatten();
        let files = all.filter_map(|d| fs::read_to_string(d.path().join("loop/backing_file")).ok());
        files
            .filter(|file| {
                file.contains(&format!("{}/", self.name)) || file.contains(&format!("-{}.", self.name))
            })
            .collect()
    }

    /// As when the machine was switched off and on again.
    fn goes_with_the_machine(&self) {
        Invocation::new(["umount", &self.root.display().to_string()]).run().ok();
        assert_eq!(self.options(), None);
        // What the guest had of it goes a moment after the guest.
        wait_closely("no loop device has the image", WELL, || match self.devices() {
            devices if devices.is_empty() => Ok(()),
            devices => Err(format!("{devices:?}")),
        });
    }

    fn length(&self) -> u64 {
        fs::metadata(&self.image).unwrap().len()
    }
}

/// All that the guest's own file system says that it can hold.
fn total(lab: &Lab) -> u64 {
    lab.guest().sh("df --output=size --block-size=1 / | tail -n 1").ok().text().trim().parse().unwrap()
}

fn is_well(lab: &Lab) {
    lab.becomes_healthy(WELL);
    lab.matrix().login("anna", PASSWORD);
}

fn main() -> ExitCode {
    let mut s = Scenario::begin("disk");
    let lab = Lab::with_config("disk");
    lab.use_archives();
    lab.set("[guest]", "disk", "\"6G\"");
    let disk = Disk::of(&lab);
    s.foundation("a guest is made with a disk of its own, also when that was cut off", || {
        lab.run(&["plan"]).ok().says("with a disk of 6G").never_says("guest is a folder");
        let mut cut = lab.command(&["up", "--yes"]).start();
        cut.comes_to("begin  Create the guest");
        // In the middle of unpacking, with the disk mounted beside the guest's place.
        let partial = lab.guest().folder().with_file_name(format!(".matrix-podman-{}.partial", disk.name));
        wait_closely("there is something on the disk", WELL, || match partial.join("rootfs/usr").exists() {
            true => Ok(()),
            false => Err("nothing is unpacked".to_owned()),
        });
        cut.kill();
        assert!(!lab.guest().exists() && partial.exists());
        assert_eq!(disk.devices().len(), 1, "{:?}", disk.devices());
        lab.up();
        let options = disk.options().expect("it is mounted");
        assert!(options.contains("nodev"), "{options}");
        let image = fs::metadata(&disk.image).unwrap();
        assert_eq!((image.permissions().mode() & 0o7777, image.uid(), image.len()), (0o600, 0, 6 * GIB));
        assert!(image.blocks() * 512 < 5 * GIB, "it takes what is on it: {} blocks", image.blocks());
        assert_eq!(disk.devices().len(), 1, "nothing of the first attempt is left: {:?}", disk.devices());
        assert!(!partial.exists());
        lab.add_user("anna", PASSWORD);
        lab.settled();
        is_well(&lab);
    });
    s.test("a guest that writes without end fills its own disk and not the machine's", || {
        assert!(total(&lab) <= 6 * GIB, "{}", total(&lab));
        let filled = lab.guest().sh(
            "free=$(df --output=avail --block-size=1M / | tail -n 1); fallocate -l $((free - 16))M /filler; \
             ! dd if=/dev/zero of=/filler2 bs=1M count=64 2>&1",
        );
        filled.ok().says("No space left on device");
        assert_eq!(disk.length(), 6 * GIB);
        // Not from the file system's own devices, which its root cannot make.
        lab.guest().sh("! mknod /block b 7 0 2>&1").ok();
        lab.guest().sh("rm --force /filler /filler2").ok();
        lab.up();
        is_well(&lab);
    });
    s.test("the guest restarts on it", || {
        lab.guest().shut_down();
        assert!(disk.options().is_some());
        lab.guest().start();
        lab.guest().booted();
        is_well(&lab);
        lab.settled();
    });
    s.test("after the machine's restart the boot unit's command and up each bring it back", || {
        lab.guest().shut_down();
        disk.goes_with_the_machine();
        lab.run(&["machine-start"]).ok();
        is_well(&lab);
        lab.guest().cut_power();
        disk.goes_with_the_machine();
        let doctor = lab.run(&["doctor"]);
        doctor.exits(1).never_says("emptied");
        lab.run(&["plan"]).ok().says("Mount the disk of the guest").never_says("Create the guest");
        lab.up();
        is_well(&lab);
        lab.settled();
    });
    s.test("it grows, also when that was cut off, and never shrinks", || {
        lab.set("[guest]", "disk", "\"8G\"");
        lab.run(&["plan"]).ok().says("Make the disk of the guest").says("restart the guest");
        lab.up();
        assert!(total(&lab) > 7 * GIB && disk.length() == 8 * GIB, "{}", total(&lab));
        is_well(&lab);
        lab.settled();
        // The file is longer, the file system on it not yet.
        lab.guest().shut_down();
        disk.goes_with_the_machine();
        fs::File::options().write(true).open(&disk.image).unwrap().set_len(9 * GIB).unwrap();
        lab.set("[guest]", "disk", "\"9G\"");
        lab.up();
        assert!(total(&lab) > 8 * GIB, "{}", total(&lab));
        is_well(&lab);
        lab.set("[guest]", "disk", "\"6G\"");
        lab.run(&["up", "--yes"]).exits(1).says("disks can only grow").says("guest.disk = \"9G\"");
        lab.set("[guest]", "disk", "\"9G\"");
        lab.settled();
    });
    s.test("destroy leaves nothing of it", || {
        lab.run(&["destroy", "--yes"]).ok();
        assert!(!lab.guest().folder().exists());
        assert_eq!((disk.options(), disk.devices()), (None, Vec::new()));
        let left: Vec<_> =
            fs::read_dir("/var/lib/lxc").unwrap().flatten().map(|entry| entry.path()).collect();
        assert!(
            !left.iter().any(|path| path.display().to_string().contains(&format!("-{}.", disk.name))),
            "{left:?}"
        );
    });
    s.end()
}
