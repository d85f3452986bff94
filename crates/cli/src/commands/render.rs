//! `render`: every file of the guest, to read or compare.

use std::path::{Path, PathBuf};

use matrix_podman_core::{
    layout,
    lock::{Lock, LockedImage},
    name::{Digest, Mode, Owner},
    observed::Observed,
    render,
    resource::{self, decide_source, wanted},
    stack,
};
use matrix_podman_host::{failure::Failure, file, world::World};
use serde::Serialize;
use sha2::{Digest as _, Sha256};

use crate::{
    args,
    error::Error,
    output::{Printable, Reporter, Wording},
    site,
};

/// The files that were written.
#[derive(Serialize)]
struct Rendered {
    files: Vec<PathBuf>,
    /// Whether the images in them are those that run; there is no lock yet otherwise.
    has_lock: bool,
}

pub fn run(config: Option<&Path>, args: &args::Render, out: &Reporter) -> Result<u8, Error> {
    let found = site::find(config, &args.settings, site::Flags::WhatIf)?;
    let site = &found.site;
    let world = World::new(site.clone());
    let mut seen = Observed::default();
    let (lock, facts) = world.look(&mut seen, |seen| {
        (resource::read_lock(seen).ok().flatten(), resource::render_facts(site, seen).ok())
    })?;
    let has_lock = lock.is_some();
    let lock = match lock {
        Some(lock) => lock,
        None => world.look(&mut seen, |seen| placeholder_lock(site, seen))?,
    };
    let facts = facts.unwrap_or(stack::Facts {
        guest_memory: *site.config.guest.memory,
        cores: site.config.guest.cores.get(),
        memory_limits: true,
        pids_limits: true,
        cpu_weights: true,
        ipv6: site.config.guest.ipv6,
    });
    let mut files =
        render::stack_files(&site.config, &lock, &facts).map_err(|e| Failure::new("render the stack", e))?;
    files.extend(render::system::files(&site.config, &facts));
    let me = Owner { uid: rustix::process::geteuid().as_raw(), gid: rustix::process::getegid().as_raw() };
    let mut written = Vec::new();
    for desired in &files {
        let path = args.folder.join(desired.path.as_str().trim_start_matches('/'));
        file::write(&path, desired.content.as_bytes(), Mode(0o644), me)?;
        written.push(path);
    }
    out.report(&Rendered { files: written, has_lock })?;
    super::OK
}

impl Printable for Rendered {
    fn words(&self) -> Wording {
        let mut words = Wording::default();
        for path in &self.files {
            words.data(path.display().to_string());
        }
        if !self.has_lock {
            words.say(format!(
                "note: there is no {} yet, so the image ids in these files are made up",
                layout::lock_file()
            ));
        }
        words
    }
}

/// A lock that names images as they would be called, with made-up digests.
fn placeholder_lock(site: &resource::Site, seen: &Observed) -> Lock {
    let mut lock = Lock::new(site.config.server_name.clone());
    for service in stack::services(&site.config) {
        let wanted =
            decide_source(site, service, seen).map_or_else(|_| service.to_string(), |s| wanted(service, &s));
        let digest = Digest::of_sha256(&Sha256::digest(wanted.as_bytes()));
        let version = if stack::Data::Cluster.is_kept_by(service) { "17" } else { "0" };
        lock.images.insert(
            service,
            LockedImage {
                run: digest.hex().to_owned(),
                id: digest.clone(),
                digest,
                wanted,
                version: version.to_owned(),
            },
        );
    }
    lock
}
