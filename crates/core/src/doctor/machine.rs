//! The guest itself: there, ours, running, reachable.

use super::{Case, Found, Mend};
use crate::{
    fact::{GuestRoot, GuestState, Side},
    ids,
    observed::{Gap, Seen},
    resource::guest_state,
};

fn state(case: &Case<'_>) -> Seen<Option<GuestState>> {
    if case.site.backend.is_this_machine() {
        return Ok(None);
    }
    guest_state(case.site, case.seen).map(Some)
}

pub(super) fn absent(case: &Case<'_>) -> Found {
    let name = &case.site.config.guest.name;
    Ok(match state(case)? {
        Some(GuestState::Absent) => Some((
            format!("There is no guest {name} yet."),
            vec![format!("/var/lib/lxc/{name} is not there")],
            Mend::Up,
        )),
        _ => None,
    })
}

pub(super) fn foreign(case: &Case<'_>) -> Found {
    let Some(state) = state(case)? else { return Ok(None) };
    let name = &case.site.config.guest.name;
    let site = case.site.config.site();
    Ok(match state.site() {
        Some(own) if own == site => None,
        other => Some((
            format!("The container {name} is not the guest of {site}."),
            vec![match other {
                Some(other) => format!("its config says that it belongs to {other}"),
                None => "its config does not carry matrix-podman's mark".to_owned(),
            }],
            Mend::Type("write the name of this site's guest in matrix.toml: guest.name = \"…\"".to_owned()),
        )),
    })
}

/// A power cut that came before the contents of a guest's files were on the disk.
pub(super) fn damaged(case: &Case<'_>) -> Found {
    let name = &case.site.config.guest.name;
    if !matches!(state(case)?, Some(GuestState::Stopped { .. })) {
        return Ok(None);
    }
    let root = case.site.backend.guest_root(case.site, case.seen)?;
    let Some(root) = root.filter(GuestRoot::is_damaged) else { return Ok(None) };
    let site = case.site.config.site();
    let mend = if root.data {
        Mend::Type(format!(
            "cp -a /var/lib/lxc/{name}/rootfs/opt/matrix /root/   # keeps what is on the disk; then `matrix-podman \
             destroy`, and `matrix-podman restore --from REPOSITORY` with a backup of {site}"
        ))
    } else {
        Mend::Up
    };
    Ok(Some((
        format!("The guest {name} cannot boot: a power cut emptied the files of its system."),
        vec![format!("{} of {} programs in /var/lib/lxc/{name}/rootfs are empty", root.empty, root.programs)],
        mend,
    )))
}

/// A Proxmox container that is locked while nothing is at work on it.
pub(super) fn locked(case: &Case<'_>) -> Found {
    Ok(case.site.backend.guest_lock(case.site, case.seen)?.filter(|locked| locked.is_left()).map(|locked| {
        let mend = if locked.ours.is_empty() { Mend::Type(locked.way_out()) } else { Mend::Up };
        let id = locked.container.id;
        (
            format!("The container {id} is locked, and nothing is at work on it: {}.", locked.reason()),
            vec![
                format!("`pct config {id}` has \"lock: {}\", and no task is active", locked.lock),
                "Proxmox refuses changes, snapshots and its own backups of it until that is gone".to_owned(),
            ],
            mend,
        )
    }))
}

pub(super) fn stopped(case: &Case<'_>) -> Found {
    let name = &case.site.config.guest.name;
    Ok(match state(case)? {
        Some(GuestState::Stopped { .. }) => Some((
            format!("The guest {name} does not run."),
            vec!["LXC says that it is stopped".to_owned()],
            Mend::Up,
        )),
        _ => None,
    })
}

/// Whoever suspended it had a reason, so it is theirs to let it go on.
pub(super) fn suspended(case: &Case<'_>) -> Found {
    let name = case.site.config.guest.name.as_str();
    let Some(by) = state(case)?.and_then(|state| state.suspension()) else { return Ok(None) };
    let lxc = case.site.backend.name_in_lxc(case.site, case.seen)?;
    Ok(Some((
        format!("The guest {name} runs, and nothing in it goes on: it is {}.", by.word()),
        vec![by.why(name)],
        Mend::Type(by.fix(&lxc)),
    )))
}

/// Nothing else in the guest can be asked about without the program there.
pub(super) fn program(case: &Case<'_>) -> Found {
    match case.seen.system(Side::Guest) {
        Ok(_) => Ok(None),
        Err(Gap::NotAsked) => Err(Gap::NotAsked),
        Err(Gap::Unknown(why)) => Ok(Some((
            "The guest runs, but the program in it does not answer.".to_owned(),
            vec![why],
            Mend::Up,
        ))),
    }
}

pub(super) fn address(case: &Case<'_>) -> Found {
    if case.seen.system(Side::Guest)?.address.is_some() {
        return Ok(None);
    }
    let evidence = vec!["it has no address, or no way out (`ip address`, `ip route` there)".to_owned()];
    let what = "The guest is not connected to any network.".to_owned();
    let mend = match case.drifts(&ids::MACHINE_NETWORK) {
        true => Mend::Up,
        false => Mend::Type(case.site.backend.restart_network(case.site, case.seen)),
    };
    Ok(Some((what, evidence, mend)))
}
