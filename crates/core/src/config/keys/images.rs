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
        let image = IMAGES.iter().find(|image| image.section.keys.iter().any(|key| key.path() == path))?;
        Some(&config.images[image.service])
    }
}

/// The section of one service's image.
pub(in crate::config) struct ImageSection {
    service: ServiceId,
    pub section: Section,
    pub keys: &'static ImageKeys,
}

/// The keys of one service's image.
pub(in crate::config) struct ImageKeys {
    pub reference: Key<ImageRef, UsualImage, ImageChoice>,
    pub archive: Key<AbsPath, Follows, ImageChoice>,
    pub signature_key: Key<SigningKey, Follows, ImageChoice>,
    /// Only where a version can be asked for.
    pub build_version: Option<Key<BuildVersion, Follows, ImageChoice>>,
}

/// The sections of all images, in the order of the table of ids.
pub(in crate::config) static IMAGES: LazyLock<[ImageSection; ServiceId::ALL.len()]> =
    LazyLock::new(|| ServiceId::ALL.map(ImageSection::of));

/// The same in the order of the file.
pub(in crate::config) fn in_file() -> impl Iterator<Item = &'static ImageSection> {
    ServiceId::by_image().into_iter().filter_map(|service| IMAGES.get(service.position()))
}

impl ImageSection {
    fn of(service: ServiceId) -> Self {
        let image = service.image();
        let (title, section) = (service.title(), format!("images.{}", image.key));
        let path = |name: &str| kept(format!("{section}.{name}"));
        let repository = ImageRef::known(image.reference).repository();
        let program = repository.rsplit('/').next().unwrap_or(image.key);
        let first = ServiceId::by_image().first() == Some(&service);
        // The table is made once and lives as long as the program.
        let keys: &'static ImageKeys = Box::leak(Box::new(ImageKeys {
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
        }));
        let mut all: Vec<&'static dyn AnyKey> = vec![&keys.reference, &keys.archive, &keys.signature_key];
        all.extend(keys.build_version.as_ref().map(|key| key as &'static dyn AnyKey));
        let doc = kept(format!("The image of {}.", image.of));
        Self { service, section: Section { path: kept(section), doc, keys: all.leak() }, keys }
    }
}

/// A text of the table.
fn kept(text: String) -> &'static str {
    text.leak()
}

fn sentences(first: String, second: &str) -> String {
    if second.is_empty() { first } else { format!("{first} {second}") }
}
