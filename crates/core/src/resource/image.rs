//! Images: from where each service's comes, and that the guest has it.

use sha2::{Digest as _, Sha256};

use super::{Diff, Resource, ResourceId, Site};
use crate::{
    config::{ImageChoice, SourceChoice},
    effect::{Effect, ImageSource, TwoSided},
    fact::{Edition, Fact, ImageState, Side},
    ids, layout,
    lock::{Lock, LockedImage},
    name::{AbsPath, Digest, ImageRef},
    observed::{Gap, Observed, Seen},
    service::ServiceId,
    stack,
};

pub(super) fn all(site: &Site) -> Vec<Box<dyn Resource>> {
    stack::by_image(&site.config)
        .into_iter()
        .map(|service| Box::new(Image { site: site.clone(), service }) as Box<dyn Resource>)
        .collect()
}

/// The id of the resource that sees to the image of `service`.
pub(super) fn id(service: ServiceId) -> ResourceId {
    ids::image(service)
}

/// What the config says of the image of `service`.
pub fn image_choice(site: &Site, service: ServiceId) -> &ImageChoice {
    &site.config.images[service]
}

/// What is asked for, in the words of the lock.
pub fn wanted(service: ServiceId, source: &ImageSource) -> String {
    match source {
        ImageSource::Registry(reference) => format!("registry {reference}"),
        ImageSource::Archive { path, edition: None } => format!("archive {path}"),
        ImageSource::Archive { path, edition: Some(edition) } => {
            format!("archive {path} of {} bytes written at {}", edition.size, edition.written)
        }
        ImageSource::Build { version } => {
            format!("build {service} {}", version.as_deref().unwrap_or("newest"))
        }
    }
}

/// The edition that the words of [`wanted`] speak of, when they are about `archive`.
fn edition_in(wanted: &str, archive: &AbsPath) -> Option<Edition> {
    let rest = wanted.strip_prefix(&format!("archive {archive} of "))?;
    let (size, written) = rest.split_once(" bytes written at ")?;
    Some(Edition { size: size.parse().ok()?, written: written.parse().ok()? })
}

/// The local name of an image that was obtained as `wanted`.
pub fn image_tag(service: ServiceId, wanted: &str) -> String {
    let digest = Digest::of_sha256(&Sha256::digest(wanted.as_bytes()));
    format!("localhost/matrix-podman/{service}:{}", &digest.hex()[..12])
}

/// From where the image of `service` comes. A choice once made stays: what the
/// lock names is not looked for elsewhere because a registry is away today.
pub fn decide_source(site: &Site, service: ServiceId, seen: &Observed) -> Seen<ImageSource> {
    decide(site, service, &|| read_lock(seen), seen)
}

fn decide(
    site: &Site,
    service: ServiceId,
    lock: &dyn Fn() -> Seen<Option<Lock>>,
    seen: &Observed,
) -> Seen<ImageSource> {
    let choice = image_choice(site, service);
    if let Some(archive) = &choice.archive {
        // What is in the guest stays when its archive is taken away.
        let edition = match seen.edition(Side::Machine, archive)? {
            Some(edition) => Some(edition),
            None => lock()?.and_then(|lock| edition_in(&lock.images.get(&service)?.wanted, archive)),
        };
        return Ok(ImageSource::Archive { path: archive.clone(), edition });
    }
    let registry = || ImageSource::Registry(choice.reference.clone());
    let build = || ImageSource::Build { version: choice.build_version.clone() };
    match site.config.images.source {
        SourceChoice::Registry => Ok(registry()),
        SourceChoice::Build => Ok(build()),
        SourceChoice::Auto => {
            let locked = lock()?.and_then(|lock| lock.images.get(&service).cloned());
            if let Some(locked) = locked {
                for source in [registry(), build()] {
                    if locked.wanted == wanted(service, &source) {
                        return Ok(source);
                    }
                }
            }
            // One registry decides for all, so that a site is of one kind.
            let decider = ImageRef::as_str(&choice.reference).split('/').next().unwrap_or_default();
            let reachable = seen.yes(Side::Machine, Fact::Reachable(with_port(decider)))?;
            Ok(if reachable { registry() } else { build() })
        }
    }
}

fn with_port(registry: &str) -> String {
    match registry {
        // The hub's API has a host of its own.
        "docker.io" => "registry-1.docker.io:443".to_owned(),
        other if other.contains(':') => other.to_owned(),
        other => format!("{other}:443"),
    }
}

/// The lock in the guest, when there is one.
pub fn read_lock(seen: &Observed) -> Seen<Option<Lock>> {
    let Some(file) = seen.file(Side::Guest, &layout::lock_file())? else { return Ok(None) };
    let text = file.content.as_deref().unwrap_or_default();
    Lock::parse(text)
        .map(Some)
        .map_err(|why| Gap::Unknown(format!("{} cannot be read: {why}", layout::lock_file())))
}

/// All names under which an image of the stack may be known in the guest.
fn names(site: &Site, seen: &Observed) -> Seen<Vec<(ServiceId, String, Option<LockedImage>)>> {
    let lock = read_lock(seen)?;
    let mut names = Vec::new();
    for service in stack::services(&site.config) {
        let wanted = wanted(service, &decide(site, service, &|| Ok(lock.clone()), seen)?);
        let locked =
            lock.as_ref().and_then(|l| l.images.get(&service)).filter(|l| l.wanted == wanted).cloned();
        names.push((service, image_tag(service, &wanted), locked));
    }
    Ok(names)
}

/// The image that `service` runs, once the guest has it: the lock's, or the one
/// that was obtained since.
pub(super) fn resolved(site: &Site, service: ServiceId, seen: &Observed) -> Seen<Option<LockedImage>> {
    if let Some(tried) = site.trial.get(&service) {
        return Ok(Some(tried.clone()));
    }
    let names = names(site, seen)?;
    let all = || {
        names
            .iter()
            .flat_map(|(_, tag, locked)| [Some(tag.as_str()), locked.as_ref().map(|l| l.id.hex())])
            .flatten()
    };
    let Some((_, tag, locked)) = names.iter().find(|(s, ..)| *s == service) else { return Ok(None) };
    if let Some(locked) = locked
        && seen.image(locked.id.hex(), all())?.is_some()
    {
        return Ok(Some(locked.clone()));
    }
    let Some(image) = seen.image(tag, all())? else { return Ok(None) };
    let source = decide_source(site, service, seen)?;
    Ok(Some(LockedImage {
        wanted: wanted(service, &source),
        run: run_name(&source, image),
        digest: image.digest.clone(),
        id: image.id.clone(),
        version: image.version.clone(),
    }))
}

/// What Podman is told to run: the registry's name with the digest where there
/// is one, so that people can read it; else the image's id.
pub fn run_name(source: &ImageSource, image: &ImageState) -> String {
    if let ImageSource::Registry(reference) = source {
        let repository = reference.repository();
        let known = image.repo_digests.iter().find(|d| d.split('@').next() == Some(repository.as_str()));
        if let Some(known) = known {
            return known.clone();
        }
    }
    image.id.hex().to_owned()
}

struct Image {
    site: Site,
    service: ServiceId,
}

impl Resource for Image {
    fn id(&self) -> ResourceId {
        id(self.service)
    }

    fn needs(&self) -> Vec<ResourceId> {
        // Podman's own settings must stand before it writes its first layer, and it
        // takes layers that are there for whole ones.
        vec![ids::GUEST_PACKAGES, ids::GUEST_PODMAN, super::storage::id()]
    }

    fn diff(&self, seen: &Observed) -> Seen<Diff> {
        if let Some(image) = resolved(&self.site, self.service, seen)? {
            return Ok(Diff::settled(format!("{} {} is in the guest", self.service, image.version)));
        }
        let source = decide_source(&self.site, self.service, seen)?;
        let wanted = wanted(self.service, &source);
        let tag = image_tag(self.service, &wanted);
        let title = self.service.title();
        let (what, why) = match &source {
            ImageSource::Registry(reference) => {
                (format!("Pull {reference}"), format!("{title} runs from it, by digest"))
            }
            ImageSource::Archive { path, .. } => (format!("Load {path}"), format!("{title} runs from it")),
            ImageSource::Build { .. } => (
                match stack::room(self.service).image().recipe {
                    Some(recipe) => {
                        format!("Build the image {} from {} packages", self.service, recipe.origins)
                    }
                    None => format!("Build the image {}", self.service),
                },
                match self.site.config.images.source {
                    SourceChoice::Auto => format!("{title} runs from it, and its registry cannot be reached"),
                    _ => format!("{title} runs from it, and the config says so"),
                },
            ),
        };
        // What the lock names is pulled again by its digest, not by its tag.
        let locked = read_lock(seen)?.and_then(|l| l.images.get(&self.service).cloned());
        let from = match (&source, locked) {
            (ImageSource::Registry(reference), Some(locked)) if locked.wanted == wanted => {
                let pinned = format!("{}@{}", reference.repository(), locked.digest);
                ImageRef::parse(&pinned).map(ImageSource::Registry).unwrap_or(source)
            }
            _ => source,
        };
        Ok(Diff::quiet(
            what,
            why,
            vec![Effect::Both(TwoSided::ObtainImage { service: self.service, from, tag })],
        ))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_edition_reads_back_from_the_words() {
        let path = AbsPath::parse("/srv/a.tar").unwrap();
        let edition = Some(Edition { size: 12, written: 34 });
        let source = ImageSource::Archive { path: path.clone(), edition };
        let words = wanted(stack::redis::ID, &source);
        assert_eq!(edition_in(&words, &path), edition);
        assert_eq!(edition_in(&words, &AbsPath::parse("/srv/a").unwrap()), None);
    }

    #[test]
    fn repositories() {
        for (reference, name) in [
            ("docker.io/library/redis:8-alpine", "docker.io/library/redis"),
            ("localhost:5000/a/b:1", "localhost:5000/a/b"),
            (
                "ghcr.io/x/y@sha256:0000000000000000000000000000000000000000000000000000000000000000",
                "ghcr.io/x/y",
            ),
        ] {
            assert_eq!(ImageRef::parse(reference).unwrap().repository(), name);
        }
    }
}
