//! Plans as people and programs read them.

use matrix_podman_core::{
    effect::{Effect, TwoSided},
    fact::{ContainerState, Health},
    layout,
    plan::PlanText,
    resource::{Diff, Locked, container_lock},
    size::Bytes,
    stack,
};

use crate::{
    drive::{End, bring_up, in_order, plan_for, record, run},
    memory::{Cut, Extent, MemoryWorld, path, site},
};

const DEFAULT: &str = "domain = \"chat.home.arpa\"\n";
const REGISTRY: &str = "domain = \"chat.home.arpa\"\n[images]\nsource = \"registry\"\n";

const NODE: &str = "domain = \"chat.home.arpa\"\n[guest]\nbackend = \"proxmox\"\n";

fn text(world: &MemoryWorld) -> String {
    PlanText { plan: &plan_for(world), reasons: true, diffs: true, settled: true }.to_string()
}

/// The plan as `plan --json` has it, without the files' contents, which other
/// snapshots hold.
fn json(world: &MemoryWorld) -> String {
    let mut plan = serde_json::to_value(plan_for(world)).unwrap();
    for entry in plan["entries"].as_array_mut().unwrap() {
        for change in entry["changes"].as_array_mut().into_iter().flatten() {
            for key in ["before", "after"] {
                if let Some(content) = change[key].as_str() {
                    change[key] = format!("{} lines", content.lines().count()).into();
                }
            }
        }
    }
    serde_json::to_string_pretty(&plan).unwrap()
}

fn up(toml: &str) -> MemoryWorld {
    let mut world = MemoryWorld::fresh(&site(toml));
    world.registries = true;
    bring_up(&mut world);
    world
}

#[test]
fn a_fresh_machine() {
    let world = MemoryWorld::fresh(&site(DEFAULT));
    insta::assert_snapshot!(text(&world));
    insta::assert_snapshot!("a_fresh_machine_json", json(&world));
}

#[test]
fn nothing_to_do() {
    let world = up(DEFAULT);
    assert!(plan_for(&world).is_settled());
    insta::assert_snapshot!(text(&world));
}

#[test]
fn one_setting_changes_one_service() {
    let world =
        up(DEFAULT).with_site(&site("domain = \"chat.home.arpa\"\n[synapse]\nmax_upload_size = \"50M\"\n"));
    insta::assert_snapshot!(text(&world));
    insta::assert_snapshot!("one_setting_json", json(&world));
}

/// The plan as it is shown where nobody asks for more.
fn short(world: &MemoryWorld) -> String {
    PlanText { plan: &plan_for(world), reasons: false, diffs: false, settled: false }.to_string()
}

#[test]
fn a_stopped_guest_is_started_and_then_looked_at() {
    let mut world = up(DEFAULT);
    world.cut(Cut::Guest);
    let lines: Vec<String> = short(&world).lines().map(str::to_owned).collect();
    assert_eq!(lines.len(), 3, "{lines:#?}");
    assert!(lines[0].contains("Start the guest matrix"), "{lines:#?}");
    assert!(lines[2].contains("Then look at the rest"), "{lines:#?}");
}

#[test]
fn one_changed_setting_is_three_steps() {
    let world =
        up(DEFAULT).with_site(&site("domain = \"chat.home.arpa\"\n[synapse]\nmax_upload_size = \"50M\"\n"));
    let steps: Vec<String> =
        short(&world).lines().filter(|line| line.contains(". ")).map(str::to_owned).collect();
    assert_eq!(steps.len(), 3, "{steps:#?}");
    assert!(steps[0].contains("homeserver.yaml") && steps[1].contains("Restart Synapse"), "{steps:#?}");
    assert!(steps[2].contains("Write 4 files"), "{steps:#?}");
    assert_eq!(short(&up(DEFAULT)), "");
}

#[test]
fn a_fresh_node_of_proxmox() {
    insta::assert_snapshot!(text(&MemoryWorld::fresh(&site(NODE))));
}

#[test]
fn settings_of_a_container_of_proxmox() {
    let live = format!("{NODE}cores = 2\ndisk = \"20G\"\n");
    let mut world = up(NODE).with_site(&site(&live));
    let changes = |world: &MemoryWorld| {
        PlanText { plan: &plan_for(world), reasons: true, diffs: true, settled: false }.to_string()
    };
    insta::assert_snapshot!(changes(&world));
    world.node.set(&[("features".to_owned(), "fuse=1,nesting=1".to_owned())], &[], false);
    insta::assert_snapshot!("settings_that_need_a_restart", changes(&world));
}

/// What a change of the interface does to the guest is said before it is done.
#[test]
fn a_change_of_the_interface_says_whether_it_restarts_the_guest() {
    const FIXED: &str = "[guest.network]\naddress = \"10.0.0.5/24\"\ngateway = \"10.0.0.1\"\n";
    let changed = |before: &str, after: &str| {
        let world = up(&format!("{NODE}{before}")).with_site(&site(&format!("{NODE}{after}")));
        let text = PlanText { plan: &plan_for(&world), reasons: true, diffs: true, settled: false };
        text.to_string()
    };
    let live = changed(FIXED, &FIXED.replace("0.5", "0.6"));
    assert!(live.contains("Change net0 of the container 100, while it runs"), "{live}");
    insta::assert_snapshot!(changed(FIXED, ""));
    let named = changed("", "name = \"talk\"\n");
    assert!(named.contains("hostname of the container 100, which counts from its next start on"), "{named}");
}

/// A run was cut off after Proxmox had got the change and before the guest was
/// restarted: a guest without an address has no program that could be asked.
#[test]
fn a_guest_without_its_address_is_restarted() {
    let mut world = up(NODE);
    world.node.link.addresses.clear();
    let plan = plan_for(&world);
    let text = PlanText { plan: &plan, reasons: true, diffs: true, settled: false }.to_string();
    assert!(text.contains("Restart the container 100, so that it gets an address"), "{text}");
    bring_up(&mut world);
    assert!(plan_for(&world).is_settled());
}

#[test]
fn a_disk_whose_file_system_did_not_grow_is_finished() {
    let mut world = up(NODE);
    world.node.grow("rootfs", Bytes::gib(20), false).unwrap();
    let mut world = world.with_site(&site(&format!("{NODE}disk = \"20G\"\n")));
    let text = PlanText { plan: &plan_for(&world), reasons: true, diffs: true, settled: false }.to_string();
    assert!(text.contains("Make the file system of rootfs as large as its disk"), "{text}");
    bring_up(&mut world);
    assert!(plan_for(&world).is_settled());
    assert_eq!(world.node.file_systems["rootfs"], Bytes::gib(20));
}

/// A lock that nothing is behind is named, with the way out; nothing else is said of a
/// container that a backup is being made of.
#[test]
fn locks_that_were_left_are_named() {
    for (lock, way) in [
        ("backup", "pct unlock 100"),
        ("rollback", "matrix-podman guest rollback NAME"),
        ("snapshot", "pct unlock 100"),
        ("mounted", "pct unmount 100"),
    ] {
        let mut world = up(NODE);
        world.node.lock(lock);
        world.node.tasks = vec!["vzdump".to_owned()];
        assert!(locked(&world).is_none_or(|locked| !locked.is_left()), "{lock}");
        // Somebody who looks does nothing to it.
        world.node.tasks = vec!["vncproxy".to_owned()];
        let found = locked(&world).unwrap();
        assert!(found.is_left() && found.way_out().contains(way), "{lock}: {}", found.way_out());
        let text =
            PlanText { plan: &plan_for(&world), reasons: true, diffs: true, settled: false }.to_string();
        assert!(plan_for(&world).is_settled(), "nothing is to be changed: {text}");
        let other = world.clone().with_site(&site(&format!("{NODE}cores = 2\n")));
        assert!(only_blocked(&other).contains(way), "{}", only_blocked(&other));
        world.cut(Cut::Machine);
        assert!(only_blocked(&world).contains(way), "{}", only_blocked(&world));
    }
}

fn locked(world: &MemoryWorld) -> Option<Locked> {
    world.look(|seen| container_lock(world.site(), seen)).unwrap()
}

/// What is left of our own snapshot goes while the container runs, too: its lock keeps
/// Proxmox's nightly backups away.
#[test]
fn a_snapshot_that_was_cut_off_alone_is_cleared_away() {
    let mut world = up(NODE);
    world.node.leave_part_of_snapshot();
    let found = locked(&world).unwrap();
    assert!(found.is_left() && found.way_out().contains("matrix-podman up"), "{}", found.way_out());
    let text = PlanText { plan: &plan_for(&world), reasons: true, diffs: true, settled: false }.to_string();
    assert!(text.contains("Remove what is left of a snapshot"), "{text}");
    bring_up(&mut world);
    assert_eq!(locked(&world), None);
    assert!(world.node.snapshots.is_empty());
}

/// Proxmox writes the whole config before it sets password, keys and pool.
#[test]
fn a_creation_is_believed_when_it_ended() {
    let creation = |effect: &Effect| matches!(effect, Effect::Both(TwoSided::CreateContainer(_)));
    let pooled = format!("{NODE}[proxmox]\npool = \"home\"\n");
    let (mut world, create) = record(&mut MemoryWorld::fresh(&site(&pooled)))
        .into_iter()
        .find(|(_, effect)| creation(effect))
        .unwrap();
    // The program is killed, and Proxmox goes on.
    let Effect::Both(TwoSided::CreateContainer(new)) = &create else { panic!() };
    let mut claimed = world.clone();
    claimed.apply(&create, Extent::Part).unwrap();
    world.apply(&create, Extent::Whole).unwrap();
    let claim = layout::container_claim(&new.site);
    world.machine.files.insert(claim.clone(), claimed.machine.files[&claim].clone());
    world.node.tasks = vec!["vzcreate".to_owned()];
    assert!(only_blocked(&world).contains("still at the creation"), "{}", only_blocked(&world));
    world.node.tasks.clear();
    for broken in [None, Some("unexpected status"), Some("unable to create CT 100 - got signal 9")] {
        let mut world = world.clone();
        world.node.creation = broken.map(str::to_owned);
        assert!(only_blocked(&world).contains("--remove-failed"), "{broken:?}: {}", only_blocked(&world));
    }
    let mut pool = world.clone();
    pool.node.pool = None;
    assert!(only_blocked(&pool).contains("--remove-failed"), "{}", only_blocked(&pool));
    let text = PlanText { plan: &plan_for(&world), reasons: true, diffs: true, settled: false }.to_string();
    assert!(text.contains("Take over the container 100"), "{text}");
    bring_up(&mut world);
    assert!(plan_for(&world).is_settled());
}

#[test]
fn a_container_of_proxmox_that_is_not_ours_or_not_whole() {
    let other = up(&NODE.replace("chat", "other")).with_site(&site(NODE));
    insta::assert_snapshot!("a_container_of_another_site", only_blocked(&other));
    let creation = |effect: &Effect| matches!(effect, Effect::Both(TwoSided::CreateContainer(_)));
    let (mut unmade, create) = record(&mut MemoryWorld::fresh(&site(NODE)))
        .into_iter()
        .find(|(_, effect)| creation(effect))
        .unwrap();
    unmade.apply(&create, Extent::Part).unwrap();
    unmade.node.leave_unmade();
    insta::assert_snapshot!("a_container_whose_making_was_cut_off", only_blocked(&unmade));
}

#[test]
fn a_snapshot_that_was_cut_off_with_the_node_holds_up_no_start() {
    let mut world = up(NODE);
    world.cut(Cut::Machine);
    world.node.leave_part_of_snapshot();
    // As long as something is at work on the container, it is waited for.
    world.node.tasks = vec!["vzsnapshot".to_owned()];
    assert!(only_blocked(&world).contains("a snapshot is being made or removed"), "{}", only_blocked(&world));
    world.node.tasks.clear();
    assert_eq!(only_blocked(&world), "");
    bring_up(&mut world);
    assert!(world.node.snapshots.is_empty());
    assert!(plan_for(&world).is_settled());
}

#[test]
fn a_guest_of_somebody_else_with_that_name() {
    let mut world = up(DEFAULT);
    let config = path("/var/lib/lxc/matrix/config");
    world.machine.files.get_mut(&config).unwrap().content = "lxc.uts.name = matrix\n".to_owned();
    insta::assert_snapshot!(only_blocked(&world));
    let other = up("domain = \"other.home.arpa\"\n").with_site(&site(DEFAULT));
    insta::assert_snapshot!("a_guest_of_another_site", only_blocked(&other));
}

#[test]
fn another_server_name_is_refused() {
    let world =
        up(DEFAULT).with_site(&site("domain = \"chat.home.arpa\"\nserver_name = \"chat.home.arpa\"\n"));
    insta::assert_snapshot!(only_blocked(&world));
}

/// Where the guest does not run, the name in it is seen only during the run;
/// nothing may have been written by then.
#[test]
fn another_server_name_writes_nothing_into_a_guest_that_was_stopped() {
    let mut world = up(DEFAULT);
    world.cut(Cut::Guest);
    let before = world.guest_mut().place.clone();
    let mut world = world.with_site(&site("domain = \"chat.home.arpa\"\nserver_name = \"chat.home.arpa\"\n"));
    let End::Failed(id, why) = run(&mut world, &mut in_order, None) else { panic!("it went through") };
    assert_eq!(id.as_str(), "server-name");
    assert!(why.contains("can never change"), "{why}");
    assert_eq!(world.guest_mut().place, before);
}

#[test]
fn data_of_another_postgresql_are_left_alone() {
    let mut world = up(REGISTRY);
    world.versions.insert(stack::postgres::ID, "18.1".to_owned());
    let newer = site(
        "domain = \"chat.home.arpa\"\n[images]\nsource = \"registry\"\n\
         [images.postgres]\nreference = \"docker.io/library/postgres:18.1\"\n",
    );
    let mut world = world.with_site(&newer);
    let before = world.guest_mut().place.clone();
    // That the image is of another version is known once it is there.
    let End::Failed(id, _) = run(&mut world, &mut in_order, None) else { panic!("it went through") };
    assert_eq!(id.as_str(), "database");
    // A unit with the new image would make an empty cluster at the next boot.
    assert_eq!(world.guest_mut().place, before);
    insta::assert_snapshot!(only_blocked(&world));
}

#[test]
fn a_service_that_does_not_answer_is_restarted() {
    let mut world = up(DEFAULT);
    let synapse: &mut ContainerState = world.guest_mut().containers.get_mut("synapse").unwrap();
    synapse.health = Health::Unhealthy;
    let redis: &mut ContainerState = world.guest_mut().containers.get_mut("redis").unwrap();
    redis.state = "exited".to_owned();
    let plan = plan_for(&world);
    let steps: Vec<_> = plan
        .entries
        .iter()
        .filter_map(|entry| match &entry.diff {
            Diff::Change(step) => Some(format!("{}: {}, {}", entry.id, step.what, step.why)),
            _ => None,
        })
        .collect();
    assert_eq!(
        steps,
        [
            "service/redis: Start Redis, it does not run",
            "service/synapse: Restart Synapse, it runs but does not answer",
        ]
    );
}

/// What cannot be done, as a person reads it.
fn only_blocked(world: &MemoryWorld) -> String {
    let plan = plan_for(world);
    plan.blocked().map(|(id, why, hint)| format!("{id}: {why}\n  {hint}\n")).collect()
}

/// What the plan says of one resource.
fn said_of(world: &MemoryWorld, id: &str) -> String {
    let plan = serde_json::to_value(plan_for(world)).unwrap();
    let entry = plan["entries"].as_array().unwrap().iter().find(|entry| entry["id"] == id).cloned();
    entry.unwrap_or_else(|| panic!("no {id} in {plan}")).to_string()
}

/// A server that an earlier version made: no rules but those that translate
/// addresses, and a machine that forwards everything.
#[test]
fn a_bridge_that_lets_everything_pass_is_mended() {
    let mut world = up(DEFAULT);
    world.rules.clear();
    world.routes = true;
    world.forwarding.clear();
    let said = said_of(&world, "machine/network");
    assert!(said.contains("who may pass it is missing") && said.contains("ip_forward stays on"), "{said}");
    bring_up(&mut world);
    assert!(plan_for(&world).is_settled());
    // Whoever turned it on everywhere goes on having it.
    assert!(world.routes && world.forwarding.is_empty());
}

#[test]
fn a_machine_that_believes_its_guest_is_mended() {
    let mut world = up(DEFAULT);
    let setting = world.settings.iter_mut().find(|(name, _)| name.ends_with("/accept_ra")).unwrap();
    *setting.1 = "1".to_owned();
    let said = said_of(&world, "machine/network");
    assert!(said.contains("what keeps a guest from rerouting the machine is missing"), "{said}");
    bring_up(&mut world);
    assert!(world.settings.iter().any(|(name, value)| name.ends_with("/accept_ra") && value == "0"));
}

#[test]
fn who_is_let_in_is_said_and_asked_about() {
    const LAN: &str = "domain = \"chat.home.arpa\"\n[guest.network]\nexisting = true\nbridge = \"br0\"\n";
    let mut world = up(LAN);
    // As an earlier version left it: whoever is in the network comes in.
    world.guest_mut().rules.clear();
    let said = said_of(&world, "guest/ports");
    assert!(said.contains("edge.proxies") && said.contains("\"risk\":\"outage\""), "{said}");
    let named = format!("{LAN}[edge]\nproxies = [\"192.168.1.5/32\"]\n");
    let mut world = world.with_site(&site(&named));
    let said = said_of(&world, "guest/ports");
    assert!(said.contains("192.168.1.5") && said.contains("\"risk\":\"interrupts\""), "{said}");
    bring_up(&mut world);
    assert!(plan_for(&world).is_settled());
    // NPM is a proxy that needs no second name, unless it has one instead of an address.
    for (address, proxies) in
        [("http://192.168.1.7:81", 1), ("http://npm.home.arpa:81", 0), ("http://127.0.0.1:81", 0)]
    {
        let npm = format!(
            "{LAN}[edge.npm]\naddress = \"{address}\"\nidentity = \"a@home.arpa\"\ncertificate = \"none\"\n"
        );
        assert_eq!(site(&npm).config.edge.proxies.len(), proxies, "{address}");
    }
}
