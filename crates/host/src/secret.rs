//! Secrets: from the system's random source into files that one service reads.

use std::{
    fs::{self, File},
    io::Read,
    os::unix::fs::MetadataExt as _,
    path::Path,
};

use base64::{Engine as _, engine::general_purpose::STANDARD_NO_PAD};
use ed25519_dalek::SigningKey;
use matrix_podman_core::{
    desired::{DesiredSecretFile, SecretTemplate},
    fact::PublicKey,
    layout::{self, Secret},
    name::{AbsPath, Mode, Owner},
    stack::{self, SecretForm, SecretOrigin},
};

use crate::{
    failure::{Doing, Failure},
    file,
};

const MODE: Mode = Mode(0o400);

/// Makes a secret, unless it is there; then only its owner and mode are seen to.
pub fn make(secret: Secret) -> Result<(), Failure> {
    let path = layout::secret(secret);
    let path = Path::new(path.as_str());
    let owner = stack::secret_owner(secret);
    file::make_dir(Path::new(layout::SECRETS), Mode(0o700), Owner::ROOT)?;
    let content = match file::read_text(path).map(String::into_bytes) {
        // An empty file is what a full disk leaves; it is no secret.
        Ok(there) if !there.is_empty() => there,
        Ok(_) => fresh(secret)?.into_bytes(),
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => fresh(secret)?.into_bytes(),
        // One that cannot be read today is never replaced.
        Err(e) => return Err(e).doing(|| format!("read {}", path.display())),
    };
    file::write(path, &content, MODE, owner)
}

/// Writes `template` with its secrets filled in, for `owner` alone.
pub fn write_file(path: &AbsPath, template: &SecretTemplate, owner: Owner) -> Result<(), Failure> {
    let content = template.fill(read)?;
    file::write(Path::new(path.as_str()), content.as_bytes(), DesiredSecretFile::MODE, owner)
}

/// Whether the file holds `template` with its secrets filled in. One without a secret, or
/// whose secret is not there yet, does not.
pub fn holds(path: &AbsPath, template: &SecretTemplate) -> Result<bool, Failure> {
    let there = match file::read_text(Path::new(path.as_str())) {
        Ok(text) => text,
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => return Ok(false),
        Err(e) => return Err(e).doing(|| format!("read {path}")),
    };
    Ok(template.fill(read).is_ok_and(|content| content == there))
}

/// Opens a file with a secret of the operator's on this machine. Where others can read or
/// change it, it is no secret; that is said, and nothing is taken from it.
pub fn given(path: &Path, title: &str) -> Result<File, Failure> {
    opened(path, title, 0o077)
}

/// Opens the operator's file for `secret`. One that anybody may know may be read by others,
/// and changed by none.
pub fn given_for(path: &Path, secret: Secret) -> Result<File, Failure> {
    opened(path, secret.title(), if secret.is_public() { 0o022 } else { 0o077 })
}

/// Opens a file of the operator's that grants others nothing of `forbidden`.
fn opened(path: &Path, title: &str, forbidden: u32) -> Result<File, Failure> {
    let doing = || format!("read {title} from {}", path.display());
    let file = File::open(path).doing(doing)?;
    let meta = file.metadata().doing(doing)?;
    let me = rustix::process::geteuid().as_raw();
    let (mode, shown) = (meta.mode() & 0o777, path.display());
    if mode & forbidden != 0 {
        let (may, hint) = match forbidden {
            0o022 => ("change", format!("chmod go-w {shown}")),
            _ => ("read", format!("chmod 600 {shown}; if others may have seen it, choose another one")),
        };
        let why = format!("others than its owner can {may} it (mode {mode:o})");
        return Err(Failure::new(doing(), why).hint(hint));
    }
    if meta.uid() != me && meta.uid() != 0 {
        return Err(Failure::new(doing(), format!("it belongs to somebody else (user id {})", meta.uid()))
            .hint(format!("chown {me} {shown}")));
    }
    Ok(file)
}

/// The public half of the signing key that Synapse is given; `None` when there
/// is none. The secret half is read here and goes nowhere.
pub fn public_signing_key() -> Result<Option<PublicKey>, Failure> {
    let doing = || "read the signing key";
    let text = match file::read_text(Path::new(layout::secret(Secret::SIGNING_KEY).as_str())) {
        Ok(text) => text,
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        Err(e) => return Err(e).doing(doing),
    };
    public_half(&text)
        .map(Some)
        .ok_or_else(|| Failure::new(doing(), "it is not in Synapse's form: algorithm, version, seed"))
}

fn public_half(text: &str) -> Option<PublicKey> {
    let mut words = text.split_whitespace();
    let (algorithm, version, seed) = (words.next()?, words.next()?, words.next()?);
    if algorithm != "ed25519" {
        return None;
    }
    let seed: [u8; 32] = STANDARD_NO_PAD.decode(seed.trim_end_matches('=')).ok()?.try_into().ok()?;
    let key = SigningKey::from_bytes(&seed).verifying_key();
    Some(PublicKey { id: format!("ed25519:{version}"), key: STANDARD_NO_PAD.encode(key.as_bytes()) })
}

/// Puts what `data` gives into the file of `secret`.
pub fn put(secret: Secret, mut data: impl Read) -> Result<(), Failure> {
    let mut text = String::new();
    data.read_to_string(&mut text).doing(|| format!("read the secret {}", secret.file_name()))?;
    // Kept as it is, so that it can be compared; Synapse trims it itself.
    if text.trim().is_empty() {
        return Err(Failure::new(format!("take the secret {}", secret.file_name()), "its file is empty"));
    }
    file::write(
        Path::new(layout::secret(secret).as_str()),
        text.as_bytes(),
        MODE,
        stack::secret_owner(secret),
    )
}

fn fresh(secret: Secret) -> Result<String, Failure> {
    match stack::secret_origin(secret) {
        Some(SecretOrigin::Made(form) | SecretOrigin::MadeOnce { form, .. }) => match form {
            SecretForm::Word => random_word(),
            SecretForm::SigningKey => signing_key(),
        },
        Some(SecretOrigin::Derived { from, how }) => Ok(how(&read(*from)?)),
        Some(SecretOrigin::GivenOrMade { .. }) => random_word(),
        Some(SecretOrigin::Given(_)) | None => {
            Err(Failure::new(format!("make {}", secret.title()), "it comes from the operator"))
        }
    }
}

/// 256 random bits in letters and digits, so that no file format can mistake them.
fn random_word() -> Result<String, Failure> {
    let bytes: [u8; 32] = random()?;
    Ok(matrix_podman_core::name::Digest::of_sha256(&bytes).hex().to_owned())
}

/// A password for a person to take or leave: groups of four letters and digits that are
/// not mistaken for one another, at least `least` characters and never fewer than 75 bits.
pub fn offered_password(least: usize) -> Result<String, Failure> {
    const LETTERS: &[u8; 32] = b"abcdefghijkmnpqrstuvwxyz23456789";
    let bytes: [u8; 256] = random()?;
    // Each but the last has a dash behind it.
    let groups = least.saturating_add(1).div_ceil(5).clamp(4, bytes.len() / 4);
    let groups: Vec<String> = bytes
        .chunks(4)
        .take(groups)
        .map(|group| group.iter().map(|byte| char::from(LETTERS[usize::from(byte % 32)])).collect())
        .collect();
    Ok(groups.join("-"))
}

/// A signing key in Synapse's form: algorithm, version, unpadded seed.
fn signing_key() -> Result<String, Failure> {
    const LETTERS: &[u8; 32] = b"abcdefghijklmnopqrstuvwxyzABCDEF";
    let seed: [u8; 32] = random()?;
    let version: String =
        random::<4>()?.iter().map(|byte| char::from(LETTERS[usize::from(byte % 32)])).collect();
    Ok(format!("ed25519 a_{version} {}\n", STANDARD_NO_PAD.encode(seed)))
}

fn random<const N: usize>() -> Result<[u8; N], Failure> {
    let mut bytes = [0; N];
    getrandom::fill(&mut bytes).doing(|| "get random bytes from the system")?;
    Ok(bytes)
}

fn read(secret: Secret) -> Result<String, Failure> {
    let path = layout::secret(secret);
    let text = fs::read_to_string(path.as_str()).doing(|| format!("read {path}"))?;
    Ok(text.trim().to_owned())
}

/// Whether a secret's file is there, for messages.
pub fn exists(secret: Secret) -> bool {
    fs::metadata(layout::secret(secret).as_str()).is_ok_and(|m| m.size() > 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn signing_keys_have_synapses_form() {
        let key = signing_key().unwrap();
        let fields: Vec<&str> = key.trim_end().split(' ').collect();
        assert_eq!((fields[0], fields[1].len(), fields[2].len()), ("ed25519", 6, 43));
        assert_ne!(key, signing_key().unwrap());
    }

    #[test]
    fn words_are_long_and_plain() {
        let word = random_word().unwrap();
        assert_eq!(word.len(), 64);
        assert!(word.chars().all(|c| c.is_ascii_alphanumeric()));
    }

    #[test]
    fn a_secret_that_others_can_read_or_own_is_not_taken() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("turn");
        fs::write(&path, "secret\n").unwrap();
        let set =
            |mode| fs::set_permissions(&path, std::os::unix::fs::PermissionsExt::from_mode(mode)).unwrap();
        for mode in [0o644, 0o640, 0o604, 0o666] {
            set(mode);
            let refused = given(&path, "the TURN secret").unwrap_err();
            assert!(refused.to_string().contains("can read it"), "{mode:o}: {refused}");
            assert!(refused.hint.is_some_and(|hint| hint.contains("chmod 600")));
        }
        set(0o600);
        given(&path, "the TURN secret").unwrap();
        // What anybody may know, such as a certificate, is another matter.
        let config = "domain = \"a.home.arpa\"\n[turn]\nserver = true\naddress = \"203.0.113.7\"\n\
                      name = \"turn.home.arpa\"\ncertificate_file = \"/c\"\nkey_file = \"/k\"";
        let config = matrix_podman_core::config::Config::parse(config, "matrix.toml").unwrap();
        let given_secrets = stack::given_secrets(&config);
        let [(certificate, _), (key, _)] = given_secrets.as_slice() else { panic!("{given_secrets:?}") };
        assert!(certificate.is_public() && !key.is_public());
        let certificate = *certificate;
        set(0o644);
        given_for(&path, certificate).unwrap();
        given_for(&path, Secret::TURN).unwrap_err();
        set(0o664);
        let refused = given_for(&path, certificate).unwrap_err();
        assert!(refused.hint.is_some_and(|hint| hint.contains("chmod go-w")));
        set(0o600);
        std::os::unix::fs::chown(&path, Some(991), Some(991)).unwrap();
        given(&path, "the TURN secret").unwrap_err();
    }
}
