//! What stands beside each archive, and finding the archive that a build would make again.

use std::collections::BTreeMap;
use std::fs::{self, File, TryLockError};
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::assets;
use crate::error::{Error, IoContext, unexpected};
use crate::oci;
use crate::recipe::Recipe;

/// Raised when this crate builds differently from the same inputs.
const REVISION: u32 = 1;
/// How many archives of one recipe and Debian release are kept: the newest, and the one before it to go back to.
const KEEP: usize = 2;

/// All that decides what an image will be.
#[derive(Debug, Serialize)]
pub(crate) struct Inputs<'a> {
    pub recipe: Recipe,
    pub suite: &'a str,
    pub architecture: &'a str,
    pub debian: &'a BTreeMap<String, String>,
    pub python: BTreeMap<&'a str, &'a str>,
}

impl Inputs<'_> {
    /// A name for these inputs.
    pub(crate) fn key(&self) -> String {
        key_of(self.recipe, &serde_json::to_string(self).unwrap_or_default())
    }
}

/// A name for what this crate makes of `inputs`.
fn key_of(recipe: Recipe, inputs: &str) -> String {
    let mut text = format!("{REVISION}\n{inputs}\n");
    for source in assets::sources(recipe) {
        text.push_str(&oci::digest(source.as_bytes()));
    }
    text.push_str(&format!("{:?}", recipe.prune()));
    oci::digest(text.as_bytes())["sha256:".len()..][..16].to_owned()
}

/// What was asked for, and which archive was the answer: a file whose age says
/// how long ago that was found out.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Asked {
    question: String,
    key: String,
}

/// What is known about an archive; a JSON file beside it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Record {
    pub recipe: Recipe,
    pub suite: String,
    pub key: String,
    pub version: String,
    pub reference: String,
    pub manifest_digest: String,
    pub image_id: String,
    pub archive_size: u64,
    /// Counts the archives of a recipe and Debian release, to know the newest.
    pub number: u64,
    pub debian: BTreeMap<String, String>,
    pub python: BTreeMap<String, String>,
}

/// The cache of one recipe for a Debian release, locked for this process.
pub(crate) struct Cache {
    dir: PathBuf,
    recipe: Recipe,
    suite: String,
    _lock: File,
}

impl Cache {
    /// Takes the recipe's lock, waiting if somebody else is building it.
    pub(crate) fn open(
        dir: &Path,
        recipe: Recipe,
        suite: &str,
        progress: &dyn Fn(&str),
    ) -> Result<Self, Error> {
        fs::create_dir_all(dir).during("create", dir)?;
        let path = dir.join(format!("{recipe}.lock"));
        let lock = File::create(&path).during("create", &path)?;
        match lock.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                progress(&format!("{recipe}: waiting for another build of it to finish"));
                lock.lock().during("lock", &path)?;
            }
            Err(TryLockError::Error(err)) => return Err(err).during("lock", &path),
        }
        let cache = Self { dir: dir.to_owned(), recipe, suite: suite.to_owned(), _lock: lock };
        cache.remove_leftovers()?;
        Ok(cache)
    }

    fn work_prefix(&self) -> String {
        format!("work-{}-", self.recipe)
    }

    /// A directory for one build, removed when dropped.
    pub(crate) fn work(&self) -> Result<tempfile::TempDir, Error> {
        let made = tempfile::Builder::new().prefix(&self.work_prefix()).tempdir_in(&self.dir);
        made.during("create a directory in", &self.dir)
    }

    /// Removes what a killed build left. Nobody uses it: the lock is ours.
    fn remove_leftovers(&self) -> Result<(), Error> {
        for path in self.entries()? {
            let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
            if name.starts_with(&self.work_prefix()) {
                if mounted_below(&path)? {
                    return Err(unexpected(
                        format!("remove {}, left by a killed build", path.display()),
                        "file systems are still mounted in it",
                        "unmount them (`findmnt` shows them), then try again",
                    ));
                }
                fs::remove_dir_all(&path).during("remove", &path)?;
            } else if name.starts_with(&format!("{}-", self.recipe)) {
                // An archive without a record was written just before a kill.
                let unknown = name.ends_with(".tar") && !path.with_extension("json").exists();
                if unknown || name.ends_with(".partial") {
                    fs::remove_file(&path).during("remove", &path)?;
                }
            }
        }
        Ok(())
    }

    fn entries(&self) -> Result<Vec<PathBuf>, Error> {
        let read = fs::read_dir(&self.dir).during("read", &self.dir)?;
        let mut paths = Vec::new();
        for entry in read {
            paths.push(entry.during("read", &self.dir)?.path());
        }
        Ok(paths)
    }

    /// Where the archive of a key belongs.
    pub(crate) fn archive(&self, key: &str) -> PathBuf {
        self.dir.join(format!("{}-{key}.tar", self.recipe))
    }

    fn record_path(&self, key: &str) -> PathBuf {
        self.archive(key).with_extension("json")
    }

    /// The record of a key, if its archive is there and whole.
    pub(crate) fn find(&self, key: &str) -> Option<Record> {
        let record: Record = serde_json::from_slice(&fs::read(self.record_path(key)).ok()?).ok()?;
        let size = fs::metadata(self.archive(key)).ok()?.len();
        (record.key == key && record.recipe == self.recipe && record.archive_size == size).then_some(record)
    }

    /// All whole archives of this recipe, the newest first.
    fn all(&self) -> Result<Vec<Record>, Error> {
        let prefix = format!("{}-", self.recipe);
        let mut records = Vec::new();
        for path in self.entries()? {
            let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
            let key = name.strip_prefix(&prefix).and_then(|name| name.strip_suffix(".json"));
            records.extend(key.and_then(|key| self.find(key)));
        }
        records.sort_by_key(|record| std::cmp::Reverse(record.number));
        Ok(records)
    }

    /// The archive that was the answer to the same question not longer ago than `current_for`.
    pub(crate) fn asked_lately(&self, question: &str, current_for: Duration) -> Option<Record> {
        let path = self.asked_path();
        let age = fs::metadata(&path).ok()?.modified().ok()?.elapsed().ok()?;
        let asked: Asked = serde_json::from_slice(&fs::read(&path).ok()?).ok()?;
        let same = asked.question == key_of(self.recipe, question);
        (same && age < current_for).then(|| self.find(&asked.key)).flatten()
    }

    /// Notes that the archive of `key` is the answer to a question, as of now.
    pub(crate) fn note_asked(&self, question: &str, key: &str) -> Result<(), Error> {
        let path = self.asked_path();
        let asked = Asked { question: key_of(self.recipe, question), key: key.to_owned() };
        let partial = path.with_extension("partial");
        fs::write(&partial, serde_json::to_vec(&asked).unwrap_or_default()).during("write", &partial)?;
        fs::rename(&partial, &path).during("write", &path)
    }

    fn asked_path(&self) -> PathBuf {
        self.dir.join(format!("{}.{}.asked", self.recipe, self.suite))
    }

    /// The newest archive that fits, for when nobody can be asked what is new.
    pub(crate) fn newest(&self, suite: &str, version: Option<&str>) -> Result<Option<Record>, Error> {
        let fits = |record: &Record| {
            record.suite == suite && version.is_none_or(|version| record.version == version)
        };
        Ok(self.all()?.into_iter().find(fits))
    }

    /// Writes a record, whole or not at all, and removes archives that are too old.
    pub(crate) fn add(&self, mut record: Record) -> Result<Record, Error> {
        let of_suite = self.all()?.into_iter().filter(|old| old.suite == record.suite);
        record.number = of_suite.map(|old| old.number + 1).max().unwrap_or(1);
        let path = self.record_path(&record.key);
        let partial = path.with_extension("json.partial");
        let text = serde_json::to_vec_pretty(&record).unwrap_or_default();
        fs::write(&partial, text).during("write", &partial)?;
        File::open(&partial).and_then(|file| file.sync_all()).during("write", &partial)?;
        fs::rename(&partial, &path).during("write", &path)?;
        let of_suite = self.all()?.into_iter().filter(|old| old.suite == record.suite);
        for old in of_suite.skip(KEEP) {
            for path in [self.record_path(&old.key), self.archive(&old.key)] {
                fs::remove_file(&path).during("remove", &path)?;
            }
        }
        Ok(record)
    }
}

/// Whether something is mounted below a path: then it must not be removed.
fn mounted_below(path: &Path) -> Result<bool, Error> {
    let path = path.canonicalize().during("find", path)?;
    let mounts = Path::new("/proc/self/mounts");
    let text = fs::read_to_string(mounts).during("read", mounts)?;
    // Blanks in it stand as \040.
    let prefix = path.to_string_lossy().replace(' ', "\\040");
    Ok(text.lines().filter_map(|line| line.split(' ').nth(1)).any(|at| at.starts_with(&prefix)))
}

#[cfg(test)]
#[path = "cache_tests.rs"]
mod tests;
