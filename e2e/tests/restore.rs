//! Back in time with the server that is there, and single things out of a backup.

use std::{fs, os::unix::fs::PermissionsExt as _, process::ExitCode};

use matrix_podman_e2e::{Lab, Scenario, Session};
use serde_json::json;

const PASSWORD: &str = "correct horse battery staple";
const PICTURE: &[u8] = b"something that somebody sent";
/// A file that is next to nothing in a repository, and has to be put into the guest byte by byte.
const LARGE: &str = "/opt/matrix/synapse/large";

struct Server {
    lab: Lab,
    anna: Session,
    room: String,
}

fn main() -> ExitCode {
    let mut s = Scenario::begin("restore");
    let server = s.foundation("a server with a user, a room, a picture in it, and a backup", server);
    taken(&mut s, &server);
    gone_back(&mut s, &server);
    s.end()
}

fn server() -> Server {
    let lab = Lab::with_config("restore");
    let repository = lab.path("repository").display().to_string();
    lab.set("[backup]", "repository", &format!("{repository:?}"));
    lab.up();
    lab.add_user("anna", PASSWORD).ok();
    let anna = lab.matrix().login("anna", PASSWORD);
    let room = anna.create_room("Kitchen");
    anna.send(&room, "before").unwrap();
    let url = anna.upload("picture", PICTURE);
    let content = json!({"msgtype": "m.image", "body": "a picture", "url": url});
    let place = format!("/v3/rooms/{room}/send/m.room.message/the-picture");
    anna.request("PUT", &place, Some(&content)).unwrap();
    lab.run(&["backup", "init"]).ok();
    lab.run(&["backup", "now"]).ok();
    Server { lab, anna, room }
}

/// Single things out of a snapshot.
fn taken(s: &mut Scenario, server: &Server) {
    let lab = &server.lab;
    let to = lab.path("taken");
    let take = |words: &[&str]| {
        let to = to.display().to_string();
        let all: Vec<&str> = ["backup", "restore", "--to", &to].iter().chain(words).copied().collect();
        lab.run(&all)
    };
    s.test("files and folders are taken out, for root alone, and never over others", || {
        take(&["--file", "secrets/signing.key", "--file", "/opt/matrix/synapse"]).ok();
        let key = to.join("signing.key");
        assert_eq!(fs::read_to_string(&key).unwrap(), lab.guest().read("/opt/matrix/secrets/signing.key"));
        assert_eq!(fs::metadata(&key).unwrap().permissions().mode() & 0o777, 0o600);
        assert_eq!(fs::metadata(&to).unwrap().permissions().mode() & 0o777, 0o700);
        assert!(to.join("synapse/homeserver.yaml").exists());
        take(&["--file", "secrets/signing.key"]).exits(1).says("nothing is written over");
        take(&["--file", "postgresdata"]).exits(1).says("that is in no backup");
        take(&[]).exits(2).says("--file PATH or --room ROOM");
        fs::remove_dir_all(&to).unwrap();
    });
    s.test("a room's media are taken out, and nothing of it stays in the guest", || {
        take(&["--room", &server.room]).ok().says("1 files");
        let file = fs::read_dir(&to).unwrap().next().unwrap().unwrap().path();
        assert!(file.display().to_string().ends_with("-picture"), "{}", file.display());
        assert!(fs::read(&file).unwrap() == PICTURE, "it is what was sent");
        take(&["--room", "!nobody:knows"]).exits(1).says("no event of that room");
        lab.guest().sh("! test -e /opt/matrix/.matrix-podman-drill").ok();
        fs::remove_dir_all(&to).unwrap();
    });
}

/// Back in time with the same guest, and forward again.
fn gone_back(s: &mut Scenario, server: &Server) {
    let (lab, anna, room) = (&server.lab, &server.anna, &server.room);
    let late = "sent after the snapshot".to_owned();
    let has_late = || anna.messages(room).contains(&late);
    let restore = ["backup", "restore", "--yes"];
    s.test("a restore into the server that is there asks, and changes nothing before it has all", || {
        lab.guest().exec(["truncate", "--size=1G", LARGE]).ok();
        lab.run(&["backup", "now"]).ok();
        lab.guest().exec(["rm", LARGE]).ok();
        anna.send(room, &late).unwrap();
        lab.guest()
            .sh("podman exec postgres_db psql -U synapse -c \"INSERT INTO e2e_one_time_keys_json \
                 SELECT name, 'DEVICE', 'signed_curve25519', 'AAAA', 0, '{}' FROM users LIMIT 1\"")
            .ok();
        lab.run(&["backup", "restore"]).exits(2).says("add --yes");
        lab.run(&["backup", "restore", "--at", "2001-01-01"]).exits(1).says("the first one is younger");
        lab.run(&["backup", "restore", "--back", "--yes"]).exits(2).says("no restore set anything aside");
        let before = lab.guest().incarnation("synapse");
        lab.command(&restore).start().kill_within("Put files and media back");
        assert_eq!(lab.guest().incarnation("synapse"), before);
        assert!(has_late());
        lab.settled();
    });
    s.test("cut off behind that, nothing runs on half a server, and it is gone on with", || {
        let tomorrow = "2199-01-01T00:00:00Z";
        let cut_off = lab.command(&["backup", "restore", "--yes", "--at", tomorrow]).start();
        cut_off.kill_within("Fill the database");
        lab.run(&["up", "--yes"]).exits(2).says("cut off").says("backup restore");
        lab.guest().sh("! systemctl is-active --quiet synapse").ok();
        lab.run(&["status"])
            .exits(1)
            .says("a restore was cut off")
            .says("`matrix-podman backup restore` goes on");
        assert_eq!(lab.status()["held"], json!({"why": "restore", "type": "matrix-podman backup restore"}));
        lab.run(&restore).ok().says("Going on to restore").says("is up.");
        lab.healthy();
        lab.settled();
        assert!(anna.messages(room).contains(&"before".to_owned()) && !has_late());
        lab.guest().sh("test -s /opt/matrix/set-aside/*/secrets/signing.key").ok();
        lab.guest().sh("! test -e /opt/matrix/.matrix-podman-hold").ok();
    });
    s.test("what was there before is brought back, and its one-time keys are not used again", || {
        lab.run(&["backup", "restore", "--back", "nothing", "--yes"]).exits(2).says("there is: 2");
        lab.run(&["backup", "restore", "--back", "--yes"]).ok().says("is up.");
        assert!(has_late());
        lab.healthy();
        lab.settled();
        let keys =
            "podman exec postgres_db psql -U synapse -tAc 'SELECT count(*) FROM e2e_one_time_keys_json'";
        assert_eq!(lab.guest().sh(keys).ok().text(), "0");
        let made = lab.run(&["backup", "now", "--json"]).ok().json_lines().pop().unwrap();
        assert_eq!(made["backup"]["manifest"]["media"]["files"].as_u64(), Some(1), "{made}");
        lab.guest().sh("rm -r /opt/matrix/set-aside").ok();
    });
    s.test(
        "a server whose data went back in time by another way says why it waits, and what to type",
        || {
            assert!(lab.status()["held"].is_null());
            lab.guest().sh("systemctl stop synapse; touch /opt/matrix/.matrix-podman-hold").ok();
            lab.run(&["status"])
                .exits(1)
                .says("the data went back in time")
                .says("`matrix-podman up` has those keys");
            assert_eq!(lab.status()["held"], json!({"why": "went-back", "type": "matrix-podman up"}));
            lab.up();
            lab.healthy();
            lab.run(&["status"]).ok().never_says("went back in time");
        },
    );
}
