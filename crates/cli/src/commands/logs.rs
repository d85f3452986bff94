//! `logs`: what the services say.

use std::path::Path;

use matrix_podman_core::{layout, service::Service};

use crate::{
    args,
    error::Error,
    output::{Reporter, passing},
};

pub fn run(config: Option<&Path>, args: &args::Logs, out: &Reporter) -> Result<u8, Error> {
    let mut argv: Vec<String> = ["journalctl", "--no-pager", "--quiet"].map(str::to_owned).to_vec();
    argv.push(format!("--lines={}", args.lines));
    argv.push(format!("--output={}", if out.is_for_person() { "short-iso" } else { "json" }));
    if args.follow {
        argv.push("--follow".to_owned());
    }
    if let Some(since) = &args.since {
        argv.push(format!("--since={}", moment(since)?));
    }
    match args.service {
        Some(service) => argv.push(format!("--unit={}", service.unit())),
        None => {
            argv.extend(Service::ALL.into_iter().map(|service| format!("--unit={}", service.unit())));
            argv.push(format!("--unit={}", layout::STACK_UNIT));
        }
    }
    let (world, _) = super::world(config, out)?;
    let mut shown = passing();
    let status = world.follow(argv, &mut |bytes| shown(bytes))?;
    Ok(u8::from(status != Some(0)))
}

/// A moment in journald's words, from one in ours: a span is one that is over.
fn moment(since: &str) -> Result<String, Error> {
    let digits = |text: &str| !text.is_empty() && text.chars().all(|c| c.is_ascii_digit());
    if since.strip_suffix(['s', 'm', 'h', 'd', 'w']).is_some_and(digits) {
        return Ok(format!("-{since}"));
    }
    let (date, time) = since.split_once([' ', 'T']).map_or((since, None), |(date, time)| (date, Some(time)));
    let parts = |text: &str, sign: char, lengths: &[usize]| {
        let parts: Vec<&str> = text.split(sign).collect();
        parts.len() <= lengths.len()
            && parts.iter().zip(lengths).all(|(part, length)| part.len() == *length && digits(part))
            && parts.len() >= 2
    };
    let is_date = parts(date, '-', &[4, 2, 2]) && date.len() == 10;
    if matches!(since, "today" | "yesterday" | "now")
        || (is_date && time.is_none_or(|time| parts(time, ':', &[2, 2, 2])))
        || (time.is_none() && parts(since, ':', &[2, 2, 2]))
    {
        return Ok(since.replace('T', " "));
    }
    Err(Error::usage(
        format!("--since {since} is no moment"),
        "write how long ago (10m, 2h, 3d), a day (2026-01-31), one with a time ('2026-01-31 17:05'), or yesterday",
    ))
}

#[cfg(test)]
mod tests {
    use super::moment;

    #[test]
    fn moments() {
        for (typed, told) in [
            ("10m", Some("-10m")),
            ("2w", Some("-2w")),
            ("2026-01-31", Some("2026-01-31")),
            ("2026-01-31T17:05", Some("2026-01-31 17:05")),
            ("17:05:30", Some("17:05:30")),
            ("yesterday", Some("yesterday")),
            ("nonsense", None),
            ("m", None),
            ("10", None),
            ("2026-1-31", None),
            ("--help", None),
            ("", None),
        ] {
            assert_eq!(moment(typed).ok().as_deref(), told, "{typed}");
        }
    }
}
