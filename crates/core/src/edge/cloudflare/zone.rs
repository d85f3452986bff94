//! Which of the zones that a token shows is the one that is meant, and whether
//! it can be worked in.

use super::Zone;
use crate::{config::ZoneChoice, name::idn};

/// Why no zone can be worked in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ZoneFlaw {
    /// Why, as a clause.
    pub why: String,
    /// What to do.
    pub hint: String,
}

fn flaw<T>(why: String, hint: impl Into<String>) -> Result<T, ZoneFlaw> {
    Err(ZoneFlaw { why, hint: hint.into() })
}

/// The zone that is meant, well or not. One that is active stands before others
/// of its name; whether two are meant only a person knows.
pub fn choose(zones: Vec<Zone>, wanted: &ZoneChoice) -> Result<Zone, ZoneFlaw> {
    let mut fitting: Vec<Zone> = zones
        .into_iter()
        .filter(|zone| match wanted {
            ZoneChoice::Named(name) => idn::same(&zone.name, name.as_str()),
            ZoneChoice::Id(id) => zone.id == *id,
        })
        .collect();
    if fitting.iter().any(Zone::is_active) {
        fitting.retain(Zone::is_active);
    }
    match (fitting.pop(), fitting.is_empty()) {
        (Some(zone), true) => Ok(zone),
        (Some(last), false) => {
            let all: Vec<String> = fitting
                .iter()
                .chain([&last])
                .map(|zone| format!("{} ({} in the account {})", zone.id, zone.status, zone.account.called()))
                .collect();
            flaw(
                format!("{} accounts have a zone {wanted}", all.len()),
                format!("write the id of the right one as edge.cloudflare.zone: {}", all.join(" or ")),
            )
        }
        (None, _) => flaw(
            format!("the token shows no zone {wanted}"),
            format!(
                "give the token \"Zone / Zone: Read\" for {wanted}; or, if the domain is a part of a zone, name that with \
                 edge.cloudflare.zone"
            ),
        ),
    }
}

/// Whether names can be led through a tunnel in this zone.
pub fn workable(zone: &Zone, hosts: &[&str]) -> Result<(), ZoneFlaw> {
    let name = idn::both(&zone.ascii_name());
    if zone.status != "active" {
        return flaw(
            format!("the zone {name} is not active at Cloudflare but {}", zone.status),
            "its domain has to name Cloudflare's name servers: the zone's overview page says which",
        );
    }
    if zone.paused {
        return flaw(
            format!(
                "the zone {name} is paused at Cloudflare: it answers DNS alone, and no tunnel is reached"
            ),
            "on the zone's overview page, choose Enable Cloudflare on Site",
        );
    }
    if matches!(zone.kind.as_deref(), Some("secondary")) {
        return flaw(
            format!("the zone {name} is a secondary one: another name server writes its records"),
            "make the records there, as `matrix-podman edge guide` says, and remove edge.cloudflare.tunnel; or make the \
             zone a primary one at Cloudflare",
        );
    }
    let zone_name = zone.ascii_name();
    match hosts.iter().find(|host| !within(host, &zone_name)) {
        Some(host) => flaw(
            format!("{} is not in the zone {name}", idn::both(host)),
            "name the zone of your public names with edge.cloudflare.zone",
        ),
        None => Ok(()),
    }
}

/// Whether `host` is `zone` or a name below it.
fn within(host: &str, zone: &str) -> bool {
    host.strip_suffix(zone).is_some_and(|rest| rest.is_empty() || rest.ends_with('.'))
}

#[cfg(test)]
mod tests {
    use serde_json::{Value as Json, json};

    use super::*;

    fn zone(change: Json) -> Zone {
        let mut zone = json!({"id": "z1", "name": "bücher.ch", "status": "active",
            "account": {"id": "a", "name": "home"}, "paused": false, "type": "full"});
        for (key, value) in change.as_object().unwrap() {
            zone[key] = value.clone();
        }
        serde_json::from_value(zone).unwrap()
    }

    fn named(name: &str) -> ZoneChoice {
        ZoneChoice::Named(crate::name::Domain::parse(name).unwrap())
    }

    #[test]
    fn either_form_of_a_name_finds_it() {
        for name in ["bücher.ch", "xn--bcher-kva.ch"] {
            assert_eq!(choose(vec![zone(json!({}))], &named(name)).unwrap().id, "z1");
        }
        let none = choose(vec![zone(json!({}))], &named("xn--bchr-0qa.ch")).unwrap_err();
        assert!(none.why.contains("shows no zone xn--"), "{none:?}");
    }

    #[test]
    fn an_active_one_stands_before_others_and_two_want_an_id() {
        let pending = zone(json!({"id": "z2", "status": "pending"}));
        let chosen = choose(vec![pending.clone(), zone(json!({}))], &named("bücher.ch")).unwrap();
        assert_eq!(chosen.id, "z1");
        let moved = zone(json!({"id": "z3", "status": "moved", "account": {"id": "b"}}));
        let asked = choose(vec![pending.clone(), moved], &named("bücher.ch")).unwrap_err();
        assert!(
            asked.hint.contains("z2 (pending in the account home) or z3 (moved in the account b)"),
            "{asked:?}"
        );
        let id = "0123456789abcdef0123456789abcdef";
        let by_id = vec![zone(json!({"id": id, "status": "pending"})), zone(json!({}))];
        assert_eq!(choose(by_id, &ZoneChoice::Id(id.to_owned())).unwrap().status, "pending");
    }

    #[test]
    fn what_leads_nowhere_is_not_worked_in() {
        let hosts = ["matrix.xn--bcher-kva.ch", "xn--bcher-kva.ch"];
        assert_eq!(workable(&zone(json!({})), &hosts), Ok(()));
        assert_eq!(workable(&zone(json!({"type": null, "paused": null})), &hosts), Ok(()));
        for (change, words) in [
            (json!({"status": "pending"}), "not active"),
            (json!({"paused": true}), "paused"),
            (json!({"type": "secondary"}), "secondary"),
            (json!({"name": "other.ch"}), "is not in the zone other.ch"),
            (json!({"name": "cher-kva.ch"}), "is not in the zone"),
        ] {
            let flaw = workable(&zone(change), &hosts).unwrap_err();
            assert!(flaw.why.contains(words), "{flaw:?}");
        }
    }
}
