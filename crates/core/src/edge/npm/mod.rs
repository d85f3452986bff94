//! What Nginx Proxy Manager answers, and a proxy host as it should be there.
//!
//! What its backend does that one would not guess stands in
//! docs/decisions/0008-edge.md.

mod certificate;
mod host;
mod outside;
mod user;

pub use certificate::{
    Certificate, Choice, certbot_hint, certbot_is_busy, certbot_words, certificate_for, certificate_meta,
    choose,
};
pub use host::{
    META_KEY, Role, Serving, as_wanted, certificate_of, has_name, is_marked, lines, made_for, meta_with,
    names, reason, serving, wanted, writable,
};
pub use outside::Outside;
pub use user::{Need, Permissions, User};

use serde::Deserialize;
use serde_json::Value as Json;

/// Which NPM it is.
#[derive(Debug, Clone, PartialEq, Deserialize)]
pub struct Status {
    /// Whether it has its first user. Older ones do not say.
    #[serde(default = "yes")]
    pub setup: bool,
    /// Its version.
    pub version: Version,
}

fn yes() -> bool {
    true
}

impl Status {
    /// Reads what answers at NPM's address; none when that is not NPM, and no
    /// password is for it.
    pub fn read(answer: &Json) -> Option<Self> {
        (answer["status"] == "OK" && answer["version"].is_object())
            .then(|| Self::deserialize(answer).ok())
            .flatten()
    }
}

/// A version of NPM.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Deserialize)]
pub struct Version {
    /// 2
    pub major: u32,
    /// 12 to 15
    pub minor: u32,
    /// The rest.
    #[serde(default)]
    pub revision: u32,
}

impl Version {
    /// Whether it is at least 2.`minor`.`revision`. One that runs from its
    /// sources calls itself 2.0.0 and is taken as new.
    pub fn at_least(self, minor: u32, revision: u32) -> bool {
        let source = self.major == 2 && self.minor == 0;
        source || (self.major, self.minor, self.revision) >= (2, minor, revision)
    }
}

impl std::fmt::Display for Version {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}.{}.{}", self.major, self.minor, self.revision)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn versions_are_compared() {
        let version = |minor, revision| Version { major: 2, minor, revision };
        assert!(
            version(13, 6).at_least(13, 6)
                && !version(13, 5).at_least(13, 6)
                && version(0, 0).at_least(15, 0)
        );
    }

    #[test]
    fn only_what_answers_as_npm_does_is_npm() {
        let version = json!({"major": 2, "minor": 15, "revision": 1});
        assert!(Status::read(&json!({"status": "OK", "setup": true, "version": version})).is_some());
        assert!(
            Status::read(&json!({"status": "OK", "version": version})).unwrap().setup,
            "older ones do not say"
        );
        for other in
            [json!("<html>"), json!({"status": "OK"}), json!({"version": version}), json!(null), json!([])]
        {
            assert_eq!(Status::read(&other), None, "{other}");
        }
    }
}
