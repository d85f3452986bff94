//! The gateway: switched on and off wherever that is cut off, and given another config.

use matrix_podman_core::{
    effect::Effect,
    resource::{Diff, Risk},
    stack,
};

use crate::{
    convergence::{DEFAULT, cut_off_everywhere, fresh},
    drive::{bring_up, plan_for},
    memory::{MemoryWorld, site},
};

const GATEWAY: &str = "domain = \"chat.home.arpa\"\n[gateway]\nenabled = true\n";

/// What stands before the others takes over their ports, and gives them back.
#[test]
fn a_gateway_can_be_switched_on_and_off_again_whenever_it_is_cut_off() {
    let mut world = fresh(DEFAULT, false);
    bring_up(&mut world);
    let unit = |world: &mut MemoryWorld| {
        let path = matrix_podman_core::layout::container_file(stack::HOMESERVER);
        world.guest_mut().place.files[&path].content.clone()
    };
    let before = unit(&mut world);
    assert!(before.contains("PublishPort="), "{before}");
    let mut with = world.with_site(&site(GATEWAY));
    cut_off_everywhere("switched on", &with);
    bring_up(&mut with);
    assert!(!unit(&mut with).contains("PublishPort="), "{}", unit(&mut with));
    let mut without = with.with_site(&site(DEFAULT));
    cut_off_everywhere("switched off", &without);
    bring_up(&mut without);
    assert_eq!(unit(&mut without), before);
    let plan = plan_for(&without);
    assert!(plan.entries.iter().all(|entry| !format!("{:?}", entry.diff).contains("gateway")), "{plan:#?}");
}

/// A new config of HAProxy's is read by the one that runs before it counts; other ports are opened while nobody
/// has the old ones.
#[test]
fn a_config_of_the_gateway_is_tried_before_it_counts() {
    let mut world = fresh(GATEWAY, false);
    bring_up(&mut world);
    let changed = |text: &str| {
        let mut world = fresh(GATEWAY, false);
        bring_up(&mut world);
        let plan = plan_for(&world.with_site(&site(text)));
        let step =
            plan.entries.iter().find(|entry| entry.id.as_str() == "unit/gateway").unwrap().diff.clone();
        let Diff::Change(step) = step else { panic!("{step:?}") };
        let effects: Vec<String> = step.effects.iter().map(Effect::describe).collect();
        (effects, step.risk)
    };
    let (effects, risk) = changed(&format!("{GATEWAY}[edge]\nproxies = [\"192.168.1.5/32\"]\n"));
    insta::assert_snapshot!(effects.join("\n"));
    assert_eq!(risk, Risk::None);
    let (effects, risk) = changed(&format!("{GATEWAY}[ports]\nweb = 8081\n"));
    insta::assert_snapshot!(effects.join("\n"));
    assert_eq!(risk, Risk::Interrupts);
}
