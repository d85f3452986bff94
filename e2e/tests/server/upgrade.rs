//! A server that another version worked on last. What is older here is the same program with
//! bytes added behind its end, so that it is another file of the same code; what is newer is
//! what a newer one would leave: a higher number in a document, another protocol.

use std::{fs, path::Path, time::Duration};

use matrix_podman_e2e::{Invocation, Lab, Ran, SERVICES, Scenario, binary, wait_until};

const PROGRAM: &str = "/usr/local/bin/matrix-podman";
const LOCK: &str = "/opt/matrix/matrix.lock";

pub fn taken_over(s: &mut Scenario, lab: &Lab) {
    s.test("the guest of an older program goes on, and the next up takes it over in a line", || older(lab));
    s.test("what a newer program wrote is refused on either side, and nothing is touched", || {
        newer_state(lab);
        newer_lock(lab);
    });
    s.test("a guest that speaks a newer protocol is left alone, and can be taken back by hand", || {
        newer_protocol(lab);
    });
}

/// Where the machine says who worked on the server last.
fn written_by(lab: &Lab) -> std::path::PathBuf {
    lab.state_folder().join("written-by.json")
}

/// What released programs kept of a site is in the repository, so that it is read here as it was.
fn released(document: &str) -> String {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../fixtures/released/0.1.0/documents");
    fs::read_to_string(folder.join(document)).unwrap()
}

/// Another file of the same code.
fn other_program() -> Vec<u8> {
    let mut program = fs::read(binary()).unwrap();
    program.extend_from_slice(b"\nan older version\n");
    program
}

fn put_into_guest(lab: &Lab, program: impl AsRef<[u8]>) {
    let guest = lab.guest();
    guest.write(&format!("{PROGRAM}.other"), program);
    guest.sh(&format!("chmod 0755 {PROGRAM}.other && mv --force {PROGRAM}.other {PROGRAM}")).ok();
}

fn older(lab: &Lab) {
    let guest = lab.guest();
    put_into_guest(lab, other_program());
    // Of 0.1.0, whatever the version that is tested calls itself; both times it is another one.
    let note = released("written-by.json").replace("\"0.1.0\"", "\"0.0.9\"");
    fs::write(written_by(lab), &note).unwrap();
    fs::write(lab.state_folder().join("journal.jsonl"), released("journal.jsonl")).unwrap();
    let services = || SERVICES.map(|name| guest.incarnation(name));
    let before = services();
    lab.run(&["plan", "--exit-code"]).exits(3).says("Put matrix-podman into the guest");
    lab.run(&["up", "--yes"])
        .ok()
        .says("0.0.9 worked on this server last")
        .says("`update` of 2026-11-30T03:04:05Z was cut off at: restart synapse");
    assert_eq!(services(), before, "nobody's service was restarted for it");
    let digest = |ran: Ran| ran.ok().text().split(' ').next().unwrap().to_owned();
    let own = Invocation::new(["sha256sum", &binary().display().to_string()]).run();
    assert_eq!(digest(guest.exec(["sha256sum", PROGRAM])), digest(own));
    assert!(!fs::read_to_string(written_by(lab)).unwrap().contains("0.0.9"));
    let again = lab.run(&["up", "--yes"]).ok();
    assert!(!again.stderr.contains("worked on this server last"), "{}", again.evidence());
    lab.healthy();
    lab.settled();
}

/// Runs every command that could conclude something from what it does not understand.
fn all_refuse(lab: &Lab, says: &str) {
    for command in [&["up", "--yes"][..], &["plan"], &["update", "--yes"], &["restart", "redis"]] {
        let ran = lab.run(command);
        assert_ne!(ran.code, 0, "{}", ran.evidence());
        assert!(ran.stderr.contains(says) || ran.stdout.contains(says), "{}", ran.evidence());
    }
}

fn newer_state(lab: &Lab) {
    let kept = fs::read_to_string(written_by(lab)).unwrap();
    fs::write(written_by(lab), "{\"format\":99,\"program\":\"9.0.0\"}\n").unwrap();
    let folder = lab.state_folder().display().to_string();
    let machine = || {
        // The lock file names who holds it.
        let script = "find \"$1\" -type f -not -name run.lock -print0 | sort --zero-terminated | xargs --null sha256sum";
        Invocation::new(["sh", "-c", script, "sh", &folder]).run().ok().stdout
    };
    let kept_there = machine();
    let guest = || lab.guest().exec(["sha256sum", PROGRAM, LOCK]).ok().stdout;
    let before = guest();
    all_refuse(lab, "newer matrix-podman");
    lab.run(&["status"]).exits(1).says("newer matrix-podman");
    assert_eq!(guest(), before);
    assert_eq!(machine(), kept_there);
    fs::write(written_by(lab), kept).unwrap();
    lab.settled();
}

fn newer_lock(lab: &Lab) {
    let guest = lab.guest();
    let kept = guest.read(LOCK);
    guest.write(LOCK, kept.replace("format = 1", "format = 99\nnews = \"of another kind\""));
    let files = || guest.exec(["sh", "-c", "cd /opt/matrix; sha256sum *.* synapse/*.yaml"]).ok().stdout;
    let before = files();
    lab.run(&["up", "--yes"]).exits(2).says("newer matrix-podman").says("apt upgrade");
    assert_eq!(files(), before);
    guest.write(LOCK, kept);
    lab.settled();
}

/// What stands in the guest's program's place says hello as a newer one does, and nothing else.
fn newer_protocol(lab: &Lab) {
    let body = "{\"id\":0,\"body\":{\"Hello\":{\"protocol\":99,\"version\":\"9.0.0\",\"digest\":\"0\"}}}";
    let length =
        u32::try_from(1 + body.len()).unwrap().to_be_bytes().map(|byte| format!("\\{byte:03o}")).concat();
    let agent = format!("#!/bin/sh\nprintf '{length}\\000%s' '{body}'\nexec sleep 60\n");
    put_into_guest(lab, &agent);
    lab.run(&["up", "--yes"])
        .exits(1)
        .says("9.0.0")
        .says("newer than this one")
        .says(&format!("rm {PROGRAM}"));
    assert_eq!(lab.guest().read(PROGRAM), agent, "it was not replaced");
    // As the hint says, for somebody who wants to go back.
    lab.guest().exec(["rm", PROGRAM]).ok();
    lab.up();
    wait_until("the server is healthy", Duration::from_secs(60), || {
        let ailing = lab.ailing();
        if ailing.is_empty() { Ok(()) } else { Err(ailing.join(", ")) }
    });
    lab.settled();
}
