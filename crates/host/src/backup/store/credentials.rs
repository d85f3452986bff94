//! The keys of an object store, from a file that only its owner reads, or from
//! where Amazon's own tools have them.

use std::{
    env, fs,
    os::unix::fs::MetadataExt as _,
    path::{Path, PathBuf},
};

use matrix_podman_core::backup::Terms;
use rusty_s3::Credentials;

use crate::failure::{Doing, Failure};

const HINT: &str = "write aws_access_key_id = … and aws_secret_access_key = … into a file, `chmod 0400` it, and name it: \
                    matrix-podman set backup.s3_credentials FILE";

/// The keys.
pub(super) fn find(terms: &Terms) -> Result<Credentials, Failure> {
    let doing = "find the keys of the object store";
    if let Some(file) = &terms.s3_credentials {
        return from_file(Path::new(file.as_str()));
    }
    let set = |name: &str| env::var(name).ok().filter(|value| !value.is_empty());
    if let (Some(key), Some(secret)) = (set("AWS_ACCESS_KEY_ID"), set("AWS_SECRET_ACCESS_KEY")) {
        return Ok(match set("AWS_SESSION_TOKEN") {
            Some(token) => Credentials::new_with_token(key, secret, token),
            None => Credentials::new(key, secret),
        });
    }
    let usual = set("AWS_SHARED_CREDENTIALS_FILE")
        .map(PathBuf::from)
        .or_else(|| set("HOME").map(|home| Path::new(&home).join(".aws/credentials")))
        .filter(|file| file.exists());
    match usual {
        Some(file) => from_file(&file),
        None => Err(Failure::new(doing, "no file is named, and there is no ~/.aws/credentials").hint(HINT)),
    }
}

/// The region.
pub(super) fn region(terms: &Terms) -> String {
    let set = |name: &str| env::var(name).ok().filter(|value| !value.is_empty());
    terms
        .s3_region
        .clone()
        .or_else(|| set("AWS_REGION"))
        .or_else(|| set("AWS_DEFAULT_REGION"))
        .unwrap_or_else(|| "us-east-1".to_owned())
}

fn from_file(file: &Path) -> Result<Credentials, Failure> {
    let doing = || format!("read the keys of the object store in {}", file.display());
    let meta = fs::metadata(file).doing(doing).map_err(|failure| failure.hint(HINT))?;
    if meta.mode() & 0o077 != 0 {
        return Err(Failure::new(doing(), "others than its owner can read it")
            .hint(format!("chmod 0400 {}", file.display())));
    }
    let text = fs::read_to_string(file).doing(doing)?;
    let profile = env::var("AWS_PROFILE").unwrap_or_else(|_| "default".to_owned());
    parse(&text, &profile).ok_or_else(|| Failure::new(doing(), "there is no pair of keys in it").hint(HINT))
}

/// The keys in a file of Amazon's tools; lines before any section count too.
fn parse(text: &str, profile: &str) -> Option<Credentials> {
    let (mut key, mut secret, mut token) = (None, None, None);
    let mut counts = true;
    for line in text.lines().map(str::trim).filter(|line| !line.starts_with(['#', ';'])) {
        if let Some(section) = line.strip_prefix('[').and_then(|line| line.strip_suffix(']')) {
            counts = section.trim() == profile;
            continue;
        }
        let Some((name, value)) = line.split_once('=').filter(|_| counts) else { continue };
        let value = Some(value.trim().trim_matches('"').to_owned()).filter(|value| !value.is_empty());
        match name.trim().to_ascii_lowercase().as_str() {
            "aws_access_key_id" => key = value,
            "aws_secret_access_key" => secret = value,
            "aws_session_token" => token = value,
            _ => {}
        }
    }
    Some(match token {
        Some(token) => Credentials::new_with_token(key?, secret?, token),
        None => Credentials::new(key?, secret?),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_found_with_and_without_sections() {
        let plain = parse("# ours\naws_access_key_id = AK\naws_secret_access_key=\"se=cret\"\n", "default");
        let plain = plain.unwrap();
        assert_eq!((plain.key(), plain.secret(), plain.token()), ("AK", "se=cret", None));
        let sections = "[other]\naws_access_key_id=X\naws_secret_access_key=Y\n[default]\naws_access_key_id=A\n\
                        aws_secret_access_key=B\naws_session_token=C\n";
        let found = parse(sections, "default").unwrap();
        assert_eq!((found.key(), found.secret(), found.token()), ("A", "B", Some("C")));
        assert_eq!(parse(sections, "other").unwrap().key(), "X");
        assert!(parse(sections, "none").is_none());
        assert!(parse("aws_access_key_id = A\naws_secret_access_key =\n", "default").is_none());
    }

    #[test]
    fn a_file_that_others_read_is_refused() {
        use std::os::unix::fs::PermissionsExt as _;
        let file = tempfile::NamedTempFile::new().unwrap();
        fs::write(file.path(), "aws_access_key_id = A\naws_secret_access_key = hunter2\n").unwrap();
        fs::set_permissions(file.path(), fs::Permissions::from_mode(0o644)).unwrap();
        let refused = from_file(file.path()).unwrap_err();
        assert!(refused.why.contains("others"), "{refused}");
        fs::set_permissions(file.path(), fs::Permissions::from_mode(0o400)).unwrap();
        assert_eq!(from_file(file.path()).unwrap().secret(), "hunter2");
    }
}
