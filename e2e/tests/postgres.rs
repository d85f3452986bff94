//! PostgreSQL from one major version to the next, on a real server with people's
//! data in it, and what becomes of it when something goes wrong on the way.

use std::{collections::BTreeMap, process::ExitCode, time::Duration};

use matrix_podman_e2e::{
    Invocation, Lab, Ran, Scenario, Session, archive, clients_folder, postgres_archive, wait_until,
};
use serde_json::Value;

const PASSWORD: &str = "correct horse battery staple";
const MESSAGES: u32 = 20;
const PICTURE: &[u8] = b"a picture of the kitchen";
const FOLDER: &str = "/opt/matrix/postgresdata";

fn main() -> ExitCode {
    let mut s = Scenario::begin("postgres");
    let site = s.foundation("a server on PostgreSQL 15 with a room and messages in it", Site::make);
    refused(&mut s, &site);
    failures(&mut s, &site);
    moves(&mut s, &site);
    s.end()
}

struct Site {
    lab: Lab,
    anna: Session,
    room: String,
    media: String,
}

impl Site {
    fn make() -> Self {
        let lab = Lab::with_config("postgres");
        lab.set("[images]", "source", "\"build\"");
        lab.set("[images.postgres]", "archive", &format!("{:?}", postgres_archive(15)));
        lab.up();
        let anna = lab.user("anna", PASSWORD);
        let room = anna.create_room("kitchen");
        for n in 0..MESSAGES {
            anna.send(&room, &format!("message {n}")).unwrap();
        }
        let media = anna.upload("kitchen", PICTURE);
        wait_until("Synapse's background updates are over", Duration::from_secs(420), || {
            match ask(&lab, "SELECT count(*) FROM background_updates").as_str() {
                "0" => Ok(()),
                left => Err(format!("{left} to go")),
            }
        });
        Self { lab, anna, room, media }
    }

    /// The data of people are there, and PostgreSQL is of that version.
    #[track_caller]
    fn serves(&self, major: u32) {
        self.lab.healthy();
        let runs = ask(&self.lab, "SHOW server_version");
        assert!(runs.starts_with(&format!("{major}.")), "PostgreSQL {runs} runs");
        let messages = self.anna.messages(&self.room);
        for n in 0..MESSAGES {
            assert!(messages.contains(&format!("message {n}")), "message {n} is lost: {messages:?}");
        }
        assert_eq!(self.anna.download(&self.media), PICTURE);
        self.anna.send(&self.room, "and on it goes").unwrap();
    }

    #[track_caller]
    fn history(&self) -> Vec<Value> {
        self.lab.run(&["history", "--json"]).ok().json().as_array().cloned().unwrap_or_default()
    }

    #[track_caller]
    fn clusters(&self) -> Vec<String> {
        let names = self.lab.guest().exec(["ls", "-A", FOLDER]).ok();
        names.stdout.lines().map(str::to_owned).collect()
    }

    /// An update that moves the data, begun and not waited for, once the new
    /// cluster is being filled.
    #[track_caller]
    fn half_moved(&self, to: &str) {
        let update = self.lab.command(&["update", &format!("postgres_db={to}"), "--yes"]).start();
        let guest = self.lab.guest();
        wait_until("the new cluster is being filled", Duration::from_secs(300), || {
            let ran = guest.exec(["podman", "exec", "matrix-podman-move", "psql", "-U", "postgres", "-lqtA"]);
            if ran.stdout.contains("synapse|") { Ok(()) } else { Err(ran.stderr) }
        });
        update.kill();
    }

    /// A run that is cut off, in the guest too, once PostgreSQL's unit names the
    /// cluster of version `to`.
    #[track_caller]
    fn cut_off_behind_the_switch(&self, arguments: &[&str], to: u32) {
        let run = self.lab.command(arguments).start();
        let (guest, cluster) = (self.lab.guest(), format!("/{to}/docker"));
        wait_until("PostgreSQL's unit names the other cluster", Duration::from_secs(300), || {
            let unit = guest.read("/etc/containers/systemd/postgres_db.container");
            if unit.contains(&cluster) { Ok(()) } else { Err(unit) }
        });
        run.kill();
        guest.cut_power();
    }
}

#[track_caller]
fn ask(lab: &Lab, query: &str) -> String {
    let argv = ["podman", "exec", "postgres_db", "psql", "-U", "synapse", "-tAc", query];
    lab.guest().exec(argv).ok().text().to_owned()
}

/// How many rows each table has.
#[track_caller]
fn rows(lab: &Lab) -> BTreeMap<String, String> {
    let query = "SELECT relname || '|' || (xpath('//c/text()', query_to_xml('SELECT count(*) AS c FROM ' || \
                 quote_ident(relname), false, false, '')))[1]::text FROM pg_class \
                 WHERE relkind = 'r' AND relnamespace = 'public'::regnamespace";
    ask(lab, query).lines().filter_map(|line| line.split_once('|')).map(own).collect()
}

fn own((table, count): (&str, &str)) -> (String, String) {
    (table.to_owned(), count.to_owned())
}

fn refused(s: &mut Scenario, site: &Site) {
    let lab = &site.lab;
    s.test("an update without a version keeps the major version, whatever matrix.toml names", || {
        lab.set("[images.postgres]", "archive", &format!("{:?}", archive("postgres")));
        let left = lab.run(&["update", "postgres_db", "--yes"]).ok();
        assert!(left.stderr.contains("postgres_db=17"), "{}", left.evidence());
        site.serves(15);
        let up = lab.run(&["up", "--yes"]).exits(1);
        assert!(up.stderr.contains("update postgres_db=17"), "{}", up.evidence());
        site.serves(15);
    });
    s.test("a version that is not what can be had changes nothing", || {
        let other = lab.run(&["update", "postgres_db=18", "--yes"]).exits(1);
        assert!(other.stderr.contains("PostgreSQL 17"), "{}", other.evidence());
        site.serves(15);
        assert_eq!(site.clusters(), ["15"]);
    });
}

fn failures(s: &mut Scenario, site: &Site) {
    let (lab, guest) = (&site.lab, site.lab.guest());
    s.test("a disk that is full on the way leaves the old cluster serving", || {
        // The same data on a disk that has room, and no more files to give.
        lab.run(&["stop"]).ok();
        guest
            .sh(&format!(
                "mv {FOLDER} {FOLDER}.whole; mkdir -m 700 {FOLDER}; n=$(find {FOLDER}.whole | wc -l); \
             mount -t tmpfs -o size=6g,nr_inodes=$((n + 1300)) tmpfs {FOLDER}; \
             cp -a {FOLDER}.whole/. {FOLDER}/; chown --reference={FOLDER}.whole {FOLDER}; chmod 700 {FOLDER}"
            ))
            .ok();
        lab.run(&["start"]).ok();
        lab.becomes_healthy(Duration::from_secs(120));
        let failed = update(lab, 17).exits(1);
        let left = site.clusters();
        site.serves(15);
        lab.run(&["stop"]).ok();
        guest.sh(&format!("umount {FOLDER}; rmdir {FOLDER}; mv {FOLDER}.whole {FOLDER}")).ok();
        lab.run(&["start"]).ok();
        lab.becomes_healthy(Duration::from_secs(120));
        assert!(
            failed.stderr.contains("disk is full") || failed.stderr.contains("No space"),
            "{}",
            failed.evidence()
        );
        assert_eq!(left, ["15"], "half of a cluster is left on a full disk");
        site.serves(15);
    });
    s.test("killed on the way, the old cluster serves again, and the next update does it", || {
        site.half_moved("17");
        let before = rows(lab);
        let done = update(lab, 17).ok();
        assert!(done.stderr.contains("was cut off"), "{}", done.evidence());
        site.serves(17);
        let after = rows(lab);
        for table in ["users", "events", "event_json", "room_memberships", "e2e_one_time_keys_json"] {
            assert!(after[table].parse::<u64>().unwrap() >= before[table].parse().unwrap(), "{table}");
        }
        assert_eq!(before.len(), after.len(), "as many tables");
        let clusters = site.clusters();
        assert_eq!(clusters[..2], ["15", "17"], "{clusters:?}");
        // The guest ended what it was at; what it made then is kept, and is not the database.
        assert!(clusters[2..].iter().all(|name| name.starts_with("17.of-generation-")), "{clusters:?}");
        let outcomes: Vec<String> =
            site.history().iter().filter_map(|g| g["outcome"].as_str().map(str::to_owned)).collect();
        assert_eq!(outcomes, ["kept", "undone", "undone", "kept"]);
        lab.settled();
    });
}

#[track_caller]
fn update(lab: &Lab, to: u32) -> Ran {
    lab.run(&["update", &format!("postgres_db={to}"), "--yes"])
}

fn moves(s: &mut Scenario, site: &Site) {
    let (lab, guest) = (&site.lab, site.lab.guest());
    s.test("rollback goes back to the directory before, and says what that loses", || {
        let back = lab.run(&["rollback", "--yes"]).ok();
        assert!(back.stderr.contains("after that is lost"), "{}", back.evidence());
        site.serves(15);
        // What was moved once is not taken for the data that are there now.
        let up = lab.run(&["up", "--yes"]);
        assert!(
            up.stdout.contains("Nothing to do") || up.stderr.contains("Nothing to do"),
            "{}",
            up.evidence()
        );
    });
    s.test("cut off behind the switch, the next run goes on, since going back would lose something", || {
        site.cut_off_behind_the_switch(&["rollback", "--yes"], 17);
        let up = lab.up();
        assert!(up.stderr.contains("The other cluster serves already: it is kept"), "{}", up.evidence());
        site.serves(17);
        let last = site.history().pop().unwrap();
        assert_eq!(last["outcome"], "kept", "{last}");
        assert!(last["by"].as_str().unwrap().starts_with("rollback on"), "{last}");
        let clusters = site.clusters();
        let kept = clusters.iter().any(|name| name.starts_with("17.before-generation-"));
        assert!(kept, "the one that was left is not kept: {clusters:?}");
        lab.settled();
    });
    s.test("a new version that does not start is taken back to the old cluster", || {
        let to = lab.path("ends.tar");
        let script = clients_folder().join("variant.py").display().to_string();
        let (from, place) = (postgres_archive(18).display().to_string(), to.display().to_string());
        let ends = serde_json::json!(["/bin/sh", "-c", "echo 'this image is broken' >&2; exit 7", "x"]);
        Invocation::new(["python3", &script, &from, &place, &ends.to_string()]).run().ok();
        lab.set("[images.postgres]", "archive", &format!("{place:?}"));
        let failed = lab.run(&["update", "postgres_db=18", "--yes", "--within", "20s"]).exits(1);
        assert!(failed.stderr.contains("this image is broken"), "{}", failed.evidence());
        assert!(failed.stderr.contains("with the same data"), "{}", failed.evidence());
        site.serves(17);
    });
    s.test(
        "a power cut on the way leaves the old cluster, and 18 is built from packages and moved to",
        || {
            // From here on PostgreSQL is built from Debian's packages.
            lab.unset("archive");
            site.half_moved("18");
            guest.cut_power();
            let up = lab.up();
            assert!(up.stderr.contains("was cut off"), "{}", up.evidence());
            site.serves(17);
            let check = lab.run(&["update", "postgres_db=18", "--check"]).exits(3);
            assert!(check.stderr.contains("without PostgreSQL and Synapse"), "{}", check.evidence());
            update(lab, 18).ok().says("all that was well before is");
            site.serves(18);
            let image = lab.status()["services"][0]["image"].clone();
            assert!(image.as_str().unwrap().starts_with("build postgres"), "{image}");
            lab.settled();
            lab.run(&["update", "postgres_db", "--yes"]).ok().says("Nothing is newer");
            site.serves(18);
            lab.run(&["verify", "--only", "data"]).ok();
        },
    );
    s.test("prune shows old clusters with their sizes, and removes them when it is told to", || {
        let before = site.clusters();
        let shown = lab.run(&["prune", "--dry-run", "--json"]).ok().json();
        let of = |what: &str| -> Vec<Value> {
            let things = shown[what].as_array().unwrap().iter();
            things.filter(|thing| thing["kind"] == "cluster").cloned().collect()
        };
        assert_eq!(of("removable"), Vec::<Value>::new(), "nobody asked for that");
        let kept = of("kept");
        let names: Vec<&str> = kept.iter().filter_map(|t| t["name"].as_str()?.rsplit('/').next()).collect();
        assert_eq!(names, before.iter().filter(|name| *name != "18").collect::<Vec<_>>(), "{shown}");
        assert!(names.contains(&"15") && names.contains(&"17"), "{shown}");
        for cluster in &kept {
            let argv = ["du", "--summarize", "--block-size=1", cluster["name"].as_str().unwrap()];
            let size = guest.exec(argv).ok();
            assert_eq!(cluster["bytes"].to_string(), size.text().split('\t').next().unwrap(), "{cluster}");
        }
        lab.run(&["prune", "--yes"]).ok().says("`--old-clusters` adds");
        assert_eq!(site.clusters(), before);
        // One whose removal was cut off goes without being asked for again.
        guest.sh(&format!("mv {FOLDER}/15 {FOLDER}/.removing-15")).ok();
        let inside = ["matrix-podman", "prune", "--yes"];
        guest.exec(inside).ok().says(".removing-15");
        assert!(!site.clusters().iter().any(|name| name.contains("15")), "{:?}", site.clusters());
        let pruned = lab.run(&["prune", "--old-clusters", "--yes"]).ok();
        assert!(pruned.stdout.contains("`rollback` goes back to it"), "{}", pruned.evidence());
        assert_eq!(site.clusters(), ["18"]);
        site.serves(18);
        let back = lab.run(&["rollback", "--yes"]).exits(1);
        assert!(
            back.stderr.contains("the cluster of PostgreSQL 17 is no longer there"),
            "{}",
            back.evidence()
        );
        site.serves(18);
        lab.settled();
    });
}
