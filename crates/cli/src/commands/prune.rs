//! `prune`: what is no longer needed goes, what a way back needs stays.

use std::path::Path;

use matrix_podman_core::{
    fact::Side,
    layout,
    observed::{Gap, Observed},
    prune::{Asked, Kind, Spared, Surplus, Thing, summary},
    status::human,
};
use matrix_podman_host::{failure::Failure, run, world::World};
use serde_json::json;

use super::{status, up};
use crate::{
    args,
    error::{DONE, Error},
    output::{self, DIM, GREEN, Table, harmless, styled},
};

pub fn run(config: Option<&Path>, args: &args::Prune) -> Result<u8, Error> {
    let (world, found) = super::world_in_words(config)?;
    let media_before = args.remote_media.map(|age| status::now().saturating_sub(age.0).saturating_mul(1000));
    let asked = Asked { media_before, old_clusters: args.old_clusters };
    let surplus = look(&world, asked)?;
    let json = args.output.json;
    if args.dry_run || surplus.removable.is_empty() {
        if json {
            output::data(&json!({"removable": surplus.removable, "kept": surplus.kept}).to_string());
        } else {
            show(&surplus, args);
        }
        return Ok(DONE);
    }
    if !json {
        show(&surplus, args);
    }
    confirm(args)?;
    let before = room(&world);
    let removed = up::at_work(&world, &found, "prune", json, |journal, listener| {
        // While somebody thought, something may have come to be needed.
        let now = look(&world, asked)?;
        let agreed = |spared: &Spared| {
            surplus
                .removable
                .iter()
                .any(|s| (s.thing.kind, &s.thing.name) == (spared.thing.kind, &spared.thing.name))
        };
        let going: Vec<Spared> = now.removable.into_iter().filter(agreed).collect();
        let mut failed = None;
        for spared in &going {
            let what = format!("Remove {}", short(&spared.thing));
            if let Err(failure) = run::act(&world, journal, listener, "prune", &what, &spared.effect) {
                // One that cannot go keeps no other.
                failed.get_or_insert(failure);
            }
        }
        journal.end(failed.is_none())?;
        failed.map_or(Ok(going), |failure| Err(failure.into()))
    })?;
    let gained = room(&world).saturating_sub(before);
    if json {
        let things: Vec<&Thing> = removed.iter().map(|spared| &spared.thing).collect();
        output::data(&json!({"event": "pruned", "removed": things, "gained": gained}).to_string());
    } else {
        output::say(&format!(
            "{} {} removed; there is {} more room on the disk.",
            styled(GREEN, "✓"),
            match removed.len() {
                1 => "One thing is".to_owned(),
                count => format!("{count} things are"),
            },
            human(gained)
        ));
    }
    Ok(DONE)
}

fn confirm(args: &args::Prune) -> Result<(), Error> {
    if args.yes {
        return Ok(());
    }
    if args.output.json || !output::can_ask() {
        return Err(Error::usage(
            "there is something that can go, and nobody can be asked whether it should",
            "add --yes, or look with --dry-run",
        ));
    }
    // What goes does not come back: silence is no.
    if up::ask("Remove this? [y/N] ")?.is_some_and(|answer| matches!(answer.trim(), "y" | "Y" | "yes")) {
        return Ok(());
    }
    Err(Error::Told { summary: "nothing was removed".to_owned(), hint: "answer y, or add --yes".to_owned() })
}

fn look(world: &World, asked: Asked) -> Result<Surplus, Failure> {
    let doing = "look for what can go";
    match world.look(&mut Observed::default(), |seen| Surplus::of(asked, seen))? {
        Ok(surplus) => Ok(surplus),
        Err(Gap::Unknown(why)) => Err(Failure::new(doing, why)
            .hint("nothing was removed; `matrix-podman doctor` says what is wrong, `matrix-podman up` settles what was cut off")),
        Err(Gap::NotAsked) => Err(Failure::new(doing, "it was not looked at; this is a mistake in matrix-podman")),
    }
}

/// Room on the disk with the server's data; 0 when that is not known.
fn room(world: &World) -> u64 {
    let data = layout::applied_config();
    let looked = world.look(&mut Observed::default(), |seen| seen.room(Side::Guest, &data));
    looked.ok().and_then(Result::ok).flatten().map_or(0, |room| room.free)
}

fn show(surplus: &Surplus, args: &args::Prune) {
    if surplus.removable.is_empty() {
        output::data("Nothing can go.");
    } else {
        let mut table = Table::new(["what", "size", "why"]);
        for Spared { thing, .. } in &surplus.removable {
            let plain = |text: String| (text, anstyle::Style::new());
            table.row([plain(short(thing)), plain(human(thing.bytes)), (thing.why.clone(), DIM)]);
        }
        table.print();
        output::data(&format!("{}.", summary(surplus)));
    }
    for thing in &surplus.kept {
        let text = format!("stays: {} ({}): {}", short(thing), human(thing.bytes), thing.why);
        output::data(&styled(DIM, &harmless(&text)));
    }
    if surplus.kept.iter().any(|thing| thing.kind == Kind::Cluster) {
        output::say("note: `--old-clusters` adds PostgreSQL's clusters that updates left");
    }
    if args.remote_media.is_none() {
        output::say(
            "note: `--remote-media 30d` adds copies of other servers' media that nobody looked at for so long",
        );
    }
}

fn short(thing: &Thing) -> String {
    let name = match thing.kind {
        // An id is as good as its beginning.
        Kind::Image if !thing.name.contains('/') => thing.name.chars().take(12).collect(),
        _ => thing.name.clone(),
    };
    let what = match thing.kind {
        Kind::Image => "the image",
        Kind::Database => "the database",
        Kind::Dump => "the dump",
        Kind::Cluster => "the cluster",
        Kind::RemoteMedia => return "copies of other servers' media".to_owned(),
    };
    format!("{what} {name}")
}
