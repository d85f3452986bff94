//! The guest as a container: there, running, spoken to. What differs between those who
//! keep containers is asked of [`GuestKeeper`].

use std::fmt;

use super::Site;
use crate::{
    effect::{Effect, TwoSided},
    fact::{GuestProgram, GuestState, Suspension},
    format::UPGRADE,
    ids, layout,
    observed::{Observed, Seen},
    resource::{Diff, Resource, ResourceId},
};

/// What the resources of a guest that is a container ask whoever keeps it.
pub(super) trait GuestKeeper: fmt::Debug + Send + Sync {
    /// What comes before the container.
    fn before_container(&self) -> Vec<ResourceId>;

    /// How the container differs: there, ours, and with the settings that it should have.
    fn container(&self, site: &Site, seen: &Observed) -> Seen<Diff>;

    /// What comes before its start.
    fn before_start(&self, site: &Site) -> Vec<ResourceId>;

    /// Whether it runs.
    fn power(&self, site: &Site, seen: &Observed) -> Seen<GuestPower>;

    /// What comes before the program in it.
    fn before_program(&self) -> Vec<ResourceId>;

    /// How the program in it differs while there is no container.
    fn program_before_container(&self, site: &Site) -> Diff;
}

/// Whether a container runs.
pub(super) enum GuestPower {
    /// It does.
    On {
        /// What a person calls it.
        called: String,
    },
    /// Somebody suspended it.
    Held {
        /// How.
        by: Suspension,
        /// Its name in LXC's words.
        lxc: String,
    },
    /// It does not; what to do about that.
    Off(Diff),
}

pub(super) fn all(site: &Site, keeper: &'static dyn GuestKeeper) -> [Box<dyn Resource>; 3] {
    [
        Box::new(Container { site: site.clone(), keeper }),
        Box::new(Running { site: site.clone(), keeper }),
        Box::new(Program { site: site.clone(), keeper }),
    ]
}

/// The container is there, ours, and as it should be.
struct Container {
    site: Site,
    keeper: &'static dyn GuestKeeper,
}

impl Resource for Container {
    fn id(&self) -> ResourceId {
        ids::GUEST_CONTAINER
    }

    fn needs(&self) -> Vec<ResourceId> {
        self.keeper.before_container()
    }

    fn diff(&self, seen: &Observed) -> Seen<Diff> {
        self.keeper.container(&self.site, seen)
    }
}

/// A guest that somebody suspended is left so: they had a reason. `lxc` is its
/// name in LXC's words.
pub(super) fn held(by: Suspension, name: &str, lxc: &str) -> Diff {
    Diff::Blocked { why: by.why(name), hint: format!("`{}` lets it go on", by.fix(lxc)) }
}

/// The guest runs.
struct Running {
    site: Site,
    keeper: &'static dyn GuestKeeper,
}

impl Resource for Running {
    fn id(&self) -> ResourceId {
        ids::GUEST_RUNNING
    }

    fn needs(&self) -> Vec<ResourceId> {
        let mut needs = vec![ids::GUEST_CONTAINER];
        needs.extend(self.keeper.before_start(&self.site));
        needs
    }

    fn diff(&self, seen: &Observed) -> Seen<Diff> {
        Ok(match self.keeper.power(&self.site, seen)? {
            GuestPower::On { called } => Diff::settled(format!("{called} runs")),
            GuestPower::Held { by, lxc } => held(by, self.site.config.guest.name.as_str(), &lxc),
            GuestPower::Off(diff) => diff,
        })
    }
}

/// The program is in the guest, and is this one.
struct Program {
    site: Site,
    keeper: &'static dyn GuestKeeper,
}

/// What the step is called before it can be said more exactly.
pub(super) const PUT_PROGRAM: &str = "Put matrix-podman into the guest";

impl Resource for Program {
    fn id(&self) -> ResourceId {
        ids::GUEST_PROGRAM
    }

    fn needs(&self) -> Vec<ResourceId> {
        let mut needs = vec![ids::GUEST_RUNNING];
        needs.extend(self.keeper.before_program());
        needs
    }

    fn diff(&self, seen: &Observed) -> Seen<Diff> {
        let (site, name) = (&self.site, self.site.config.guest.name.as_str());
        Ok(match site.backend.guest_state(site, seen)? {
            GuestState::Absent => self.keeper.program_before_container(site),
            GuestState::Stopped { .. } => Diff::later(PUT_PROGRAM, "the guest does not run yet"),
            GuestState::Suspended { by, .. } => Diff::later(PUT_PROGRAM, by.why(name)),
            GuestState::Running { .. } => {
                let remove = site.backend.typed_in_guest(site, seen, &format!("rm {}", layout::BINARY));
                program_in_guest(seen.guest_program()?, name, &remove)
            }
        })
    }
}

pub(super) fn push_program(name: &str) -> Diff {
    Diff::quiet(
        PUT_PROGRAM,
        "the same program works on both sides, over one connection",
        vec![Effect::Both(TwoSided::PushProgram { name: name.to_owned() })],
    )
}

/// Has the guest the program that asks? `remove` is what to type so that it has none.
fn program_in_guest(program: &GuestProgram, name: &str, remove: &str) -> Diff {
    match program {
        GuestProgram::Same => Diff::settled("the guest has this very program"),
        GuestProgram::Other => push_program(name),
        GuestProgram::Newer(why) => Diff::Blocked {
            why: format!("matrix-podman in the guest {name} is newer than this one: {why}"),
            hint: format!(
                "{UPGRADE}. To go back to this version instead: `{remove}`, then `matrix-podman up`"
            ),
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        config::Config,
        fact::{Fact, Side, Value},
        observed::Answer,
        resource::{BackendId, foreign},
    };

    #[test]
    fn a_guest_of_somebody_elses_is_known_by_its_mark() {
        let config = Config::parse("domain = \"chat.home.arpa\"\n", "matrix.toml").unwrap();
        let site = Site::new(config, BackendId::Lxc);
        let own = Some(site.config.site().to_owned());
        for (mark, words) in [
            (own, None),
            (Some("other.home.arpa".to_owned()), Some("another site, other.home.arpa")),
            (None, Some("was not made by matrix-podman")),
        ] {
            for state in [
                GuestState::Stopped { site: mark.clone() },
                GuestState::Running { site: mark.clone(), address: None },
                GuestState::Suspended { site: mark.clone(), by: Suspension::Frozen },
            ] {
                let why = foreign(&site, &state);
                assert_eq!(why.is_some(), words.is_some(), "{state:?}");
                assert!(why.unwrap_or_default().contains(words.unwrap_or_default()), "{state:?}");
            }
        }
        assert_eq!(foreign(&site, &GuestState::Absent), None);
    }

    #[test]
    fn a_program_in_the_guest_that_speaks_a_newer_protocol_is_not_replaced() {
        let newer = GuestProgram::Newer("it is version 9.0.0".to_owned());
        let remove = "pct exec 104 -- rm /usr/local/bin/matrix-podman";
        let Diff::Blocked { why, hint } = program_in_guest(&newer, "family", remove) else {
            panic!("it would be replaced")
        };
        assert!(why.contains("in the guest family is newer than this one: it is version 9.0.0"), "{why}");
        assert!(hint.contains(&format!("`{remove}`")), "{hint}");
        let other = program_in_guest(&GuestProgram::Other, "family", "");
        assert!(matches!(other, Diff::Change(_)), "{other:?}");
    }

    #[test]
    fn a_guest_that_is_suspended_is_left_so_and_named() {
        let config = Config::parse("domain = \"chat.home.arpa\"\n", "matrix.toml").unwrap();
        let site = Site::new(config.clone(), BackendId::Lxc);
        let [_, running, _] = all(&site, &super::super::lxc::LxcBackend);
        let name = config.guest.name.to_string();
        for (by, words, fix) in [
            (Suspension::Frozen, "is frozen", format!("`lxc-unfreeze --name {name}`")),
            (Suspension::Stopped { pid: 4711 }, "SIGSTOP", "`kill -CONT 4711`".to_owned()),
        ] {
            let state = GuestState::Suspended { site: Some("chat.home.arpa".to_owned()), by };
            let mut seen = Observed::default();
            let answer = Answer::Known(Value::LxcGuest(state));
            seen.insert(Side::Machine, Fact::LxcGuest(name.clone()), answer);
            let Ok(Diff::Blocked { why, hint }) = running.diff(&seen) else { panic!("{by:?}") };
            assert!(why.contains(words) && hint.contains(&fix), "{why} {hint}");
        }
    }
}
