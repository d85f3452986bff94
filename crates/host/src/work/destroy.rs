//! Removing a site, which is never a part of anything else.

use std::{fs, path::Path, time::Duration};

use matrix_podman_core::{
    config::Config,
    effect::Container,
    layout,
    name::{Mode, Owner},
    observed::{Gap, Observed},
    render::{
        backups::{self, Chore},
        timer,
    },
    resource::{self, BackendId, Claim, Place},
};

use crate::{
    apply::proxmox,
    failure::{Doing, Failure},
    file,
    process::Program,
    progress::Sink,
    world::World,
};

const QUICK: Duration = Duration::from_secs(300);

/// What would be lost, in sentences.
pub fn losses(world: &World) -> Vec<String> {
    let config = &world.site().config;
    vec![
        world.guest_losses(),
        "all accounts, rooms, messages and media (the PostgreSQL database and the media store)".to_owned(),
        format!(
            "the signing key: nobody can ever be {} again in the eyes of other servers",
            config.server_name
        ),
    ]
}

/// Whether a removal of the site was cut off: it goes on with the next one. One of an
/// older version is known by what it left of the guest, with keys and database in it.
pub fn is_begun(world: &World) -> bool {
    let config = &world.site().config;
    let noted = Path::new(layout::destroy_begun(config.site()).as_str()).exists();
    noted || world.is_guest_half_removed()
}

/// Removes the site, or goes on with a removal that was cut off.
pub fn destroy(world: &World, sink: &Sink) -> Result<(), Failure> {
    let begun = layout::destroy_begun(world.site().config.site());
    file::write(Path::new(begun.as_str()), b"", Mode(0o600), Owner::ROOT)?;
    carry_out(world, sink)?;
    let begun = Path::new(begun.as_str());
    file::remove(begun)?;
    file::sync_folder(begun.parent().unwrap_or(Path::new("/"))).doing(|| "note that the site is removed")
}

fn carry_out(world: &World, sink: &Sink) -> Result<(), Failure> {
    // What is gone needs no backups any more; those that there are stay.
    forget_timers(&world.site().config)?;
    world.remove_guest(sink)
}

/// A Proxmox container that this site made and that never held a
/// database: what a failed first run left.
pub fn failed(world: &World) -> Result<Option<Failed>, Failure> {
    if world.site().backend.id() != BackendId::Proxmox {
        return Ok(None);
    }
    let file = layout::container_claim(world.site().config.site());
    let Ok(text) = fs::read_to_string(file.as_str()) else { return Ok(None) };
    let Some(claim) = Claim::parse(&text) else { return Ok(None) };
    let found = world.look(&mut Observed::default(), |seen| {
        Ok::<_, Gap>(match resource::find_container(world.site(), seen)? {
            Place::Here { container, .. } => Some((container, false)),
            Place::Unfinished { container } => {
                // One that Proxmox went on with is whole.
                let finished = resource::was_finished(world.site(), seen, &container)?;
                Some((container, !finished))
            }
            Place::Absent | Place::Refused { .. } => None,
        })
    })?;
    Ok(match found {
        Ok(Some((found, unfinished))) if found == claim.container => {
            Some(Failed { container: found, unfinished, claim })
        }
        _ => None,
    })
}

/// See [`failed`].
#[derive(Debug, Clone)]
pub struct Failed {
    /// The container.
    pub container: Container,
    /// Whether not even its making was finished.
    pub unfinished: bool,
    /// What was written down before it was made.
    claim: Claim,
}

/// Removes what a failed first run left.
pub fn remove_failed(world: &World, failed: &Failed, sink: &Sink) -> Result<(), Failure> {
    let Failed { container, unfinished, claim } = failed;
    world.hang_up();
    if *unfinished {
        let tasks = proxmox::busy_with(container)?;
        if !tasks.is_empty() {
            return Err(Failure::new(
                format!("remove the container {}", container.id),
                format!("Proxmox is still at work on it ({})", tasks.join(", ")),
            )
            .hint("wait until that task is over, then run the same again"));
        }
    }
    proxmox::destroy(container, *unfinished, sink)?;
    // The settings of one whose making was cut off do not know its volumes yet.
    proxmox::sweep(claim, &format!("remove the container {}", container.id), sink)?;
    world.forget_guests();
    file::remove(Path::new(layout::container_claim(world.site().config.site()).as_str()))
}

/// Removes the timers that make backups and updates, or the lines for cron.
fn forget_timers(config: &Config) -> Result<(), Failure> {
    for cron in [backups::cron_file(config), timer::cron_file(config)] {
        file::remove(Path::new(cron.path.as_str()))?;
    }
    let chores = Chore::ALL.map(|chore| (chore.units(config).to_vec(), chore.timer(config)));
    let updates = (timer::machine_files(config).to_vec(), timer::machine_timer(config));
    for (units, timer) in chores.into_iter().chain([updates]) {
        if !units.iter().any(|unit| Path::new(unit.path.as_str()).exists()) {
            continue;
        }
        Program::new(["systemctl", "disable", "--now", "--", &timer]).deadline(QUICK).output();
        units.iter().try_for_each(|unit| file::remove(Path::new(unit.path.as_str())))?;
        Program::new(["systemctl", "daemon-reload"]).deadline(QUICK).output();
    }
    Ok(())
}
