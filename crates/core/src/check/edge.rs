//! What at the edge will be in the way of people, and is not ours to change.

use super::Check;
use crate::{
    config::ZoneSetting,
    edge::{
        Question,
        cloudflare::{Bots, Setting, Zone, Zones, zone::choose},
    },
    name::idn,
    observed::{Gap, Observed, Seen},
    resource::Site,
};

/// What a person should know of the edge before anything is changed.
pub fn edge_checks(site: &Site, seen: &Observed) -> Vec<Check> {
    let Some(cloudflare) = &site.config.edge.cloudflare else { return Vec::new() };
    let zones: Seen<Result<Zones, _>> = seen.edge(Question::Zone(cloudflare.zone.clone()));
    // What keeps us from asking is said by the plan itself.
    let Ok(Ok(zones)) = zones else { return Vec::new() };
    let Ok(zone) = choose(zones.all(), &cloudflare.zone) else { return Vec::new() };
    let name = idn::both(&zone.ascii_name());
    let mut checks = vec![upload(site, &zone)];
    let setting = |id: &str| -> Seen<Option<String>> {
        let found =
            seen.edge::<Setting>(Question::Setting { zone: zone.id.clone(), setting: id.to_owned() })?;
        Ok(found.ok().and_then(|setting| setting.value.as_str().map(str::to_owned)))
    };
    if zone.kind.as_deref() == Some("partial") {
        checks.push(Check::weaker(
            "zone-type",
            format!("the zone {name} is a partial one: its names are looked up at another provider"),
            format!(
                "have each public name lead to itself with .cdn.cloudflare.net behind it there, as {0} to \
                 {0}.cdn.cloudflare.net",
                site.config.matrix_host()
            ),
        ));
    }
    checks.push(match seen.edge::<Bots>(Question::Bots { zone: zone.id.clone() }) {
        Ok(Ok(bots)) => bots_in_the_way(&bots, &name),
        Ok(Err(refusal)) => Check::unknown(
            "bots",
            format!("{}: if Bot Fight Mode is on, other servers stay out", refusal.why),
        ),
        Err(gap) => Check::unknown("bots", words(gap)),
    });
    checks.push(match setting("security_level") {
        Ok(Some(level)) if level == "under_attack" => Check::weaker(
            "security-level",
            format!("the zone {name} is in Under Attack mode"),
            "Matrix clients and servers cannot pass its test page: choose another level at Cloudflare under Security, Settings",
        ),
        Ok(Some(level)) => Check::pass("security-level", format!("the security level is {level}")),
        Ok(None) => Check::unknown("security-level", NO_SETTINGS),
        Err(gap) => Check::unknown("security-level", words(gap)),
    });
    for managed in ZoneSetting::ALL.into_iter().filter(|managed| !cloudflare.zone_settings.contains(managed))
    {
        let (id, why, set) = match managed {
            ZoneSetting::Ssl => (
                "ssl",
                "names that do not come through the tunnel are carried unencrypted, and a proxy that forces HTTPS sends \
                 browsers round in circles: choose Full at Cloudflare",
                "SSL mode",
            ),
            ZoneSetting::AlwaysUseHttps => (
                "always-use-https",
                "who types a name without https:// is carried unencrypted as far as Cloudflare: turn Always Use HTTPS on",
                "setting Always Use HTTPS",
            ),
            ZoneSetting::MinTlsVersion => (
                "min-tls-version",
                "old and broken encryption is taken: choose TLS 1.2 as the Minimum TLS Version",
                "minimum TLS version",
            ),
        };
        checks.push(match setting(managed.id()) {
            Ok(Some(now)) if managed.is_weak(&now) => Check::weaker(
                id,
                format!("the zone's {set} is {now}"),
                format!("{why}, or name {} in edge.cloudflare.zone_settings", managed.id()),
            ),
            Ok(Some(now)) => Check::pass(id, format!("the zone's {set} is {now}")),
            Ok(None) => Check::unknown(id, NO_SETTINGS),
            Err(gap) => Check::unknown(id, words(gap)),
        });
    }
    checks
}

const NO_SETTINGS: &str = "the token may not read the zone's settings (\"Zone / Zone Settings: Read\")";

/// What keeps other Matrix servers out, which are as automated as can be.
fn bots_in_the_way(bots: &Bots, zone: &str) -> Check {
    let stops = |action: &Option<String>| action.as_deref().is_some_and(|action| action != "allow");
    if bots.fight_mode {
        return Check::weaker(
            "bots",
            format!("Bot Fight Mode is on in the zone {zone}"),
            "other Matrix servers are taken for bots and stay out, and no rule can except them: turn it off at \
             Cloudflare under Security, Settings",
        );
    }
    if stops(&bots.sbfm_definitely_automated) || stops(&bots.sbfm_likely_automated) {
        return Check::weaker(
            "bots",
            format!("Super Bot Fight Mode stops what is automated, or likely to be, in the zone {zone}"),
            "other Matrix servers are automated: allow both at Cloudflare under Security, Settings, or add a rule that \
             skips it for the Matrix host",
        );
    }
    if bots.ai_bots_protection.as_deref() == Some("block") {
        return Check::weaker(
            "bots",
            format!("AI bots are blocked on all pages of the zone {zone}"),
            "what fetches previews of links, and bridges, may be taken for them: if something does not get through, \
             choose at Cloudflare under Security, Settings not to block them, or only on hostnames with ads",
        );
    }
    Check::pass("bots", "nothing keeps other servers out as bots")
}

fn upload(site: &Site, zone: &Zone) -> Check {
    let (limit, wanted) = (zone.plan.body_limit(), *site.config.synapse.max_upload_size);
    let plan = if zone.plan.legacy_id.is_empty() { "free" } else { &zone.plan.legacy_id };
    if wanted <= limit {
        return Check::pass("upload-size", format!("{wanted} pass Cloudflare's plan {plan}"));
    }
    Check::weaker(
        "upload-size",
        format!(
            "files of up to {wanted} may be sent, but Cloudflare's plan {plan} stops at {} MB",
            limit.0 / 1_000_000
        ),
        "larger ones fail without a good reason on people's screens: write synapse.max_upload_size = \"95M\"",
    )
}

fn words(gap: Gap) -> String {
    match gap {
        Gap::NotAsked => "it has not been looked at".to_owned(),
        Gap::Unknown(why) => why,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value as Json, json};

    use super::*;
    use crate::{
        check::Verdict,
        resource::edge::{
            tests::{found, site},
            tests_cloudflare::{PLAIN, but, looked, zone},
        },
    };

    #[test]
    fn what_people_should_know_of_the_zone_is_told() {
        let weak = |bots: Json, setting: &'static str, kind: &'static str| -> Vec<&'static str> {
            let answers = but(move |question| match question {
                Question::Zone(_) => Some(found(json!([zone(json!({"type": kind}))]))),
                Question::Bots { .. } => Some(found(bots.clone())),
                Question::Setting { .. } => Some(found(json!({"value": setting}))),
                _ => None,
            });
            let checks = looked(&site(PLAIN), None, &answers, edge_checks);
            let weaker = |check: &&Check| matches!(check.verdict, Verdict::Weaker { .. });
            checks.iter().filter(weaker).map(|check| check.id).filter(|id| *id != "upload-size").collect()
        };
        let none = json!({"fight_mode": false, "sbfm_definitely_automated": "allow", "ai_bots_protection": "disabled"});
        // One word stands for all settings here: each check knows what is bad for it.
        assert_eq!(weak(none.clone(), "full", "full"), [""; 0]);
        assert_eq!(weak(none.clone(), "off", "full"), ["ssl", "always-use-https"]);
        assert_eq!(weak(none.clone(), "1.1", "full"), ["min-tls-version"]);
        assert_eq!(weak(none, "on", "partial"), ["zone-type"]);
        for stops in [
            json!({"fight_mode": true}),
            json!({"sbfm_definitely_automated": "block"}),
            json!({"fight_mode": null, "sbfm_definitely_automated": "allow", "sbfm_likely_automated": "managed_challenge"}),
            json!({"ai_bots_protection": "block"}),
        ] {
            assert_eq!(weak(stops.clone(), "1.2", "full")[0], "bots", "{stops}");
        }
        assert_eq!(weak(json!({"ai_bots_protection": "only_on_ad_pages"}), "1.2", "full"), [""; 0]);
    }
}
