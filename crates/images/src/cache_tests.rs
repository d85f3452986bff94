use super::*;

fn silent(_: &str) {}

fn record(key: &str, version: &str, size: u64) -> Record {
    Record {
        recipe: Recipe::Redis,
        suite: "trixie".into(),
        key: key.into(),
        version: version.into(),
        reference: String::new(),
        manifest_digest: String::new(),
        image_id: String::new(),
        archive_size: size,
        number: 0,
        debian: BTreeMap::new(),
        python: BTreeMap::new(),
    }
}

#[test]
fn a_key_changes_with_each_input() {
    let debian = BTreeMap::from([("libc6".to_owned(), "2.41-12".to_owned())]);
    let newer = BTreeMap::from([("libc6".to_owned(), "2.41-13".to_owned())]);
    let base = || Inputs {
        recipe: Recipe::Synapse,
        suite: "trixie",
        architecture: "amd64",
        debian: &debian,
        python: BTreeMap::from([("matrix-synapse", "1.163.2")]),
    };
    let key = base().key();
    assert_eq!(key, base().key());
    assert_eq!(key.len(), 16);
    for other in [
        Inputs { recipe: Recipe::Redis, ..base() },
        Inputs { suite: "forky", ..base() },
        Inputs { architecture: "arm64", ..base() },
        Inputs { debian: &newer, ..base() },
        Inputs { python: BTreeMap::from([("matrix-synapse", "1.164.0")]), ..base() },
    ] {
        assert_ne!(key, other.key(), "{other:?}");
    }
}

#[test]
fn an_archive_that_is_not_whole_is_not_found() {
    let dir = tempfile::tempdir().unwrap();
    let cache = Cache::open(dir.path(), Recipe::Redis, "trixie", &silent).unwrap();
    assert!(cache.find("aa").is_none());
    cache.add(record("aa", "8.0.2", 4)).unwrap();
    assert!(cache.find("aa").is_none(), "there is no archive");
    fs::write(cache.archive("aa"), b"ful").unwrap();
    assert!(cache.find("aa").is_none(), "it is too short");
    fs::write(cache.archive("aa"), b"full").unwrap();
    assert_eq!(cache.find("aa").unwrap().version, "8.0.2");
}

#[test]
fn the_newest_is_found_and_the_oldest_goes() {
    let dir = tempfile::tempdir().unwrap();
    let cache = Cache::open(dir.path(), Recipe::Redis, "trixie", &silent).unwrap();
    for (key, version) in [("cc", "1"), ("aa", "2"), ("bb", "3")] {
        fs::write(cache.archive(key), b"full").unwrap();
        cache.add(record(key, version, 4)).unwrap();
    }
    assert_eq!(cache.newest("trixie", None).unwrap().unwrap().version, "3");
    assert_eq!(cache.newest("trixie", Some("2")).unwrap().unwrap().key, "aa");
    assert!(cache.newest("forky", None).unwrap().is_none());
    assert!(!cache.archive("cc").exists());
}

#[test]
fn a_killed_builds_leftovers_go() {
    let dir = tempfile::tempdir().unwrap();
    let (work, other) = (dir.path().join("work-redis-x"), dir.path().join("work-postgres-x"));
    let partial = dir.path().join("redis-aa.partial");
    fs::create_dir_all(work.join("deep")).unwrap();
    fs::create_dir(&other).unwrap();
    fs::write(&partial, b"half").unwrap();
    let unknown = dir.path().join("redis-bb.tar");
    fs::write(&unknown, b"whole, but nothing is known of it").unwrap();
    let cache = Cache::open(dir.path(), Recipe::Redis, "trixie", &silent).unwrap();
    assert!(!work.exists() && !partial.exists() && !unknown.exists());
    assert!(other.exists(), "another recipe's build may be running");
    let path = cache.work().unwrap().path().to_owned();
    assert!(!path.exists());
}

#[test]
fn one_build_of_a_recipe_at_a_time() {
    let dir = tempfile::tempdir().unwrap();
    let first = Cache::open(dir.path(), Recipe::Redis, "trixie", &silent).unwrap();
    let waited = std::sync::atomic::AtomicBool::new(false);
    std::thread::scope(|scope| {
        let second = scope.spawn(|| {
            let note = |_: &str| waited.store(true, std::sync::atomic::Ordering::SeqCst);
            Cache::open(dir.path(), Recipe::Redis, "trixie", &note).map(drop)
        });
        while !waited.load(std::sync::atomic::Ordering::SeqCst) {
            std::thread::yield_now();
        }
        drop(first);
        second.join().unwrap().unwrap();
    });
}

#[test]
fn an_answer_holds_for_its_time_and_its_question() {
    let dir = tempfile::tempdir().unwrap();
    let cache = Cache::open(dir.path(), Recipe::Redis, "trixie", &silent).unwrap();
    let day = Duration::from_secs(86_400);
    fs::write(cache.archive("aa"), b"full").unwrap();
    cache.add(record("aa", "8.0.2", 4)).unwrap();
    assert!(cache.asked_lately("trixie None", day).is_none(), "nobody has asked");
    cache.note_asked("trixie None", "aa").unwrap();
    assert_eq!(cache.asked_lately("trixie None", day).unwrap().key, "aa");
    assert!(cache.asked_lately("trixie Some", day).is_none(), "that was another question");
    assert!(cache.asked_lately("trixie None", Duration::ZERO).is_none(), "it was too long ago");
    fs::remove_file(cache.archive("aa")).unwrap();
    assert!(cache.asked_lately("trixie None", day).is_none(), "the archive is gone");
}
