//! The password of a repository, and the key that it unlocks.
//!
//! Trying a password is slow on purpose (half a second of a processor, for a password
//! that a person could have chosen). What it unlocked is kept beside it, for whoever
//! may read the password anyway, so that it is tried once and not with every command.

use std::{
    fmt, fs,
    os::unix::fs::MetadataExt as _,
    path::{Path, PathBuf},
};

use matrix_podman_core::{
    backup::RepositoryName,
    layout,
    name::{Digest, Mode, Owner},
};
use rustic_core::{Credentials, repofile::MasterKey};
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use crate::{
    failure::{Doing, Failure},
    file,
};

/// What opens a repository.
#[derive(Clone)]
pub struct Password {
    text: String,
    /// Where the key is kept; nowhere unless the password is kept, too.
    kept: Option<PathBuf>,
}

/// A key, and the password that unlocked it.
#[derive(Serialize, Deserialize)]
struct Kept {
    /// SHA-256 of the password, in hexadecimal.
    password: String,
    key: MasterKey,
}

impl Password {
    /// As somebody typed it.
    pub fn typed(text: &str) -> Self {
        Self { text: text.trim().to_owned(), kept: None }
    }

    /// Out of a file that only its owner can read.
    pub fn of_file(path: &Path) -> Result<Self, Failure> {
        let doing = || format!("read the backups' password in {}", path.display());
        let meta = fs::metadata(path).doing(doing).map_err(|failure| {
            failure
                .hint("`matrix-podman backup init` makes it; if it was lost, put back the one that you noted")
        })?;
        if meta.mode() & 0o077 != 0 {
            return Err(Failure::new(doing(), "others than its owner can read it")
                .hint(format!("chmod 0400 {}", path.display())));
        }
        let text = fs::read_to_string(path).doing(doing)?;
        let text = text.trim_end_matches(['\n', '\r']);
        if text.is_empty() {
            return Err(Failure::new(doing(), "the file is empty"));
        }
        Ok(Self { text: text.to_owned(), kept: None })
    }

    /// That of a repository of a site.
    pub fn of_site(site: &str, name: &RepositoryName) -> Result<Self, Failure> {
        let password = Self::of_file(Path::new(layout::backup_password(site, name).as_str()))?;
        Ok(Self { kept: Some(PathBuf::from(layout::backup_key(site, name).as_str())), ..password })
    }

    /// Makes one for a repository of a site, unless there is one; it is never replaced.
    pub fn make(site: &str, name: &RepositoryName) -> Result<Self, Failure> {
        let path = layout::backup_password(site, name);
        if Path::new(path.as_str()).exists() {
            return Self::of_site(site, name);
        }
        let mut bytes = [0; 32];
        getrandom::fill(&mut bytes).doing(|| "get random bytes from the system")?;
        // Hexadecimal in groups of four, which a person can copy from paper.
        let digest = Digest::of_sha256(&bytes);
        let groups: Vec<&str> = digest
            .hex()
            .as_bytes()
            .chunks(4)
            .take(10)
            .filter_map(|group| std::str::from_utf8(group).ok())
            .collect();
        Self::typed(&groups.join("-")).save(site, name)?;
        Self::of_site(site, name)
    }

    /// Keeps it as that of a repository of a site.
    pub fn save(&self, site: &str, name: &RepositoryName) -> Result<(), Failure> {
        let path = layout::backup_password(site, name);
        let text = format!("{}\n", self.text);
        file::write(Path::new(path.as_str()), text.as_bytes(), Mode(0o400), Owner::ROOT)
    }

    /// One whose key is known, for tests: trying one takes long where nothing is optimised.
    #[cfg(test)]
    pub(super) fn with_key(key: MasterKey, kept: PathBuf) -> Self {
        let password = Self { text: "for a test".to_owned(), kept: Some(kept) };
        let kept = Kept { password: password.digest(), key };
        fs::write(password.kept.as_ref().unwrap(), serde_json::to_vec(&kept).unwrap()).unwrap();
        password
    }

    /// To be shown to the operator, or compared with what they typed.
    pub fn reveal(&self) -> &str {
        &self.text
    }

    pub(super) fn credentials(&self) -> Credentials {
        Credentials::password(&self.text)
    }

    fn digest(&self) -> String {
        Digest::of_sha256(&Sha256::digest(self.text.as_bytes())).hex().to_owned()
    }

    /// The key that this password unlocked before.
    pub(super) fn key(&self) -> Option<MasterKey> {
        let text = fs::read(self.kept.as_ref()?).ok()?;
        let kept: Kept = serde_json::from_slice(&text).ok()?;
        (kept.password == self.digest()).then_some(kept.key)
    }

    /// Keeps the key. Without it all is only slower, so that this cannot be done is
    /// no failure.
    pub(super) fn keep(&self, key: MasterKey) {
        let kept = Kept { password: self.digest(), key };
        if let Some(path) = &self.kept
            && let Ok(text) = serde_json::to_vec(&kept)
        {
            let _ = file::write(path, &text, Mode(0o400), Owner::ROOT);
        }
    }
}

impl fmt::Debug for Password {
    fn fmt(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
        to.write_str("Password(…)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_that_of_its_password_and_for_its_owner_alone() {
        let folder = tempfile::tempdir().unwrap();
        let kept = Some(folder.path().join("key"));
        let password = Password { text: "one".to_owned(), kept: kept.clone() };
        assert!(password.key().is_none());
        password.keep(MasterKey::new());
        assert!(password.key().is_some());
        let mode = fs::metadata(folder.path().join("key")).unwrap().mode();
        assert_eq!(mode & 0o777, 0o400);
        assert!(Password { text: "two".to_owned(), kept: kept.clone() }.key().is_none());
        assert!(Password::typed("one").key().is_none());
        fs::remove_file(folder.path().join("key")).unwrap();
        fs::write(folder.path().join("key"), "cut o").unwrap();
        assert!(password.key().is_none());
    }

    #[test]
    fn it_is_not_told_by_accident() {
        assert!(!format!("{:?}", Password::typed("hunter2")).contains("hunter2"));
    }
}
