//! What an update does for the container as a whole before it replaces anything.

use std::time::Duration;

use matrix_podman_e2e::{How, Invocation, Ran, Scenario, archive, at_this_pace, clients_folder};

use crate::{Site, pct, status};

impl Site {
    /// Makes the config want an image of Synapse that is newer than what runs, and
    /// starts in another way unless that is `null`.
    #[track_caller]
    fn wants(&self, name: &str, entrypoint: &str) {
        let to = self.lab.path(&format!("{name}.tar")).display().to_string();
        let script = clients_folder().join("variant.py").display().to_string();
        let from = archive("synapse").display().to_string();
        Invocation::new(["python3", &script, &from, &to, entrypoint]).run().ok();
        self.lab.set("[images.synapse]", "archive", &format!("{to:?}"));
    }

    #[track_caller]
    fn update(&self, more: &[&str]) -> Ran {
        let within = format!("{}s", at_this_pace(Duration::from_secs(60)).as_secs());
        self.run(&[&["update", "synapse", "--within", &within], more].concat())
    }

    #[track_caller]
    fn has_snapshots(&self, wanted: &[&str]) {
        let all = self.snapshots();
        let mut names: Vec<&str> = all.iter().map(|s| s["name"].as_str().unwrap()).collect();
        names.sort_unstable();
        assert_eq!(names, wanted, "{all:?}");
    }

    #[track_caller]
    fn last_generation(&self) -> serde_json::Value {
        let history = self.node.command(&self.lab, &["history", "--json"]).quietly().run().ok().json();
        history.as_array().and_then(|all| all.last()).unwrap().clone()
    }
}

/// `mine` is a snapshot that somebody made, which no update has anything to do with.
pub(crate) fn preceded_by_a_snapshot(s: &mut Scenario, site: &Site, mine: &str) {
    s.test("an update makes a snapshot of the container first, where that can be", || {
        let kind = |kind: &str| site.node.change(|state| state.storages[1].kind = kind.to_owned());
        site.wants("newer", "null");
        kind("dir");
        site.update(&["--check"]).exits(3).says("No snapshot of the guest").says("rootfs is on local-lvm");
        kind("lvmthin");
        site.node.calls();
        site.update(&["--yes"])
            .ok()
            .says("the whole guest gets the snapshot before-update-2")
            .says("as it was before, stays until a later update does");
        let calls = pct(&site.node.calls());
        let made = calls.iter().filter(|call| call.starts_with("pct snapshot 100 before-update-2 "));
        assert_eq!(made.count(), 1, "{calls:?}");
        site.has_snapshots(&["before-update-2", mine]);
        assert_eq!(site.last_generation()["snapshot"], "before-update-2");
        site.run(&["guest", "snapshots"]).ok().says("matrix-podman, before update 2");
        site.run(&["status"]).says("with the snapshot before-update-2 made before");
    });
    s.test("one that does not do leaves its snapshot, and says what it is good for", || {
        site.wants("ends", r#"["/bin/sh", "-c", "echo this image is broken >&2; exit 7", "x"]"#);
        site.update(&["--yes"])
            .exits(1)
            .says("this image is broken")
            .says("`matrix-podman guest rollback before-update-3`");
        site.has_snapshots(&["before-update-2", "before-update-3", mine]);
    });
    s.test("one that gets no snapshot goes on, says so, and removes those of earlier ones", || {
        site.wants("newest", "null");
        // As when the task is ended in the middle.
        site.node.breaks("pct snapshot", How::Killed);
        site.update(&["--yes"])
            .ok()
            .says("The update goes on without it")
            .says("There is no snapshot of the guest from before");
        assert!(site.node.broke());
        assert_eq!(site.node.setting(100, "lock"), None, "nothing of it is left");
        site.has_snapshots(&[mine]);
        assert!(site.last_generation()["snapshot"].is_null());
        for service in status(site)["services"].as_array().unwrap() {
            assert_eq!(service["health"], "healthy", "{service}");
        }
    });
}
