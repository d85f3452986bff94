//! `backup drill`: whether a snapshot brings the server back.

use matrix_podman_core::{
    aside::{self, Aside},
    backup::place,
    config::Config,
    layout,
    lock::Lock,
    observed::Observed,
    resource,
};
use matrix_podman_host::{
    backup::{self, Repository},
    failure::Failure,
};

use super::{SiteBackups, watched, words};
use crate::{
    commands::up,
    error::{DONE, Error, FAILED},
    site,
};

impl SiteBackups {
    /// Brings a snapshot back beside the server, and says what came of it.
    pub fn drill(&self, repository: &Repository, wanted: &str) -> Result<u8, Error> {
        let opened = repository.snapshot(wanted)?;
        let config = Config::parse_with(
            &opened.guests_config()?,
            "the snapshot's matrix.toml",
            &[],
            &site::defaults()?,
        )?;
        let doing = "prepare a drill";
        let lock = Lock::parse(&opened.text(&format!("{}/matrix.lock", place::FILES))?)
            .map_err(|why| Failure::unread(doing, &why))?;
        let facts = self
            .world
            .look(&mut Observed::default(), |seen| resource::render_facts(self.world.site(), seen))?
            .map_err(|_| {
                Failure::new(doing, "the guest does not say what it is").hint("matrix-podman status")
            })?;
        let drill = aside::containers(Aside::Drill, &config, &lock, &facts)
            .map_err(|why| Failure::new(doing, why))?;
        let what = format!("Drill with snapshot {}", opened.described().id);
        let proof = up::at_work(&self.world, &self.found, "backup drill", &self.out, |journal, _| {
            let proof = watched("drill", &what, &self.out, |sink| {
                backup::drill::hold(&self.world, repository, &opened, &drill, sink)
            })?;
            journal.end(true)?;
            Ok(proof)
        });
        self.tell_guest();
        let proof = proof?;
        let code = if proof.is_good() { DONE } else { FAILED };
        let proof_file = layout::backup_drill(self.site(), repository.name());
        self.out.report(&words::DrillHeld { event: "backup-drill", proof, proof_file })?;
        Ok(code)
    }
}
