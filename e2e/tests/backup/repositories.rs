//! Repositories that are not a folder: through the operator's own ssh, in an
//! object store, through rclone. What goes wrong on the way to them is provoked.

use std::{
    fs,
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
    time::{Duration, SystemTime},
};

use matrix_podman_e2e::{
    Invocation, Lab, Laptop, ProcessWatcher, Ran, S3Store, Scenario, Sshd, Wire, wait_until,
};

use super::{Server, absent};

/// Their names in the config.
const NAMES: [&str; 3] = ["nas", "store", "drive"];

/// In the middle of a picture, the largest thing that is sent.
const MIDDLE: usize = super::PICTURE / 2;

/// What the repositories are on.
struct Elsewhere<'a> {
    server: &'a Server,
    lab: &'a Lab,
    laptop: Laptop,
    /// The lines to sshd and to the object store.
    ssh: Wire,
    store: Wire,
    keys: PathBuf,
    rclone: PathBuf,
}

impl Elsewhere<'_> {
    fn command(&self, words: &[&str]) -> Invocation {
        self.lab
            .command(words)
            .env("PATH", &self.laptop.path())
            .env("RCLONE_CONFIG", &self.rclone.display().to_string())
    }

    #[track_caller]
    fn run(&self, words: &[&str]) -> Ran {
        self.command(words).run()
    }

    /// Backs up into one of them.
    #[track_caller]
    fn now(&self, name: &str) -> Ran {
        self.run(&["backup", "now", "--repository", name])
    }

    /// Where it is, as restic and the program both write it.
    fn place(&self, name: &str) -> String {
        match name {
            "nas" => format!("sftp:box:{}", self.folder("nas").display()),
            "store" => {
                format!("s3:http://127.0.0.1:{}/{}/a/matrix", self.store.port, S3Store::BUCKET)
            }
            _ => "rclone:drive:matrix".to_owned(),
        }
    }

    /// Where its files are in the end.
    fn folder(&self, name: &str) -> PathBuf {
        match name {
            "nas" => self.lab.path("nas/matrix"),
            "store" => self.lab.path("objects").join(S3Store::BUCKET).join("a/matrix"),
            _ => self.lab.path("drive/matrix"),
        }
    }

    fn password(&self, name: &str) -> PathBuf {
        self.lab.state_folder().join("repositories").join(name).join("backup-password")
    }

    #[track_caller]
    fn restic(&self, name: &str, words: &[&str]) -> Ran {
        let (place, password) = (self.place(name), self.password(name).display().to_string());
        let head = ["restic", "--no-cache", "--repo", &place, "--password-file", &password];
        Invocation::new(head.iter().chain(words))
            .env("PATH", &self.laptop.path())
            .env("RCLONE_CONFIG", &self.rclone.display().to_string())
            .env("AWS_ACCESS_KEY_ID", S3Store::KEYS.0)
            .env("AWS_SECRET_ACCESS_KEY", S3Store::KEYS.1)
            .run()
    }

    /// Puts a lock of restic's into the object store, or removes it.
    #[track_caller]
    fn restics_lock(&self, request: &str) {
        let place = format!("{}/locks/{}", self.folder("store").display(), "0".repeat(64));
        let (_, object) = place.split_once("/objects/").unwrap();
        let url = format!("http://127.0.0.1:{}/{object}", self.store.port);
        let words = ["curl", "--silent", "--fail", "--request", request, "--data", "held", &url];
        Invocation::new(words).run().ok();
    }

    fn write_keys(&self, key: &str, secret: &str, mode: u32) {
        let _ = fs::remove_file(&self.keys);
        let text = format!("aws_access_key_id = {key}\naws_secret_access_key = {secret}\n");
        fs::write(&self.keys, text).unwrap();
        fs::set_permissions(&self.keys, fs::Permissions::from_mode(mode)).unwrap();
    }

    /// Does something while a repository has a limit of its own.
    #[track_caller]
    fn limited<R>(&self, name: &str, key: &str, rate: &str, act: impl FnOnce() -> R) -> R {
        let (config, head) = (self.lab.config(), format!("name = {name:?}\n"));
        assert!(config.contains(&head), "{config}");
        self.lab.write("matrix.toml", &config.replace(&head, &format!("{head}{key} = {rate:?}\n")));
        let result = act();
        self.lab.write("matrix.toml", &config);
        result
    }

    /// How long all that is in a repository takes at so many MiB in a second.
    fn takes(&self, name: &str, mib: u32) -> Duration {
        let all: u64 = super::files(&self.folder(name).join("data")).iter().map(|(size, _)| size).sum();
        assert!(all > 3 << 20, "{all} bytes");
        Duration::from_millis(all * 1000 / (u64::from(mib) << 20))
    }

    /// How many snapshots there are.
    #[track_caller]
    fn count(&self, name: &str) -> usize {
        let list = self.run(&["backup", "list", "--repository", name, "--json"]).ok().json();
        list.as_array().map_or(0, Vec::len)
    }

    /// Something new to be backed up, that takes a while.
    #[track_caller]
    fn another_picture(&self, seed: u64) {
        super::upload(&self.lab.url("synapse"), &self.server.anna, &super::picture(seed));
    }

    /// A line that is cut in the middle of what is written fails the backup, and harms nothing.
    #[track_caller]
    fn cut(&self, name: &str, line: &Wire, says: &str) {
        line.mend();
        let (before, cuts) = (self.count(name), line.cuts());
        self.another_picture(10 + u64::from(line.port));
        line.cut_after(MIDDLE, false);
        let now = self.now(name);
        assert_eq!(line.cuts(), cuts + 1, "it was cut in the middle");
        now.exits(1).says(says).says("trying again in");
        self.lab.healthy();
        self.run(&["status"]).ok().says("failed at").says(says);
        line.mend();
        self.unharmed(name, before);
        self.restic(name, &["check"]).ok().says("no errors were found");
    }

    /// One that can be used again at once only takes a little longer, and that is told.
    #[track_caller]
    fn falters(&self, name: &str, line: &Wire) {
        line.mend();
        let cuts = line.cuts();
        self.another_picture(20 + u64::from(line.port));
        line.cut_after(MIDDLE, true);
        self.now(name).ok().says("; trying again in");
        assert_eq!(line.cuts(), cuts + 1, "it was cut in the middle");
        self.run(&["backup", "verify", "--repository", name]).ok().says("all whole");
    }

    /// Nothing came of a backup that failed, and the next one succeeds.
    #[track_caller]
    fn unharmed(&self, name: &str, before: usize) {
        assert_eq!(self.count(name), before, "{name}");
        self.now(name).ok();
        self.run(&["backup", "verify", "--repository", name]).ok().says("all whole");
        assert_eq!(self.count(name), before + 1, "{name}");
    }

    #[track_caller]
    fn wrong_password(&self, name: &str) {
        let (file, away) = (self.password(name), self.lab.path("away"));
        fs::rename(&file, &away).unwrap();
        fs::write(&file, "something-else\n").unwrap();
        fs::set_permissions(&file, fs::Permissions::from_mode(0o400)).unwrap();
        let list = self.run(&["backup", "list", "--repository", name]);
        fs::rename(&away, &file).unwrap();
        list.exits(1).says("the password is wrong");
    }
}

/// Tests that leave the server and its config as they were.
pub fn elsewhere(s: &mut Scenario, server: &Server) {
    let lab = &server.lab;
    let config = lab.config();
    let (ssh_port, store_port) = (Sshd::free_port(), Sshd::free_port());
    let ssh = Wire::to(ssh_port);
    let there = Elsewhere {
        server,
        lab,
        laptop: Laptop::new(lab, "127.0.0.1", ssh.port),
        ssh,
        store: Wire::to(store_port),
        keys: lab.path("store-keys"),
        rclone: lab.path("rclone.conf"),
    };
    let remote = format!("[drive]\ntype = alias\nremote = {}\n", lab.path("drive").display());
    fs::create_dir_all(lab.path("drive")).unwrap();
    lab.write("rclone.conf", &remote);
    there.write_keys(S3Store::KEYS.0, S3Store::KEYS.1, 0o400);
    let notices = lab.path("notices").display().to_string();
    let mut sections = format!("\n[notify]\non = \"always\"\nfile = {notices:?}\n");
    for name in NAMES {
        sections.push_str(&format!(
            "\n[[backup.repositories]]\nname = {name:?}\nrepository = {:?}\n",
            there.place(name)
        ));
    }
    sections.push_str(
        "\n[[backup.repositories]]\nname = \"unused\"\nrepository = \"sftp:stranger:/srv/matrix\"\n",
    );
    let sections = sections.replace(
        "name = \"store\"\n",
        &format!("name = \"store\"\ns3_credentials = {:?}\n", there.keys.display().to_string()),
    );
    lab.write("matrix.toml", &format!("{config}{sections}"));
    {
        let path = std::env::var("PATH").unwrap_or_default();
        let _sshd = Sshd::start(&there.laptop, ssh_port, &path);
        there.laptop.gets_in();
        sftp(s, &there);
        by_itself(s, &there);
    }
    {
        let _store = S3Store::start(store_port, &lab.path("objects"));
        s3(s, &there);
    }
    rclone(s, &there);
    lab.write("matrix.toml", &config);
}

/// A repository of each kind is made, filled, read, pruned, and read by others.
fn kept(s: &mut Scenario, there: &Elsewhere<'_>, kind: &str, name: &str) {
    let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
    s.test(&format!("{kind}: a repository is made and filled, and its password is seen nowhere"), || {
        let watcher = ProcessWatcher::start();
        there.run(&["backup", "init", "--repository", name]).ok().says(&format!("backup key {name}"));
        let now =
            there.limited(name, "upload_limit", "1M/s", || there.now(name).ok().says("1 users, 1 rooms"));
        assert!(now.took >= there.takes(name, 1), "{}", now.evidence());
        let processes: Vec<String> = watcher.stop().into_iter().collect();
        let password = there.run(&["backup", "key", name]).ok().text().to_owned();
        assert_eq!(password.len(), 49, "ten groups of four");
        assert!(processes.iter().any(|line| line.contains("pg_dump")), "the watcher saw the dump being made");
        absent(&[(name.to_owned(), password)], "processes", &processes);
        assert_eq!(mode(&there.password(name)), 0o400);
        there.run(&["backup", "init", "--repository", name]).exits(1).says("there is one already");
    });
    s.test(&format!("{kind}: what is written there is found again, read whole and pruned"), || {
        let second = there.run(&["backup", "now", "--repository", name, "--json"]).ok();
        let made = &second.json_lines().pop().unwrap()["backup"];
        assert!(made["added"].as_u64() < made["bytes"].as_u64().map(|all| all / 4), "{made}");
        there.run(&["backup", "show", "--repository", name]).ok().says("media files");
        let words = ["backup", "verify", "--repository", name];
        let verify = there.limited(name, "download_limit", "2M/s", || there.run(&words).ok());
        let verify = verify.says("2 snapshots, all whole");
        assert!(verify.took >= there.takes(name, 2), "{}", verify.evidence());
        there.now(name).ok();
        there.run(&["backup", "prune", "--repository", name]).ok().says("1 were removed");
        assert_eq!(there.count(name), 2);
        let place = there.place(name);
        there.run(&["status"]).ok().says(&format!("in {place} ({name})"));
    });
    s.test(&format!("{kind}: Debian's restic reads it as well, and a restore begins from it"), || {
        there.restic(name, &["check", "--read-data"]).ok().says("no errors were found");
        there.restic(name, &["ls", "latest"]).ok().says("/matrix/files/secrets/signing.key");
        let (place, password) = (there.place(name), there.password(name).display().to_string());
        let words = ["restore", "--yes", "--from", &place, "--password-file", &password];
        let restore = there
            .command(&words)
            .env("AWS_ACCESS_KEY_ID", S3Store::KEYS.0)
            .env("AWS_SECRET_ACCESS_KEY", S3Store::KEYS.1);
        // The server is there, so that it goes no further.
        restore.run().exits(2).says("left alone");
        there.lab.healthy();
    });
}

fn sftp(s: &mut Scenario, there: &Elsewhere<'_>) {
    kept(s, there, "sftp", "nas");
    s.test("sftp: which repository is meant has to be said, and it is for its owner alone", || {
        there.run(&["backup", "init"]).exits(2).says("several repositories").says("nas, store, drive");
        there.run(&["backup", "key", "else"]).exits(2).says("has no repository else");
        let config = fs::metadata(there.folder("nas").join("config")).unwrap();
        assert_eq!(config.permissions().mode() & 0o777, 0o600);
    });
    s.test("sftp: a host key that is not known, or another one than before, is called that", || {
        let unused = there.run(&["backup", "init", "--repository", "unused"]);
        unused.exits(1).says("does not know the machine's key");
        let known = there.laptop.key("known_hosts");
        there.laptop.knows("127.0.0.1", there.ssh.port, &there.laptop.key("own.pub"));
        let now = there.now("nas");
        let status = there.run(&["status"]);
        fs::write(there.laptop.key_file("known_hosts"), known).unwrap();
        now.exits(1).says("knows the machine by another key").says("ssh-keygen -R box");
        status.ok().says("knows the machine by another key");
    });
    s.test("sftp: a wrong password is called that; where restic is at work, nothing is written", || {
        there.wrong_password("nas");
        let held = there.folder("nas").join("locks").join("0".repeat(64));
        fs::write(&held, "held").unwrap();
        let refused = there.now("nas");
        // One that nobody refreshes any more was left behind.
        let old = SystemTime::now() - Duration::from_secs(3600);
        fs::File::options().write(true).open(&held).unwrap().set_modified(old).unwrap();
        let left_behind = there.now("nas");
        fs::remove_file(&held).unwrap();
        refused.exits(1).says("restic is at work in it").says("restic unlock");
        left_behind.ok();
    });
    s.test("sftp: a full disk on the other machine makes no snapshot, and is called that", || {
        let small = there.folder("nas");
        let whole = small.with_extension("whole");
        fs::rename(&small, &whole).unwrap();
        fs::create_dir(&small).unwrap();
        let place = small.display().to_string();
        Invocation::new(["mount", "-t", "tmpfs", "-o", "size=2m,mode=700", "tmpfs", &place]).run().ok();
        fs::rename(there.password("nas"), there.lab.path("away")).unwrap();
        let init = there.run(&["backup", "init", "--repository", "nas"]);
        let ran = [there.now("nas"), there.run(&["backup", "list", "--repository", "nas"])];
        Invocation::new(["umount", &place]).run().ok();
        fs::rename(there.lab.path("away"), there.password("nas")).unwrap();
        fs::remove_dir(&small).unwrap();
        fs::rename(&whole, &small).unwrap();
        init.ok();
        let [now, list] = ran;
        now.exits(1).says("disk is full");
        list.ok().says("no snapshot yet");
    });
    s.long("sftp: a connection that is lost in the middle fails the backup, and harms nothing", || {
        there.cut("nas", &there.ssh, "onnection refused");
    });
    s.test("sftp: a connection that is lost and comes back is waited for, which is told", || {
        there.falters("nas", &there.ssh);
    });
}

fn s3(s: &mut Scenario, there: &Elsewhere<'_>) {
    kept(s, there, "s3", "store");
    s.test("s3: wrong keys of an object store are called that, and shown to nobody", || {
        there.write_keys("SOMEBODY", "hunter2hunter2", 0o400);
        let wrong = there.now("store");
        there.write_keys("SOMEBODY", "hunter2hunter2", 0o644);
        let open = there.now("store");
        there.write_keys(S3Store::KEYS.0, S3Store::KEYS.1, 0o400);
        let wrong = wrong.exits(1).says("403").says("backup.s3_credentials");
        wrong.never_says("hunter2").never_says("X-Amz");
        open.exits(1).says("others than its owner can read it");
    });
    s.test("s3: a wrong password is called that; where restic is at work, nothing is written", || {
        there.wrong_password("store");
        there.restics_lock("PUT");
        let refused = there.now("store");
        there.restics_lock("DELETE");
        refused.exits(1).says("restic is at work in it").says("restic unlock");
    });
    s.long("s3: a store that is lost in the middle fails the backup, and harms nothing", || {
        there.cut("store", &there.store, "in the bucket backups");
    });
    s.test("s3: a store that is lost and comes back is waited for, which is told", || {
        there.falters("store", &there.store);
    });
}

fn rclone(s: &mut Scenario, there: &Elsewhere<'_>) {
    kept(s, there, "rclone", "drive");
    s.test("rclone: a wrong password is called that; where restic is at work, nothing is written", || {
        there.wrong_password("drive");
        let held = there.folder("drive").join("locks").join("0".repeat(64));
        fs::write(&held, "held").unwrap();
        let refused = there.now("drive");
        fs::remove_file(&held).unwrap();
        refused.exits(1).says("restic is at work in it").says("restic unlock");
    });
    s.test("rclone: a remote that is gone is called that, and nothing is made in its place", || {
        let (folder, away) = (there.folder("drive"), there.lab.path("unplugged-drive"));
        let before = there.count("drive");
        fs::rename(&folder, &away).unwrap();
        let now = there.now("drive");
        let made = folder.exists();
        fs::rename(&away, &folder).unwrap();
        now.exits(1).says("rclone shows no repository at this place").says("rclone lsf drive:matrix");
        assert!(!made, "nothing was made there");
        assert_eq!(there.count("drive"), before);
    });
    s.test("rclone: one that ends in the middle fails the backup, and harms nothing", || {
        let before = there.count("drive");
        there.another_picture(30);
        let data = there.folder("drive").join("data");
        let packs = || super::files(&data).len();
        let there_before = packs();
        let words = ["backup", "now", "--repository", "drive"];
        // So slow that a pack takes seconds.
        let mut running = there.command(&words).env("RCLONE_BWLIMIT", "512k").start();
        wait_until("a pack is being written", Duration::from_secs(120), || {
            assert!(running.is_running(), "it ended: {}", running.said());
            if packs() > there_before { Ok(()) } else { Err("there is none yet".to_owned()) }
        });
        let parent = running.id().to_string();
        let list = ["pgrep", "--parent", &parent, "--full", "rclone serve restic"];
        let rclone = Invocation::new(list).run().ok().text().to_owned();
        Invocation::new(["kill", "-KILL", &rclone]).run().ok();
        running.wait().exits(1).says("through rclone");
        there.lab.healthy();
        there.run(&["status"]).ok().says("through rclone");
        there.unharmed("drive", before);
    });
}

/// What timers do. They are seen to do it where there is a systemd, in `this_machine`.
fn by_itself(s: &mut Scenario, there: &Elsewhere<'_>) {
    let notices = || fs::read_to_string(there.lab.path("notices")).unwrap_or_default();
    let told = || there.lab.guest().read("/var/lib/matrix-podman/backups.json");
    let record = there.password("nas").with_file_name("backup-last.json");
    s.test("schedules: only what is due is done, and a repository that is away is waited for", || {
        let words = ["backup", "now", "--unattended", "--patience", "120s", "--repository", "nas"];
        // Nothing came round since the backups of a moment ago, except for what was never made.
        let _ = fs::remove_file(&record);
        there.ssh.cut();
        let mut running = there.command(&words).start();
        running.comes_to("trying again in");
        there.ssh.mend();
        let now = running.wait().ok().says("A backup is due: nas");
        assert!(now.stdout.contains("Snapshot"), "{}", now.evidence());
        assert_eq!(there.count("nas"), 2, "what need not be kept was removed");
        there.run(&words).ok().says("No backup is due");
        let told = told();
        assert!(told.contains("\"nas\"") && !told.contains("sftp") && !told.contains("hunter"), "{told}");
        wait_until("whoever enters the guest is told", Duration::from_secs(20), || {
            let motd = there.lab.guest().exec(["matrix-podman", "motd"]).ok();
            if motd.stdout.contains("(nas)") { Ok(()) } else { Err(motd.evidence()) }
        });
        assert!(notices().contains("backup") && !notices().contains("failed"), "{}", notices());
        let drill = ["backup", "drill", "--unattended", "--repository", "nas"];
        there.run(&drill).ok().says("A drill is due: nas").says("came back whole");
        there.run(&drill).ok().says("No drill is due");
        assert!(notices().to_lowercase().contains("drill"), "{}", notices());
    });
    s.test("schedules: a repository that stays away is told of, here, in the guest and by notice", || {
        let _ = fs::remove_file(&record);
        let words = ["backup", "now", "--unattended", "--patience", "1s", "--repository", "nas"];
        there.ssh.cut();
        let now = there.run(&words);
        let status = there.run(&["status"]);
        let doctor = there.run(&["doctor"]);
        there.ssh.mend();
        now.exits(1).says("onnection refused").says("backup now");
        assert!(notices().contains("backup failed: nas"), "{}", notices());
        // What it was cut off at depends on how far it had come.
        let status = status.ok().says("the last try failed at");
        let why = ["onnection refused", "the connection was lost"];
        assert!(why.iter().any(|why| status.stdout.contains(why)), "{}", status.evidence());
        doctor.says("The repository nas cannot be reached");
        let motd = there.lab.guest().exec(["matrix-podman", "motd"]).ok();
        motd.says("FAILED");
    });
}
