//! Whether NPM's nginx really serves a host.

use std::{
    net::{IpAddr, ToSocketAddrs as _},
    thread,
    time::{Duration, Instant},
};

use matrix_podman_core::{
    edge::npm::Outside,
    resource::{View, outside_question, outside_view},
};

use crate::probe::web;

/// Old workers of nginx answer for a moment still, and a large config takes its
/// time to be read.
const RELOADING: Duration = Duration::from_secs(20);
const PAUSE: Duration = Duration::from_millis(300);

/// Looks until the name is served, for as long as a reload takes. Where nothing
/// can be seen from this machine, nothing is said.
pub(super) fn serves(outside: &Outside, name: &str, named: bool) -> Result<(), String> {
    let Some(address) = address(outside) else { return Ok(()) };
    let question = outside_question(outside, name, address);
    let begun = Instant::now();
    loop {
        let why = match web::ask_as(&question, None).map(|answer| outside_view(&answer, name, named)) {
            Ok(View::Refuses(why)) => why,
            Ok(View::Serves | View::Dark) | Err(_) => return Ok(()),
        };
        if begun.elapsed() > RELOADING {
            return Err(why);
        }
        thread::sleep(PAUSE);
    }
}

fn address(outside: &Outside) -> Option<IpAddr> {
    (outside.host.as_str(), outside.port).to_socket_addrs().ok()?.next().map(|found| found.ip())
}
