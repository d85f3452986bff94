//! What has to be well before anything is replaced.

use super::Undo;
use crate::{
    check::Check,
    config::Config,
    fact::{Database, DatabaseState, Room, Side},
    layout,
    name::AbsPath,
    observed::{Gap, Observed, Seen},
    size::Bytes,
    stack::{self, Data},
};

/// What is left free besides the dump: the server goes on writing.
const RESERVE: Bytes = Bytes(512 << 20);

type Question = fn(&Config, &Observed) -> Seen<Check>;

/// Questions whose answers decide whether an update may begin.
pub fn checks(config: &Config, seen: &Observed) -> Vec<Check> {
    let questions: [(&'static str, Question); 4] = [
        ("update/services", services),
        ("update/migration", migration),
        ("update/background", background),
        ("update/room", room),
    ];
    // All are asked before the first answer is looked at.
    questions.map(|(id, ask)| ask(config, seen).unwrap_or_else(|gap| Check::gap(id, gap))).into()
}

fn services(config: &Config, seen: &Observed) -> Seen<Check> {
    let id = "update/services";
    let mut ill = Vec::new();
    for service in stack::services(config) {
        match seen.container(service.name())? {
            Some(c) if c.state == "running" && c.health.as_str() == "healthy" => {}
            Some(c) => ill.push(format!("{service} is {} {}", c.state, c.health.as_str())),
            None => ill.push(format!("{service} does not run")),
        }
    }
    Ok(if ill.is_empty() {
        Check::pass(id, "all services are healthy")
    } else {
        Check::fail(
            id,
            ill.join(", "),
            "`matrix-podman doctor` says why; an update begins only on a server that is well",
        )
    })
}

/// What the database says, or the check that cannot be made without it.
fn database<'a>(id: &'static str, seen: &'a Observed) -> Seen<Result<&'a DatabaseState, Check>> {
    Ok(match seen.database()? {
        Database::Answers(state) => Ok(state),
        Database::Refuses(why) => {
            Err(Check::fail(id, format!("the database does not answer: {why}"), Data::Cluster.log_hint()))
        }
    })
}

fn migration(_: &Config, seen: &Observed) -> Seen<Check> {
    let id = "update/migration";
    let (state, inside) = (database(id, seen), seen.inside_synapse());
    let (state, inside) = (state?, inside?);
    Ok(match (state, inside.schema) {
        (Err(check), _) => check,
        // Newer data than the program: it went back by its image alone.
        (Ok(DatabaseState { schema: Some(data), .. }), Some(writes)) if *data >= writes => {
            Check::pass(id, "no migration is under way")
        }
        (Ok(_), _) => Check::fail(
            id,
            "the data is not yet in the form that this Synapse writes",
            "it migrates when it starts: `matrix-podman logs synapse` shows how far it is",
        ),
    })
}

fn background(_: &Config, seen: &Observed) -> Seen<Check> {
    let id = "update/background";
    Ok(match database(id, seen)? {
        Err(check) => check,
        Ok(state) if state.background.is_empty() => Check::pass(id, "no rewriting is left to be done"),
        Ok(state) => Check::fail(
            id,
            format!("Synapse still rewrites data in the background: {}", state.background.join(", ")),
            "wait until that is over (`matrix-podman verify --only data` shows it), then run the same again",
        ),
    })
}

fn room(_: &Config, seen: &Observed) -> Seen<Check> {
    let id = "update/room";
    let dumps = seen.room(Side::Guest, &AbsPath::known(layout::DUMPS));
    let root = seen.room(Side::Guest, &AbsPath::known(layout::ROOT));
    let state = database(id, seen);
    let (dumps, root, state) = (dumps?, root?, state?);
    let state = match state {
        Err(check) => return Ok(check),
        Ok(state) => state,
    };
    let Some(room) = dumps.or(root) else {
        return Err(Gap::Unknown(format!("{} is not there", layout::ROOT)));
    };
    let need = state.size.saturating_add(RESERVE.0);
    Ok(if room.free >= need {
        Check::pass(id, format!("{} are free for the dump", Bytes(room.free).rounded()))
    } else {
        Check::fail(
            id,
            format!(
                "the dump of the database may need {}, and {} are free in the guest",
                Bytes(need).rounded(),
                Bytes(room.free).rounded()
            ),
            format!("make room in the guest: `df -h {}` there shows how much is left", layout::ROOT),
        )
    })
}

/// What newer images take beside those that are there, in bytes, as they are known to.
const IMAGES: u64 = 2 << 30;

/// What to tell a person while the disk still has room for the next update, but for hardly more than
/// that; `None` as long as there is enough.
pub fn room_runs_out(database: u64, room: Room) -> Option<String> {
    let need = database.saturating_add(RESERVE.0).saturating_add(IMAGES);
    (room.free < need).then(|| {
        format!(
            "the guest's disk has {} left, and the next update may need {} for images and a dump: make room \
             (`matrix-podman prune`) or give the guest a larger disk (guest.disk), before something is refused for it",
            Bytes(room.free).rounded(),
            Bytes(need).rounded()
        )
    })
}

/// What is lost when a server goes back, in a sentence.
pub fn lost(undo: Undo, since: Option<&str>) -> String {
    match (undo, since) {
        (Undo::Image, _) => "Nothing is lost: the older program opens the data as they are.".to_owned(),
        (Undo::Dump, Some(since)) => format!(
            "The older program does not open the data as they are. The dump of {since} is put back: what was \
             written on this server after that is lost."
        ),
        (Undo::Cluster, since) => format!(
            "PostgreSQL goes back to the cluster of its other major version, as that was left{}: what was written \
             on this server after that is lost. What is there now is kept beside it.",
            since.map(|since| format!(" at {since}")).unwrap_or_default()
        ),
        (Undo::Dump, None) => {
            "The older program does not open the data as they are, and there is no dump to put back."
                .to_owned()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        check::Verdict,
        fact::{ContainerState, Fact, Health, InsideSynapse, Value},
        observed::Answer,
    };
    use crate::{service::ServiceId, testing::default_config};

    fn state() -> DatabaseState {
        DatabaseState {
            server_version: "18.1".to_owned(),
            encoding: "UTF8".to_owned(),
            collate: "C".to_owned(),
            ctype: "C".to_owned(),
            schema: Some(94),
            compat: Some(84),
            background: Vec::new(),
            size: 100 << 20,
        }
    }

    struct World {
        health: Health,
        database: Database,
        writes: u32,
        free: u64,
    }

    impl Default for World {
        fn default() -> Self {
            Self { health: Health::Healthy, database: Database::Answers(state()), writes: 94, free: 1 << 30 }
        }
    }

    fn failing(world: World) -> Vec<&'static str> {
        let mut seen = Observed::default();
        let containers = ServiceId::ALL.map(|service| ContainerState {
            name: service.name().to_owned(),
            state: "running".to_owned(),
            health: world.health,
            image: String::new(),
            image_id: None,
            labels: Default::default(),
        });
        let inside = InsideSynapse { schema: Some(world.writes), media_writable: true, peers: Vec::new() };
        let room = Room { free: world.free, total: 1 << 40, files_free: None };
        for (fact, value) in [
            (Fact::Containers, Value::Containers(containers.into())),
            (Fact::Database, Value::Database(Box::new(world.database))),
            (Fact::InsideSynapse, Value::InsideSynapse(inside)),
            (Fact::Room(AbsPath::known(layout::ROOT)), Value::Room(Some(room))),
            (Fact::Room(AbsPath::known(layout::DUMPS)), Value::Room(None)),
        ] {
            seen.insert(Side::Guest, fact, Answer::Known(value));
        }
        let checks = checks(&default_config(), &seen);
        assert!(seen.take_wanted().is_empty());
        let failing = checks.iter().filter(|c| matches!(c.verdict, Verdict::Fail { .. }));
        failing.map(|c| c.id).collect()
    }

    #[test]
    fn each_ill_stops_an_update_by_its_name() {
        let database = |change: fn(&mut DatabaseState)| {
            let mut state = state();
            change(&mut state);
            World { database: Database::Answers(state), ..World::default() }
        };
        for (world, expected) in [
            (World::default(), &[][..]),
            (World { health: Health::Unhealthy, ..World::default() }, &["update/services"]),
            (World { writes: 95, ..World::default() }, &["update/migration"]),
            // After a way back by image alone the data is newer than the program.
            (World { writes: 93, ..World::default() }, &[]),
            (database(|s| s.background.push("populate_x".to_owned())), &["update/background"]),
            (database(|s| s.size = 600 << 20), &["update/room"]),
            (World { free: 100 << 20, ..World::default() }, &["update/room"]),
            (
                World { database: Database::Refuses("it starts".to_owned()), ..World::default() },
                &["update/migration", "update/background", "update/room"],
            ),
        ] {
            assert_eq!(failing(world), expected);
        }
    }

    #[test]
    fn a_disk_that_runs_full_is_told_of_in_time() {
        let room = |free| Room { free, total: 1 << 40, files_free: None };
        assert_eq!(room_runs_out(100 << 20, room(3 << 30)), None);
        let told = room_runs_out(100 << 20, room(1 << 30)).unwrap();
        assert!(told.contains("1.0 GiB left") && told.contains("2.5 GiB"), "{told}");
        // What is told of would not be refused yet.
        assert_eq!(failing(World { free: 1 << 30, ..World::default() }), Vec::<&str>::new());
    }

    #[test]
    fn all_is_asked_at_once() {
        let seen = Observed::default();
        let checks = checks(&default_config(), &seen);
        assert!(checks.iter().all(|c| matches!(c.verdict, Verdict::Unknown { .. })));
        assert_eq!(seen.take_wanted().len(), 5);
    }
}
