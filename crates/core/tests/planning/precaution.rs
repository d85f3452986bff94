//! What an update does for the guest as a whole before it replaces anything.

use matrix_podman_core::{
    name::SnapshotName,
    proxmox::{Setting, Snapshot, snapshot_description},
    resource::{BackendId, Site},
    update::{Precaution, outlived, precaution, superseded},
};

use crate::memory::{MemoryWorld, site};

const NODE: &str = "domain = \"chat.home.arpa\"\n[guest]\nbackend = \"proxmox\"\n";

fn snapshot(name: &str, before_update: Option<u32>) -> Snapshot {
    Snapshot {
        name: SnapshotName::parse(name).unwrap(),
        at: 0,
        description: snapshot_description(before_update),
        under_way: None,
    }
}

fn decided(site: &Site, change: impl Fn(&mut MemoryWorld)) -> Precaution {
    let mut world = MemoryWorld::fresh(site);
    crate::drive::bring_up(&mut world);
    change(&mut world);
    world.look(|seen| precaution(site, 3, seen)).unwrap()
}

#[test]
fn it_says_plainly_what_is_done_and_what_is_not() {
    let proxmox = site(NODE);
    let on_node = |change: fn(&mut MemoryWorld)| decided(&proxmox, change).words().unwrap();
    let volume = |value: &str| Setting { now: Some(value.to_owned()), ..Setting::default() };
    let mount = volume("/srv/media,mp=/srv/media");
    let inside = |text: &str| {
        let site = Site::new(site(text).config, BackendId::ThisMachine);
        MemoryWorld::fresh(&site).look(|seen| precaution(&site, 3, seen)).unwrap().words().unwrap()
    };
    let with_mount = decided(&proxmox, |world| {
        world.node.no_snapshots = true;
        world.node.container.as_mut().unwrap().0.insert("mp1".to_owned(), mount.clone());
    });
    let cases = [
        ("a storage that can", on_node(|_| {})),
        (
            "its name is taken",
            on_node(|world| world.node.snapshots = vec![snapshot("before-update-3", None)]),
        ),
        ("a storage that cannot", on_node(|world| world.node.no_snapshots = true)),
        ("a folder of the node", with_mount.words().unwrap()),
        ("a backup is under way", on_node(|world| world.node.lock("backup"))),
        ("one of ours was cut off", on_node(|world| world.node.leave_part_of_snapshot())),
        ("somebody's was cut off", on_node(|world| world.node.lock("snapshot"))),
        ("plain LXC", {
            let site = site("domain = \"chat.home.arpa\"\n");
            decided(&site, |_| {}).words().unwrap()
        }),
        ("its own guest", inside("domain = \"chat.home.arpa\"\n[guest]\nbackend = \"this-machine\"\n")),
        ("inside a guest", inside(NODE)),
    ];
    let text: String = cases.iter().map(|(case, words)| format!("{case}:\n  {words}\n")).collect();
    insta::assert_snapshot!(text);
    assert_eq!(Precaution::Needless.words(), None);
}

#[test]
fn an_update_by_the_timer_has_none_and_it_is_said_where_one_that_is_typed_has() {
    let here = decided(&site(NODE), |_| {});
    assert!(here.what_the_timer_lacks(true).unwrap().contains("from inside the guest"));
    assert_eq!(here.what_the_timer_lacks(false), None);
    let none = decided(&site("domain = \"chat.home.arpa\"\n"), |_| {});
    assert_eq!(none.what_the_timer_lacks(true), None);
}

#[test]
fn only_snapshots_of_updates_go_and_the_one_before_what_runs_goes_last() {
    let own = SnapshotName::parse("before-update-6").unwrap();
    let mut part = snapshot("before-update-4", Some(4));
    part.under_way = Some("delete".to_owned());
    let there = [
        snapshot("before-update-2", Some(2)),
        snapshot("before-update-9", None),
        snapshot("by-hand", None),
        snapshot("before-update-3", Some(3)),
        part,
        snapshot("before-update-6", Some(6)),
    ];
    let names = |all: Vec<SnapshotName>| all.iter().map(ToString::to_string).collect::<Vec<_>>();
    assert_eq!(names(superseded(&there, &own, Some(2))), ["before-update-3"]);
    assert_eq!(names(superseded(&there, &own, None)), ["before-update-2", "before-update-3"]);
    assert_eq!(names(outlived(&there, Some(&own))), ["before-update-2", "before-update-3"]);
    assert_eq!(names(outlived(&there, None)), ["before-update-2", "before-update-3", "before-update-6"]);
}
