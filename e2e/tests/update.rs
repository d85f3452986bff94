//! Updates of a real server with people's data in it: between two releases of
//! Synapse, and with images that do not do, at every stage at which they can.

use std::{path::PathBuf, process::ExitCode, time::Duration};

use matrix_podman_e2e::{Invocation, Lab, Scenario, Session, archive, clients_folder, wait_until};
use serde_json::Value;

const PASSWORD: &str = "correct horse battery staple";
/// An older release than the newest; its wheels are on PyPI.
const OLDER: &str = "1.162.0";
const MESSAGES: u32 = 20;
const PICTURE: &[u8] = b"a picture of the cat";

fn main() -> ExitCode {
    let mut s = Scenario::begin("update");
    let site = s.foundation("a server with a room, messages and media in it", Site::make);
    let site = &site;
    releases(&mut s, site);
    preflight(&mut s, site);
    rehearsals(&mut s, site);
    failures(&mut s, site);
    s.end()
}

struct Site {
    lab: Lab,
    anna: Session,
    room: String,
    media: String,
    /// PostgreSQL's container, which no update of Synapse restarts.
    postgres: (String, String),
}

impl Site {
    fn make() -> Self {
        let lab = Lab::with_config("update");
        lab.set("[images]", "source", "\"build\"");
        lab.set("[images.synapse]", "build_version", &format!("{OLDER:?}"));
        lab.up();
        lab.unset("build_version");
        assert_eq!(lab.synapse_version(), OLDER);
        let anna = lab.user("anna", PASSWORD);
        let room = anna.create_room("kitchen");
        for n in 0..MESSAGES {
            anna.send(&room, &format!("message {n}")).unwrap();
        }
        let media = anna.upload("cat", PICTURE);
        let postgres = lab.guest().incarnation("postgres_db");
        Self { lab, anna, room, media, postgres }
    }

    /// Nothing of what people have is lost, they are still logged in, and can go on.
    #[track_caller]
    fn serves_the_same(&self) {
        self.lab.healthy();
        let messages = self.anna.messages(&self.room);
        for n in 0..MESSAGES {
            assert!(messages.contains(&format!("message {n}")), "message {n} is lost: {messages:?}");
        }
        assert_eq!(self.anna.download(&self.media), PICTURE);
        self.anna.send(&self.room, "and on it goes").unwrap();
    }

    #[track_caller]
    fn postgres_was_left_alone(&self) {
        assert_eq!(self.lab.guest().incarnation("postgres_db"), self.postgres, "PostgreSQL was restarted");
    }

    #[track_caller]
    fn history(&self) -> Vec<Value> {
        self.lab.run(&["history", "--json"]).ok().json().as_array().cloned().unwrap_or_default()
    }

    /// Makes the config want an archive of Synapse that starts in another way.
    #[track_caller]
    fn wants(&self, name: &str, entrypoint: &[&str]) -> PathBuf {
        let to = self.lab.path(&format!("{name}.tar"));
        let script = clients_folder().join("variant.py").display().to_string();
        let (from, place) = (archive("synapse").display().to_string(), to.display().to_string());
        let entrypoint = serde_json::json!(entrypoint).to_string();
        Invocation::new(["python3", &script, &from, &place, &entrypoint]).run().ok();
        self.lab.set("[images.synapse]", "archive", &format!("{place:?}"));
        to
    }

    /// The config is as before, and the server as it says.
    #[track_caller]
    fn wants_what_runs(&self) {
        self.lab.unset("archive");
        self.lab.settled();
    }
}

fn releases(s: &mut Scenario, site: &Site) {
    let lab = &site.lab;
    s.test("while Synapse rewrites data in the background, nothing is begun", || {
        // A new server makes its indexes in that way, and may be done by now. What waits
        // for itself is never done; Synapse does everything else before it finds that.
        let table = |statement: &str| {
            let psql = "podman exec postgres_db psql --quiet -U synapse -c";
            lab.guest().sh(&format!("{psql} \"{statement}\"")).ok();
        };
        table(
            "INSERT INTO background_updates (update_name, progress_json, depends_on) \
             VALUES ('never_done', '{}', 'never_done')",
        );
        let refused = lab.run(&["update", "synapse", "--yes"]).exits(1);
        table("DELETE FROM background_updates WHERE update_name = 'never_done'");
        assert!(refused.stderr.contains("in the background"), "{}", refused.evidence());
        assert!(refused.stderr.contains("never_done"), "it names what\n{}", refused.evidence());
        assert_eq!(site.history().len(), 1, "what up made, and nothing else");
        lab.rewriting_is_over();
    });
    s.test("a check says what would change, and replaces nothing", || {
        let before = lab.guest().incarnation("synapse");
        let check = lab.run(&["update", "synapse", "--check"]).exits(3);
        assert!(check.stderr.contains(&format!("{OLDER} → ")), "{}", check.evidence());
        for said in [
            "no data is lost",
            "plain LXC makes none",
            "Synapse/releases",
            "It takes about",
            "Debian: ",
            "matrix-podman: ",
        ] {
            let found = check.stderr.to_lowercase().contains(&said.to_lowercase());
            assert!(found, "{said}: {}", check.evidence());
        }
        let json = lab.run(&["update", "synapse", "--check", "--json"]).exits(3).json_lines();
        let outlook = json.iter().find(|line| line["event"] == "outlook").unwrap();
        assert_eq!(outlook["takes"]["from"], "size", "no update was made here yet: {outlook}");
        assert_eq!(outlook["program"]["guest_has_it"], true, "{outlook}");
        assert_eq!(lab.guest().incarnation("synapse"), before);
    });
    s.test("the newest release is updated to, and only Synapse is replaced", || {
        let redis = lab.guest().incarnation("redis");
        lab.run(&["update", "synapse", "--yes"]).ok().says("all that was well before is");
        assert_ne!(lab.synapse_version(), OLDER);
        site.serves_the_same();
        site.postgres_was_left_alone();
        assert_eq!(lab.guest().incarnation("redis"), redis, "Redis was restarted");
        lab.settled();
    });
    s.test("what is newest already is left alone", || {
        let before = lab.guest().incarnation("synapse");
        lab.run(&["update", "synapse", "--yes"]).ok().says("Nothing is newer");
        assert_eq!(lab.guest().incarnation("synapse"), before);
    });
    s.test("the dump taken before is whole, and only root reads it", || {
        let dump = site.history().last().unwrap()["dump"].as_str().unwrap().to_owned();
        let guest = lab.guest();
        assert_eq!(guest.exec(["stat", "--format", "%a %u", &dump]).ok().text(), "600 0");
        let list = guest.sh(&format!("podman exec -i postgres_db pg_restore --list <{dump}")).ok();
        list.says("events").says("users");
    });
    s.test("rollback goes back to the release before, and the history tells all of it", || {
        let newest = lab.synapse_version();
        let back = lab.run(&["rollback", "--yes"]).ok();
        assert!(back.stderr.contains("Nothing is lost: the older program opens"), "{}", back.evidence());
        assert_eq!(lab.synapse_version(), OLDER);
        site.serves_the_same();
        site.postgres_was_left_alone();
        let history = site.history();
        let versions: Vec<&str> =
            history.iter().filter_map(|g| g["images"]["synapse"]["version"].as_str()).collect();
        assert_eq!(versions, [OLDER, &newest, OLDER]);
        assert!(history.iter().all(|g| g["outcome"] == "kept"), "{history:?}");
        lab.run(&["history"]).ok().says("runs").says("rollback on");
        lab.settled();
    });
    s.test("a version that is named is gone to, an older one too where the data allow it", || {
        let newest = site.history()[1]["images"]["synapse"]["version"].as_str().unwrap().to_owned();
        for (named, wanted) in
            [(format!("synapse=v{newest}"), newest.as_str()), (format!("synapse={OLDER}"), OLDER)]
        {
            lab.run(&["update", &named, "--yes"]).ok().says("all that was well before is");
            assert_eq!(lab.synapse_version(), wanted);
            site.serves_the_same();
        }
        site.postgres_was_left_alone();
        lab.settled();
    });
    s.test("a version that could not open the data is refused before anything is touched", || {
        let psql = |statement: &str| {
            let psql = "podman exec postgres_db psql --quiet -U synapse -tAc";
            lab.guest().sh(&format!("{psql} \"{statement}\"")).ok().text().to_owned()
        };
        let (demanded, generations) =
            (psql("SELECT compat_version FROM schema_compat_version"), site.history().len());
        psql("UPDATE schema_compat_version SET compat_version = 9999");
        let before = lab.guest().incarnation("synapse");
        let refused = lab.run(&["update", "synapse", "--yes"]).exits(1);
        psql(&format!("UPDATE schema_compat_version SET compat_version = {demanded}"));
        assert!(refused.stderr.contains("these demand 9999"), "{}", refused.evidence());
        assert!(refused.stderr.contains("nothing was changed"), "{}", refused.evidence());
        assert_eq!((lab.guest().incarnation("synapse"), site.history().len()), (before, generations));
        lab.settled();
    });
    s.test("a version that nobody has changes nothing", || {
        lab.run(&["update", "synapse=9.9.9", "--yes"]).exits(1);
        lab.run(&["update", "mysql", "--yes"]).exits(2);
        assert_eq!(lab.synapse_version(), OLDER);
        lab.settled();
    });
}

fn preflight(s: &mut Scenario, site: &Site) {
    let (lab, guest) = (&site.lab, site.lab.guest());
    let dumps = "/opt/matrix/dumps";
    s.test("without room for the dump nothing is begun", || {
        guest.sh(&format!("mount -t tmpfs -o size=8m,mode=700 tmpfs {dumps}")).ok();
        let refused = lab.run(&["update", "synapse", "--yes"]).exits(1);
        guest.exec(["umount", dumps]).ok();
        assert!(refused.stderr.contains("are free in the guest"), "{}", refused.evidence());
        assert_eq!(lab.synapse_version(), OLDER);
    });
    s.test("a disk that is full during the dump stops before anything is replaced", || {
        let before = guest.incarnation("synapse");
        guest.sh(&format!("mount -t tmpfs -o size=4g,nr_inodes=1,mode=700 tmpfs {dumps}")).ok();
        let failed = lab.run(&["update", "synapse", "--yes"]).exits(1);
        guest.exec(["umount", dumps]).ok();
        assert!(failed.stderr.contains("disk is full"), "{}", failed.evidence());
        assert_eq!(guest.incarnation("synapse"), before);
        lab.settled();
    });
    s.test("a server that is not well is not updated", || {
        lab.run(&["stop", "element-web"]).ok();
        let refused = lab.run(&["update", "synapse", "--yes"]).exits(1);
        lab.run(&["start", "element-web"]).ok();
        assert!(refused.stderr.contains("element-web"), "{}", refused.evidence());
        assert_eq!(lab.synapse_version(), OLDER);
    });
    s.test("what matrix.toml says beside is not applied by the way", || {
        lab.set("[synapse]", "max_upload_size", "\"77M\"");
        let refused = lab.run(&["update", "synapse", "--yes"]).exits(1);
        assert!(refused.stderr.contains("not applied yet"), "{}", refused.evidence());
        lab.unset("max_upload_size");
        lab.settled();
    });
}

/// The server runs the older release here, and has nothing left to rewrite.
fn rehearsals(s: &mut Scenario, site: &Site) {
    let (lab, guest) = (&site.lab, site.lab.guest());
    let nothing_is_left = || {
        guest.sh("! test -e /opt/matrix.rehearsal").ok();
        let names = guest.exec(["podman", "ps", "--all", "--format", "{{.Names}}"]).ok();
        assert!(!names.stdout.contains("rehearsal"), "{}", names.stdout);
    };
    s.long(
        "a rehearsal that was killed is cleared away by the next, which tells what the update would do",
        || {
            let all = ["postgres_db", "redis", "synapse", "element-web"];
            let before = all.map(|name| guest.incarnation(name));
            let killed = lab.command(&["update", "synapse", "--rehearse"]).start();
            let there = |service: &str| {
                wait_until(&format!("the rehearsal's {service} runs"), Duration::from_secs(240), || {
                    let name = format!("matrix-rehearsal-{service}");
                    let ran = guest.exec(["podman", "container", "exists", &name]);
                    if ran.code == 0 { Ok(()) } else { Err(ran.stderr) }
                });
            };
            there("postgres_db");
            // Nothing leads out of it: no other server, no mail, no push.
            let network = guest.inspect("matrix-rehearsal-postgres_db")["HostConfig"]["NetworkMode"].clone();
            assert_eq!(network, "none");
            there("synapse");
            // The agent in the guest is gone as well, as after a power cut.
            guest.sh("kill -KILL $(pidof matrix-podman)").ok();
            killed.kill();
            let told = lab.run(&["update", "synapse", "--rehearse"]).exits(3);
            for words in ["Rehearsed on a copy", "migrations included", "no data is lost"] {
                assert!(told.stderr.contains(words), "{words}: {}", told.evidence());
            }
            nothing_is_left();
            assert_eq!(all.map(|name| guest.incarnation(name)), before, "the server was touched");
            assert_eq!(lab.synapse_version(), OLDER);
            lab.settled();
        },
    );
    s.test("what does not do in a rehearsal is not begun, unattended either", || {
        site.wants("refuses", &["/bin/sh", "-c", "echo 'this image is broken' >&2; exit 7", "x"]);
        let generations = site.history().len();
        let before = guest.incarnation("synapse");
        let failed = lab.run(&["update", "synapse", "--rehearse"]).exits(1);
        assert!(failed.stderr.contains("this image is broken"), "{}", failed.evidence());
        nothing_is_left();
        lab.set("[update]", "rehearse", "true");
        lab.run(&["update", "synapse", "--unattended"]).exits(1);
        let record = guest.read("/opt/matrix/matrix.update.json");
        assert!(record.contains("rehears") && record.contains("\"failed\""), "{record}");
        assert_eq!(guest.incarnation("synapse"), before, "it was begun");
        assert_eq!(site.history().len(), generations);
        lab.unset("rehearse");
        site.wants_what_runs();
    });
}

fn failures(s: &mut Scenario, site: &Site) {
    let (lab, guest) = (&site.lab, site.lab.guest());
    s.test("an image that does not start is taken back by itself, with the lines that show why", || {
        site.wants("ends", &["/bin/sh", "-c", "echo 'this image is broken' >&2; exit 7", "x"]);
        let failed = lab.run(&["update", "synapse", "--yes", "--within", "30s"]).exits(1);
        assert!(failed.stderr.contains("this image is broken"), "{}", failed.evidence());
        assert!(failed.stderr.contains("with the same data"), "{}", failed.evidence());
        assert_eq!(lab.synapse_version(), OLDER);
        assert_eq!(site.history().last().unwrap()["outcome"], "undone");
        site.serves_the_same();
        site.postgres_was_left_alone();
        site.wants_what_runs();
    });
    s.test("a migration that fails is taken back, with Synapse's own words", || {
        site.wants("migrates", &["python3", "-c", MIGRATES, "x"]);
        let failed = lab.run(&["update", "synapse", "--yes", "--within", "60s"]).exits(1);
        assert!(failed.stderr.contains("no_such_table"), "{}", failed.evidence());
        assert!(failed.stderr.contains("with the same data"), "{}", failed.evidence());
        assert_eq!(lab.synapse_version(), OLDER);
        // What the migration had begun is gone with it.
        let half = "SELECT count(*) FROM information_schema.columns WHERE column_name = 'half_done'";
        assert_eq!(guest.sh(&format!("podman exec postgres_db psql -U synapse -tAc \"{half}\"")).text(), "0");
        site.serves_the_same();
        site.postgres_was_left_alone();
        site.wants_what_runs();
    });
    s.test("killed at any moment, it is settled by the next run, and nothing is lost", || {
        let archive = site.wants("silent", &["python3", "-c", SILENT, "x"]);
        for (moment, cut_off) in [("Dump the database", false), ("Replace Synapse", true)] {
            lab.set("[images.synapse]", "archive", &format!("{:?}", archive.display().to_string()));
            let mut update = lab.command(&["update", "synapse", "--yes", "--within", "60s"]).start();
            wait_until(moment, Duration::from_secs(120), || {
                let said = update.said();
                if said.contains(moment) { Ok(()) } else { Err(said) }
            });
            update.kill();
            println!("  killed at: {moment}");
            // The guest ends what it has begun; then the server is as before.
            lab.unset("archive");
            let next = lab.up();
            assert_eq!(lab.synapse_version(), OLDER, "killed at {moment}\n{}", next.evidence());
            site.serves_the_same();
            let last = site.history().last().unwrap()["outcome"].clone();
            assert!(!cut_off || last == "undone", "killed at {moment}: {last}\n{}", next.evidence());
        }
        site.postgres_was_left_alone();
    });
    s.long("an image that never gets healthy is taken back", || {
        site.wants("silent", &["python3", "-c", SILENT, "x"]);
        let failed = lab.run(&["update", "synapse", "--yes", "--within", "15s"]).exits(1);
        assert!(failed.stderr.contains("longer than 15 s"), "{}", failed.evidence());
        assert!(failed.stderr.contains("this image says nothing more"), "{}", failed.evidence());
        assert!(failed.stderr.contains("with the same data"), "{}", failed.evidence());
        assert_eq!(lab.synapse_version(), OLDER);
        site.serves_the_same();
        site.postgres_was_left_alone();
        site.wants_what_runs();
    });
    s.test("where the older Synapse cannot open the newer data, the dump is put back", || {
        site.wants("raises", &["python3", "-c", RAISES, "x"]);
        let failed = lab.run(&["update", "synapse", "--yes", "--within", "15s"]).exits(1);
        // It runs, and never answers.
        assert!(failed.stderr.contains("longer than 15 s"), "{}", failed.evidence());
        assert!(failed.stderr.contains("the dump taken before was put back"), "{}", failed.evidence());
        assert_eq!(site.history().last().unwrap()["undo"], "dump");
        assert_eq!(lab.synapse_version(), OLDER);
        site.serves_the_same();
        site.postgres_was_left_alone();
        let kept = guest.sh("podman exec postgres_db psql -U postgres -lqtA").ok();
        kept.says("synapse_of_generation_");
    });
    s.test(
        "cut off by a power cut, it is settled by the next run, before the older Synapse is started",
        || {
            let update = lab.command(&["update", "synapse", "--yes", "--within", "60s"]).start();
            wait_until("the data are newer than the program", Duration::from_secs(120), || {
                let query = "psql -U synapse -tAc 'SELECT compat_version FROM schema_compat_version'";
                match guest.sh(&format!("podman exec postgres_db {query}")).text() {
                    "9999" => Ok(()),
                    other => Err(other.to_owned()),
                }
            });
            update.kill();
            guest.cut_power();
            lab.unset("archive");
            let up = lab.up();
            assert!(up.stderr.contains("was cut off"), "{}", up.evidence());
            let last = site.history().last().unwrap().clone();
            assert_eq!((last["outcome"].as_str(), last["undo"].as_str()), (Some("undone"), Some("dump")));
            assert_eq!(lab.synapse_version(), OLDER);
            site.serves_the_same();
            lab.settled();
        },
    );
}

/// Runs, and never answers.
const SILENT: &str = "import signal, time\n\
    signal.signal(signal.SIGTERM, lambda *_: exit())\n\
    print('this image says nothing more', flush=True)\n\
    time.sleep(100000)";

/// Synapse itself, with a migration in it that fails half-way.
const MIGRATES: &str = "import sys\n\
    import synapse.storage.prepare_database as prepare\n\
    def migrate(cursor, *_, **__):\n\
    \x20   cursor.execute('ALTER TABLE events ADD COLUMN half_done int')\n\
    \x20   cursor.execute('SELECT * FROM no_such_table')\n\
    prepare._upgrade_existing_database = migrate\n\
    sys.argv = ['synapse', '--config-path', '/data/homeserver.yaml']\n\
    from synapse.app.homeserver import main\n\
    main()";

/// Does to the data what a newer release may do, and a little more: older ones
/// no longer open them, and messages are gone. Then it never answers.
const RAISES: &str = "import psycopg2, signal, time\n\
    signal.signal(signal.SIGTERM, lambda *_: exit())\n\
    db = psycopg2.connect('host=postgres_db user=synapse dbname=synapse passfile=/run/secrets/pgpass')\n\
    db.cursor().execute('UPDATE schema_compat_version SET compat_version = 9999')\n\
    db.cursor().execute('DELETE FROM event_json')\n\
    db.commit()\n\
    time.sleep(100000)";
