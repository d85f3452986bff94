//! The disk of a plain LXC guest: made with it, mounted, made larger.

use matrix_podman_core::{
    check::{Verdict, preflight},
    effect::{Effect, Local},
    resource::{Diff, Risk},
    size::Bytes,
};

use crate::{
    drive::{bring_up, plan_for, record},
    memory::{Cut, MemoryWorld, site},
};

const DEFAULT: &str = "domain = \"chat.home.arpa\"\n";

fn up(toml: &str) -> MemoryWorld {
    let mut world = MemoryWorld::fresh(&site(toml));
    world.registries = true;
    bring_up(&mut world);
    world
}

fn step(world: &MemoryWorld, id: &str) -> Diff {
    plan_for(world).entries.into_iter().find(|entry| entry.id.as_str() == id).unwrap().diff
}

fn with_disk(size: &str) -> String {
    format!("{DEFAULT}guest.disk = \"{size}\"\n")
}

#[test]
fn a_guest_is_made_with_a_disk_where_that_is_written_and_can_be() {
    let fresh = |toml: &str| MemoryWorld::fresh(&site(toml));
    let mut without = fresh(&with_disk("10G"));
    without.loops = false;
    for (mut world, wanted) in
        [(fresh(DEFAULT), None), (fresh(&with_disk("9500M")), Some(Bytes::gib(10))), (without, None)]
    {
        bring_up(&mut world);
        assert_eq!(world.disk.map(|disk| disk.size), wanted);
        assert!(plan_for(&world).is_settled());
    }
}

#[test]
fn a_guest_that_is_a_folder_stays_one() {
    let world = up(DEFAULT).with_site(&site(&with_disk("10G")));
    assert!(matches!(step(&world, "guest/disk"), Diff::Settled { why } if why.contains("is a folder")));
}

#[test]
fn a_disk_that_is_not_mounted_is_mounted_and_the_guest_is_never_made_anew() {
    let mut world = up(&with_disk("10G"));
    world.cut(Cut::Machine);
    let Diff::Change(mount) = step(&world, "guest/disk") else { panic!() };
    assert_eq!(mount.effects, [Effect::Here(Local::MountDisk { name: "matrix".to_owned() })]);
    let made = |effect: &Effect| matches!(effect, Effect::Here(Local::CreateGuest(_)));
    assert!(!record(&mut world).iter().any(|(_, effect)| made(effect)));
    assert!(world.disk.unwrap().mounted);
}

#[test]
fn a_disk_grows_while_the_guest_is_stopped_and_never_shrinks() {
    let world = up(&with_disk("10G"));
    let larger = world.clone().with_site(&site(&with_disk("12G")));
    let Diff::Change(grow) = step(&larger, "guest/disk") else { panic!() };
    assert_eq!(grow.risk, Risk::Outage);
    assert!(
        matches!(&grow.effects[..], [Effect::Here(Local::StopGuest { .. }), Effect::Here(Local::GrowGuestDisk { size, .. })]
        if *size == Bytes::gib(12))
    );
    let Diff::Blocked { why, hint } = step(&world.clone().with_site(&site(&with_disk("8G"))), "guest/disk")
    else {
        panic!()
    };
    assert!(why.contains("disks can only grow") && hint.contains("guest.disk = \"10G\""), "{why} {hint}");
    // Whoever says no more how large it is, leaves it as it is.
    assert!(matches!(step(&world.with_site(&site(DEFAULT)), "guest/disk"), Diff::Settled { .. }));
}

/// What is said before anything is done, of what does not hold.
fn notes(world: &MemoryWorld, id: &str) -> Option<String> {
    let checks = world.look(|seen| preflight(world.site(), seen));
    let check = checks.into_iter().find(|check| check.id == id)?;
    match check.verdict {
        Verdict::Weaker { missing, consequence } => Some(format!("{missing}; {consequence}")),
        _ => None,
    }
}

#[test]
fn what_keeps_a_guest_from_filling_the_machine_is_said_beforehand() {
    let fresh = |toml: &str| MemoryWorld::fresh(&site(toml));
    let says = |world: &MemoryWorld, words: &str| {
        let note = notes(world, "disk-limit").unwrap_or_default();
        assert!(note.contains(words) && note.contains("can fill /var"), "{words}: {note}");
    };
    says(&fresh(DEFAULT), "guest.disk is not written");
    assert_eq!(notes(&fresh(&with_disk("10G")), "disk-limit"), None);
    let mut without = fresh(&with_disk("10G"));
    without.loops = false;
    says(&without, "no loop devices");
    says(&up(DEFAULT).with_site(&site(&with_disk("10G"))), "guest.disk is no limit here");
    assert_eq!(notes(&up(&with_disk("10G")), "disk-limit"), None);
}

#[test]
fn a_disk_that_is_larger_than_what_is_free_is_said_beforehand() {
    assert!(notes(&MemoryWorld::fresh(&site(&with_disk("200G"))), "disk").unwrap().contains("100 GiB"));
    let world = up(&with_disk("10G"));
    let grown = |size: &str| notes(&world.clone().with_site(&site(&with_disk(size))), "disk");
    assert!(grown("200G").unwrap().contains("grows by 190 GiB"));
    assert_eq!(grown("100G"), None);
}
