//! A server that an earlier program made, with people, media, an update and a backup, is
//! taken over by this one with one `up`.

use std::{collections::BTreeMap, path::Path, time::Duration};

use serde_json::Value;

use crate::{Invocation, Lab, Ran, SERVICES, Session};

const PASSWORD: &str = "correct horse battery staple";
const PICTURE: &[u8] = b"a picture of a cat";
/// The version of Synapse that the earlier program updates from.
const OLDER: &str = "1.162.0";
const MESSAGES: usize = 50;
/// How long a run may take on a machine that is busy with other things.
const LONG: Duration = Duration::from_secs(1800);
/// Where the files are that the program writes for services.
const RENDERED: &str = "cd / && find opt/matrix etc/containers/systemd -type f \
    -not -path 'opt/matrix/postgresdata*' -not -path 'opt/matrix/redis/*' \
    -not -path 'opt/matrix/synapse/media_store*' -not -path 'opt/matrix/secrets/*' \
    -not -path 'opt/matrix/backup*' -not -path 'opt/matrix/journal*' | sort | xargs sha256sum";

/// What people have on the server.
struct Life {
    anna: Session,
    room: String,
    media: String,
}

impl Life {
    /// Nothing of it is lost, and anna's device is still logged in.
    #[track_caller]
    fn goes_on(&self, lab: &Lab, texts: &[String]) {
        lab.healthy();
        let there = self.anna.messages(&self.room);
        let lost: Vec<&String> = texts.iter().filter(|text| !there.contains(text)).collect();
        assert!(lost.is_empty(), "{} messages are lost: {lost:?}", lost.len());
        assert_eq!(self.anna.download(&self.media), PICTURE);
        lab.matrix().login("bob", PASSWORD);
    }
}

/// Has `before` make a server, and this program take it over. Panics with the evidence where
/// something is not as it was; returns the names of rendered files that changed.
pub fn takeover(name: &str, before: &Path) -> Vec<String> {
    let lab = Lab::new(name);
    let early = |arguments: &[&str]| Early { lab: &lab, program: before }.run(arguments);
    early(&["init", "--domain", &lab.domain, "--guest-name", &lab.guest().name, "--yes"]).ok();
    lab.own_network();
    lab.set("[images]", "source", "\"build\"");
    lab.set("[images.synapse]", "build_version", &format!("{OLDER:?}"));
    early(&["up", "--yes"]).ok();
    lab.unset("build_version");

    println!("a life on it: people, messages, media, a token, an update, a backup");
    for person in ["anna", "bob"] {
        Early { lab: &lab, program: before }
            .command(&["user", "add", person, "--password-file", "-"])
            .input(format!("{PASSWORD}\n"))
            .run()
            .ok();
    }
    let anna = lab.matrix().login("anna", PASSWORD);
    let room = anna.create_room("kitchen");
    let mut texts: Vec<String> = (0..MESSAGES).map(|n| format!("message {n}")).collect();
    for text in &texts {
        anna.send(&room, text).unwrap_or_else(|e| panic!("send {text}: {e}"));
    }
    let life = Life { media: anna.upload("cat", PICTURE), anna, room };
    early(&["token", "new", "--uses", "3"]).ok();
    lab.rewriting_is_over();
    early(&["update", "synapse", "--yes"]).ok();
    let repository = lab.path("repository").display().to_string();
    lab.set("[backup]", "repository", &format!("{repository:?}"));
    early(&["up", "--yes"]).ok();
    early(&["backup", "init"]).ok();
    early(&["backup", "now"]).ok();
    let at_backup = texts.clone();
    let after_backup = "after the backup".to_owned();
    life.anna.send(&life.room, &after_backup).unwrap_or_else(|e| panic!("send: {e}"));
    texts.push(after_backup.clone());

    println!("this program: what it would do, and one up");
    let (rendered, running) = (rendered(&lab), incarnations(&lab));
    let plan = lab.run(&["plan", "--json"]).ok().json();
    let restarts: Vec<&str> =
        SERVICES.into_iter().filter(|service| says(&plan, &format!("service/{service}"))).collect();
    println!("  the plan restarts {restarts:?}");
    lab.command(&["up", "--yes"]).within(LONG).run().ok();
    lab.settled();
    let now = incarnations(&lab);
    for service in SERVICES {
        assert!(
            running[service] == now[service] || restarts.contains(&service),
            "{service} was restarted, and the plan does not say so"
        );
    }
    life.goes_on(&lab, &texts);
    assert!(lab.run(&["token", "list"]).ok().text().contains('3'), "the token is there");
    let changed = self::rendered(&lab)
        .into_iter()
        .filter(|(name, digest)| rendered.get(name) != Some(digest))
        .map(|(name, _)| name)
        .collect();

    println!("what is older goes on to work: history, rollback, the snapshot");
    lab.run(&["history"]).ok().says(OLDER);
    lab.rewriting_is_over();
    lab.command(&["rollback", "--yes"]).within(LONG).run().ok();
    assert_eq!(lab.synapse_version(), OLDER);
    life.goes_on(&lab, &texts);
    lab.rewriting_is_over();
    lab.command(&["update", "synapse", "--yes"]).within(LONG).run().ok();
    assert_ne!(lab.synapse_version(), OLDER);
    life.goes_on(&lab, &texts);
    lab.run(&["backup", "verify"]).ok();
    lab.command(&["backup", "restore", "--yes"]).within(LONG).run().ok();
    life.goes_on(&lab, &at_backup);
    assert!(!life.anna.messages(&life.room).contains(&after_backup), "the snapshot is older than that");
    lab.run(&["backup", "now"]).ok();
    changed
}

/// The earlier program in a lab's folder.
struct Early<'a> {
    lab: &'a Lab,
    program: &'a Path,
}

impl Early<'_> {
    fn command(&self, arguments: &[&str]) -> Invocation {
        let program = self.program.display().to_string();
        Invocation::new([program.as_str()].iter().chain(arguments)).folder(&self.lab.folder).within(LONG)
    }

    fn run(&self, arguments: &[&str]) -> Ran {
        self.command(arguments).run()
    }
}

fn says(plan: &Value, id: &str) -> bool {
    plan["entries"]
        .as_array()
        .into_iter()
        .flatten()
        .any(|entry| entry["id"] == id && entry["state"] != "settled")
}

/// Which containers run, and since when.
fn incarnations(lab: &Lab) -> BTreeMap<&'static str, (String, String)> {
    SERVICES.into_iter().map(|service| (service, lab.guest().incarnation(service))).collect()
}

/// The files that are rendered for services, and their digests.
fn rendered(lab: &Lab) -> BTreeMap<String, String> {
    let said = lab.guest().sh(RENDERED).ok().text().to_owned();
    let lines = said.lines().filter_map(|line| line.split_once("  "));
    lines.map(|(digest, name)| (name.to_owned(), digest.to_owned())).collect()
}
