//! What another server finds.

use super::{Asked, Check};
use crate::{
    federation::{DAY, Named, Report, date, report},
    observed::{Observed, Seen},
};

/// Days before its end at which a certificate should have been renewed.
const RENEWED: i64 = 14;

/// The checks of the site's own server.
pub(super) fn own(asked: &Asked<'_>, seen: &Observed) -> Vec<Check> {
    let id = "federation/discovery";
    if asked.site.config.synapse.federation_allow.as_ref().is_some_and(|servers| servers.is_empty()) {
        return vec![Check::left_out(id, "synapse.federation_allow lets no other server in")];
    }
    let checks = || -> Seen<Vec<Check>> {
        let name = asked.site.config.server_name.as_str();
        let named: Named = match name.parse() {
            Ok(named) => named,
            Err(why) => return Ok(vec![Check::fail(id, format!("{name}: {why}"), "see server_name")]),
        };
        // The key is compared with the one in the guest, where that is known.
        let own = seen.signing_key();
        let report = report(&asked.scope.net, &named, seen)?;
        let mut checks = federation_checks(&report);
        if report.addresses.iter().any(|a| a.keys.is_some()) {
            checks.push(match own {
                Err(gap) => Check::gap("federation/identity", gap),
                Ok(own) => identity(&report, own.map(|key| (key.id.as_str(), key.key.as_str()))),
            });
        }
        Ok(checks)
    };
    checks().unwrap_or_else(|gap| vec![Check::gap(id, gap)])
}

/// Whether it is this very server that answers.
fn identity(report: &Report, own: Option<(&str, &str)>) -> Check {
    let id = "federation/identity";
    let Some((key_id, key)) = own else {
        return Check::fail(id, "there is no signing key in the guest", "put it back from a backup");
    };
    let stranger = report.addresses.iter().find(|address| {
        let keys = address.keys.as_ref().map(|k| k.keys.as_slice()).unwrap_or_default();
        !keys.is_empty() && !keys.iter().any(|seen| seen.id == key_id && seen.key == key)
    });
    match stranger {
        None => Check::pass(id, format!("it is this server that answers: {key_id}")),
        Some(address) => Check::fail(
            id,
            format!("{} shows other keys than this server's", address.place.address),
            "the name leads to another server: see the DNS and the proxy in front",
        ),
    }
}

/// What a report comes to, as checks.
pub fn federation_checks(report: &Report) -> Vec<Check> {
    let mut checks = vec![discovery(report)];
    if report.addresses.is_empty() {
        return checks;
    }
    checks.extend(fallback(report));
    checks.push(certificates(report));
    checks.push(addresses(report));
    checks
}

/// Whether others look on a port that nobody chose, and find nothing there.
fn fallback(report: &Report) -> Option<Check> {
    let id = "federation/fallback";
    if !report.discovery.fell_back {
        return None;
    }
    let name = &report.server_name;
    Some(if report.addresses.iter().any(|address| address.keys.is_some()) {
        Check::pass(id, "nothing says where the server is, and the default port 8448 is right")
    } else {
        Check::fail(
            id,
            format!(
                "nothing says where {name} is, so other servers try port 8448, where no Matrix server answers"
            ),
            format!(
                "have https://{name}/.well-known/matrix/server answer {{\"m.server\":\"YOUR.MATRIX.NAME:443\"}}; \
                 `matrix-podman edge guide` has the block with your names"
            ),
        )
    })
}

fn discovery(report: &Report) -> Check {
    let id = "federation/discovery";
    if let Some(problem) = report.problems.first() {
        return Check::fail(id, problem.what.clone(), problem.hint.clone());
    }
    let how = match (&report.discovery.delegated_to, report.discovery.fell_back) {
        (Some(target), _) => format!("delegated to {target}"),
        (None, true) => "by the default port 8448".to_owned(),
        (None, false) => "by its name".to_owned(),
    };
    let count = report.addresses.len();
    let places = if count == 1 { "one address".to_owned() } else { format!("{count} addresses") };
    Check::pass(id, format!("found {how}: {places}"))
}

fn certificates(report: &Report) -> Check {
    let id = "federation/certificate";
    let mut ends = Vec::new();
    for address in &report.addresses {
        let Some(tls) = &address.tls else { continue };
        if tls.distrust.is_some() {
            let problem = address.problems.first();
            let (what, hint) = problem.map_or(("", ""), |p| (&p.what, &p.hint));
            return Check::fail(id, format!("{}: {what}", address.place.address), hint);
        }
        ends.extend(tls.certificate.as_ref().map(|c| c.not_after));
    }
    let now = report.addresses.iter().find_map(|a| a.asked_at).unwrap_or_default();
    match ends.iter().min() {
        None => {
            Check::gap(id, crate::observed::Gap::Unknown("no address got as far as showing one".to_owned()))
        }
        Some(end) if (end - now) / DAY < RENEWED => Check::weaker(
            id,
            format!("the certificate ends on {}", date(*end)),
            "it should have been renewed by now; from that day on nobody gets in",
        ),
        Some(end) => Check::pass(id, format!("trusted, for the right name, until {}", date(*end))),
    }
}

fn addresses(report: &Report) -> Check {
    let id = "federation/addresses";
    let bad: Vec<_> = report.addresses.iter().filter(|a| !a.ok).collect();
    match bad.first() {
        None => {
            let version = report.addresses.iter().find_map(|a| a.version.as_ref());
            let version = version.map(|v| format!("{} {}", v.name, v.version)).unwrap_or_default();
            let all: Vec<String> = report.addresses.iter().map(|a| a.place.address.to_string()).collect();
            Check::pass(id, format!("{} answers with signed keys; {version}", all.join(", ")))
        }
        Some(first) => {
            let told: Vec<String> = bad
                .iter()
                .flat_map(|a| a.problems.iter().map(|p| format!("{}: {}", a.place.address, p.what)))
                .collect();
            let hint = first.problems.first().map(|p| p.hint.clone()).unwrap_or_default();
            Check::fail(id, told.join("; "), hint)
        }
    }
}
