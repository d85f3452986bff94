//! Cut off anywhere, continued from nothing but the world: the same end.

use std::collections::BTreeSet;

use matrix_podman_core::plan::diff_lines;
use proptest::prelude::*;

use crate::{
    drive::{End, Moment, bring_up, in_order, plan_for, record, run, run_agreed},
    memory::{Cut, EndState, Extent, Glimpse, MemoryWorld, site},
};

pub const DEFAULT: &str = "domain = \"chat.home.arpa\"\n";
const EXTRA: &str = "domain = \"chat.home.arpa\"\n[guest]\nextra_packages = [\"htop\", \"vim-tiny\", \"jq\"]\n\
                     [synapse]\nregistration = \"token\"\n";
const HERE: &str = "domain = \"chat.home.arpa\"\n[guest]\nbackend = \"this-machine\"\n";

pub const NODE: &str =
    "domain = \"chat.home.arpa\"\n[guest]\nbackend = \"proxmox\"\n[proxmox]\ndata_volume = \"50G\"\n";

const CUTS: [Cut; 3] = [Cut::Program, Cut::Guest, Cut::Machine];

/// Sites that differ in what has to be done for them.
fn sites() -> [(&'static str, &'static str, bool); 5] {
    [
        ("built images", DEFAULT, false),
        ("pulled images", DEFAULT, true),
        ("more", EXTRA, false),
        ("here", HERE, false),
        ("Proxmox", NODE, false),
    ]
}

pub fn fresh(toml: &str, registries: bool) -> MemoryWorld {
    let mut world = MemoryWorld::fresh(&site(toml));
    world.registries = registries;
    world
}

/// Fails with what differs, and nothing else.
pub fn same_end(end: &EndState, wanted: &EndState, case: &str) {
    if end != wanted {
        let lines = diff_lines(&format!("{wanted:#?}"), &format!("{end:#?}"));
        panic!("{case}: another end than undisturbed:\n{}", lines.join("\n"));
    }
}

/// A world that is finished has nothing left to do.
fn is_settled(world: &MemoryWorld, case: &str) {
    let plan = plan_for(world);
    let open: Vec<_> = plan
        .entries
        .iter()
        .filter(|entry| !matches!(entry.diff, matrix_podman_core::resource::Diff::Settled { .. }))
        .collect();
    assert!(open.is_empty(), "{case}: {open:#?}");
}

#[test]
fn a_run_that_nobody_disturbs_settles_everything() {
    for (name, toml, registries) in sites() {
        let mut world = fresh(toml, registries);
        assert!(bring_up(&mut world) > 20, "{name}");
        is_settled(&world, name);
        assert_eq!(bring_up(&mut world), 0, "{name}: a second run does nothing");
    }
}

/// Cuts the run that `start` needs off before, inside and after each of its
/// effects, in each way, continues it, and compares the ends.
pub fn cut_off_everywhere(name: &str, start: &MemoryWorld) {
    let mut undisturbed = start.clone();
    let acts = record(&mut undisturbed);
    is_settled(&undisturbed, name);
    let wanted = undisturbed.end_state();
    // Many cuts leave the same world; from each it is enough to go on once.
    let mut known = BTreeSet::new();
    let mut continued = |mut world: MemoryWorld, cut: Cut, case: String| {
        world.cut(cut);
        if known.insert(format!("{world:?}")) {
            bring_up(&mut world);
            same_end(&world.end_state(), &wanted, &format!("{name}: {cut:?} cut {case}"));
        }
    };
    for (n, (before, effect)) in acts.iter().enumerate() {
        let mut inside = before.clone();
        inside.apply(effect, Extent::Part).unwrap();
        for cut in CUTS {
            let act = effect.describe();
            continued(before.clone(), cut, format!("before act {n}, {act}"));
            continued(inside.clone(), cut, format!("inside act {n}, {act}"));
        }
    }
    // After each act is before the next one; this is after the last.
    for cut in CUTS {
        continued(undisturbed.clone(), cut, "after the last act".to_owned());
    }
}

#[test]
fn a_first_run_with_built_images_can_be_cut_off_everywhere() {
    cut_off_everywhere("built images", &fresh(DEFAULT, false));
}

#[test]
fn a_first_run_with_pulled_images_can_be_cut_off_everywhere() {
    cut_off_everywhere("pulled images", &fresh(EXTRA, true));
}

#[test]
fn a_first_run_on_this_machine_can_be_cut_off_everywhere() {
    cut_off_everywhere("this machine", &fresh(HERE, false));
}

#[test]
fn a_first_run_on_proxmox_can_be_cut_off_everywhere() {
    cut_off_everywhere("Proxmox", &fresh(NODE, false));
}

/// Settings that change while the container runs, one that needs a restart,
/// and disks that grow.
#[test]
fn a_change_of_a_container_of_proxmox_can_be_cut_off_everywhere() {
    let mut world = fresh(NODE, false);
    bring_up(&mut world);
    world.node.set(&[("features".to_owned(), "nesting=1".to_owned())], &[], false);
    let after = site(
        "domain = \"chat.home.arpa\"\n[guest]\nbackend = \"proxmox\"\ncores = 2\nmemory = \"3G\"\ndisk = \"20G\"\n\
         [proxmox]\ndata_volume = \"60G\"\nvlan = 20\n",
    );
    cut_off_everywhere("change of a container", &world.with_site(&after));
}

const TURN: &str = "domain = \"chat.home.arpa\"\n[turn]\nserver = true\naddress = \"203.0.113.7\"\n";

/// A service that comes to a server that is there, and that goes again.
#[test]
fn a_service_can_be_switched_on_and_off_again_whenever_it_is_cut_off() {
    let mut world = fresh(DEFAULT, false);
    bring_up(&mut world);
    let before = world.end_state();
    let mut with = world.with_site(&site(TURN));
    cut_off_everywhere("switched on", &with);
    bring_up(&mut with);
    assert!(with.end_state() != before);
    let mut without = with.with_site(&site(DEFAULT));
    cut_off_everywhere("switched off", &without);
    bring_up(&mut without);
    let plan = plan_for(&without);
    assert!(plan.entries.iter().all(|entry| !format!("{:?}", entry.diff).contains("coturn")), "{plan:#?}");
}

const DISK: &str = "domain = \"chat.home.arpa\"\nguest.disk = \"10G\"\n";

#[test]
fn a_first_run_with_a_disk_can_be_cut_off_everywhere() {
    cut_off_everywhere("a disk", &fresh(DISK, false));
}

#[test]
fn a_disk_that_grows_can_be_cut_off_everywhere() {
    let mut world = fresh(DISK, false);
    bring_up(&mut world);
    let grown = world.with_site(&site("domain = \"chat.home.arpa\"\nguest.disk = \"20G\"\n"));
    cut_off_everywhere("a disk that grows", &grown);
}

/// A server whose cluster an older version made, with Synapse's role as its superuser.
#[test]
fn taking_over_an_older_cluster_can_be_cut_off_everywhere() {
    let mut world = fresh(DEFAULT, false);
    bring_up(&mut world);
    world.guest_mut().superuser = true;
    let plan = plan_for(&world);
    let step = plan.entries.iter().find(|entry| entry.id.as_str() == "database/roles").unwrap();
    assert!(matches!(&step.diff, matrix_podman_core::resource::Diff::Change(step)
        if step.risk == matrix_podman_core::resource::Risk::Interrupts && step.why.contains("superuser")));
    cut_off_everywhere("an older cluster", &world);
    bring_up(&mut world);
    assert!(!world.guest_mut().superuser);
}

/// A Synapse whose first start was cut off in the middle of making its tables: it cannot go on from
/// there by itself.
#[test]
fn an_unfinished_database_is_emptied_before_synapse_starts_again() {
    let mut world = fresh(DEFAULT, false);
    bring_up(&mut world);
    let cut_off = |world: &mut MemoryWorld| {
        world.guest_mut().unfinished = true;
        world.guest_mut().containers.remove("synapse");
    };
    // One that serves has finished, whatever a slow database answered.
    world.guest_mut().unfinished = true;
    assert!(plan_for(&world).is_settled());
    cut_off(&mut world);
    let plan = plan_for(&world);
    let at = |id: &str| plan.entries.iter().position(|entry| entry.id.as_str() == id).unwrap();
    assert!(at("database/roles") < at("service/synapse"));
    assert!(
        matches!(&plan.entries[at("database/roles")].diff, matrix_podman_core::resource::Diff::Change(step)
        if step.what.starts_with("Empty the database"))
    );
    cut_off_everywhere("an unfinished database", &world);
    bring_up(&mut world);
    assert!(!world.guest_mut().unfinished);
}

/// Every change of the interface, each of which reaches the guest in its own way or not
/// at all. Wherever it is cut off, the guest is at its place in the network in the end.
#[test]
fn a_change_of_the_interface_can_be_cut_off_everywhere() {
    const PROXMOX: &str = "domain = \"chat.home.arpa\"\n[guest]\nbackend = \"proxmox\"\nipv6 = true\n";
    let fixed = |address: &str, dns: &str| {
        format!("[guest.network]\naddress = \"{address}/24\"\ngateway = \"10.0.0.1\"\ndns = [\"{dns}\"]\n")
    };
    let (one, other) = (fixed("10.0.0.5", "10.0.0.2"), fixed("10.0.0.6", "10.0.0.2"));
    let bridge = "[guest.network]\nbridge = \"vmbr1\"\n";
    let with = |more: &str| format!("[proxmox]\n{more}\n");
    let v6 = format!("{one}{}", with("address6 = \"2001:db8::5/64\"\ngateway6 = \"fe80::1\"\nmtu = 1400"));
    let changes: [(&str, &str, &str); 9] = [
        ("from one fixed address to another", &one, &other),
        ("from a fixed address to DHCP", &one, ""),
        ("from DHCP to a fixed address", "", &one),
        ("to another bridge with DHCP", "", bridge),
        ("to a VLAN with DHCP", "", &with("vlan = 20")),
        ("to another hardware address", "", &with("mac = \"BC:24:11:00:00:65\"")),
        ("to other packets", "", &with("mtu = 1400")),
        ("to the usual packets again", &with("mtu = 1400"), ""),
        ("to fixed addresses of both kinds", "", &v6),
    ];
    for (name, before, after) in changes {
        let mut world = fresh(&format!("{PROXMOX}{before}"), false);
        bring_up(&mut world);
        let world = world.with_site(&site(&format!("{PROXMOX}{after}")));
        cut_off_everywhere(name, &world);
        let mut changed = world.clone();
        bring_up(&mut changed);
        let node = &changed.node;
        let net = node.container.as_ref().unwrap().get("net0").unwrap_or_default().to_owned();
        let bridge = if net.contains("vmbr1") { "vmbr1" } else { "vmbr0" };
        let tag = if net.contains("tag=20") { "20" } else { "untagged" };
        assert_eq!(
            node.network,
            format!("{bridge} {tag}"),
            "{name}: the address is of the network that it is on"
        );
        let mtu = if after.contains("mtu") { 1400 } else { 1500 };
        assert_eq!(node.link.mtu, mtu, "{name}");
        assert!(!node.link.addresses.is_empty(), "{name}");
        assert_eq!(
            node.container.as_ref().unwrap().get("nameserver").is_some(),
            after.contains("dns"),
            "{name}: {net}"
        );
        assert_eq!(net.contains("ip6="), after.contains("address6"), "{name}");
    }
}

/// The same for a change of a server that runs, with people's data in it.
#[test]
fn a_change_can_be_cut_off_everywhere() {
    let mut world = fresh(DEFAULT, false);
    bring_up(&mut world);
    let after = site(
        "domain = \"chat.home.arpa\"\ntimezone = \"Europe/Zurich\"\n[guest]\nmemory = \"3G\"\nipv6 = true\n\
         [synapse]\nmax_upload_size = \"50M\"\n[web]\nbrand = \"Club\"\n[postgres]\nmax_connections = 60\n",
    );
    cut_off_everywhere("change", &world.with_site(&after));
}

/// Whoever runs `up --yes` again after a run was cut off agreed to what that takes,
/// whatever was to be seen of the services in the second in which the plan was made:
/// the guest may just be starting them, from units of before.
fn agreed_whenever_it_is_looked(name: &str, start: &MemoryWorld) {
    let mut undisturbed = start.clone();
    let acts = record(&mut undisturbed);
    let wanted = undisturbed.end_state();
    let mut looked = 0;
    // Many cuts leave the same world; from each it is enough to go on once.
    let mut known = BTreeSet::new();
    let mut go_on = |mut world: MemoryWorld, cut: Cut, case: String| {
        world.cut(cut);
        if !known.insert(format!("{world:?}")) {
            return;
        }
        for glimpse in [Glimpse::Running, Glimpse::Starting, Glimpse::Nothing] {
            let mut world = world.clone();
            let end = run_agreed(&mut world, glimpse);
            assert!(matches!(end, End::Done(_)), "{name}: {cut:?} cut {case}, {glimpse:?}: {end:?}");
            same_end(&world.end_state(), &wanted, &format!("{name}: {cut:?} cut {case}, {glimpse:?}"));
            looked += 1;
        }
    };
    for (n, (before, effect)) in acts.iter().enumerate() {
        let mut inside = before.clone();
        inside.apply(effect, Extent::Part).unwrap();
        let mut booted = before.clone();
        if let Some(guest) = booted.guest.as_ref()
            && !guest.running
        {
            // The guest was started, and nobody waited for it.
            booted.boots();
        }
        for cut in [Cut::Program, Cut::Guest] {
            let act = effect.describe();
            go_on(before.clone(), cut, format!("before act {n}, {act}"));
            go_on(inside.clone(), cut, format!("inside act {n}, {act}"));
            go_on(booted.clone(), cut, format!("before act {n}, {act}, in a guest that booted"));
        }
    }
    assert!(looked > 20, "{name}: the plan has acts");
}

#[test]
fn a_change_that_restarts_the_guest_is_agreed_to_whenever_it_is_looked_at() {
    for toml in [DEFAULT, HERE] {
        let mut world = fresh(toml, false);
        bring_up(&mut world);
        let section = if toml == HERE { "" } else { "[guest]\n" };
        let after = site(&format!("{toml}{section}memory = \"3G\"\n[synapse]\nmax_upload_size = \"50M\"\n"));
        agreed_whenever_it_is_looked("memory", &world.with_site(&after));
    }
    let mut world = fresh(NODE, false);
    bring_up(&mut world);
    let after = site(
        "domain = \"chat.home.arpa\"\n[guest]\nbackend = \"proxmox\"\ncores = 2\nmemory = \"3G\"\n\
         [proxmox]\ndata_volume = \"50G\"\nvlan = 20\n",
    );
    agreed_whenever_it_is_looked("memory of a container", &world.with_site(&after));
}

/// Cut off again and again, a run still gets nearer to its end each time.
#[test]
fn a_run_that_is_cut_off_after_every_second_act_ends() {
    let mut undisturbed = fresh(DEFAULT, false);
    bring_up(&mut undisturbed);
    let mut world = fresh(DEFAULT, false);
    let cut = Some((Moment::After(2), Cut::Program));
    let ended = (0..100).any(|_| matches!(run(&mut world, &mut in_order, cut), End::Done(_)));
    assert!(ended);
    same_end(&world.end_state(), &undisturbed.end_state(), "every second act");
}

fn moment() -> impl Strategy<Value = Moment> {
    (1..70_usize, 0..3).prop_map(|(n, which)| match which {
        0 => Moment::Before(n),
        1 => Moment::Inside(n),
        _ => Moment::After(n),
    })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, failure_persistence: None, ..ProptestConfig::default() })]

    /// Side by side in any order, cut off up to three times: the same end.
    #[test]
    fn any_order_and_any_cuts_lead_to_the_same_end(
        which in 0..5_usize,
        choices in proptest::collection::vec(any::<usize>(), 1..400),
        cuts in proptest::collection::vec((moment(), proptest::sample::select(CUTS.to_vec())), 0..3),
    ) {
        let (name, toml, registries) = sites()[which];
        let mut undisturbed = fresh(toml, registries);
        bring_up(&mut undisturbed);
        let mut world = fresh(toml, registries);
        let mut choices = choices.iter().cycle();
        let mut choose = |_: usize| *choices.next().unwrap_or(&0);
        for cut in cuts {
            let end = run(&mut world, &mut choose, Some(cut));
            prop_assert!(!matches!(end, End::Failed(..)), "{name}: {end:?}");
        }
        let end = run(&mut world, &mut choose, None);
        prop_assert!(matches!(end, End::Done(_)), "{name}: {end:?}");
        same_end(&world.end_state(), &undisturbed.end_state(), name);
    }
}
