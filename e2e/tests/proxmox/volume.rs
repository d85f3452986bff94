//! A server whose data are on a volume of their own comes back onto one.

use std::fs;

use matrix_podman_e2e::{Lab, Matrix, Node, Scenario, Session};

const PASSWORD: &str = "correct horse battery staple";
const PICTURE: &[u8] = b"something that somebody sent";

/// What there is to be brought back.
struct Before {
    anna: Session,
    room: String,
    picture: String,
}

impl Before {
    fn has(&self, text: &str) -> bool {
        self.anna.messages(&self.room).iter().any(|message| message == text)
    }
}

/// All data are on the volume of the container 101, and none on its own disk.
#[track_caller]
fn are_on_the_volume(node: &Node) {
    let guest = node.guest(101);
    assert_eq!(
        guest.exec(["findmnt", "--noheadings", "--output", "TARGET", "/opt/matrix"]).ok().text(),
        "/opt/matrix"
    );
    assert!(guest.folder().join("volume/postgresdata").exists());
    let below = fs::read_dir(guest.folder().join("rootfs/opt/matrix"));
    assert!(below.is_ok_and(|mut inside| inside.next().is_none()), "something is below the volume");
}

/// The server of `lab`, at `address`, is removed in the end.
pub(crate) fn comes_back(s: &mut Scenario, lab: &Lab, node: &Node, address: &str) {
    let mut before = None;
    s.test("a server is restored into a new container with a data volume of its own", || {
        let add = ["user", "add", "anna", "--password-file", "-"];
        node.command(lab, &add).input(PASSWORD).run().ok();
        let anna = Matrix::new(address, &lab.server_name()).login("anna", PASSWORD);
        let room = anna.create_room("Kitchen");
        anna.send(&room, "before").unwrap();
        let picture = anna.upload("picture", PICTURE);
        node.run(lab, &["backup", "init"]).ok();
        node.run(lab, &["backup", "now"]).ok();
        node.run(lab, &["destroy", "--yes"]).ok();
        assert_eq!(node.ids(), [100]);
        // Nobody is there who could type it.
        lab.unset("root_password");
        lab.set("[proxmox]", "storage", "\"local-lvm\"");
        let from = lab.path("repository").display().to_string();
        let password = lab.state_folder().join("backup-password").display().to_string();
        let restore = ["restore", "--yes", "--from", &from, "--password-file", &password];
        node.run(lab, &restore).ok().says("is up.");
        let volume = node.setting(101, "mp0").unwrap();
        assert!(volume.contains("mp=/opt/matrix") && volume.ends_with("size=8G"), "{volume}");
        are_on_the_volume(node);
        let restored = Before { anna, room, picture };
        assert!(restored.has("before"));
        assert!(restored.anna.download(&restored.picture) == PICTURE, "it is what was sent");
        restored.anna.send(&restored.room, "after").unwrap();
        before = Some(restored);
    });
    let Some(before) = before else { return };
    s.test("data that are set aside stay on the volume", || {
        node.run(lab, &["backup", "restore", "--yes"]).ok().says("is up.");
        assert!(before.has("before") && !before.has("after"));
        before.anna.send(&before.room, "and on it goes").unwrap();
        node.guest(101).sh("test -s /opt/matrix/set-aside/*/secrets/signing.key").ok();
        assert!(node.guest(101).folder().join("volume/set-aside").exists());
        are_on_the_volume(node);
        node.run(lab, &["plan", "--exit-code"]).ok().says("Nothing to do");
    });
}
