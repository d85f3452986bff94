//! Backups of a server that runs, what Debian's restic says of them, what can
//! go wrong, and the way back into a second guest.

use std::{
    fs,
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
    process::ExitCode,
    time::Duration,
};

use matrix_podman_e2e::{Invocation, Lab, ProcessWatcher, PythonClient, Ran, Scenario, Session};
use serde_json::{Value, json};

#[path = "backup/beside.rs"]
mod beside;
#[path = "backup/cron.rs"]
mod cron;
#[path = "backup/faults.rs"]
mod faults;
#[path = "backup/locks.rs"]
mod locks;
#[path = "backup/repositories.rs"]
mod repositories;

const PASSWORD: &str = "correct horse battery staple";
const PICTURE: usize = 3 << 20;

pub(crate) struct Server {
    lab: Lab,
    repository: PathBuf,
    anna: Session,
    room: String,
    media: String,
}

fn main() -> ExitCode {
    let mut s = Scenario::begin("backup");
    let server = s.foundation("a server with a user, a room, messages and media", server);
    made(&mut s, &server);
    drilled(&mut s, &server);
    cron::by_cron(&mut s, &server);
    agreed(&mut s, &server);
    locks::seen(&mut s, &server);
    beside::hardly_noticed(&mut s, &server);
    repositories::elsewhere(&mut s, &server);
    broken(&mut s, &server);
    faults::provoked(&mut s, &server);
    restored(&mut s, server);
    s.end()
}

fn server() -> Server {
    let lab = Lab::with_config("backup");
    lab.run(&["backup", "now"]).exits(2).says("backup.repository");
    lab.up();
    lab.add_user("anna", PASSWORD).ok();
    let anna = lab.matrix().login("anna", PASSWORD);
    let room = anna.create_room("Kitchen");
    for number in 0..20 {
        anna.send(&room, &format!("message {number}")).unwrap();
    }
    let media = upload(&lab.url("synapse"), &anna, &picture(1));
    let repository = lab.path("repository");
    Server { lab, repository, anna, room, media }
}

fn made(s: &mut Scenario, server: &Server) {
    let lab = &server.lab;
    s.test("before there is a repository, every command says how one is made", || {
        lab.set("[backup]", "repository", &format!("{:?}", server.repository.display().to_string()));
        lab.run(&["backup", "now"]).exits(1).says("backup init");
        lab.run(&["backup", "list"]).exits(1).says("backup init");
        lab.run(&["status"]).ok().says("failed at").says("tries again, and says what is wrong");
    });
    s.test("init makes repository and password, says what it is worth, and never a second time", || {
        let init =
            lab.run(&["backup", "init"]).ok().says("Without the password nothing can ever be restored");
        let key = lab.run(&["backup", "key"]).ok();
        assert_eq!(key.text().len(), 49, "ten groups of four");
        assert!(!init.stdout.contains(key.text()) && !init.stderr.contains(key.text()));
        let file = lab.state_folder().join("backup-password");
        assert_eq!(fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o400);
        lab.run(&["backup", "init"]).exits(1).says("there is one already");
        assert_eq!(lab.run(&["backup", "key"]).ok().text(), key.text());
        lab.run(&["backup", "list"]).ok().says("no snapshot yet");
        lab.run(&["backup", "show"]).exits(1).says("backup now");
    });
    s.test("a backup is made while the server runs, and no container is restarted", || {
        let before = lab.guest().incarnation("synapse");
        let made = lab.run(&["backup", "now"]).ok().says("1 users, 1 rooms").says("1 media files");
        assert!(made.stdout.contains("signing key ed25519:"), "{}", made.evidence());
        assert_eq!(lab.guest().incarnation("synapse"), before);
        lab.guest().sh("! ls /opt/matrix/dumps 2>/dev/null | grep .").ok();
    });
    s.test("password and secrets are in no argument, environment, output, journal or record", || {
        let secrets = secrets(server);
        let watcher = ProcessWatcher::start();
        let said: Vec<Ran> = [&["backup", "now", "--json"][..], &["backup", "verify"], &["backup", "show"]]
            .into_iter()
            .map(|words| lab.run(words).ok())
            .collect();
        let processes: Vec<String> = watcher.stop().into_iter().collect();
        assert!(processes.iter().any(|line| line.contains("pg_dump")), "the watcher saw the dump being made");
        absent(&secrets, "processes", &processes);
        absent(&secrets, "output", &said.iter().map(|ran| ran.evidence()).collect::<Vec<_>>());
        let password = lab.state_folder().join("backup-password");
        let records = lab.machine_records().into_iter().filter(|(path, _)| *path != password);
        absent(&secrets, "records", &records.map(|(_, text)| text).collect::<Vec<_>>());
        let guest = lab.guest().exec(["journalctl", "--no-pager", "--output=export"]).ok();
        absent(&secrets, "the guest's journal", &[guest.stdout]);
    });
    s.test("only root reads the repository, and nothing of a backup stays in the guest", || {
        let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
        assert_eq!(mode(&server.repository), 0o700);
        assert_eq!(mode(&lab.state_folder().join("backup-password")), 0o400);
        assert_eq!(mode(&lab.state_folder().join("backup-key")), 0o400);
        let key = lab.run(&["backup", "key"]).ok();
        let places = ["opt/matrix", "etc", "root", "tmp", "var/tmp", "var/log", "var/lib/matrix-podman"];
        let words = ["grep", "--recursive", "--text", "--fixed-strings", "--no-messages", "--file=-"];
        let grep = |text: &str| {
            let grep = Invocation::new(words.iter().chain(&places)).input(text);
            grep.folder(lab.guest().folder().join("rootfs")).run()
        };
        assert!(
            grep(&lab.server_name()).stdout.contains("opt/matrix/matrix.toml"),
            "grep finds what is there"
        );
        assert_eq!(grep(key.text()).stdout, "");
    });
    s.test("the second backup writes what changed, and no more", || {
        server.anna.send(&server.room, "one more").unwrap();
        let second = lab.run(&["backup", "now", "--json"]).ok().json_lines().pop().unwrap();
        let (all, added) = (number(&second["backup"]["bytes"]), number(&second["backup"]["added"]));
        assert!(all > PICTURE as u64 && added < all / 4, "{second}");
        let list = lab.run(&["backup", "list", "--json"]).ok().json();
        assert_eq!(list.as_array().map(Vec::len), Some(3), "{list}");
        let shown = lab.run(&["backup", "show", list[0]["id"].as_str().unwrap(), "--json"]).ok().json();
        let manifest = &shown["manifest"];
        assert_eq!(manifest["tables"]["users"].as_u64(), Some(1), "{manifest}");
        assert_eq!(manifest["server_name"], lab.server_name().as_str());
        assert_eq!(manifest["media"]["files"].as_u64(), Some(1), "{manifest}");
        assert!(manifest["tables"]["e2e_one_time_keys_json"].is_null(), "{manifest}");
    });
    s.test("verify reads every byte; prune keeps the newest of a day, and the oldest of all", || {
        lab.run(&["backup", "verify"]).ok().says("3 snapshots, all whole");
        lab.run(&["backup", "prune"]).ok().says("2 snapshots are kept, 1 were removed");
        lab.run(&["backup", "verify", "--quick"]).ok().says("2 snapshots, all whole");
    });
}

/// A drill beside the server: what it proves, and that nothing of it stays.
fn drilled(s: &mut Scenario, server: &Server) {
    let lab = &server.lab;
    let proof = || -> Value {
        serde_json::from_slice(&fs::read(lab.state_folder().join("backup-drill.json")).unwrap()).unwrap()
    };
    let gone = || {
        lab.guest().sh("! podman ps --all --format '{{.Names}}' | grep drill").ok();
        lab.guest().sh("! test -e /opt/matrix/.matrix-podman-drill").ok();
    };
    s.test(
        "a drill brings the newest snapshot back beside the server, proves it, and leaves nothing",
        || {
            let before = ["postgres_db", "synapse"].map(|service| lab.guest().incarnation(service));
            let drill = lab.run(&["backup", "drill"]).ok().says("came back whole").says("1 media files");
            let key = lab.guest().read("/opt/matrix/secrets/signing.key");
            let id = format!("ed25519:{}", key.split_whitespace().nth(1).unwrap());
            assert!(drill.stdout.contains(&id), "{}", drill.evidence());
            assert_eq!(["postgres_db", "synapse"].map(|service| lab.guest().incarnation(service)), before);
            lab.healthy();
            gone();
            let proof = proof();
            assert_eq!(proof["wrong"].as_array().map(Vec::len), Some(0), "{proof}");
            assert!(number(&proof["tables"]) > 100, "{proof}");
            assert!(proof["logged_in"].as_str().is_some_and(|user| user.starts_with("@drill-")), "{proof}");
            assert!(drill.stderr.contains(proof["signature"]["key"].as_str().unwrap()), "{proof}");
            lab.run(&["status"]).ok().says("came back whole at");
            // The test user was never on the server.
            lab.guest()
                .sh("podman exec postgres_db psql -U synapse -tAc 'SELECT name FROM users' | grep -v drill")
                .ok();
        },
    );
    s.test("a proof that somebody changed proves nothing, and its key is for root alone", || {
        let file = lab.state_folder().join("backup-drill.json");
        let whole = fs::read_to_string(&file).unwrap();
        let at = proof()["at"].as_str().unwrap().to_owned();
        fs::write(&file, whole.replace(&at, "2199-01-01T00:00:00Z")).unwrap();
        lab.run(&["status"]).ok().says("changed since it was signed").says("backup drill");
        assert_eq!(lab.status()["backups"][0]["drill_proof"], "changed");
        fs::write(&file, whole).unwrap();
        assert_eq!(lab.status()["backups"][0]["drill_proof"], "holds");
        let key = fs::metadata("/var/lib/matrix-podman/proof.key").unwrap();
        assert_eq!(key.permissions().mode() & 0o777, 0o400);
    });
    s.test("a drill that is killed is cleared away, and the next one succeeds", || {
        let mut running = lab.command(&["backup", "drill"]).start();
        matrix_podman_e2e::wait_until("the drill's database runs", Duration::from_secs(300), || {
            assert!(running.is_running(), "it ended: {}", running.said());
            let names =
                lab.guest().command(["podman", "ps", "--format", "{{.Names}}"]).quietly().run().stdout;
            if names.contains("matrix-drill") { Ok(()) } else { Err(names) }
        });
        running.kill();
        lab.run(&["backup", "drill", "--json"]).ok();
        gone();
        lab.healthy();
    });
}

/// Debian's restic reads what was written, and sees it whole.
fn agreed(s: &mut Scenario, server: &Server) {
    let password = server.lab.state_folder().join("backup-password");
    let restic = |words: &[&str]| restic(&server.repository, &password, words);
    s.test("Debian's restic finds every byte whole, and the files where the guide says they are", || {
        restic(&["check", "--read-data"]).ok().says("no errors were found");
        let list = restic(&["ls", "latest"]).ok();
        let places = [
            "database/dump.000001",
            "how-to-restore.txt",
            "machine-config.json",
            "manifest.json",
            "media.sha256",
            "files/secrets/signing.key",
        ];
        for path in places {
            assert!(list.stdout.contains(&format!("/matrix/{path}\n")), "{path}\n{}", list.evidence());
        }
        for path in ["postgresdata", "/matrix/files/redis", "remote_content", "dumps"] {
            assert!(!list.stdout.contains(path), "{path}\n{}", list.evidence());
        }
    });
    s.test("what restic takes out is the same: the media's digests hold", || {
        let out = server.lab.path("by-hand");
        restic(&["restore", "latest", "--target", &out.display().to_string()]).ok();
        let list = out.join("matrix/media.sha256").display().to_string();
        Invocation::new(["sha256sum", "--check", "--strict", &list])
            .folder(out.join("matrix/files/synapse/media_store"))
            .run()
            .ok();
        let mut parts: Vec<_> =
            fs::read_dir(out.join("matrix/database")).unwrap().map(|part| part.unwrap().path()).collect();
        parts.sort();
        let dump: Vec<u8> = parts.iter().flat_map(|part| fs::read(part).unwrap()).collect();
        assert!(dump.starts_with(b"PGDMP") && dump.len() > 100_000, "{}", dump.len());
        let to = server.lab.path("taken").display().to_string();
        server.lab.run(&["backup", "restore", "--file", "database.dump", "--to", &to]).ok();
        assert!(fs::read(Path::new(&to).join("database.dump")).unwrap() == dump, "the parts together are it");
        fs::remove_dir_all(to).unwrap();
        fs::remove_dir_all(&out).unwrap();
    });
}

fn broken(s: &mut Scenario, server: &Server) {
    let lab = &server.lab;
    let folder = &server.repository;
    s.test("a wrong password is called that", || {
        let wrong = lab.path("wrong");
        fs::write(&wrong, "something-else\n").unwrap();
        fs::set_permissions(&wrong, fs::Permissions::from_mode(0o600)).unwrap();
        let words = ["restore", "--from", &folder.display().to_string(), "--password-file"];
        let words: Vec<&str> = words.into_iter().chain([wrong.to_str().unwrap()]).collect();
        lab.run(&words).exits(1).says("the password is wrong");
        fs::set_permissions(&wrong, fs::Permissions::from_mode(0o644)).unwrap();
        lab.run(&words).exits(1).says("others than its owner can read it");
    });
    s.test("a repository that is gone is not made anew", || {
        let away = lab.path("unplugged");
        fs::rename(folder, &away).unwrap();
        lab.run(&["backup", "now"]).exits(1).says("no such folder").says("mounted");
        lab.run(&["status"]).ok().says("failed at").says("no such folder").says("backup now");
        assert!(lab.status()["backups"][0]["last"]["why"].as_str().unwrap().contains("no such folder"));
        fs::create_dir(folder).unwrap();
        lab.run(&["backup", "now"]).exits(1).says("no repository in this folder");
        fs::remove_dir(folder).unwrap();
        fs::rename(&away, folder).unwrap();
    });
    s.test("a repository that another run or restic is at work in is left alone", || {
        let lock = folder.join(".matrix-podman-lock").display().to_string();
        let program = matrix_podman_e2e::binary().display().to_string();
        Invocation::new(["flock", "--exclusive", &lock, &program, "backup", "now"])
            .folder(&lab.folder)
            .run()
            .exits(1)
            .says("another run of matrix-podman is at work in it");
        let held = folder.join("locks").join("0".repeat(64));
        fs::write(&held, "held").unwrap();
        lab.run(&["backup", "now"]).exits(1).says("restic is at work in it").says("restic unlock");
        fs::remove_file(&held).unwrap();
    });
    s.test("a full disk makes no snapshot, and is called that", || {
        let small = lab.path("small");
        fs::create_dir(&small).unwrap();
        let place = small.display().to_string();
        Invocation::new(["mount", "-t", "tmpfs", "-o", "size=2m,mode=700", "tmpfs", &place]).run().ok();
        lab.set("[backup]", "repository", &format!("{place:?}"));
        let ran =
            [&["backup", "init"][..], &["backup", "now"], &["backup", "list"]].map(|words| lab.run(words));
        lab.set("[backup]", "repository", &format!("{:?}", folder.display().to_string()));
        Invocation::new(["umount", &place]).run().ok();
        fs::remove_dir(&small).unwrap();
        let [init, now, list] = ran;
        init.ok();
        now.exits(1).says("disk").says("full");
        list.ok().says("no snapshot yet");
        lab.healthy();
    });
    let mut needed = None;
    s.test("a backup that is killed leaves the repository whole, and the next one succeeds", || {
        // What is killed below leaves packs that no snapshot needs.
        needed = Some(largest(&folder.join("data")));
        // From the connection to the guest to the snapshot's own file, however long that
        // takes on this machine.
        let whole = lab.run(&["backup", "now"]).ok().took;
        let before = lab.run(&["backup", "list", "--json"]).ok().json();
        upload(&lab.url("synapse"), &server.anna, &picture(2));
        let moments = [4, 12, 20, 28, 36, 50, 65, 90];
        for percent in moments {
            let running = lab.command(&["backup", "now"]).start();
            std::thread::sleep(whole * percent / 100);
            running.kill();
        }
        lab.healthy();
        let after = lab.run(&["backup", "list", "--json"]).ok().json();
        let made = after.as_array().unwrap().len() - before.as_array().unwrap().len();
        assert!(made < moments.len(), "none of them was cut off: {after}");
        lab.run(&["backup", "now"]).ok();
        lab.run(&["status"]).ok().says_lately("made");
        lab.run(&["backup", "verify"]).ok().says("all whole");
    });
    s.test("a database that is away makes no snapshot, and the error says what to type", || {
        let count = || lab.run(&["backup", "list", "--json"]).ok().json().as_array().map(Vec::len);
        let before = count();
        lab.run(&["stop", "postgres_db"]).ok();
        lab.run(&["backup", "now"]).exits(1).says("matrix-podman status");
        assert_eq!(count(), before);
        lab.up();
        lab.becomes_healthy(Duration::from_secs(90));
    });
    s.test("a cut pack file is found by verify, which says what to do", || {
        let pack: PathBuf = needed.unwrap();
        let whole = fs::read(&pack).unwrap();
        // restic's files are read-only.
        fs::set_permissions(&pack, fs::Permissions::from_mode(0o600)).unwrap();
        fs::write(&pack, &whole[..whole.len() / 2]).unwrap();
        let verify = lab.run(&["backup", "verify"]).exits(1).says("damaged");
        assert!(verify.stdout.contains('✗'), "{}", verify.evidence());
        let mut flipped = whole.clone();
        flipped[whole.len() / 3] ^= 1;
        fs::write(&pack, &flipped).unwrap();
        lab.run(&["backup", "verify"]).exits(1).says("damaged");
        lab.run(&["backup", "drill"]).exits(1);
        lab.run(&["status"]).ok().says("did not come back whole");
        lab.guest().sh("! test -e /opt/matrix/.matrix-podman-drill").ok();
        lab.healthy();
        fs::write(&pack, &whole).unwrap();
        lab.run(&["backup", "verify"]).ok().says("all whole");
    });
}

fn restored(s: &mut Scenario, server: Server) {
    let Server { lab, repository, anna, room, media } = server;
    let password = lab.path("noted");
    fs::write(&password, lab.run(&["backup", "key"]).ok().text()).unwrap();
    fs::set_permissions(&password, fs::Permissions::from_mode(0o600)).unwrap();
    let from = repository.display().to_string();
    let restore = ["restore", "--yes", "--from", &from, "--password-file", password.to_str().unwrap()];
    s.test("a restore never goes onto a server that is there", || {
        lab.run(&restore).exits(2).says("left alone");
        lab.healthy();
    });
    let clients = lab.path("clients");
    let mut task = json!({
        "homeserver": lab.url("synapse"),
        "alice": {"user": "alice", "password": PASSWORD},
        "bob": {"user": "bob", "password": PASSWORD},
        "carol": {"user": "carol", "password": PASSWORD},
        "message": "before the flood",
        "encrypted": true,
    });
    s.test("two people speak encrypted, and what they said is backed up", || {
        for name in ["alice", "bob", "carol"] {
            // Synapse answers 500 for each old connection to a database that was restarted.
            matrix_podman_e2e::wait_until(
                "Synapse has let go of its old connections",
                Duration::from_secs(90),
                || {
                    let added = lab.add_user(name, PASSWORD);
                    if added.code == 0 { Ok(()) } else { Err(added.evidence()) }
                },
            );
        }
        fs::create_dir(&clients).unwrap();
        let words = ["begin", &clients.display().to_string()];
        let said = PythonClient::get().run("nio_client.py", &words, &task.to_string()).ok().json();
        assert_eq!(said["decrypted"], true, "{said}");
        task["room"] = said["room"].clone();
        // Somebody took the guest over, and wants more than the guest.
        lab.guest()
            .sh("sed -i -e '1i host = \"ssh://root@evil.home.arpa\"' \
                 -e '$a [turn]\\nuris = [\"turn:evil.home.arpa\"]\\nsecret_file = \"/etc/shadow\"' \
                 /opt/matrix/matrix.toml && grep -q evil /opt/matrix/matrix.toml")
            .ok();
        lab.run(&["backup", "now"]).ok();
    });
    let key = lab.guest().sh("sha256sum </opt/matrix/secrets/signing.key").ok().text().to_owned();
    let address = lab.url("synapse");
    s.test("with the guest destroyed, repository and password make the server anew", || {
        lab.run(&["destroy", "--yes"]).ok();
        fs::remove_file(lab.path("matrix.toml")).unwrap();
        fs::remove_file(lab.state_folder().join("backup-password")).unwrap();
        // Nothing is written before somebody agreed.
        let asked: Vec<&str> = restore.iter().copied().filter(|word| *word != "--yes").collect();
        lab.run(&asked)
            .exits(2)
            .says("add --yes")
            .says("as the machine applied it")
            .says("guest.name")
            .never_says("evil");
        assert!(!lab.path("matrix.toml").exists());
        // Cut off in the middle, it is neither the old server nor a new one.
        for stage in ["begin  Put files and media back", "begin  Fill the database"] {
            let mut running = lab.command(&restore).start();
            running.comes_to(stage);
            running.kill();
            lab.run(&["up", "--yes"]).exits(2).says("cut off").says("matrix-podman restore");
        }
        lab.run(&restore).ok().says("Going on to restore").says("is up.");
        let config = lab.path("matrix.toml");
        assert_eq!(fs::metadata(&config).unwrap().permissions().mode() & 0o777, 0o600);
        let text = fs::read_to_string(&config).unwrap() + &lab.guest().read("/opt/matrix/matrix.toml");
        assert!(!text.contains("evil") && !text.contains("shadow"), "{text}");
        lab.healthy();
        lab.settled();
    });
    s.test("it is the same server: key, people, rooms, messages and media", || {
        assert_eq!(lab.guest().sh("sha256sum </opt/matrix/secrets/signing.key").ok().text(), key);
        assert_eq!(lab.url("synapse"), address);
        assert!(anna.messages(&room).contains(&"one more".to_owned()));
        assert_eq!(download(&address, &anna, &media), picture(1));
        lab.matrix().login("anna", PASSWORD);
    });
    s.test("clients that were logged in go on reading and sending, encrypted, and meet somebody new", || {
        let words = ["go-on", &clients.display().to_string()];
        let said = PythonClient::get().run("nio_client.py", &words, &task.to_string()).ok().json();
        assert_eq!(said["before"]["before the flood"], true, "{said}");
        assert_eq!(said["bob"]["carol is here"], true, "{said}");
        // The server has no word of it in the clear.
        let session = lab.matrix().login("bob", PASSWORD);
        let clear = session.messages(task["room"].as_str().unwrap());
        assert_eq!(clear, Vec::<String>::new());
    });
    s.test("the client that was logged in goes on sending, and backups go on", || {
        anna.send(&room, "after the flood").unwrap();
        assert!(anna.messages(&room).contains(&"after the flood".to_owned()));
        lab.run(&["backup", "now"]).ok();
        lab.run(&["backup", "verify"]).ok().says("all whole");
        lab.run(&["verify", "--only", "guest,data"]).ok();
    });
}

/// What nobody may see, by its name.
fn secrets(server: &Server) -> Vec<(String, String)> {
    let guest = server.lab.guest();
    let mut secrets: Vec<_> = ["postgres", "macaroon", "registration", "signing.key"]
        .into_iter()
        .map(|name| {
            let content = guest.read(&format!("/opt/matrix/secrets/{name}"));
            (name.to_owned(), content.split_whitespace().next_back().unwrap().to_owned())
        })
        .collect();
    let key = server.lab.run(&["backup", "key"]).ok();
    secrets.push(("the repository's password".to_owned(), key.text().to_owned()));
    assert!(secrets.iter().all(|(_, secret)| secret.len() >= 20));
    secrets
}

/// Fails when a text holds a secret, which is not repeated.
#[track_caller]
pub(crate) fn absent(secrets: &[(String, String)], place: &str, texts: &[String]) {
    assert!(!texts.is_empty(), "there are {place} to look at");
    for (name, secret) in secrets {
        assert!(!texts.iter().any(|text| text.contains(secret)), "{name} is in {place}");
    }
}

pub(crate) fn number(value: &Value) -> u64 {
    value.as_u64().unwrap_or_else(|| panic!("{value} is no number"))
}

/// Bytes that do not compress, and are the same each time.
pub(crate) fn picture(seed: u64) -> Vec<u8> {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    (0..PICTURE)
        .map(|_| {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            state.to_le_bytes()[3]
        })
        .collect()
}

pub(crate) fn upload(url: &str, who: &Session, bytes: &[u8]) -> String {
    let url = format!("{url}/_matrix/media/v3/upload?filename=picture");
    let header = format!("Authorization: Bearer {}", who.token);
    let ran =
        Invocation::new(["curl", "--silent", "--fail", "--header", &header, "--data-binary", "@-", &url])
            .input(bytes)
            .run()
            .ok();
    ran.json()["content_uri"].as_str().unwrap().to_owned()
}

fn download(url: &str, who: &Session, media: &str) -> Vec<u8> {
    let path = media.strip_prefix("mxc://").unwrap();
    let target = std::env::temp_dir().join(format!("matrix-podman-e2e-picture-{}", std::process::id()));
    let header = format!("Authorization: Bearer {}", who.token);
    let url = format!("{url}/_matrix/client/v1/media/download/{path}");
    let out = target.display().to_string();
    Invocation::new(["curl", "--silent", "--fail", "--header", &header, "--output", &out, &url]).run().ok();
    let bytes = fs::read(&target).unwrap();
    fs::remove_file(&target).unwrap();
    bytes
}

pub(crate) fn restic(repository: &Path, password: &Path, words: &[&str]) -> Ran {
    let (repository, password) = (repository.display().to_string(), password.display().to_string());
    let head = ["restic", "--no-cache", "--repo", &repository, "--password-file", &password];
    Invocation::new(head.iter().chain(words)).run()
}

fn largest(folder: &Path) -> PathBuf {
    files(folder).pop().unwrap().1
}

/// All files below a folder, the largest last.
pub(crate) fn files(folder: &Path) -> Vec<(u64, PathBuf)> {
    let mut files = Vec::new();
    let mut folders = vec![folder.to_owned()];
    while let Some(folder) = folders.pop() {
        for item in fs::read_dir(&folder).unwrap() {
            let item = item.unwrap();
            if item.path().is_dir() {
                folders.push(item.path());
            } else {
                files.push((item.metadata().unwrap().len(), item.path()));
            }
        }
    }
    files.sort();
    files
}
