//! The names of repositories of backups.

use std::{fmt, str::FromStr};

use serde::{Deserialize, Serialize};

use super::Invalid;

checked_string!(
    /// What a repository is called: a small letter, then small letters, digits and dashes.
    RepositoryName,
    |text| {
        let good = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
        if text.len() <= 32 && text.starts_with(|c: char| c.is_ascii_lowercase()) && text.chars().all(good) {
            return Ok(text.to_owned());
        }
        Err(Invalid::new(
            "a name has at most 32 small letters, digits and dashes, and begins with a letter",
        ))
    }
);

impl RepositoryName {
    /// That of `backup.repository`.
    pub const MAIN: &'static str = "main";

    /// The name of the one that stands in `backup.repository`.
    pub fn main() -> Self {
        Self::known(Self::MAIN)
    }

    /// Whether it is that one.
    pub fn is_main(&self) -> bool {
        self.as_str() == Self::MAIN
    }
}

known!(RepositoryName);
