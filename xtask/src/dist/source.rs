//! The commit that a release is made of.

use std::{
    fs,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use crate::phase::{output, workspace};

/// An exported commit.
pub struct Source {
    /// Where it lies.
    pub folder: PathBuf,
    /// Its hash.
    pub commit: String,
    /// Seconds since 1970 of the commit: every date in the release is this one.
    pub epoch: u64,
    /// `1.2.3` where the commit has the tag `v1.2.3`, else `1.2.3~DATE.COMMIT`, which
    /// Debian sorts before `1.2.3`.
    pub version: String,
}

impl Source {
    /// Exports the commit that is checked out. `clean` refuses changes that no
    /// commit has.
    ///
    /// # Errors
    ///
    /// There are such changes, or git fails.
    pub fn export(folder: &Path, clean: bool) -> Result<Self, String> {
        let changes = git(&["status", "--porcelain"])?;
        if clean && !changes.is_empty() {
            return Err(format!("a release is made of a commit; these are in none:\n{changes}"));
        }
        let commit = git(&["rev-parse", "HEAD"])?;
        let epoch = git(&["log", "-1", "--format=%ct"])?;
        let epoch = epoch.parse().map_err(|_| format!("git dates the commit {epoch:?}"))?;
        let tags = git(&["tag", "--points-at", "HEAD"])?;
        let date = git(&["log", "-1", "--format=%cd", "--date=format-local:%Y%m%d"])?;
        let version = version(env!("CARGO_PKG_VERSION"), &tags, &date, &commit);
        super::clear(folder)?;
        fs::create_dir_all(folder).map_err(|e| format!("make {}: {e}", folder.display()))?;
        let mut archive = Command::new("git");
        let mut archive = archive
            .current_dir(workspace())
            .args(["archive", "--format=tar", "HEAD"])
            .stdout(Stdio::piped())
            .spawn()
            .map_err(|e| format!("cannot run git: {e}"))?;
        let tar = archive.stdout.take().map_or_else(Stdio::null, Stdio::from);
        let unpacked =
            Command::new("tar").arg("--extract").arg("--directory").arg(folder).stdin(tar).status();
        let exported = archive.wait().map_err(|e| format!("wait for git: {e}"))?;
        match unpacked {
            Ok(status) if status.success() && exported.success() => {}
            Ok(status) => return Err(format!("export the commit: git {exported}, tar {status}")),
            Err(e) => return Err(format!("cannot run tar: {e}")),
        }
        Ok(Self { folder: folder.to_owned(), commit, epoch, version })
    }

    /// A file of it.
    ///
    /// # Errors
    ///
    /// It cannot be read.
    pub fn read(&self, name: &str) -> Result<String, String> {
        fs::read_to_string(self.folder.join(name)).map_err(|e| format!("read {name}: {e}"))
    }
}

fn version(package: &str, tags: &str, date: &str, commit: &str) -> String {
    if tags.lines().any(|tag| tag.strip_prefix('v') == Some(package)) {
        return package.to_owned();
    }
    format!("{package}~{date}.{}", commit.get(..8).unwrap_or(commit))
}

fn git(words: &[&str]) -> Result<String, String> {
    let mut command = Command::new("git");
    // A commit's date in UTC is the same wherever it is built.
    let said = output(command.current_dir(workspace()).env("TZ", "UTC").args(words))?;
    Ok(said.trim_end().to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_tagged_commit_is_the_version_itself() {
        let commit = "0123456789abcdef";
        assert_eq!(version("0.1.0", "nightly\nv0.1.0", "20261129", commit), "0.1.0");
        assert_eq!(version("0.1.0", "v0.1.1", "20261129", commit), "0.1.0~20261129.01234567");
    }
}
