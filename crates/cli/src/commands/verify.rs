//! `verify`: whether the server really works, from inside and outside.

use std::{path::Path, time::Instant};

use matrix_podman_core::{
    check::{self, Check, Group, GroupChecks, Scope, Verdict},
    federation::{Named, Net, Report, date, report},
    observed::{Gap, Observed},
    status::{Found, Looked},
};
use matrix_podman_host::{failure::Failure, probe, world};
use serde::Serialize;

use super::status;
use crate::{
    args::{NetOptions, Verify, VerifyWhat},
    error::{DONE, Error, FAILED},
    output::{self, BOLD, DIM, GREEN, RED, YELLOW, duration, one_line, styled},
};

/// What `verify --json` prints.
#[derive(Serialize)]
struct Verified<'a> {
    server_name: &'a str,
    ok: bool,
    millis: u64,
    groups: &'a [GroupChecks],
}

pub fn run(config: Option<&Path>, args: &Verify) -> Result<u8, Error> {
    if let Some(VerifyWhat::Federation { server, net, output }) = &args.what {
        return federation(config, server.as_ref(), &self::net(net)?, output.json);
    }
    let groups = match args.only.as_slice() {
        [] => Group::ALL.to_vec(),
        only => only.iter().map(|name| Group::from(*name)).collect(),
    };
    let scope = Scope { groups, slow: args.slow, net: net(&args.net)? };
    let (world, _) = super::world_in_words(config)?;
    if args.slow && !args.output.json {
        output::say("This takes a minute or two: a sync has to wait for one, and large files are sent.");
    }
    let started = Instant::now();
    let groups = world.look(&mut Observed::default(), |seen| check::verify(world.site(), &scope, seen))?;
    let millis = u64::try_from(started.elapsed().as_millis()).unwrap_or(u64::MAX);
    let ok = groups.iter().flat_map(|group| &group.checks).all(Check::holds);
    if args.only.is_empty() {
        let checks = groups.iter().flat_map(|group| &group.checks);
        status::remember(&world, Looked::Verify, &Found::by_verify(checks, status::now()));
    }
    let server_name = world.site().config.server_name.as_str();
    if args.output.json {
        print_json(&Verified { server_name, ok, millis, groups: &groups })?;
    } else {
        print(server_name, &groups, millis);
    }
    Ok(if ok { DONE } else { FAILED })
}

/// What the operator says of the network.
pub(super) fn net(options: &NetOptions) -> Result<Net, Error> {
    let ca = match &options.ca_file {
        None => None,
        Some(file) => {
            let hint = "name a file of certificates in PEM form: -----BEGIN CERTIFICATE-----";
            let wrong = |why: String| Error::usage(format!("--ca-file {}: {why}", file.display()), hint);
            let pem = std::fs::read_to_string(file).map_err(|e| wrong(e.to_string()))?;
            probe::certificates_in(&pem).map_err(wrong)?;
            Some(pem)
        }
    };
    Ok(Net { resolve: options.resolve.clone(), ca })
}

fn print_json(value: &impl Serialize) -> Result<(), Error> {
    let text = serde_json::to_string(value).map_err(|e| Failure::new("print the result", e))?;
    output::data(&text);
    Ok(())
}

fn print(server_name: &str, groups: &[GroupChecks], millis: u64) {
    output::data(&styled(BOLD, server_name));
    for group in groups {
        output::data(&styled(BOLD, group.group.name()));
        for check in &group.checks {
            print_check(check);
        }
    }
    let all = || groups.iter().flat_map(|group| &group.checks);
    let count = |wanted: fn(&Verdict) -> bool| all().filter(|check| wanted(&check.verdict)).count();
    let failed = count(|v| matches!(v, Verdict::Fail { .. }));
    let unknown = count(|v| matches!(v, Verdict::Unknown { .. }));
    let well = count(|v| matches!(v, Verdict::Pass { .. } | Verdict::Weaker { .. }));
    let left_out = count(|v| matches!(v, Verdict::LeftOut { .. }));
    let mut words = vec![format!("{well} well")];
    for (count, word) in [(failed, "failed"), (unknown, "could not run"), (left_out, "left out")] {
        if count > 0 {
            words.push(format!("{count} {word}"));
        }
    }
    output::data(&format!("{} ({})", words.join(", "), duration(millis)));
}

/// One line for each check, and what to type below those that failed.
fn print_check(check: &Check) {
    let name = check.id.split_once('/').map_or(check.id, |(_, name)| name);
    let line = |style, sign: &str, text: &str| {
        output::data(&format!("  {} {name:<18} {}", styled(style, sign), one_line(text)));
    };
    match &check.verdict {
        Verdict::Pass { evidence } => line(GREEN, "✓", evidence),
        Verdict::Weaker { missing, consequence } => {
            line(YELLOW, "!", missing);
            output::data(&format!("      {}", styled(DIM, &one_line(consequence))));
        }
        Verdict::Fail { why, hint } => {
            line(RED, "✗", why);
            output::data(&format!("      {} {}", styled(BOLD, "next:"), one_line(hint)));
        }
        Verdict::Unknown { why } => line(YELLOW, "?", &format!("could not run: {why}")),
        Verdict::LeftOut { why } => line(DIM, "-", &format!("left out: {why}")),
    }
}

fn federation(config: Option<&Path>, server: Option<&Named>, net: &Net, json: bool) -> Result<u8, Error> {
    let named = match server {
        Some(named) => named.clone(),
        None => {
            let (world, _) = super::world_in_words(config)?;
            let name = world.site().config.server_name.to_string();
            name.parse().map_err(|why| Failure::new(format!("look for {name}"), why))?
        }
    };
    let report = world::look_from_here(&mut Observed::default(), |seen| report(net, &named, seen))?;
    let report = report.map_err(|gap| {
        let why = match gap {
            Gap::NotAsked => "not everything was asked; this is a mistake in matrix-podman".to_owned(),
            Gap::Unknown(why) => why,
        };
        Failure::new(format!("look for {named}"), why)
    })?;
    if json {
        print_json(&report)?;
    } else {
        print_report(&report);
    }
    Ok(if report.ok { DONE } else { FAILED })
}

fn print_report(report: &Report) {
    output::data(&styled(BOLD, &report.server_name));
    for step in &report.discovery.steps {
        output::data(&format!("  {}", styled(DIM, &one_line(step))));
    }
    for address in &report.addresses {
        let (style, sign) = if address.ok { (GREEN, "✓") } else { (RED, "✗") };
        output::data(&format!("  {} {}", styled(style, sign), address.place.address));
        let line = |name: &str, text: &str| output::data(&format!("      {name:<12} {}", one_line(text)));
        if let Some(tls) = &address.tls {
            let certificate = tls.certificate.as_ref();
            let until = certificate.map(|c| format!(", until {}", date(c.not_after))).unwrap_or_default();
            let issuer = certificate.map(|c| format!(" by {}", c.issuer)).unwrap_or_default();
            line(
                "certificate",
                &match tls.distrust {
                    None => format!("for {}{issuer}{until}; {}", address.place.certificate_for, tls.version),
                    Some(_) => format!("not accepted{issuer}{until}; {}", tls.version),
                },
            );
        }
        if let Some(keys) = &address.keys {
            for key in &keys.keys {
                line("key", &format!("{} {}", key.id, if key.signed { "signed" } else { "not signed" }));
            }
        }
        if let Some(version) = &address.version {
            line("runs", &format!("{} {}", version.name, version.version));
        }
        for problem in &address.problems {
            line(&styled(RED, "wrong       "), &problem.what);
            line(&styled(BOLD, "next        "), &problem.hint);
        }
    }
    for problem in &report.problems {
        output::data(&format!("  {} {}", styled(RED, "✗"), one_line(&problem.what)));
        output::data(&format!("      {} {}", styled(BOLD, "next:"), one_line(&problem.hint)));
    }
    output::data(&if report.ok {
        format!("{} other servers reach {}", styled(GREEN, "✓"), report.server_name)
    } else {
        format!("{} not every other server reaches {}", styled(RED, "✗"), report.server_name)
    });
}
