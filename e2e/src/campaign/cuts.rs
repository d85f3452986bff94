//! Power cuts, spread over everything that changes a server.

use std::{
    thread,
    time::{Duration, Instant},
};

use super::{
    Dice, PowerDisk, Sender, Tally,
    disk::{in_own_namespace, power_off},
};
use crate::{Invocation, Lab, Ran, archive, clients_folder, postgres_archive, wait_until};

const PASSWORD: &str = "correct horse battery staple";
/// How long a run may take on a machine that is busy with other things.
const LONG: Duration = Duration::from_secs(1800);

/// What is cut off.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Act {
    /// The first `up`.
    First,
    /// An update of Synapse.
    Update,
    /// A backup.
    Backup,
    /// A restore into the server that is there.
    Restore,
    /// A change of PostgreSQL's major version.
    Major,
}

impl Act {
    /// All of them.
    pub const ALL: [Act; 5] = [Act::First, Act::Update, Act::Backup, Act::Restore, Act::Major];

    fn name(self) -> &'static str {
        match self {
            Act::First => "a first up",
            Act::Update => "an update",
            Act::Backup => "a backup",
            Act::Restore => "a restore",
            Act::Major => "a PostgreSQL major upgrade",
        }
    }
}

/// A site on a disk whose power can be cut.
struct Site {
    lab: Lab,
    disk: PowerDisk,
    config: String,
    tally: Tally,
    dice: Dice,
}

/// Cuts the power `count` times, spread evenly over `acts`.
pub fn cuts(name: &str, acts: &[Act], count: usize) -> Tally {
    in_own_namespace();
    crate::make_archives();
    let old = acts.contains(&Act::Major).then(|| postgres_archive(15));
    let mut site = Site::make(name);
    for (n, act) in acts.iter().enumerate() {
        let share = (count + n) / acts.len();
        println!("{share} cuts in {}", act.name());
        match act {
            Act::First => site.first(share),
            Act::Major => {
                let old = old.as_deref().map(|path| path.display().to_string()).unwrap_or_default();
                site.major(share, &old);
            }
            other => site.others(*other, share),
        }
    }
    println!("\n{}", site.tally);
    site.tally.clone()
}

impl Site {
    fn make(name: &str) -> Self {
        let lab = Lab::new(name);
        let disk = PowerDisk::below(&lab);
        lab.run(&["init", "--domain", &lab.domain, "--guest-name", &lab.guest().name, "--yes"]).ok();
        lab.own_network();
        lab.use_archives();
        lab.set("[backup]", "repository", &format!("{:?}", lab.path("repository").display().to_string()));
        let config = lab.config();
        Self { lab, disk, config, tally: Tally::default(), dice: Dice::new() }
    }

    /// A machine on which nothing of the site is but its config, written long ago.
    fn fresh(&mut self) {
        power_off(&self.lab);
        self.disk.take_out();
        self.disk.format();
        self.disk.mount();
        self.lab.write("matrix.toml", &self.config);
        self.disk.flush();
    }

    /// The `n`th of `count` moments in what takes `whole` undisturbed, and a little
    /// longer: the seconds behind "done" count too.
    fn moment(&mut self, n: usize, count: usize, whole: Duration) -> Duration {
        (whole + Duration::from_secs(3)).mul_f64((n as f64 + self.dice.roll()) / count.max(1) as f64)
    }

    fn first(&mut self, count: usize) {
        let started = Instant::now();
        self.disk.flush();
        self.lab.command(&["up", "--yes"]).within(LONG).run().ok();
        let whole = started.elapsed();
        for n in 0..count {
            self.fresh();
            let at = self.moment(n, count, whole);
            self.cut_off(&["up", "--yes"], at);
            self.comes_back(&format!("a first up, after {:.1} s", at.as_secs_f32()), Vec::new(), None);
        }
    }

    /// Has a server with a user and a repository, whatever was before.
    fn serves(&mut self) {
        self.lab.command(&["up", "--yes"]).within(LONG).run().ok();
        self.lab.user("anna", PASSWORD);
        if !self.lab.path("repository/config").exists() {
            self.lab.run(&["backup", "init"]).ok();
        }
        self.disk.flush();
    }

    fn others(&mut self, act: Act, count: usize) {
        self.serves();
        let whole = self.undisturbed(act);
        for n in 0..count {
            let at = self.moment(n, count, whole);
            let tag = format!("{}, after {:.1} s", act.name(), at.as_secs_f32());
            self.prepare(act);
            let (session, room) = self.room(&tag);
            let mut before = Vec::new();
            if act == Act::Restore {
                // What is restored is what was sent before the backup.
                let sender = Sender::start(session.clone(), room.clone(), tag.clone());
                thread::sleep(Duration::from_secs(2));
                before = sender.stop();
                self.lab.command(&["backup", "now"]).within(LONG).run().ok();
            }
            let sender = Sender::start(session, room.clone(), tag.clone());
            self.cut_off(self.words(act), at);
            let mut acknowledged = sender.stop();
            if act == Act::Restore {
                acknowledged = before;
            }
            self.comes_back(&tag, acknowledged, Some(&room));
        }
    }

    fn words(&self, act: Act) -> &'static [&'static str] {
        match act {
            Act::First => &["up", "--yes"],
            Act::Update => &["update", "synapse", "--yes"],
            Act::Backup => &["backup", "now"],
            Act::Restore => &["backup", "restore", "--yes"],
            Act::Major => &["update", "postgres_db=17", "--yes"],
        }
    }

    /// How long it takes when nothing is cut off.
    fn undisturbed(&mut self, act: Act) -> Duration {
        self.prepare(act);
        if act == Act::Restore {
            self.lab.command(&["backup", "now"]).within(LONG).run().ok();
        }
        let started = Instant::now();
        self.lab.command(self.words(act)).within(LONG).run().ok();
        started.elapsed()
    }

    /// Has there be something to do.
    fn prepare(&mut self, act: Act) {
        match act {
            Act::Update => {
                // Two images that differ in nothing but their ids.
                let variant = self.lab.path("variant.tar");
                let place = variant.display().to_string();
                let from = archive("synapse").display().to_string();
                if !variant.exists() {
                    let script = clients_folder().join("variant.py").display().to_string();
                    Invocation::new(["python3", &script, &from, &place, "null"]).run().ok();
                }
                let next = if self.lab.config().contains(&place) { from } else { place };
                self.lab.set("[images.synapse]", "archive", &format!("{next:?}"));
                self.rewritten();
            }
            Act::Restore => {
                let folder = "/opt/matrix/set-aside";
                self.lab.guest().exec(["rm", "--recursive", "--force", folder]).ok();
            }
            Act::First | Act::Backup | Act::Major => {}
        }
        self.disk.flush();
    }

    /// Waits until Synapse no longer rewrites data in the background, which no update
    /// begins in.
    fn rewritten(&self) {
        let query = ["psql", "-U", "synapse", "-tAc", "SELECT count(*) FROM background_updates"];
        let argv = ["podman", "exec", "postgres_db"].into_iter().chain(query);
        wait_until("Synapse's background updates are over", Duration::from_secs(900), || {
            match self.lab.guest().exec(argv.clone()).text() {
                "0" => Ok(()),
                left => Err(format!("{left} to go")),
            }
        });
    }

    fn major(&mut self, count: usize, old: &str) {
        self.fresh();
        let new = archive("postgres").display().to_string();
        self.lab.set("[images.postgres]", "archive", &format!("{old:?}"));
        self.serves();
        self.rewritten();
        self.lab.set("[images.postgres]", "archive", &format!("{new:?}"));
        self.disk.flush();
        self.lab.guest().shut_down();
        power_off(&self.lab);
        self.disk.take_out();
        self.disk.keep("15");
        let mut whole = Duration::ZERO;
        for n in 0..=count {
            if n > 0 {
                power_off(&self.lab);
                self.disk.take_out();
                self.disk.go_back("15");
            }
            self.disk.mount();
            // The config names 17, and 15 runs: `up` says so, and starts what is there.
            self.lab.set("[images.postgres]", "archive", &format!("{old:?}"));
            self.lab.command(&["up", "--yes"]).within(LONG).run().ok();
            self.lab.set("[images.postgres]", "archive", &format!("{new:?}"));
            self.disk.flush();
            if n == 0 {
                whole = self.undisturbed(Act::Major);
                continue;
            }
            let at = self.moment(n - 1, count, whole);
            let tag = format!("{}, after {:.1} s", Act::Major.name(), at.as_secs_f32());
            let (session, room) = self.room(&tag);
            let sender = Sender::start(session, room.clone(), tag.clone());
            self.cut_off(self.words(Act::Major), at);
            let acknowledged = sender.stop();
            self.boot();
            // Where 15 still serves, the config has to name it again.
            let runs = self.lab.guest().folder().join("rootfs/etc/containers/systemd/postgres_db.container");
            if std::fs::read_to_string(runs).is_ok_and(|unit| unit.contains("/15/docker")) {
                self.lab.set("[images.postgres]", "archive", &format!("{old:?}"));
            }
            self.judge(&tag, acknowledged, Some(&room));
        }
    }

    fn room(&self, tag: &str) -> (crate::Session, String) {
        let session = self.lab.user("anna", PASSWORD);
        let room = session.create_room(tag);
        (session, room)
    }

    /// Begins, and cuts the power after that long.
    fn cut_off(&self, words: &[&str], at: Duration) {
        let running = self.lab.command(words).within(LONG).start();
        thread::sleep(at);
        self.disk.cut();
        running.kill();
    }

    fn boot(&mut self) {
        power_off(&self.lab);
        self.disk.take_out();
        self.disk.mount();
    }

    fn comes_back(&mut self, tag: &str, acknowledged: Vec<String>, room: Option<&str>) {
        self.boot();
        self.judge(tag, acknowledged, room);
    }

    /// One `up` has to bring back everything; a restore that was cut off behind the
    /// point of no return is gone on with by the command that `up` names.
    fn judge(&mut self, tag: &str, acknowledged: Vec<String>, room: Option<&str>) {
        let started = Instant::now();
        let mut ran = self.lab.command(&["up", "--yes"]).within(LONG).run();
        if ran.code == 2 && ran.stderr.contains("backup restore") {
            ran = self.lab.command(&["backup", "restore", "--yes"]).within(LONG).run();
        }
        let took = started.elapsed();
        let mut wrong = (ran.code != 0).then(|| last_words(&ran));
        if wrong.is_none() {
            let ailing = self.lab.ailing();
            wrong = (!ailing.is_empty()).then(|| format!("not healthy: {ailing:?}"));
        }
        let lost = match (room, &wrong) {
            (Some(room), None) => {
                let there = self.lab.user("anna", PASSWORD).messages(room);
                acknowledged.iter().filter(|text| !there.contains(text)).count()
            }
            _ => 0,
        };
        let failed = wrong.is_some();
        self.tally.note(tag, took, acknowledged.len(), lost, wrong);
        if failed {
            println!("{}", ran.evidence());
            // What goes wrong once must not be in the way of what comes next.
            self.lab.command(&["up", "--yes"]).within(LONG).run();
        }
    }
}

fn last_words(ran: &Ran) -> String {
    let said: Vec<&str> = ran.stderr.lines().rev().filter(|line| !line.trim().is_empty()).take(3).collect();
    format!("exit code {}: {}", ran.code, said.into_iter().rev().collect::<Vec<_>>().join(" / "))
}
