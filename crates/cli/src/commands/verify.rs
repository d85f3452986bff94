//! `verify`: whether the server really works, from inside and outside.

use std::{path::Path, time::Instant};

use matrix_podman_core::{
    check::{self, Check, Group, GroupChecks, Scope, Verdict},
    federation::{self, Named, Net, date, report},
    observed::{Gap, Observed},
    status::{Found as LastLook, Looked},
};
use matrix_podman_host::{failure::Failure, probe, world};
use serde::Serialize;

use super::status;
use crate::{
    args::{NetOptions, Verify, VerifyWhat},
    error::{DONE, Error, FAILED},
    output::{BOLD, DIM, GREEN, Printable, RED, Reporter, Wording, YELLOW, duration, one_line, styled},
};

/// What `verify --json` prints.
#[derive(Serialize)]
struct Verification<'a> {
    server_name: &'a str,
    ok: bool,
    millis: u64,
    groups: &'a [GroupChecks],
}

pub fn run(config: Option<&Path>, args: &Verify, out: &Reporter) -> Result<u8, Error> {
    if let Some(VerifyWhat::Federation { server, net, .. }) = &args.what {
        return federation(config, server.as_ref(), &self::net(net)?, out);
    }
    let groups = match args.only.as_slice() {
        [] => Group::ALL.to_vec(),
        only => only.iter().map(|name| Group::from(*name)).collect(),
    };
    let scope = Scope { groups, slow: args.slow, net: net(&args.net)? };
    let (world, _) = super::world(config, out)?;
    if args.slow {
        out.narrate("This takes a minute or two: a sync has to wait for one, and large files are sent.");
    }
    let started = Instant::now();
    let groups = world.look(&mut Observed::default(), |seen| check::verify(world.site(), &scope, seen))?;
    let millis = u64::try_from(started.elapsed().as_millis()).unwrap_or(u64::MAX);
    let ok = groups.iter().flat_map(|group| &group.checks).all(Check::holds);
    if args.only.is_empty() {
        let checks = groups.iter().flat_map(|group| &group.checks);
        status::remember(&world, Looked::Verify, &LastLook::by_verify(checks, status::now()), out);
    }
    let server_name = world.site().config.server_name.as_str();
    out.report(&Verification { server_name, ok, millis, groups: &groups })?;
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

impl Printable for Verification<'_> {
    fn words(&self) -> Wording {
        let mut words = Wording::of(styled(BOLD, self.server_name));
        for group in self.groups {
            words.data(styled(BOLD, group.group.name()));
            for check in &group.checks {
                check_words(check, &mut words);
            }
        }
        let all = || self.groups.iter().flat_map(|group| &group.checks);
        let count = |wanted: fn(&Verdict) -> bool| all().filter(|check| wanted(&check.verdict)).count();
        let failed = count(|v| matches!(v, Verdict::Fail { .. }));
        let unknown = count(|v| matches!(v, Verdict::Unknown { .. }));
        let well = count(|v| matches!(v, Verdict::Pass { .. } | Verdict::Weaker { .. }));
        let left_out = count(|v| matches!(v, Verdict::LeftOut { .. }));
        let mut counts = vec![format!("{well} well")];
        for (count, word) in [(failed, "failed"), (unknown, "could not run"), (left_out, "left out")] {
            if count > 0 {
                counts.push(format!("{count} {word}"));
            }
        }
        words.data(format!("{} ({})", counts.join(", "), duration(self.millis)));
        words
    }
}

/// One line for each check, and what to type below those that failed.
fn check_words(check: &Check, words: &mut Wording) {
    let name = check.id.split_once('/').map_or(check.id, |(_, name)| name);
    let mut line = |style, sign: &str, text: &str| {
        words.data(format!("  {} {name:<18} {}", styled(style, sign), one_line(text)));
    };
    match &check.verdict {
        Verdict::Pass { evidence } => line(GREEN, "✓", evidence),
        Verdict::Weaker { missing, consequence } => {
            line(YELLOW, "!", missing);
            words.data(format!("      {}", styled(DIM, &one_line(consequence))));
        }
        Verdict::Fail { why, hint } => {
            line(RED, "✗", why);
            words.data(format!("      {} {}", styled(BOLD, "next:"), one_line(hint)));
        }
        Verdict::Unknown { why } => line(YELLOW, "?", &format!("could not run: {why}")),
        Verdict::LeftOut { why } => line(DIM, "-", &format!("left out: {why}")),
    }
}

fn federation(config: Option<&Path>, server: Option<&Named>, net: &Net, out: &Reporter) -> Result<u8, Error> {
    let named = match server {
        Some(named) => named.clone(),
        None => {
            let (world, _) = super::world(config, out)?;
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
    let ok = report.ok;
    out.report(&SeenByOthers(report))?;
    Ok(if ok { DONE } else { FAILED })
}

/// A server, as others see it.
#[derive(Serialize)]
#[serde(transparent)]
struct SeenByOthers(federation::Report);

impl Printable for SeenByOthers {
    fn words(&self) -> Wording {
        report_words(&self.0)
    }
}

fn report_words(report: &federation::Report) -> Wording {
    let mut words = Wording::of(styled(BOLD, &report.server_name));
    for step in &report.discovery.steps {
        words.data(format!("  {}", styled(DIM, &one_line(step))));
    }
    for address in &report.addresses {
        let (style, sign) = if address.ok { (GREEN, "✓") } else { (RED, "✗") };
        words.data(format!("  {} {}", styled(style, sign), address.place.address));
        let mut line = |name: &str, text: &str| words.data(format!("      {name:<12} {}", one_line(text)));
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
        words.data(format!("  {} {}", styled(RED, "✗"), one_line(&problem.what)));
        words.data(format!("      {} {}", styled(BOLD, "next:"), one_line(&problem.hint)));
    }
    words.data(if report.ok {
        format!("{} other servers reach {}", styled(GREEN, "✓"), report.server_name)
    } else {
        format!("{} not every other server reaches {}", styled(RED, "✗"), report.server_name)
    });
    words
}
