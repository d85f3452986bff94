//! Secrets: made in the guest, where they stay.

use super::{Diff, Resource, ResourceId, Site, guest_ready, image};
use crate::{
    effect::Effect,
    fact::Side,
    layout::{self, Secret},
    name::{AbsPath, Mode, Owner},
    observed::{Observed, Seen},
    service::Service,
};

pub(super) fn all(site: &Site) -> Vec<Box<dyn Resource>> {
    vec![Box::new(Secrets { site: site.clone() })]
}

struct Secrets {
    site: Site,
}

impl Resource for Secrets {
    fn id(&self) -> ResourceId {
        ResourceId::new("secrets")
    }

    fn needs(&self) -> Vec<ResourceId> {
        guest_ready()
    }

    fn diff(&self, seen: &Observed) -> Seen<Diff> {
        // Root alone may list the folder; containers get single files.
        let mut effects = vec![Effect::MakeDir {
            side: Side::Guest,
            path: AbsPath::known(layout::SECRETS),
            mode: Mode(0o700),
            owner: Owner::ROOT,
        }];
        let mut missing = Vec::new();
        let made_before = image::read_lock(seen)?.is_some();
        for secret in Secret::MADE {
            if made_before
                && irreplaceable(secret)
                && seen.meta(Side::Guest, &layout::secret(secret))?.is_none()
            {
                return Ok(Diff::Blocked {
                    why: format!("{} is gone, and {}", layout::secret(secret), loss(secret)),
                    hint: "put it back from a backup of the guest; a new one is never made over a server that exists"
                        .to_owned(),
                });
            }
            if !self.is_right(secret, seen)? {
                missing.push(secret.file_name());
                effects.push(Effect::MakeSecret { secret });
            }
        }
        if let Some(turn) = &self.site.config.turn {
            let given = seen.meta(Side::Machine, &turn.secret_file)?;
            let taken = seen.meta(Side::Guest, &layout::secret(Secret::Turn))?;
            let other = given.is_some_and(|g| taken.is_some_and(|t| t.digest != g.digest));
            if !self.is_right(Secret::Turn, seen)? || other {
                missing.push(Secret::Turn.file_name());
                effects.push(Effect::TakeTurnSecret { from: turn.secret_file.clone() });
                // It reads its secrets only when it starts.
                if seen.container(Service::Synapse.name())?.is_some_and(|c| c.state == "running") {
                    effects.push(Effect::StartService {
                        service: Service::Synapse,
                        restart: true,
                        timeout: super::service::start_timeout(Service::Synapse),
                    });
                }
            }
        }
        if missing.is_empty() {
            return Ok(Diff::settled("all secrets are there, each readable by its service alone"));
        }
        Ok(Diff::quiet(
            format!("Make the secrets {}", missing.join(", ")),
            "they are made in the guest and never leave it",
            effects,
        ))
    }
}

/// Whether a new one would harm a server that exists.
fn irreplaceable(secret: Secret) -> bool {
    matches!(secret, Secret::Postgres | Secret::SigningKey)
}

fn loss(secret: Secret) -> &'static str {
    match secret {
        Secret::SigningKey => "without it other servers no longer believe that this is the same server",
        _ => "without it Synapse cannot open its database",
    }
}

impl Secrets {
    fn is_right(&self, secret: Secret, seen: &Observed) -> Seen<bool> {
        let state = seen.meta(Side::Guest, &layout::secret(secret))?;
        Ok(state.is_some_and(|s| s.mode == Mode(0o400) && s.owner == secret.reader().owner()))
    }
}
