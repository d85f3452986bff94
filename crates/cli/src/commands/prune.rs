//! `prune`: what is no longer needed goes, what a way back needs stays.

use std::path::Path;

use matrix_podman_core::{
    fact::Side,
    layout,
    observed::{Gap, Observed},
    prune::{Asked, Kind, Spared, Surplus, Thing, summary},
};
use matrix_podman_host::{decide::prune, failure::Failure, work, world::World};
use serde::Serialize;

use super::{status, up};
use crate::{
    args,
    error::{DONE, Error},
    output::{
        AtStake, Confirmation, DIM, GREEN, Otherwise, Printable, Reporter, Table, Wording, bytes, harmless,
        styled,
    },
};

/// What can go and what stays.
#[derive(Serialize)]
struct Prunable<'a> {
    #[serde(flatten)]
    surplus: &'a Surplus,
    /// Whether other servers' media were looked for, too.
    #[serde(skip)]
    with_media: bool,
}

impl<'a> Prunable<'a> {
    fn of(surplus: &'a Surplus, args: &args::Prune) -> Self {
        let with_media = args.remote_media.is_some();
        Self { surplus, with_media }
    }
}

/// What went.
#[derive(Serialize)]
struct ThingsRemoved<'a> {
    event: &'static str,
    removed: Vec<&'a Thing>,
    gained: u64,
}

pub fn run(config: Option<&Path>, args: &args::Prune, out: &Reporter) -> Result<u8, Error> {
    let (world, found) = super::world(config, out)?;
    let media_before = args.remote_media.map(|age| status::now().saturating_sub(age.0).saturating_mul(1000));
    let asked = Asked { media_before, old_clusters: args.old_clusters };
    let surplus = look(&world, asked)?;
    if args.dry_run || surplus.removable.is_empty() {
        out.report(&Prunable::of(&surplus, args))?;
        return Ok(DONE);
    }
    // A program that says --yes wants to know what went, not what could.
    if out.is_for_person() {
        out.report(&Prunable::of(&surplus, args))?;
    }
    out.confirm(&Confirmation {
        question: "Remove this?",
        at_stake: AtStake::Something,
        yes: args.yes,
        otherwise: Otherwise {
            unasked: "add --yes, or look with --dry-run",
            ..Otherwise::unremoved("answer y, or add --yes")
        },
    })?;
    let before = room(&world);
    let removed = up::at_work(&world, &found, "prune", out, |journal, listener| {
        // While somebody thought, something may have come to be needed.
        let going = prune::agreed(look(&world, asked)?, &surplus);
        let mut failed = None;
        for spared in &going {
            let what = format!("Remove {}", short(&spared.thing));
            if let Err(failure) = work::act(&world, journal, listener, "prune", &what, &spared.effect) {
                // One that cannot go keeps no other.
                failed.get_or_insert(failure);
            }
        }
        journal.end(failed.is_none())?;
        failed.map_or(Ok(going), |failure| Err(failure.into()))
    })?;
    let removed = removed.iter().map(|spared| &spared.thing).collect();
    out.report(&ThingsRemoved { event: "pruned", removed, gained: room(&world).saturating_sub(before) })?;
    Ok(DONE)
}

impl Printable for ThingsRemoved<'_> {
    fn words(&self) -> Wording {
        Wording::saying(format!(
            "{} {} removed; there is {} more room on the disk.",
            styled(GREEN, "✓"),
            match self.removed.len() {
                1 => "One thing is".to_owned(),
                count => format!("{count} things are"),
            },
            bytes(self.gained)
        ))
    }
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

impl Printable for Prunable<'_> {
    fn words(&self) -> Wording {
        let mut words = Wording::default();
        if self.surplus.removable.is_empty() {
            words.data("Nothing can go.");
        } else {
            let mut table = Table::new(["what", "size", "why"]);
            for Spared { thing, .. } in &self.surplus.removable {
                let plain = |text: String| (text, anstyle::Style::new());
                table.row([plain(short(thing)), plain(bytes(thing.bytes)), (thing.why.clone(), DIM)]);
            }
            words.table(&table);
            words.data(format!("{}.", summary(self.surplus)));
        }
        for thing in &self.surplus.kept {
            let text = format!("stays: {} ({}): {}", short(thing), bytes(thing.bytes), thing.why);
            words.data(styled(DIM, &harmless(&text)));
        }
        if self.surplus.kept.iter().any(|thing| thing.kind == Kind::Cluster) {
            words.say("note: `--old-clusters` adds PostgreSQL's clusters that updates left");
        }
        if !self.with_media {
            words.say(
                "note: `--remote-media 30d` adds copies of other servers' media that nobody looked at for so long",
            );
        }
        words
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
