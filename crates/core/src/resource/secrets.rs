//! Secrets: made in the guest, where they stay.

use super::{Diff, Resource, ResourceId, Site, guest_ready, image};
use crate::{
    effect::Effect,
    fact::Side,
    ids,
    layout::{self, Secret},
    name::{AbsPath, Mode, Owner},
    observed::{Observed, Seen},
    stack::{self, RoomSecret, SecretOrigin},
};

pub(super) fn all(site: &Site) -> Vec<Box<dyn Resource>> {
    vec![Box::new(Secrets { site: site.clone() })]
}

struct Secrets {
    site: Site,
}

impl Resource for Secrets {
    fn id(&self) -> ResourceId {
        ids::SECRETS
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
        for RoomSecret { secret, origin } in stack::made_secrets() {
            let secret = *secret;
            if made_before
                && let SecretOrigin::MadeOnce { loss } = origin
                && seen.meta(Side::Guest, &layout::secret(secret))?.is_none()
            {
                return Ok(Diff::Blocked {
                    why: format!("{} is gone, and {}", layout::secret(secret), loss),
                    hint: "put it back from a backup of the guest; a new one is never made over a server that exists"
                        .to_owned(),
                });
            }
            if !self.is_right(secret, seen)? {
                missing.push(secret.file_name());
                effects.push(Effect::MakeSecret { secret });
            }
        }
        for (secret, from) in self.given() {
            let given = seen.meta(Side::Machine, from)?;
            let taken = seen.meta(Side::Guest, &layout::secret(secret))?;
            let other = given.is_some_and(|g| taken.is_some_and(|t| t.digest != g.digest));
            if !self.is_right(secret, seen)? || other {
                missing.push(secret.file_name());
                effects.push(Effect::TakeSecret { secret, from: from.clone() });
                // It reads its secrets only when it starts.
                if let Some(service) = stack::reader(secret)
                    && seen.container(service.name())?.is_some_and(|c| c.state == "running")
                {
                    effects.push(Effect::StartService {
                        service,
                        restart: true,
                        timeout: super::service::start_timeout(service),
                    });
                }
            }
        }
        let webhook = layout::secret(Secret::Webhook);
        if self.site.config.notify.webhook_file.is_none() && seen.meta(Side::Guest, &webhook)?.is_some() {
            let effect = Effect::RemoveFile { side: Side::Guest, path: webhook };
            if missing.is_empty() {
                return Ok(Diff::quiet(
                    "Remove the webhook's address from the guest",
                    "the config names none any more",
                    vec![effect],
                ));
            }
            effects.push(effect);
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

impl Secrets {
    /// Those that the operator gives, with their files on the machine.
    fn given(&self) -> Vec<(Secret, &AbsPath)> {
        let config = &self.site.config;
        let webhook = config.notify.webhook_file.as_deref().map(|file| (Secret::Webhook, file));
        stack::given_secrets(config).into_iter().chain(webhook).collect()
    }

    fn is_right(&self, secret: Secret, seen: &Observed) -> Seen<bool> {
        let state = seen.meta(Side::Guest, &layout::secret(secret))?;
        Ok(state.is_some_and(|s| s.mode == Mode(0o400) && s.owner == stack::secret_owner(secret)))
    }
}
