//! What leads to the server: the ports that the guest publishes, and, from
//! outside, the checks of `verify` that look there.

use super::{Diagnosis, Finding, Mend, Unseen};
use crate::{
    check::{Check, Group, Scope, Verdict, has_way_in, unreachable, verify},
    federation::Net,
    observed::{Gap, Observed},
    resource::Site,
};

/// The ports that the guest publishes.
pub(super) const PORTS: &str = "guest/ports";

/// Checks that explain whatever fails after them.
pub(super) const FUNDAMENTAL: [&str; 6] = [
    "way-in/names",
    "way-in/tls",
    "way-in/redirects",
    "way-in/challenge",
    "federation/discovery",
    "federation/fallback",
];

/// Looks from outside, if anything leads here at all: a server without a public
/// name is not ill.
pub(super) fn look(site: &Site, net: &Net, seen: &Observed, diagnosis: &mut Diagnosis) {
    let scope = Scope { groups: vec![Group::WayIn, Group::Federation], slow: false, net: net.clone() };
    match has_way_in(site, &scope, seen) {
        Ok(true) => {}
        Ok(false) | Err(Gap::NotAsked) => return,
        Err(Gap::Unknown(why)) => {
            diagnosis.unseen.push(Unseen { cause: FUNDAMENTAL[0], why });
            return;
        }
    }
    let (mut findings, mut unseen) = (Vec::new(), Vec::new());
    for group in verify(site, &scope, seen) {
        diagnosis.looked_for += group.checks.len();
        tell(group.checks, &mut findings, &mut unseen);
    }
    if findings.is_empty() {
        diagnosis.unseen.append(&mut unseen);
    }
    diagnosis.findings.append(&mut findings);
}

/// Looks whether the machine reaches the services that are well in themselves;
/// false when one is not reached, which explains whatever is seen from outside.
pub(super) fn reached(site: &Site, net: &Net, seen: &Observed, diagnosis: &mut Diagnosis) -> bool {
    let scope = Scope { groups: Vec::new(), slow: false, net: net.clone() };
    diagnosis.looked_for += 1;
    match unreachable(site, &scope, seen) {
        Ok(silent) => {
            let well = silent.is_empty();
            diagnosis.findings.extend(silent.first().map(|(service, _)| Finding {
                cause: PORTS,
                what: format!("The guest does not lead its ports to {}, which is well.", service.title()),
                evidence: silent.iter().map(|(_, why)| why.clone()).collect(),
                mend: Mend::Type(format!(
                    "{}   # restarts the guest, which makes Podman's port rules anew",
                    site.backend.restart_guest(site, seen)
                )),
            }));
            well
        }
        Err(Gap::NotAsked) => true,
        Err(Gap::Unknown(why)) => {
            diagnosis.unseen.push(Unseen { cause: PORTS, why });
            true
        }
    }
}

/// What a group's checks come to; nothing behind a fundamental one that failed.
fn tell(mut checks: Vec<Check>, findings: &mut Vec<Finding>, unseen: &mut Vec<Unseen>) {
    checks
        .sort_by_key(|check| FUNDAMENTAL.iter().position(|id| *id == check.id).unwrap_or(FUNDAMENTAL.len()));
    for Check { id, verdict } in checks {
        match verdict {
            Verdict::Fail { why, hint } => {
                let what = format!("From outside: {why}.");
                findings.push(Finding { cause: id, what, evidence: Vec::new(), mend: Mend::Type(hint) });
                if FUNDAMENTAL.contains(&id) {
                    return;
                }
            }
            Verdict::Unknown { why } => unseen.push(Unseen { cause: id, why }),
            Verdict::Pass { .. } | Verdict::Weaker { .. } | Verdict::LeftOut { .. } => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_fundamental_comes_first_and_explains_the_rest() {
        let fail =
            |id| Check { id, verdict: Verdict::Fail { why: "it is so".into(), hint: "do this".into() } };
        let pass = |id| Check { id, verdict: Verdict::Pass { evidence: "seen".into() } };
        let cases: [(Vec<Check>, &[&str]); 3] = [
            (vec![fail("way-in/web"), fail("way-in/challenge"), fail("way-in/tls")], &["way-in/tls"]),
            (
                vec![pass("way-in/tls"), fail("way-in/web"), fail("way-in/cors")],
                &["way-in/web", "way-in/cors"],
            ),
            (vec![pass("way-in/tls"), pass("way-in/web")], &[]),
        ];
        for (checks, wanted) in cases {
            let (mut findings, mut unseen) = (Vec::new(), Vec::new());
            tell(checks, &mut findings, &mut unseen);
            let causes: Vec<&str> = findings.iter().map(|finding| finding.cause).collect();
            assert_eq!(causes, wanted);
            assert!(unseen.is_empty() && findings.iter().all(|finding| !finding.mend.is_safe()));
        }
    }
}
