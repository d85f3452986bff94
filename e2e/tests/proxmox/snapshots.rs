//! Snapshots of the container, and back to them.

use std::{
    sync::atomic::{AtomicBool, Ordering},
    time::Duration,
};

use matrix_podman_e2e::{How, Invocation, Matrix, Ran, Scenario, Session, SnapshotState, wait_until};
use serde_json::Value;

use crate::{Site, pct, status};

const PASSWORD: &str = "correct horse battery staple";
/// One that somebody made, and keeps.
pub(crate) const KEPT: &str = "kept";
const HOLD: &str = "test -e /opt/matrix/.matrix-podman-hold";
const KEYS: &str =
    "podman exec postgres_db psql -U synapse -tAc 'SELECT count(*) FROM e2e_one_time_keys_json'";
const ADD_KEY: &str = "podman exec postgres_db psql -U synapse -c \"INSERT INTO e2e_one_time_keys_json \
     SELECT name, 'DEVICE', 'signed_curve25519', 'AAAA', 0, '{}' FROM users LIMIT 1\"";

/// Somebody who writes.
struct Writer {
    session: Session,
    room: String,
}

impl Writer {
    fn send(&self, text: &str) {
        self.session.send(&self.room, text).unwrap();
    }

    fn has(&self, text: &str) -> bool {
        self.session.messages(&self.room).iter().any(|message| message == text)
    }
}

impl Site {
    pub(crate) fn snapshots(&self) -> Vec<Value> {
        let listed = self.node.command(&self.lab, &["guest", "snapshots", "--json"]).quietly().run().ok();
        listed.json().as_array().cloned().unwrap()
    }

    /// As somebody does in Proxmox's web pages.
    #[track_caller]
    fn by_hand(&self, words: &[&str]) -> Ran {
        Invocation::new([&["pct"], words].concat()).env("PATH", &self.node.path()).run().ok()
    }

    #[track_caller]
    fn is_as_before(&self, synapse: &(String, String)) {
        self.guest().sh(&format!("! {HOLD}")).ok();
        assert_eq!(self.guest().incarnation("synapse"), *synapse, "Synapse went on");
    }

    /// Everything runs, nothing is left to do, and no one-time key of before is left.
    #[track_caller]
    fn went_back(&self) {
        self.guest().sh(&format!("! {HOLD}")).ok();
        assert_eq!(self.guest().sh(KEYS).ok().text(), "0");
        let status = status(self);
        for service in status["services"].as_array().unwrap() {
            assert_eq!(service["health"], "healthy", "{status}");
        }
        self.run(&["up", "--yes"]).ok().says("Nothing to do");
    }
}

pub(crate) fn made_and_gone_back_to(s: &mut Scenario, site: &Site) {
    refused(s, site);
    let mut writer = None;
    s.test(
        "a snapshot of the container is made while people write, and a failed one leaves no trace",
        || {
            let add = ["user", "add", "berta", "--password-file", "-"];
            site.node.command(&site.lab, &add).input(PASSWORD).run().ok();
            let address = status(site)["guest"]["address"].as_str().unwrap().to_owned();
            let matrix = Matrix::new(&format!("http://{address}:8008"), &site.lab.server_name());
            let session = matrix.login("berta", PASSWORD);
            let room = session.create_room("Before and after");
            let berta = Writer { session, room };
            berta.send("before");
            site.guest().sh(ADD_KEY).ok();
            let synapse = site.guest().incarnation("synapse");
            for how in [How::Dies, How::DoesNothing, How::Locked, How::TimesOut, How::Killed] {
                site.node.breaks("pct snapshot", how);
                site.run(&["guest", "snapshot", "before"]).exits(1).says("make the snapshot before");
                assert!(site.node.broke());
                site.is_as_before(&synapse);
            }
            assert!(site.snapshots().is_empty());
            assert_eq!(site.node.setting(100, "lock"), None);
            made_while_writing(site, &berta);
            site.is_as_before(&synapse);
            site.run(&["guest", "snapshot", "before"]).exits(2).says("already");
            site.run(&["guest", "snapshots"]).ok().says("before").says("matrix-podman");
            writer = Some(berta);
        },
    );
    let Some(berta) = writer else { return };
    s.test("gone back to in Proxmox's web pages, a snapshot of the container has Synapse wait", || {
        berta.send("after");
        let asked = site.run(&["guest", "rollback", "before"]).exits(2).says("add --yes").says("just now");
        assert!(asked.stderr.contains(", accounts: 0, files: 0)"), "{}", asked.evidence());
        site.run(&["guest", "rollback", "other", "--yes"]).exits(2).says("there is: before");
        for how in [How::Dies, How::DoesNothing, How::Locked] {
            site.node.breaks("pct rollback", how);
            site.run(&["guest", "rollback", "before", "--yes"]).exits(1).says("back to the snapshot before");
            assert!(site.node.broke() && berta.has("after"));
        }
        site.by_hand(&["rollback", "100", "before"]);
        site.by_hand(&["start", "100"]);
        site.guest().booted();
        wait_until("the doctor names first why Synapse waits", Duration::from_secs(180), || {
            let found = site.node.command(&site.lab, &["doctor", "--json"]).quietly().run().json();
            match &found["findings"][0] {
                first if first["cause"] == "synapse/held" && first["command"] == "matrix-podman up" => Ok(()),
                _ => Err(found.to_string()),
            }
        });
        site.guest().sh("! systemctl is-active --quiet synapse").ok();
        assert_eq!(site.guest().sh(KEYS).ok().text(), "1");
        site.run(&["up", "--yes"]).ok().says("one-time keys");
        assert!(berta.has("before") && berta.has("while") && !berta.has("after"));
        site.went_back();
    });
    s.test("one command brings the server back to a snapshot, of a container that HA has too", || {
        let ha = |ha: bool| site.node.change(|state| state.guests.get_mut(&100).unwrap().ha = ha);
        ha(true);
        berta.send("later");
        site.guest().sh(ADD_KEY).ok();
        site.run(&["guest", "rollback", "before", "--yes"]).ok().says("is up.");
        assert!(berta.has("before") && !berta.has("later"));
        ha(false);
        site.went_back();
        site.run(&["guest", "remove-snapshot", "before"]).exits(2).says("add --yes");
        site.node.breaks("pct delsnapshot", How::DoesNothing);
        site.run(&["guest", "remove-snapshot", "before", "--yes"]).exits(1).says("still there");
        site.run(&["guest", "remove-snapshot", "before", "--yes"]).ok();
        assert!(site.snapshots().is_empty());
    });
}

/// What a run that is killed while a snapshot is made leaves, and what a power cut
/// leaves.
pub(crate) fn killed(s: &mut Scenario, site: &Site) {
    let state = |name: &str| {
        let snapshots = site.node.change(|state| state.guests[&100].snapshots.clone());
        snapshots.get(name).map(|snapshot| snapshot.state.clone())
    };
    // As a power cut of the node does: a part of one, and the container's lock.
    let leave_part = || {
        site.node.change(|state| {
            let guest = state.guests.get_mut(&100).unwrap();
            let whole = guest.snapshots[KEPT].clone();
            let part = SnapshotState { state: Some("prepare".to_owned()), ..whole };
            guest.snapshots.insert("part".to_owned(), part);
            guest.config.insert("lock".to_owned(), "snapshot".to_owned());
        });
    };
    s.test("a run that is killed while it makes a snapshot holds up nothing, and Proxmox ends it", || {
        let synapse = site.guest().incarnation("synapse");
        let running = site.node.command(&site.lab, &["guest", "snapshot", KEPT]).start();
        wait_until("Proxmox is at the snapshot", Duration::from_secs(120), || match state(KEPT) {
            Some(Some(_)) => Ok(()),
            other => Err(format!("{other:?}")),
        });
        running.kill();
        wait_until("Proxmox is done with it", Duration::from_secs(120), || match state(KEPT) {
            Some(None) => Ok(()),
            other => Err(format!("{other:?}")),
        });
        // Nothing waits for it, and it is named.
        assert_eq!(site.guest().incarnation("synapse"), synapse, "Synapse went on");
        site.guest().sh(HOLD).ok();
        site.run(&["doctor"]).says("one-time keys").says("matrix-podman up");
        leave_part();
        site.run(&["guest", "snapshots"]).ok().says("not whole (prepare)").says("remove-snapshot part");
        site.run(&["guest", "snapshot", "newer"]).ok();
        assert_eq!(state("part"), None);
        site.is_as_before(&synapse);
    });
    s.test("where only the newest snapshot can be gone back to, those in the way are named", || {
        let synapse = site.guest().incarnation("synapse");
        let kind = |kind: &str| site.node.change(|state| state.storages[1].kind = kind.to_owned());
        kind("zfspool");
        site.run(&["guest", "rollback", KEPT, "--yes"])
            .exits(1)
            .says("nothing was changed")
            .says("`matrix-podman guest remove-snapshot newer`");
        kind("lvmthin");
        site.is_as_before(&synapse);
        site.run(&["guest", "remove-snapshot", "newer", "--yes"]).ok();
    });
    s.test(
        "after a power cut in the middle of a snapshot, up clears it away and starts the container",
        || {
            leave_part();
            site.guest().cut_power();
            site.run(&["up", "--yes"]).ok().says("what is left of a snapshot").says("is up.");
            assert_eq!((state("part"), site.node.setting(100, "lock")), (None, None));
            site.went_back();
        },
    );
}

fn refused(s: &mut Scenario, site: &Site) {
    s.test("where no snapshot of the container can be made, it is said why, and what else does", || {
        site.node.calls();
        let cannot = |word: &str| {
            site.run(&["guest", "snapshot"])
                .exits(1)
                .says("no snapshot was made")
                .says(word)
                .says("backup now");
        };
        let kind = |kind: &str| site.node.change(|state| state.storages[1].kind = kind.to_owned());
        kind("dir");
        cannot("rootfs is on local-lvm");
        kind("lvmthin");
        let set = |value: Option<&str>| {
            site.node.change(|state| {
                let config = &mut state.guests.get_mut(&100).unwrap().config;
                match value {
                    Some(value) => config.insert("mp1".to_owned(), value.to_owned()),
                    None => config.remove("mp1"),
                }
            })
        };
        set(Some("/srv/media,mp=/srv/media"));
        cannot("mp1 is /srv/media of the node");
        set(None);
        assert!(!pct(&site.node.calls()).iter().any(|call| call.starts_with("pct snapshot")));
        site.run(&["guest", "snapshots"]).ok().says("There is no snapshot");
        site.run(&["guest", "rollback", "before"]).exits(2).says("there is none at all");
        site.run(&["guest", "snapshot", "1st"]).exits(2).says("begins with a letter");
        site.guest()
            .exec(["matrix-podman", "guest", "snapshots"])
            .exits(2)
            .says("type it on the Proxmox node");
    });
}

/// Every message that was acknowledged is there afterwards, and the first of
/// them are in the snapshot.
fn made_while_writing(site: &Site, berta: &Writer) {
    let over = AtomicBool::new(false);
    berta.send("while");
    std::thread::scope(|scope| {
        let writing = scope.spawn(|| {
            let mut sent = Vec::new();
            while !over.load(Ordering::SeqCst) {
                let text = format!("number {}", sent.len());
                berta.send(&text);
                sent.push(text);
            }
            sent
        });
        let made = site.run(&["guest", "snapshot", "before"]);
        over.store(true, Ordering::SeqCst);
        made.ok().says("before");
        let sent = writing.join().unwrap();
        assert!(sent.len() > 5, "{} messages were sent meanwhile", sent.len());
        assert!(berta.has(&sent[0]) && berta.has(&sent[sent.len() - 1]));
    });
    let listed = site.snapshots();
    assert_eq!((listed.len(), &listed[0]["name"], &listed[0]["ours"]), (1, &"before".into(), &true.into()));
}
