//! What at the edge will be in the way of people, and is not ours to change.

use crate::{
    check::Check,
    edge::{
        Question,
        cloudflare::{Bots, Setting, Zone},
    },
    observed::{Gap, Observed, Seen},
    resource::Site,
};

/// What a person should know of the edge before anything is changed.
pub fn edge_checks(site: &Site, seen: &Observed) -> Vec<Check> {
    let Some(cloudflare) = &site.config.edge.cloudflare else { return Vec::new() };
    let zones: Seen<Result<Vec<Zone>, _>> = seen.edge(Question::Zone(cloudflare.zone.to_string()));
    // What keeps us from asking is said by the plan itself.
    let Ok(Ok(zones)) = zones else { return Vec::new() };
    let Some(zone) = zones.into_iter().find(|zone| zone.name == cloudflare.zone.as_str()) else {
        return Vec::new();
    };
    let mut checks = vec![upload(site, &zone)];
    let setting = |id: &str| -> Seen<Option<String>> {
        let found =
            seen.edge::<Setting>(Question::Setting { zone: zone.id.clone(), setting: id.to_owned() })?;
        Ok(found.ok().and_then(|setting| setting.value.as_str().map(str::to_owned)))
    };
    let bots = seen.edge::<Bots>(Question::Bots { zone: zone.id.clone() });
    checks.push(match bots {
        Ok(Ok(bots)) if bots.fight_mode => Check::weaker(
            "bots",
            format!("Bot Fight Mode is on in the zone {}", zone.name),
            "other Matrix servers are taken for bots and stay out, and no rule can except them: turn it off at \
             Cloudflare under Security, Bots",
        ),
        Ok(Ok(bots)) if bots.sbfm_definitely_automated.as_deref().is_some_and(|action| action != "allow") => Check::weaker(
            "bots",
            format!("Super Bot Fight Mode stops what is automated in the zone {}", zone.name),
            "other Matrix servers are automated: allow it, or add a rule that skips it for the Matrix host",
        ),
        Ok(Ok(_)) => Check::pass("bots", "nothing keeps other servers out as bots"),
        Ok(Err(refusal)) => Check::unknown("bots", format!("{}: if Bot Fight Mode is on, other servers stay out", refusal.why)),
        Err(gap) => Check::unknown("bots", words(gap)),
    });
    checks.push(match setting("security_level") {
        Ok(Some(level)) if level == "under_attack" => Check::weaker(
            "security-level",
            format!("the zone {} is in Under Attack mode", zone.name),
            "Matrix clients and servers cannot pass its test page: choose another level at Cloudflare under Security, Settings",
        ),
        Ok(Some(level)) => Check::pass("security-level", format!("the security level is {level}")),
        Ok(None) => Check::unknown("security-level", "the token may not read the zone's settings (\"Zone / Zone Settings: Read\")"),
        Err(gap) => Check::unknown("security-level", words(gap)),
    });
    if !cloudflare.zone_settings.contains(&crate::config::ZoneSetting::Ssl) {
        checks.push(match setting("ssl") {
            Ok(Some(mode)) if matches!(mode.as_str(), "flexible" | "off") => Check::weaker(
                "ssl",
                format!("the zone's SSL mode is {mode}"),
                "names that do not come through the tunnel are carried unencrypted, and a proxy that forces HTTPS sends \
                 browsers round in circles: choose Full at Cloudflare, or name ssl in edge.cloudflare.zone_settings",
            ),
            Ok(Some(mode)) => Check::pass("ssl", format!("the zone's SSL mode is {mode}")),
            Ok(None) => Check::unknown("ssl", "the token may not read the zone's settings"),
            Err(gap) => Check::unknown("ssl", words(gap)),
        });
    }
    checks
}

fn upload(site: &Site, zone: &Zone) -> Check {
    let (limit, wanted) = (zone.plan.body_limit(), site.config.synapse.max_upload_size);
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
