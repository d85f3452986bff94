//! Our locks as Debian's restic sees them, and restic's as we see them.

use std::{
    fs,
    io::Write as _,
    process::{Child, Command, Stdio},
    time::Duration,
};

use matrix_podman_e2e::{Scenario, wait_until};

use super::{Server, restic};

/// A backup of restic's own that waits for its input, and holds its lock meanwhile.
struct Waiting(Child);

impl Waiting {
    fn begin(server: &Server) -> Self {
        let password = server.lab.state_folder().join("backup-password");
        let mut command = Command::new("restic");
        command.arg("--no-cache").arg("--repo").arg(&server.repository).arg("--password-file").arg(password);
        command.args(["backup", "--stdin", "--stdin-filename", "waiting"]);
        command.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::null());
        let waiting = Self(command.spawn().unwrap());
        wait_until("restic holds its lock", Duration::from_secs(60), || match locks(server) {
            0 => Err("there is no lock yet".to_owned()),
            _ => Ok(()),
        });
        waiting
    }

    fn end(mut self) {
        let mut input = self.0.stdin.take().unwrap();
        input.write_all(b"something").unwrap();
        drop(input);
        assert!(self.0.wait().unwrap().success());
    }
}

fn locks(server: &Server) -> usize {
    fs::read_dir(server.repository.join("locks")).unwrap().count()
}

/// Two who are at work in one repository.
pub(crate) fn seen(s: &mut Scenario, server: &Server) {
    let lab = &server.lab;
    let password = lab.state_folder().join("backup-password");
    let restic = |words: &[&str]| restic(&server.repository, &password, words);
    s.test("while restic adds to the repository, a backup is made, and nothing is removed", || {
        let waiting = Waiting::begin(server);
        lab.run(&["backup", "prune"]).exits(1).says("restic is at work in it").says("root@");
        lab.run(&["backup", "now"]).ok();
        waiting.end();
        assert_eq!(locks(server), 0, "nobody left a lock");
        lab.run(&["backup", "prune"]).ok();
        lab.run(&["backup", "verify", "--quick"]).ok().says("all whole");
    });
    s.test("while a drill reads the repository, restic sees that and removes nothing", || {
        let mut drill = lab.command(&["backup", "drill"]).start();
        wait_until("the drill holds its lock", Duration::from_secs(120), || {
            assert!(drill.is_running(), "it ended: {}", drill.said());
            if locks(server) > 0 { Ok(()) } else { Err("there is no lock yet".to_owned()) }
        });
        let held = restic(&["--no-lock", "list", "locks"]).ok();
        assert_eq!(held.stdout.split_whitespace().count(), 1, "{}", held.evidence());
        let refused = restic(&["prune"]);
        assert_ne!(refused.code, 0, "{}", refused.evidence());
        let pid = format!("PID {}", drill.id());
        assert!(
            refused.stderr.contains("already locked") && refused.stderr.contains(&pid),
            "{}",
            refused.evidence()
        );
        // restic asks a process of its own machine whether it lives by a signal that would end ours.
        restic(&["unlock"]).ok();
        assert_eq!(locks(server), 1, "it is in use");
        // What only reads is no trouble for another that only reads.
        restic(&["snapshots"]).ok();
        drill.wait().ok();
        assert_eq!(locks(server), 0);
        restic(&["prune"]).ok();
    });
    s.test("a lock that a killed run left is in nobody's way on this machine", || {
        let running = lab.command(&["backup", "drill"]).start();
        wait_until("the drill holds its lock", Duration::from_secs(120), || {
            if locks(server) > 0 { Ok(()) } else { Err("there is no lock yet".to_owned()) }
        });
        running.kill();
        assert_eq!(locks(server), 1, "it had no time to remove it");
        lab.run(&["backup", "prune"]).ok();
        assert_eq!(locks(server), 0);
    });
}
