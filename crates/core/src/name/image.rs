//! Container images and digests.

use std::{fmt, str::FromStr};

use serde::{Deserialize, Serialize};

use super::Invalid;

checked_string!(
    /// A container image in a registry, fully qualified:
    /// `registry/path[:tag][@sha256:…]`.
    ImageRef,
    parse_image_ref
);

checked_string!(
    /// A `sha256:` digest with 64 hexadecimal digits.
    Digest,
    |text| {
        let hex = text.strip_prefix("sha256:").unwrap_or_default();
        if hex.len() == 64 && hex.chars().all(|c| matches!(c, '0'..='9' | 'a'..='f')) {
            Ok(text.to_owned())
        } else {
            Err(Invalid::new("a digest is sha256: and 64 hexadecimal digits"))
        }
    }
);

known!(ImageRef);

impl ImageRef {
    /// The name without tag and digest.
    pub fn repository(&self) -> String {
        let name = self.as_str().split('@').next().unwrap_or_default();
        match name.rsplit_once('/') {
            Some((path, last)) => format!("{path}/{}", last.split(':').next().unwrap_or_default()),
            None => name.to_owned(),
        }
    }

    /// The tag, where there is one.
    pub fn tag(&self) -> Option<&str> {
        let name = self.as_str().split('@').next().unwrap_or_default();
        name.rsplit('/').next()?.split_once(':').map(|(_, tag)| tag)
    }
}

impl Digest {
    /// A digest from the 32 bytes of a SHA-256.
    pub fn of_sha256(bytes: &[u8]) -> Self {
        use fmt::Write as _;
        let mut text = String::from("sha256:");
        for byte in bytes {
            let _ = write!(text, "{byte:02x}");
        }
        Self(text)
    }

    /// The hexadecimal digits alone.
    pub fn hex(&self) -> &str {
        &self.0["sha256:".len()..]
    }
}

/// The grammar of the distribution project's reference package, with the
/// registry named: a short name would be looked up wherever Podman searches.
fn parse_image_ref(text: &str) -> Result<String, Invalid> {
    let (rest, digest) = match text.split_once('@') {
        Some((rest, digest)) => (rest, Some(digest)),
        None => (text, None),
    };
    if let Some(digest) = digest {
        Digest::parse(digest)?;
    }
    let (registry, path) = rest
        .split_once('/')
        .ok_or_else(|| Invalid::new("name the registry too, as in docker.io/library/postgres:18-alpine"))?;
    let registry_host = registry.split_once(':').map_or(registry, |(host, _)| host);
    if !(registry.contains('.') || registry.contains(':') || registry == "localhost")
        || registry_host.is_empty()
        || !registry.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | ':'))
    {
        return Err(Invalid::new(format!(
            "{registry:?} is not a registry's host name; write for example docker.io/{rest}"
        )));
    }
    let (path, tag) = match path.rsplit_once(':') {
        Some((path, tag)) => (path, Some(tag)),
        None => (path, None),
    };
    let part_ok = |part: &str| {
        !part.is_empty()
            && part.starts_with(|c: char| c.is_ascii_lowercase() || c.is_ascii_digit())
            && part
                .chars()
                .all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || matches!(c, '.' | '_' | '-'))
    };
    if !path.split('/').all(part_ok) {
        return Err(Invalid::new(format!("{path:?} is not an image's path (a-z 0-9 . _ - and /)")));
    }
    if let Some(tag) = tag {
        let ok = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-');
        if tag.is_empty() || tag.len() > 128 || !tag.chars().all(ok) || tag.starts_with(['.', '-']) {
            return Err(Invalid::new(format!("{tag:?} is not a tag")));
        }
    }
    if tag.is_none() && digest.is_none() {
        return Err(Invalid::new("name a tag or a digest, as in …:v1.2.3"));
    }
    Ok(text.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn image_references() {
        for good in [
            "docker.io/library/postgres:18-alpine",
            "ghcr.io/element-hq/synapse:v1.157.1",
            "localhost:5000/x:1",
            "10.0.0.1:5000/a/b@sha256:0000000000000000000000000000000000000000000000000000000000000000",
        ] {
            assert_eq!(ImageRef::parse(good).unwrap().as_str(), good);
        }
        for bad in [
            "postgres",
            "postgres:18",
            "library/postgres:18",
            "docker.io/library/postgres",
            "docker.io/x:",
            "docker.io/X:1",
            "docker.io/x@sha256:12",
            "docker.io/x:-1",
            "docker.io//x:1",
            "docker.io/x y:1",
            " docker.io/x:1",
            "dock$er.io/x:1",
        ] {
            assert!(ImageRef::parse(bad).is_err(), "{bad:?} was accepted");
        }
    }
}
