//! Images and root file systems that the program made earlier, used where a
//! test wants them from somewhere else.

use std::{fs, path::PathBuf};

use matrix_podman_images::{BuildOptions, Recipe, build};
use serde_json::Value;

use crate::Lab;

/// The Debian release that the program builds from unless it is told otherwise.
const SUITE: &str = "trixie";

/// Where the program keeps them.
const CACHE: &str = "/var/cache/matrix-podman";

/// The archive of a guest's root file system.
pub(crate) fn rootfs() -> PathBuf {
    PathBuf::from(CACHE).join("rootfs-trixie.tar")
}

/// Sees to it that archives are there: by making a server, if none was made
/// on this machine before.
#[track_caller]
pub fn make_archives() {
    let recipes = ["postgres", "redis", "synapse", "element-web"];
    let all_there = || rootfs().exists() && recipes.iter().all(|recipe| newest(recipe).is_some());
    if all_there() {
        return;
    }
    let lab = Lab::with_config("archives");
    // Another file of tests may have made them while this one waited for the lab.
    if all_there() {
        return;
    }
    lab.set("[images]", "source", "\"build\"");
    lab.up();
}

/// The newest archive of `postgres`, `redis`, `synapse` or `element-web`.
#[track_caller]
pub fn archive(recipe: &str) -> PathBuf {
    newest(recipe).unwrap_or_else(|| panic!("{CACHE} has no image of {recipe}"))
}

fn newest(recipe: &str) -> Option<PathBuf> {
    let folder = PathBuf::from(CACHE).join("images");
    let records = fs::read_dir(&folder).ok()?.flatten().filter_map(|entry| {
        let path = entry.path();
        let name = path.file_name()?.to_str()?;
        let key = name.strip_prefix(recipe)?.strip_prefix('-')?.strip_suffix(".json")?;
        // `synapse-packages-….json` is something else.
        let record: Value = serde_json::from_str(&fs::read_to_string(&path).ok()?).ok()?;
        if record["suite"] != SUITE {
            return None;
        }
        let number = record["number"].as_u64()?;
        let tar = folder.join(format!("{recipe}-{key}.tar"));
        tar.exists().then_some((number, tar))
    });
    records.max().map(|(_, tar)| tar)
}

/// The archive of a PostgreSQL of that major version, made from the Debian release
/// that has it, or found where an earlier run made it.
#[track_caller]
pub fn postgres_archive(major: u32) -> PathBuf {
    let options = BuildOptions::new(PathBuf::from(CACHE).join("images"));
    let options = options.with_postgres(major).unwrap_or_else(|| panic!("no Debian has PostgreSQL {major}"));
    // What is tested is the change from one version to another, not whether a
    // mirror is of today.
    let options = BuildOptions { accept_expired: true, ..options };
    let built = build(Recipe::Postgres, &options, &|note| println!("  {note}"));
    let built = built.unwrap_or_else(|e| panic!("build PostgreSQL {major}: {e}"));
    assert!(built.version.starts_with(&format!("{major}.")), "it is {}", built.version);
    built.archive
}
