//! Paths, owners and permissions.

use std::{fmt, str::FromStr};

use serde::{Deserialize, Serialize};

use super::Invalid;

checked_string!(
    /// An absolute path without `..`, empty or `.` segments, spaces or control
    /// characters, and without a trailing slash.
    AbsPath,
    |text| {
        let Some(rest) = text.strip_prefix('/') else {
            return Err(Invalid::new("a path here begins with /"));
        };
        if text.chars().any(|c| c.is_whitespace() || c.is_control()) {
            return Err(Invalid::new("a path here holds no spaces or control characters"));
        }
        if rest.split('/').any(|part| part.is_empty() || part == "." || part == "..") {
            return Err(Invalid::new("a path here has no empty, . or .. parts and no / at its end"));
        }
        Ok(text.to_owned())
    }
);

impl AbsPath {
    /// A path that the program itself knows; checked by a test, not at run time.
    pub(crate) fn known(path: impl Into<String>) -> Self {
        Self(path.into())
    }

    /// This path with `name` below it.
    pub fn join(&self, name: &str) -> Self {
        Self(format!("{}/{name}", self.0))
    }

    /// The folder that this path is in; `/x` is in `/`.
    pub fn parent(&self) -> &str {
        match self.0.rfind('/') {
            Some(0) | None => "/",
            Some(at) => &self.0[..at],
        }
    }

    /// The last part of the path.
    pub fn file_name(&self) -> &str {
        self.0.rsplit('/').next().unwrap_or_default()
    }
}

/// Who owns a file: numeric, since names differ between machine and images.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Owner {
    /// User id.
    pub uid: u32,
    /// Group id.
    pub gid: u32,
}

impl Owner {
    /// root:root.
    pub const ROOT: Owner = Owner::same(0);

    /// The user `id` and the group of the same number.
    pub const fn same(id: u32) -> Self {
        Self { uid: id, gid: id }
    }
}

/// Permission bits of a file, shown in octal.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Mode(pub u32);

impl fmt::Display for Mode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:04o}", self.0)
    }
}

impl fmt::Debug for Mode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths() {
        let path = AbsPath::parse("/opt/matrix/synapse").unwrap();
        assert_eq!((path.parent(), path.file_name()), ("/opt/matrix", "synapse"));
        for bad in ["", "opt", "/opt/", "/opt/../etc", "/a//b", "/a b"] {
            assert!(AbsPath::parse(bad).is_err(), "{bad:?} was accepted");
        }
    }
}
