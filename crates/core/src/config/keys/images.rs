//! `[images]`, and a section below it for each service, which follows from the service's
//! row in the table of ids.

use std::sync::LazyLock;

use super::{AnyKey, Fallback, Fixed, Follows, Key, Section, Usual, Within};
use crate::{
    config::{
        Config, ImageChoice, SourceChoice,
        types::{BuildVersion, SigningKey},
    },
    name::{AbsPath, ImageRef},
    service::ServiceId,
};

super::keys! {
    SOURCE: Key<SourceChoice> = Key {
        path: "images.source",
        fallback: Fixed(|| SourceChoice::Auto),
        of: |c| Some(c.images.source),
        example: r#""registry""#,
        doc: "Where images come from that have no archive: registry downloads them, build makes them on the machine \
              from Debian, PyPI and npm packages, auto takes the registry where it can be reached.",
        init: true,
    };
}

/// The image that is taken when nobody names one.
pub(in crate::config) struct UsualImage(ServiceId);

impl Usual<ImageRef> for UsualImage {
    fn usual(&self) -> ImageRef {
        ImageRef::known(self.0.image().reference)
    }
}

impl Fallback<ImageRef> for UsualImage {
    fn value(&self) -> Option<ImageRef> {
        Some(self.usual())
    }
    fn words(&self) -> Option<&'static str> {
        None
    }
}

impl Within for ImageChoice {
    fn within<'a>(config: &'a Config, path: &str) -> Option<&'a Self> {
        let keys = IMAGES.iter().find(|image| image.all().any(|key| key.path() == path))?;
        Some(&config.images[keys.service])
    }
}

/// The section of one service's image, with its keys.
pub(in crate::config) struct ImageKeys {
    service: ServiceId,
    pub section: Section,
    pub reference: Key<ImageRef, UsualImage, ImageChoice>,
    pub archive: Key<AbsPath, Follows, ImageChoice>,
    pub signature_key: Key<SigningKey, Follows, ImageChoice>,
    /// Only where a version can be asked for.
    pub build_version: Option<Key<BuildVersion, Follows, ImageChoice>>,
}

/// The sections of all images, in the order of the table of ids.
pub(in crate::config) static IMAGES: LazyLock<[ImageKeys; ServiceId::ALL.len()]> =
    LazyLock::new(|| ServiceId::ALL.map(ImageKeys::of));

/// The same in the order of the file.
pub(in crate::config) fn in_file() -> impl Iterator<Item = &'static ImageKeys> {
    ServiceId::by_image().into_iter().filter_map(|service| IMAGES.get(service.position()))
}

impl ImageKeys {
    fn of(service: ServiceId) -> Self {
        let image = service.image();
        let (title, section) = (service.title(), format!("images.{}", image.key));
        let path = |name: &str| kept(format!("{section}.{name}"));
        let repository = ImageRef::known(image.reference).repository();
        let program = repository.rsplit('/').next().unwrap_or(image.key);
        let first = ServiceId::by_image().first() == Some(&service);
        Self {
            service,
            section: Section {
                path: kept(section.clone()),
                doc: kept(format!("The image of {}.", image.of)),
            },
            reference: Key {
                path: path("reference"),
                fallback: UsualImage(service),
                of: |image| Some(image.reference.clone()),
                example: kept(format!("\"{repository}:{}\"", image.other_tag)),
                doc: kept(sentences(
                    format!("Image of {title} in its registry, with a version or a digest."),
                    image.caution,
                )),
                init: false,
            },
            archive: Key {
                path: path("archive"),
                fallback: Follows("none"),
                of: |image| image.archive.clone(),
                example: kept(format!("\"/srv/images/{program}.tar\"")),
                // What it is good for is said once in the file.
                doc: kept(sentences(
                    "An OCI archive on the machine, used instead of a registry.".to_owned(),
                    if first { "For machines without a way to one." } else { "" },
                )),
                init: false,
            },
            signature_key: Key {
                path: path("signature_key"),
                fallback: Follows("none: signatures are not looked at"),
                of: |image| image.signature_key.clone().map(SigningKey),
                example: r#""-----BEGIN PUBLIC KEY-----\nMFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAE\n-----END PUBLIC KEY-----\n""#,
                doc: "The public key (PEM) that the image in the registry has to be signed with, as `cosign sign --key` and \
                      `skopeo copy --sign-by-sigstore-private-key` do it. What is not signed with it is not pulled.",
                init: false,
            },
            build_version: image.build_version.map(|version| Key {
                path: path("build_version"),
                fallback: Follows("the newest release"),
                of: |image: &ImageChoice| image.build_version.clone().map(BuildVersion),
                example: kept(format!("{version:?}")),
                doc: kept(format!("Version of {title} to build, where the image is built on the machine.")),
                init: false,
            }),
        }
    }

    /// Its keys, in the order of the file.
    pub(in crate::config) fn all(&'static self) -> impl Iterator<Item = &'static dyn AnyKey> {
        let all: [&'static dyn AnyKey; 3] = [&self.reference, &self.archive, &self.signature_key];
        all.into_iter().chain(self.build_version.as_ref().map(|key| key as &'static dyn AnyKey))
    }
}

/// A text of a key, which lives as long as the program: the table is made once.
fn kept(text: String) -> &'static str {
    text.leak()
}

fn sentences(first: String, second: &str) -> String {
    if second.is_empty() { first } else { format!("{first} {second}") }
}
