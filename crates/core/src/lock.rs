//! The lock: which images the stack runs, to the last byte (`matrix.lock`).

use std::{
    collections::BTreeMap,
    ops::{Deref, DerefMut},
};

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::{
    format::{self, Unread},
    name::{Digest, ServerName},
    service::ServiceId,
};

/// What `matrix.lock` in the guest says. Its truth is the guest's.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Lock {
    /// Format of this file.
    pub format: u32,
    /// The server name that the data was made with; it can never change.
    pub server_name: ServerName,
    /// The image of each service.
    #[serde(default)]
    pub images: LockedImages,
}

/// The image of each service.
///
/// A newer program may know more services than this one. Their images are none of its
/// business, but they stay where they were written, and are not removed as unused.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct LockedImages {
    known: BTreeMap<ServiceId, LockedImage>,
    unknown: BTreeMap<String, LockedImage>,
}

impl LockedImages {
    /// Those of services that this program knows.
    pub fn known(&self) -> &BTreeMap<ServiceId, LockedImage> {
        &self.known
    }

    /// Takes over from `before` what this program does not know.
    pub fn keep_unknown(&mut self, before: &LockedImages) {
        self.unknown.clone_from(&before.unknown);
    }

    /// All images, those of unknown services too.
    pub fn all(&self) -> impl Iterator<Item = &LockedImage> {
        self.known.values().chain(self.unknown.values())
    }
}

impl Deref for LockedImages {
    type Target = BTreeMap<ServiceId, LockedImage>;

    fn deref(&self) -> &Self::Target {
        &self.known
    }
}

impl DerefMut for LockedImages {
    fn deref_mut(&mut self) -> &mut Self::Target {
        &mut self.known
    }
}

impl<const N: usize> From<[(ServiceId, LockedImage); N]> for LockedImages {
    fn from(known: [(ServiceId, LockedImage); N]) -> Self {
        Self { known: known.into(), unknown: BTreeMap::new() }
    }
}

impl Serialize for LockedImages {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let known = self.known.iter().map(|(service, image)| (service.name(), image));
        serializer.collect_map(known.chain(self.unknown.iter().map(|(name, image)| (name.as_str(), image))))
    }
}

impl<'de> Deserialize<'de> for LockedImages {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let mut images = Self::default();
        for (name, image) in BTreeMap::<String, LockedImage>::deserialize(deserializer)? {
            match ServiceId::by_name(&name) {
                Some(service) => images.known.insert(service, image),
                None => images.unknown.insert(name, image),
            };
        }
        Ok(images)
    }
}

/// One image, as it runs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LockedImage {
    /// What was asked for, in words that tell sources apart: a registry's
    /// reference, `archive:` and a path, or `build:` and the recipe.
    pub wanted: String,
    /// What Podman is told to run: `name@sha256:…` or an image id.
    pub run: String,
    /// Digest of the manifest.
    pub digest: Digest,
    /// Podman's image id: the digest of the image's config.
    pub id: Digest,
    /// Version of the program inside, as the image states it.
    pub version: String,
}

/// The format that this program writes.
pub const FORMAT: u32 = 1;

/// Refuses the text of a lock that a newer program wrote.
pub fn known(text: &str) -> Result<(), Unread> {
    format::toml(text, FORMAT)
}

impl Lock {
    /// A lock without images.
    pub fn new(server_name: ServerName) -> Self {
        Self { format: FORMAT, server_name, images: LockedImages::default() }
    }

    /// Reads the text of a `matrix.lock`.
    pub fn parse(text: &str) -> Result<Self, Unread> {
        known(text)?;
        toml::from_str(text).map_err(|e| Unread::Otherwise(e.message().to_owned()))
    }

    /// The text of this lock.
    pub fn render(&self) -> Result<String, toml::ser::Error> {
        Ok(format!(
            "# Written by matrix-podman: which images run, to the last byte.\n{}",
            toml::to_string_pretty(self)?
        ))
    }
}

impl LockedImage {
    /// The major version, when the version begins with a number.
    pub fn major(&self) -> Option<u32> {
        let digits: String = self.version.chars().take_while(char::is_ascii_digit).collect();
        digits.parse().ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{stack, testing};

    #[test]
    fn what_a_newer_program_wrote_stays() {
        let text = testing::lock().render().unwrap();
        let image = &text[text.find("[images.redis]").unwrap()..text.find("[images.synapse]").unwrap()];
        let newer = format!("{text}\n{}", image.trim_end().replace("redis", "turn")) + "\n";
        let mut lock = Lock::parse(&newer).unwrap();
        assert_eq!(*lock.images, *testing::lock().images, "it is none of ours");
        assert_eq!(lock.render().unwrap(), newer);
        assert_eq!(lock.images.all().count(), testing::lock().images.len() + 1);

        let before = lock.images.clone();
        lock.images = LockedImages::from([(stack::redis::ID, lock.images[&stack::redis::ID].clone())]);
        lock.images.keep_unknown(&before);
        assert_eq!(lock.images.all().count(), 2);
    }
}
