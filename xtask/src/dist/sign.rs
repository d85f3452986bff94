//! Signatures, by the operator's own gpg: apt knows no other kind.

use std::{path::Path, process::Command};

use crate::phase;

/// The public key, as apt's `Signed-By` and gpgv read it.
pub const KEYRING: &str = "matrix-podman-archive-keyring.pgp";

/// A key that signs.
pub struct Signer {
    fingerprint: String,
}

impl Signer {
    /// The key of this fingerprint, or whose name this is, if gpg has its secret part.
    ///
    /// # Errors
    ///
    /// gpg knows none, or several.
    pub fn new(key: &str) -> Result<Self, String> {
        let listed = phase::output(gpg().args(["--with-colons", "--list-secret-keys", "--", key]))
            .map_err(|why| format!("find the signing key {key}: {why}"))?;
        let found = primary_fingerprints(&listed);
        match found.as_slice() {
            [one] => Ok(Self { fingerprint: (*one).to_owned() }),
            _ => Err(format!(
                "gpg knows {} secret keys called {key}; name one by its fingerprint",
                found.len()
            )),
        }
    }

    /// The fingerprint of the key's primary part.
    pub fn fingerprint(&self) -> &str {
        &self.fingerprint
    }

    /// Writes the public key.
    ///
    /// # Errors
    ///
    /// gpg fails.
    pub fn export_key(&self, to: &Path) -> Result<(), String> {
        phase::run(gpg().arg("--output").arg(to).args(["--export", "--", &self.fingerprint]))
    }

    /// Signs a file; the signature lies beside it, with `.asc` behind its name.
    ///
    /// # Errors
    ///
    /// gpg fails.
    pub fn detached(&self, file: &Path) -> Result<(), String> {
        let signature = format!("{}.asc", file.display());
        phase::run(self.signing().args(["--armor", "--detach-sign", "--output", &signature]).arg(file))
    }

    /// Signs a text so that text and signature are one file.
    ///
    /// # Errors
    ///
    /// gpg fails.
    pub fn inline(&self, file: &Path, to: &Path) -> Result<(), String> {
        phase::run(self.signing().args(["--clear-sign", "--output"]).arg(to).arg(file))
    }

    fn signing(&self) -> Command {
        let mut command = gpg();
        command.args(["--local-user", &self.fingerprint, "--digest-algo", "SHA512"]);
        command
    }
}

fn gpg() -> Command {
    let mut command = Command::new("gpg");
    command.args(["--batch", "--yes", "--quiet"]);
    command
}

/// The `fpr` line behind each `sec` line (gnupg's doc/DETAILS).
fn primary_fingerprints(listed: &str) -> Vec<&str> {
    let mut found = Vec::new();
    let mut primary = false;
    for line in listed.lines() {
        let mut fields = line.split(':');
        match fields.next() {
            Some("sec") => primary = true,
            Some("fpr") if primary => {
                found.extend(fields.nth(8));
                primary = false;
            }
            _ => {}
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_subkey_is_not_taken_for_the_key() {
        let listed = "sec:u:255:22:AAAA:1:::u:::scESC:::+::ed25519:::0:\nfpr:::::::::F1:\ngrp:::::::::G:\n\
                      uid:u::::1::H::name::::::::::0:\nssb:u:255:18:BBBB:1::::::e:::+::cv25519::\nfpr:::::::::F2:\n";
        assert_eq!(primary_fingerprints(listed), ["F1"]);
    }
}
