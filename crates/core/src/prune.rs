//! What is no longer needed, and what stays because a way back needs it.
//!
//! Only what this program made or got is looked at: images that the history or
//! our own names speak of, dumps and databases under the names that updates
//! give them. Whatever it does not know, it leaves alone.

use std::collections::BTreeSet;

use serde::Serialize;

use crate::{
    effect::{Effect, Local},
    fact::{Side, Spare},
    layout,
    lock::Lock,
    name::{AbsPath, Digest},
    observed::{Gap, Observed, Seen},
    resource,
    size::Bytes,
    stack,
    update::{self, Generation, History, OldCluster, Was},
};

/// Beginning of the names of images that the program gave.
const OUR_IMAGES: &str = "localhost/matrix-podman/";

/// What kind of thing something is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Kind {
    /// An image in the guest.
    Image,
    /// A dump of the database.
    Dump,
    /// A database beside the one that serves.
    Database,
    /// A cluster of PostgreSQL beside the one that serves.
    Cluster,
    /// Copies of media of other servers.
    RemoteMedia,
}

/// What is asked for besides what nobody could miss.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Asked {
    /// The moment, in milliseconds since 1970, since when remote media has to
    /// have been looked at in order to stay; all of it stays when that is absent.
    pub media_before: Option<u64>,
    /// Whether clusters of PostgreSQL go that updates left.
    pub old_clusters: bool,
}

/// Something that is there and does not serve.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Thing {
    /// What kind of thing it is.
    pub kind: Kind,
    /// What it is called.
    pub name: String,
    /// Its size in bytes; of an image, with the layers that it shares with others.
    pub bytes: u64,
    /// What it was for, or why it stays.
    pub why: String,
}

/// Something that can go.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Spared {
    /// What.
    #[serde(flatten)]
    pub thing: Thing,
    /// The act that removes it.
    #[serde(skip)]
    pub effect: Effect,
}

/// What there is beside what serves.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct Surplus {
    /// What can go.
    pub removable: Vec<Spared>,
    /// What stays, because a way back needs it.
    pub kept: Vec<Thing>,
}

impl Surplus {
    /// The bytes of all that can go.
    pub fn bytes(&self) -> u64 {
        self.removable.iter().map(|spared| spared.thing.bytes).fold(0, u64::saturating_add)
    }

    /// What there is in the guest beside what serves.
    pub fn of(asked: Asked, seen: &Observed) -> Seen<Self> {
        let Asked { media_before, old_clusters } = asked;
        // All questions first, so that they are answered in one round.
        let (lock, history, clusters) =
            (resource::read_lock(seen), history(seen), update::old_clusters(seen));
        let images = seen.stored_images();
        let dumps = seen.files(&layout::dumps());
        let spare = seen.spare(media_before);
        let (Some(lock), history, images, dumps, spare) = (lock?, history?, images?, dumps?, spare?) else {
            return Ok(Self::default());
        };
        let clusters = clusters?;
        let sizes = match clusters.as_slice() {
            [] => &[],
            some => seen.folder_sizes(some.iter().map(OldCluster::path))?,
        };
        if let Some(trial) = history.under_way() {
            return Err(Gap::Unknown(format!(
                "the update to generation {} is under way or was cut off, and may need all of it",
                trial.number
            )));
        }
        let before = history.before(&lock);
        let mut surplus = Self::default();
        let needed = needed_images(&lock, before);
        let known: BTreeSet<&Digest> =
            history.generations.iter().flat_map(|g| g.images.all()).map(|image| &image.id).collect();
        for image in images {
            let ours =
                known.contains(&image.id) || image.names.iter().any(|name| name.starts_with(OUR_IMAGES));
            if !ours || image.used || lock.images.all().any(|locked| locked.id == image.id) {
                continue;
            }
            let name = image.names.first().cloned().unwrap_or_else(|| image.id.hex().to_owned());
            let thing =
                |why: String| Thing { kind: Kind::Image, name: name.clone(), bytes: image.bytes, why };
            match before.filter(|_| needed.contains(&image.id)) {
                Some(before) => {
                    surplus.kept.push(thing(format!("`rollback` goes back to generation {}", before.number)))
                }
                None => surplus.removable.push(Spared {
                    thing: thing("nothing runs from it any more".to_owned()),
                    effect: Effect::Here(Local::RemoveImage {
                        id: image.id.clone(),
                        names: image.names.clone(),
                    }),
                }),
            }
        }
        surplus.dumps(&lock, &history, dumps);
        surplus.databases(spare);
        surplus.clusters(old_clusters, &lock, before, &clusters, sizes);
        if let Some(before) = media_before
            && spare.media.files > 0
        {
            surplus.removable.push(Spared {
                thing: Thing {
                    kind: Kind::RemoteMedia,
                    name: format!("{} files of other servers", spare.media.files),
                    bytes: spare.media.bytes,
                    why: "nobody looked at them for so long; they are fetched again when somebody does"
                        .to_owned(),
                },
                effect: Effect::Here(Local::ForgetRemoteMedia { before }),
            });
        }
        surplus.removable.sort_by(|one, other| {
            (one.thing.kind, &one.thing.name).cmp(&(other.thing.kind, &other.thing.name))
        });
        Ok(surplus)
    }

    fn dumps(&mut self, lock: &Lock, history: &History, files: &[(String, u64)]) {
        // Where nothing says which one leads back, the newest does.
        let current = history.current(lock).and_then(|g| g.dump.clone());
        let newest = files.iter().filter_map(|(name, _)| update::dump_number(name)).max();
        for (name, bytes) in files {
            let Some(number) = update::dump_number(name) else { continue };
            let path: AbsPath = layout::dumps().join(name);
            let thing = |why: String| Thing { kind: Kind::Dump, name: path.to_string(), bytes: *bytes, why };
            if current == Some(update::dump_of(number)) {
                self.kept.push(thing("the way back from what runs may need it".to_owned()));
            } else if newest == Some(number) {
                self.kept.push(thing("it is the newest one".to_owned()));
            } else {
                self.removable.push(Spared {
                    thing: thing(format!("it was taken before generation {number} was tried")),
                    effect: Effect::Here(Local::RemoveFile { side: Side::Guest, path: path.clone() }),
                });
            }
        }
    }

    /// Only a removal that somebody asked for goes on unasked.
    fn clusters(
        &mut self,
        asked: bool,
        lock: &Lock,
        before: Option<&Generation>,
        clusters: &[OldCluster],
        sizes: &[(String, u64)],
    ) {
        let back = before
            .filter(|before| stack::cluster_major(&before.images) != stack::cluster_major(&lock.images));
        for cluster in clusters {
            let path = cluster.path().to_string();
            let bytes = sizes.iter().find(|(name, _)| *name == path).map_or(0, |(_, bytes)| *bytes);
            let major = cluster.major;
            let why = match cluster.was {
                Was::BeingRemoved => "it was being removed when that was cut off".to_owned(),
                Was::Tried => format!("a move to PostgreSQL {major} that was left again"),
                Was::Replaced => format!("data of PostgreSQL {major} that newer ones took the place of"),
                Was::Served => {
                    match back.filter(|before| stack::cluster_major(&before.images) == Some(major)) {
                        Some(before) => {
                            format!(
                                "`rollback` goes back to it, to generation {}, and cannot without it",
                                before.number
                            )
                        }
                        None => format!("the data as they were when PostgreSQL {major} was left"),
                    }
                }
            };
            let thing = Thing { kind: Kind::Cluster, name: path, bytes, why };
            if asked || cluster.was == Was::BeingRemoved {
                let effect = Effect::Here(Local::RemoveCluster { name: cluster.name.clone() });
                self.removable.push(Spared { thing, effect });
            } else {
                self.kept.push(thing);
            }
        }
    }

    fn databases(&mut self, spare: &Spare) {
        for (name, bytes) in &spare.databases {
            if !update::is_kept_database(&stack::databases(), name) {
                continue;
            }
            self.removable.push(Spared {
                thing: Thing {
                    kind: Kind::Database,
                    name: name.clone(),
                    bytes: *bytes,
                    why: "what was on the server when a dump took its place; nothing else has it".to_owned(),
                },
                effect: Effect::Here(Local::DropDatabase { name: name.clone() }),
            });
        }
    }
}

/// How many dumps stay by themselves: that from before what runs, and one more.
const DUMPS_KEPT: usize = 2;

/// What goes by itself after an update that ended well: images and dumps of which neither what runs
/// nor what ran before it has a use. Whatever holds data that nothing else has stays until a
/// person says otherwise. The image of the generation `except` stays for somebody to look at.
pub fn outlived(surplus: Surplus, except: Option<u32>) -> Vec<Spared> {
    let of_it = except.map(|number| format!(":generation-{number}"));
    let number = |thing: &Thing| {
        let name = thing.name.rsplit('/').next().filter(|_| thing.kind == Kind::Dump);
        name.and_then(update::dump_number)
    };
    // Those of several databases are one.
    let kept: BTreeSet<u32> = surplus.kept.iter().filter_map(number).collect();
    let dumps: BTreeSet<u32> = surplus.removable.iter().filter_map(|spared| number(&spared.thing)).collect();
    let staying: BTreeSet<u32> =
        dumps.into_iter().rev().take(DUMPS_KEPT.saturating_sub(kept.len())).collect();
    surplus
        .removable
        .into_iter()
        .filter(|spared| match spared.thing.kind {
            Kind::Image => of_it.as_ref().is_none_or(|of_it| !spared.thing.name.ends_with(of_it)),
            Kind::Dump => number(&spared.thing).is_some_and(|number| !staying.contains(&number)),
            Kind::Database | Kind::Cluster | Kind::RemoteMedia => false,
        })
        .collect()
}

fn needed_images(lock: &Lock, before: Option<&Generation>) -> BTreeSet<Digest> {
    let back = before.into_iter().flat_map(|g| g.images.all());
    lock.images.all().chain(back).map(|image| image.id.clone()).collect()
}

fn history(seen: &Observed) -> Seen<History> {
    let file = seen.file(Side::Guest, &update::history_file())?;
    file.map_or(Ok(History::default()), |file| {
        History::parse(file.content.as_deref().unwrap_or_default())
            .map_err(|why| Gap::Unknown(format!("{} cannot be read: {why}", update::history_file())))
    })
}

/// What is said before somebody agrees.
pub fn summary(surplus: &Surplus) -> String {
    let count = surplus.removable.len();
    let size = Bytes(surplus.bytes()).rounded();
    let shared = if surplus.removable.iter().any(|s| s.thing.kind == Kind::Image) { "at most " } else { "" };
    format!("{count} thing{} can go: {shared}{size}", if count == 1 { "" } else { "s" })
}

#[cfg(test)]
#[path = "prune_tests.rs"]
mod tests;
