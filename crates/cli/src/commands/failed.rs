//! What a failed first run left on a Proxmox node: a container that never held
//! a database. It is removed only when somebody says so.

use matrix_podman_host::{
    lock::{LockHolder, RunLock},
    progress::Event,
    work::destroy::{self, Failed},
    world::World,
};

use crate::{
    args,
    error::Error,
    output::{AtStake, Confirmation, Otherwise, Reporter},
    site,
};

/// Before a run: a container that was not even made whole stands in its way.
pub fn clear(world: &World, args: &args::Up, out: &Reporter) -> Result<(), Error> {
    match destroy::failed(world)? {
        Some(failed) if failed.unfinished => settle(world, &failed, args, out),
        _ => Ok(()),
    }
}

/// After a run that failed: what it made is of use for the next one, and may
/// all the same be unwanted.
pub fn offer(world: &World, args: &args::Up, out: &Reporter) -> Result<(), Error> {
    world.forget_guests();
    match destroy::failed(world) {
        Ok(Some(failed)) => settle(world, &failed, args, out),
        // The failure that led here is the one to tell.
        Ok(None) | Err(_) => Ok(()),
    }
}

fn settle(world: &World, failed: &Failed, args: &args::Up, out: &Reporter) -> Result<(), Error> {
    let id = failed.container.id;
    let what = if failed.unfinished {
        format!("The creation of the container {id} was cut off, and a part of it is there.")
    } else {
        format!("The container {id} is there and holds no data yet.")
    };
    // Nobody has to answer: what is there can stay.
    if !args.remove_failed && (args.yes || !out.may_ask()) {
        return Ok(());
    }
    let confirmation = Confirmation {
        question: &format!("{what} Remove it?"),
        at_stake: AtStake::Something,
        yes: args.remove_failed,
        otherwise: Otherwise::unremoved(""),
    };
    if !out.agrees(&confirmation)? {
        return Ok(());
    }
    let holder = LockHolder::this("up --remove-failed");
    let _lock = RunLock::take(&site::state_folder(world.site()).join("run.lock"), &holder, &|_| {})?;
    let listener = out.listener();
    destroy::remove_failed(world, failed, &|saying| {
        listener.on(&Event::Said { id: "remove-failed", saying: &saying });
    })?;
    listener.on(&Event::Note { text: format!("the container {id}, which held no data, is removed") });
    Ok(())
}
