//! The guest as a Debian system: its packages, and their being up to date.

use super::{Diff, Resource, ResourceId, Site, guest_ready};
use crate::{
    effect::{Effect, Local},
    fact::Side,
    ids,
    name::AbsPath,
    observed::{Observed, Seen},
};

/// What the stack needs of Debian. Recommended packages are not installed, so
/// what Podman only recommends and the stack needs is named: `nftables` and
/// `aardvark-dns` for networks, `crun` as the runtime.
pub(super) const GUEST_PACKAGES: [&str; 10] = [
    "aardvark-dns",
    "ca-certificates",
    "crun",
    "dbus",
    "iproute2",
    "netavark",
    "nftables",
    "podman",
    "tzdata",
    "unattended-upgrades",
];

/// What a guest of its own does not need and what could be reached from
/// outside or send mail. Never removed from a machine that is the guest itself.
const UNWANTED: [&str; 5] = [SSH_SERVER, "exim4-base", "exim4-daemon-light", "postfix", "sendmail-bin"];

/// Left when all packages are up to date for the first time.
pub(super) const UPGRADE_STAMP: &str = "/var/lib/matrix-podman/upgraded";

pub(super) fn all(site: &Site) -> Vec<Box<dyn Resource>> {
    let mut all: Vec<Box<dyn Resource>> = vec![Box::new(Upgraded), Box::new(Packages { site: site.clone() })];
    if !site.backend.is_this_machine() {
        all.push(Box::new(Unwanted { site: site.clone() }));
    }
    all
}

const SSH_SERVER: &str = "openssh-server";

/// All packages were brought up to date once, before the stack came. From then
/// on, unattended-upgrades keeps them so.
struct Upgraded;

impl Resource for Upgraded {
    fn id(&self) -> ResourceId {
        ids::GUEST_UPGRADED
    }

    fn needs(&self) -> Vec<ResourceId> {
        // Images, which wait for Podman, are loaded beside this; services wait.
        vec![ids::GUEST_PACKAGES]
    }

    fn diff(&self, seen: &Observed) -> Seen<Diff> {
        let stamp = AbsPath::known(UPGRADE_STAMP);
        if seen.meta(Side::Guest, &stamp)?.is_some() {
            return Ok(Diff::settled("Debian was brought up to date; unattended-upgrades keeps it so"));
        }
        Ok(Diff::quiet(
            "Bring the guest's Debian up to date",
            "nothing should start with known holes",
            vec![Effect::Here(Local::Upgrade { stamp })],
        ))
    }
}

/// What the stack needs is installed.
struct Packages {
    site: Site,
}

impl Resource for Packages {
    fn id(&self) -> ResourceId {
        ids::GUEST_PACKAGES
    }

    fn needs(&self) -> Vec<ResourceId> {
        guest_ready()
    }

    fn diff(&self, seen: &Observed) -> Seen<Diff> {
        let extra = self.site.config.guest.extra_packages.iter().map(|p| p.as_str());
        let ssh = self.site.backend.lets_ssh_in(&self.site).then_some(SSH_SERVER);
        let wanted: Vec<&str> = GUEST_PACKAGES.into_iter().chain(extra).chain(ssh).collect();
        let there = seen.packages(Side::Guest, wanted.iter().copied())?;
        let missing: Vec<String> =
            wanted.iter().filter(|p| !there.contains_key(**p)).map(|p| (*p).to_owned()).collect();
        if missing.is_empty() {
            let podman = there.get("podman").map(String::as_str).unwrap_or_default();
            return Ok(Diff::settled(format!("{} packages are installed, Podman {podman}", wanted.len())));
        }
        Ok(Diff::quiet(
            format!("Install {} in the guest", missing.join(", ")),
            "the stack runs on Podman",
            vec![Effect::Here(Local::Install { side: Side::Guest, packages: missing })],
        ))
    }
}

/// What the guest does not need is gone.
struct Unwanted {
    site: Site,
}

impl Resource for Unwanted {
    fn id(&self) -> ResourceId {
        ids::GUEST_UNWANTED
    }

    fn needs(&self) -> Vec<ResourceId> {
        // Services do not wait for this, and it would slow down what they wait for.
        [ids::GUEST_PACKAGES].into_iter().chain(super::service::all_ids(&self.site.config)).collect()
    }

    fn diff(&self, seen: &Observed) -> Seen<Diff> {
        let wanted = &self.site.config.guest.extra_packages;
        let there = seen.packages(Side::Guest, UNWANTED)?;
        let keep = |package: &str| {
            wanted.iter().any(|w| w.as_str() == package)
                || package == SSH_SERVER && self.site.backend.lets_ssh_in(&self.site)
        };
        let packages: Vec<String> = there.keys().filter(|p| !keep(p)).cloned().collect();
        if packages.is_empty() {
            return Ok(Diff::settled("no ssh or mail server is installed"));
        }
        Ok(Diff::quiet(
            format!("Remove {} from the guest", packages.join(", ")),
            "the guest is reached through its machine and sends no mail",
            vec![Effect::Here(Local::Purge { side: Side::Guest, packages })],
        ))
    }
}
