//! Secrets: made in the guest, where they stay.

use std::collections::BTreeSet;

use super::{Diff, Resource, ResourceId, Site, guest_ready, image, lower_first};
use crate::{
    desired::DesiredSecretFile,
    effect::{Effect, Local, TwoSided},
    fact::{Fact, FileState, Side},
    ids,
    layout::{self, Secret},
    name::{AbsPath, Mode, Owner},
    observed::{Observed, Seen},
    stack::{self, RoomSecret, SecretOrigin},
};

pub(super) fn all(site: &Site) -> Vec<Box<dyn Resource>> {
    let mut all: Vec<Box<dyn Resource>> = vec![Box::new(Secrets { site: site.clone() })];
    // A stack without such files has nothing to say about them.
    if !secret_files(site).is_empty() {
        all.push(Box::new(SecretFiles { site: site.clone() }));
    }
    all
}

/// The files with secrets in them that the services read.
fn secret_files(site: &Site) -> Vec<DesiredSecretFile> {
    stack::rooms(&site.config).flat_map(|room| room.secret_files(&site.config)).collect()
}

/// Files of services with secrets in them: put together in the guest.
struct SecretFiles {
    site: Site,
}

impl Resource for SecretFiles {
    fn id(&self) -> ResourceId {
        ids::SECRET_FILES
    }

    fn needs(&self) -> Vec<ResourceId> {
        vec![ids::SECRETS, ids::STACK_FILES]
    }

    fn diff(&self, seen: &Observed) -> Seen<Diff> {
        let files = secret_files(&self.site);
        // All questions are put before the first answer is looked at, so that they
        // travel together.
        let states: Vec<_> = files
            .iter()
            .map(|file| {
                let holds = Fact::SecretFile { path: file.path.clone(), template: file.template.clone() };
                (seen.yes(Side::Guest, holds), seen.meta(Side::Guest, &file.path))
            })
            .collect();
        let mut wrong = Vec::new();
        for (file, (holds, meta)) in files.into_iter().zip(states) {
            let (holds, meta) = (holds?, meta?);
            let closed =
                |state: &FileState| state.mode == DesiredSecretFile::MODE && state.owner == file.owner;
            if !holds || !meta.is_some_and(closed) {
                wrong.push(file);
            }
        }
        let Some(first) = wrong.first() else {
            return Ok(Diff::settled("files with secrets hold what they should, each for its service alone"));
        };
        let what = match wrong.len() {
            1 => format!("Write {}", first.path),
            many => format!("Write {many} files with secrets"),
        };
        let why = format!("it is not as it should be: {}", lower_first(first.why));
        let write = |file: DesiredSecretFile| {
            Effect::Here(Local::WriteSecretFile {
                path: file.path,
                template: file.template,
                owner: file.owner,
            })
        };
        Ok(Diff::quiet(what, why, wrong.into_iter().map(write).collect()))
    }
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
        let mut effects = vec![Effect::Here(Local::MakeDir {
            side: Side::Guest,
            path: AbsPath::known(layout::SECRETS),
            mode: Mode(0o700),
            owner: Owner::ROOT,
        })];
        let mut missing = Vec::new();
        let made_before = image::read_lock(seen)?.is_some();
        for RoomSecret { secret, origin, .. } in stack::made_secrets(&self.site.config) {
            let secret = *secret;
            if made_before
                && let SecretOrigin::MadeOnce { loss, .. } = origin
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
                effects.push(Effect::Here(Local::MakeSecret { secret }));
            }
        }
        let mut readers = BTreeSet::new();
        for (secret, from) in self.given() {
            let given = seen.target(Side::Machine, from)?;
            let taken = seen.meta(Side::Guest, &layout::secret(secret))?;
            let other = given.is_some_and(|g| taken.is_some_and(|t| t.digest != g.digest));
            if !self.is_right(secret, seen)? || other {
                missing.push(secret.file_name());
                effects.push(Effect::Both(TwoSided::TakeSecret { secret, from: from.clone() }));
                readers.extend(stack::reader(secret));
            }
        }
        // They read their secrets only when they start; a certificate is of use with its key.
        for service in readers {
            if seen.container(service.name())?.is_some_and(|c| c.state == "running") {
                effects.push(Effect::Here(Local::StartService {
                    service,
                    restart: true,
                    timeout: super::service::start_timeout(service),
                }));
            }
        }
        let webhook = layout::secret(Secret::WEBHOOK);
        if self.site.config.notify.webhook_file.is_none() && seen.meta(Side::Guest, &webhook)?.is_some() {
            let effect = Effect::Here(Local::RemoveFile { side: Side::Guest, path: webhook });
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
        let webhook = config.notify.webhook_file.as_deref().map(|file| (Secret::WEBHOOK, file));
        stack::given_secrets(config).into_iter().chain(webhook).collect()
    }

    fn is_right(&self, secret: Secret, seen: &Observed) -> Seen<bool> {
        let state = seen.meta(Side::Guest, &layout::secret(secret))?;
        Ok(state.is_some_and(|s| s.mode == Mode(0o400) && s.owner == stack::secret_owner(secret)))
    }
}
