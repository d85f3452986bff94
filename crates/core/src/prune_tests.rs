use super::*;
use crate::{
    fact::{Amount, Fact, FileKind, FileState, StoredImage, Value},
    lock::{LockedImage, LockedImages},
    name::{Mode, Owner, ServerName},
    observed::Answer,
    stack,
    testing::two_databases,
    update::Outcome,
};

fn id(number: u8) -> Digest {
    Digest::of_sha256(&[number; 32])
}

fn locked(number: u8) -> LockedImage {
    LockedImage {
        wanted: format!("build synapse {number}"),
        run: id(number).hex().to_owned(),
        digest: id(number),
        id: id(number),
        version: format!("1.{number}.0"),
    }
}

fn postgres(major: u8) -> LockedImage {
    LockedImage { version: format!("{major}.1"), ..locked(major) }
}

/// Generation 2 ran on PostgreSQL 17, all others on 18.
fn generation(number: u32, image: u8, outcome: Outcome) -> Generation {
    Generation {
        number,
        at: "2026-01-01T00:00:00Z".to_owned(),
        by: "update".to_owned(),
        images: LockedImages::from([
            (stack::synapse::ID, locked(image)),
            (stack::postgres::ID, postgres(if number == 2 { 17 } else { 18 })),
        ]),
        dump: (number > 1).then(|| update::dump_of(number)),
        snapshot: None,
        restores: None,
        undo: None,
        outcome,
    }
}

fn file(content: String) -> Answer {
    Answer::Known(Value::File(Some(FileState {
        kind: FileKind::File,
        mode: Mode(0o644),
        owner: Owner::ROOT,
        content: Some(content),
        digest: None,
        target: None,
        age: 0,
    })))
}

fn stored(number: u8, names: &[&str], used: bool) -> StoredImage {
    let names = names.iter().map(|name| (*name).to_owned()).collect();
    StoredImage { id: id(number), names, bytes: 100, used }
}

/// A server that runs image 3 since generation 3; generation 4 was undone.
fn world(generations: Vec<Generation>, media: Amount, media_before: Option<u64>) -> Observed {
    let mut lock = Lock::new(ServerName::parse("matrix.home.arpa").unwrap());
    lock.images.insert(stack::synapse::ID, locked(3));
    lock.images.insert(stack::postgres::ID, postgres(18));
    let mut history = History::default();
    generations.into_iter().for_each(|g| history.push(g));
    let images = vec![
        stored(1, &["localhost/matrix-podman/synapse:generation-1"], false),
        stored(2, &[], false),
        stored(3, &["localhost/matrix-podman/synapse:generation-3"], true),
        stored(
            4,
            &["localhost/matrix-podman/synapse:generation-4", "localhost/matrix-podman/synapse:x"],
            false,
        ),
        stored(8, &["docker.io/library/alpine:3"], false),
        stored(9, &["localhost/matrix-podman/redis:old"], true),
    ];
    let dumps = ["before-2.dump", "before-3.dump", "before-4.dump", "mine.dump", "restore.dump"];
    let databases = ["postgres", "synapse_of_generation_4", "synapse_of_generation_x", "synapse_mine"];
    let clusters = ["18", "17", "15", "18.of-generation-4", ".removing-16", "18.mine"];
    let sizes = [".removing-16", "15", "17", "18.of-generation-4"];
    let mut seen = Observed::default();
    let mut insert = |fact, answer| seen.insert(Side::Guest, fact, answer);
    insert(Fact::File(layout::lock_file()), file(lock.render().unwrap()));
    insert(Fact::File(update::history_file()), file(history.render().unwrap()));
    insert(Fact::StoredImages, Answer::Known(Value::StoredImages(images)));
    insert(
        Fact::Files(layout::dumps()),
        Answer::Known(Value::Files(dumps.iter().map(|name| ((*name).to_owned(), 10)).collect())),
    );
    insert(
        Fact::Clusters,
        Answer::Known(Value::Lines(clusters.iter().map(|name| (*name).to_owned()).collect())),
    );
    let path = |name: &str| AbsPath::known(format!("{}/{name}", update::FOLDER));
    insert(
        Fact::FolderSizes(sizes.into_iter().map(path).collect()),
        Answer::Known(Value::Files(
            sizes.iter().zip(1000..).map(|(name, bytes)| (path(name).to_string(), bytes)).collect(),
        )),
    );
    insert(
        Fact::Spare { media_before },
        Answer::Known(Value::Spare(Spare {
            databases: databases.iter().map(|name| ((*name).to_owned(), 1)).collect(),
            media,
        })),
    );
    seen
}

fn generations() -> Vec<Generation> {
    vec![
        generation(1, 1, Outcome::Kept),
        generation(2, 2, Outcome::Kept),
        generation(3, 3, Outcome::Kept),
        generation(4, 4, Outcome::Undone { why: String::new(), log: Vec::new() }),
    ]
}

#[test]
fn what_the_way_back_needs_stays_and_what_is_not_ours_is_left_alone() {
    let surplus =
        Surplus::of(Asked::default(), &world(generations(), Amount { files: 5, bytes: 50 }, None)).unwrap();
    let names = |things: Vec<&Thing>| things.iter().map(|t| t.name.clone()).collect::<Vec<_>>();
    assert_eq!(
        names(surplus.removable.iter().map(|s| &s.thing).collect()),
        [
            "localhost/matrix-podman/synapse:generation-1",
            "localhost/matrix-podman/synapse:generation-4",
            "/opt/matrix/dumps/before-2.dump",
            "synapse_of_generation_4",
            // The one whose removal was cut off.
            "/opt/matrix/postgresdata/.removing-16",
        ]
    );
    // The image of generation 2, the dump that leads back to it, and the newest;
    // clusters, for which nobody asked.
    assert_eq!(
        names(surplus.kept.iter().collect()),
        [
            id(2).hex(),
            "/opt/matrix/dumps/before-3.dump",
            "/opt/matrix/dumps/before-4.dump",
            "/opt/matrix/postgresdata/15",
            "/opt/matrix/postgresdata/17",
            "/opt/matrix/postgresdata/18.of-generation-4",
        ]
    );
    assert_eq!(surplus.bytes(), 1211);
    assert_eq!(summary(&surplus), "5 things can go: at most 1.1 KiB");
    let Effect::Here(Local::RemoveImage { names, .. }) = &surplus.removable[1].effect else { panic!() };
    assert_eq!(names.len(), 2, "an image goes with all its names");
}

#[test]
fn remote_media_go_only_when_that_was_asked_for() {
    let media = Amount { files: 5, bytes: 50 };
    let surplus = Surplus::of(
        Asked { media_before: Some(7), ..Asked::default() },
        &world(generations(), media, Some(7)),
    )
    .unwrap();
    let last = surplus.removable.last().unwrap();
    assert_eq!((last.thing.kind, last.thing.bytes), (Kind::RemoteMedia, 50));
    assert_eq!(last.effect, Effect::Here(Local::ForgetRemoteMedia { before: 7 }));
}

#[test]
fn old_clusters_go_only_when_that_was_asked_for_and_never_the_one_that_serves() {
    let asked = Asked { old_clusters: true, ..Asked::default() };
    let surplus = Surplus::of(asked, &world(generations(), Amount::default(), None)).unwrap();
    let clusters: Vec<_> = surplus.removable.iter().filter(|s| s.thing.kind == Kind::Cluster).collect();
    let names: Vec<_> =
        clusters.iter().map(|s| (s.thing.name.rsplit('/').next().unwrap(), s.thing.bytes)).collect();
    assert_eq!(names, [(".removing-16", 1000), ("15", 1001), ("17", 1002), ("18.of-generation-4", 1003)]);
    assert!(!surplus.kept.iter().any(|thing| thing.kind == Kind::Cluster), "{surplus:?}");
    let why = |at: usize| clusters[at].thing.why.as_str();
    assert!(why(2).contains("`rollback` goes back to it, to generation 2"), "{}", why(2));
    assert!(why(1).contains("when PostgreSQL 15 was left"), "{}", why(1));
    assert!(why(3).contains("left again"), "{}", why(3));
    assert_eq!(clusters[2].effect, Effect::Here(Local::RemoveCluster { name: "17".to_owned() }));
}

#[test]
fn nothing_goes_while_an_update_is_not_settled() {
    let mut all = generations();
    all.push(generation(5, 5, Outcome::UnderWay));
    let Err(Gap::Unknown(why)) = Surplus::of(Asked::default(), &world(all, Amount::default(), None)) else {
        panic!()
    };
    assert!(why.contains("generation 5"), "{why}");
}

#[test]
fn a_server_that_was_never_updated_has_nothing_to_spare_but_what_is_ours_and_unused() {
    let surplus =
        Surplus::of(Asked::default(), &world(vec![generation(1, 3, Outcome::Kept)], Amount::default(), None));
    let surplus = surplus.unwrap();
    let mut kept = surplus.kept.iter().filter(|thing| thing.kind != Kind::Cluster);
    assert!(kept.all(|thing| thing.name.ends_with("before-4.dump")), "{surplus:?}");
}

#[test]
fn only_names_that_updates_give_are_those_of_kept_databases() {
    for (name, ours) in [
        ("synapse_of_generation_12", true),
        ("synapse_before_generation_1", true),
        ("synapse_of_generation_", false),
        ("synapse_of_generation_01", false),
        ("synapse_of_generation_1;x", false),
        ("accounts_of_generation_3", true),
        ("other_of_generation_3", false),
        ("synapse", false),
        ("synapse_restoring", false),
    ] {
        assert_eq!(update::is_kept_database(&two_databases(), name), ours, "{name}");
    }
    for name in ["before-12.dump", "before-12.dump.accounts"] {
        assert_eq!(update::dump_number(name), Some(12), "{name}");
    }
    for name in ["restore.dump", "before-x.dump", "before-12.dumps", "before-12"] {
        assert_eq!(update::dump_number(name), None, "{name}");
    }
}

#[test]
fn the_last_two_generations_stay_by_themselves() {
    let of = |except| {
        let surplus = Surplus::of(
            Asked { media_before: Some(7), old_clusters: true },
            &world(generations(), Amount { files: 5, bytes: 50 }, Some(7)),
        );
        outlived(surplus.unwrap(), except).into_iter().map(|spared| spared.thing.name).collect::<Vec<_>>()
    };
    // Databases, clusters and media are nobody's but a person's to remove.
    assert_eq!(
        of(None),
        [
            "localhost/matrix-podman/synapse:generation-1",
            "localhost/matrix-podman/synapse:generation-4",
            "/opt/matrix/dumps/before-2.dump",
        ]
    );
    assert_eq!(
        of(Some(4)),
        ["localhost/matrix-podman/synapse:generation-1", "/opt/matrix/dumps/before-2.dump"]
    );
}

#[test]
fn two_dumps_stay_where_only_one_leads_back() {
    let dump = |number: u32| Thing {
        kind: Kind::Dump,
        name: update::dump_of(number).to_string(),
        bytes: 1,
        why: String::new(),
    };
    let spared = |number| Spared {
        thing: dump(number),
        effect: Effect::Here(Local::RemoveFile { side: Side::Guest, path: update::dump_of(number) }),
    };
    let surplus = Surplus { removable: vec![spared(2), spared(10), spared(9)], kept: vec![dump(11)] };
    let gone: Vec<String> = outlived(surplus, None).into_iter().map(|spared| spared.thing.name).collect();
    assert_eq!(gone, [update::dump_of(2).to_string(), update::dump_of(9).to_string()]);
}
