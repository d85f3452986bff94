//! `logs`: what the services say.

use std::{io::Write as _, path::Path};

use matrix_podman_core::{layout, service::Service};

use crate::{args, error::Error};

pub fn run(config: Option<&Path>, args: &args::Logs) -> Result<u8, Error> {
    let (world, _) = super::world(config)?;
    let mut argv: Vec<String> = ["journalctl", "--no-pager", "--quiet"].map(str::to_owned).to_vec();
    argv.push(format!("--lines={}", args.lines));
    argv.push(format!("--output={}", if args.json { "json" } else { "short-iso" }));
    if args.follow {
        argv.push("--follow".to_owned());
    }
    if let Some(since) = &args.since {
        // journalctl takes spans only with a minus in front.
        let span =
            since.ends_with(['s', 'm', 'h', 'd', 'w']) && since.starts_with(|c: char| c.is_ascii_digit());
        argv.push(format!("--since={}{since}", if span { "-" } else { "" }));
    }
    match args.service {
        Some(service) => argv.push(format!("--unit={}", Service::from(service).unit())),
        None => {
            argv.extend(Service::ALL.into_iter().map(|service| format!("--unit={}", service.unit())));
            argv.push(format!("--unit={}", layout::STACK_UNIT));
        }
    }
    let mut out = std::io::stdout().lock();
    let status = world.follow(argv, &mut |bytes| {
        // Whoever closed the pipe has read enough.
        let _ = out.write_all(bytes).and_then(|()| out.flush());
    })?;
    Ok(u8::from(status != Some(0)))
}
