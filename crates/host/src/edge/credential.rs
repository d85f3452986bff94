//! Reading credentials from where the config says.

use std::{
    fmt,
    io::Read as _,
    os::unix::fs::{MetadataExt as _, PermissionsExt as _},
};

use matrix_podman_core::{config::Credential, edge::Refusal};

/// A longer one is no credential.
const LONGEST: u64 = 4096;

/// A credential, which shows itself to nobody.
#[derive(Clone)]
pub(super) struct Secret(String);

impl Secret {
    pub(super) fn new(text: String) -> Self {
        Self(text)
    }

    /// The credential itself, to be sent and for nothing else.
    pub(super) fn reveal(&self) -> &str {
        &self.0
    }

    /// Takes the credential out of what others said.
    pub(super) fn redact(&self, text: &str) -> String {
        if self.0.is_empty() { text.to_owned() } else { text.replace(&self.0, "…") }
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(…)")
    }
}

/// Reads a credential; `whose` says which, `keys` where the config names it.
pub(super) fn read(credential: &Credential, whose: &str, keys: &str) -> Result<Secret, Refusal> {
    let (text, place) = match &credential.file {
        Some(path) => (from_file(path.as_str(), whose)?, path.to_string()),
        None => {
            let text = std::env::var(&credential.variable).map_err(|_| {
                Refusal::credential(
                    format!(
                        "there is no {whose}: the environment variable {} is not set",
                        credential.variable
                    ),
                    format!("put it into a file that only you may read, and name that file with {keys}_file"),
                )
            })?;
            (text, format!("the environment variable {}", credential.variable))
        }
    };
    let text = text.trim();
    if text.is_empty() || text.chars().any(|c| c.is_control()) {
        return Err(Refusal::credential(
            format!("{place} does not hold the {whose}"),
            format!("it has to hold the {whose} on one line and nothing else"),
        ));
    }
    Ok(Secret::new(text.to_owned()))
}

fn from_file(path: &str, whose: &str) -> Result<String, Refusal> {
    let unreadable = |e: std::io::Error| {
        Refusal::credential(
            format!("the {whose} cannot be read from {path}: {e}"),
            format!("put the {whose} there, or name another file in matrix.toml"),
        )
    };
    let mut file = std::fs::File::open(path).map_err(unreadable)?;
    let meta = file.metadata().map_err(unreadable)?;
    let mode = meta.permissions().mode() & 0o777;
    if mode & 0o077 != 0 {
        return Err(Refusal::credential(
            format!("{path}, which holds the {whose}, can be read by others (mode {mode:o})"),
            format!("chmod 600 {path}; if others may have seen it, make a new one"),
        ));
    }
    let me = rustix::process::geteuid().as_raw();
    if meta.uid() != me && meta.uid() != 0 {
        return Err(Refusal::credential(
            format!("{path}, which holds the {whose}, belongs to somebody else (uid {})", meta.uid()),
            format!("chown it to the user who runs matrix-podman: chown {me} {path}"),
        ));
    }
    let mut text = String::new();
    file.by_ref().take(LONGEST).read_to_string(&mut text).map_err(unreadable)?;
    Ok(text)
}

#[cfg(test)]
mod tests {
    use super::*;
    use matrix_podman_core::name::AbsPath;

    #[test]
    fn a_file_that_others_may_read_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("token");
        std::fs::write(&path, "abc\n").unwrap();
        let credential = Credential {
            file: Some(AbsPath::parse(path.to_str().unwrap()).unwrap()),
            variable: "NOT_SET_ANYWHERE".to_owned(),
        };
        let set = |mode| std::fs::set_permissions(&path, std::fs::Permissions::from_mode(mode)).unwrap();
        set(0o644);
        let refusal = read(&credential, "token", "edge.cloudflare.token").unwrap_err();
        assert!(refusal.why.contains("mode 644") && refusal.hint.contains("chmod 600"), "{refusal:?}");
        set(0o600);
        let secret = read(&credential, "token", "edge.cloudflare.token").unwrap();
        assert_eq!(secret.reveal(), "abc");
        assert_eq!(format!("{secret:?}"), "Secret(…)");
        assert_eq!(secret.redact("x abc y"), "x … y");
        std::fs::write(&path, "a\nb\n").unwrap();
        assert!(read(&credential, "token", "").is_err(), "two lines");
    }
}
