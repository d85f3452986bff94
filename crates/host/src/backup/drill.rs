//! A drill: the newest snapshot brought back beside the server, into containers
//! without a network, to see whether it would have helped.

use std::{fs::File, time::Instant};

use matrix_podman_core::{
    aside::Containers,
    backup::{MediaList, Rows, drill::CameBack},
};
use rustic_core::jiff::Timestamp;

use super::{Opened, Proof, Repository, media_place, restore};
use crate::{
    failure::{Doing, Failure},
    guest::calls::{Beside, Call},
    progress::{Saying, Sink},
    world::World,
};

/// Brings a snapshot back beside the server, under the locks of both sides, and compares it with what it says of
/// itself. Whatever happens, nothing of it stays but the proof.
pub fn hold(
    world: &World,
    repository: &Repository,
    opened: &Opened,
    drill: &Containers,
    sink: &Sink,
) -> Result<Proof, Failure> {
    let site = world.site().config.site().to_owned();
    // Nobody may prune what is read.
    let lock = repository.lock()?;
    let started = Instant::now();
    let tried = try_out(world, opened, drill, lock, sink);
    // The guest removes everything itself when it gets so far.
    let removed = restore::end_drill(world);
    let mut proof = Proof {
        at: String::new(),
        snapshot: opened.described(),
        seconds: 0,
        tables: 0,
        media: 0,
        signing_key: None,
        logged_in: None,
        wrong: Vec::new(),
        signature: None,
    };
    let result = match tried {
        Ok((came_back, wanted)) => {
            let manifest = opened.manifest()?;
            proof.tables =
                std::iter::once(&came_back.tables).chain(came_back.databases.values()).map(Rows::len).sum();
            proof.media = came_back.media.len();
            let none = Rows::new();
            let of = |called: Option<&str>| match called {
                None => &came_back.tables,
                Some(name) => came_back.databases.get(name).unwrap_or(&none),
            };
            proof.wrong =
                manifest.saved().flat_map(|called| manifest.differences(called, of(called))).collect();
            let mut found = MediaList::default();
            for (path, digest) in wanted.paths().zip(came_back.media) {
                found.insert(path.to_owned(), digest);
            }
            let differing = wanted.differences(&found);
            proof.wrong.extend(differing.iter().map(|path| format!("the media file {path} differs")));
            proof.logged_in = Some(came_back.logged_in);
            let key = manifest.content.signing_key;
            if came_back.keys.contains(&key) {
                proof.signing_key = Some(key);
            } else {
                proof.wrong.push(format!("Synapse does not sign with {} {}", key.0, key.1));
            }
            Ok(())
        }
        Err(failure) => {
            proof.wrong.push(failure.to_string());
            Err(failure)
        }
    };
    proof.at = Timestamp::now().strftime("%Y-%m-%dT%H:%M:%SZ").to_string();
    proof.seconds = started.elapsed().as_secs();
    proof.keep(&site, repository.name())?;
    result.and(removed)?;
    Ok(proof)
}

fn try_out(
    world: &World,
    opened: &Opened,
    drill: &Containers,
    lock: File,
    sink: &Sink,
) -> Result<(CameBack, MediaList), Failure> {
    restore::put_beside(world, Beside::Drill, opened, sink)?;
    let media = opened.media()?;
    // From here on the repository is not needed.
    drop(lock);
    sink(Saying::WaitsFor("the database to be filled and Synapse to start on it".to_owned()));
    let paths = media.paths().map(media_place).collect();
    let answer = world.lines(Call::Drill(Box::new(drill.clone()), paths), "hold a drill")?.concat();
    Ok((serde_json::from_str(&answer).doing(|| "understand what the drill found")?, media))
}
