//! The running program's own file.

use std::{fs::File, io::Read as _, sync::OnceLock};

use matrix_podman_core::{layout, name::Digest};
use sha2::{Digest as _, Sha256};

use crate::failure::{Doing, Failure};

/// Whether the program where people and units find it is the running one.
pub fn is_installed() -> Result<bool, Failure> {
    let Ok(installed) = File::open(layout::BINARY) else { return Ok(false) };
    let own = std::fs::metadata("/proc/self/exe").doing(|| "look at the program's own file")?;
    let meta = installed.metadata().doing(|| format!("look at {}", layout::BINARY))?;
    Ok(meta.len() == own.len() && digest_of(installed)? == digest()?)
}

/// SHA-256 of the running program's own file, in hexadecimal.
pub fn digest() -> Result<String, Failure> {
    static DIGEST: OnceLock<Result<String, Failure>> = OnceLock::new();
    DIGEST
        .get_or_init(|| digest_of(File::open("/proc/self/exe").doing(|| "read the program's own file")?))
        .clone()
}

fn digest_of(mut file: File) -> Result<String, Failure> {
    let mut hash = Sha256::new();
    let mut buffer = vec![0; 1 << 20];
    loop {
        let count = file.read(&mut buffer).doing(|| "read a program's file")?;
        if count == 0 {
            return Ok(Digest::of_sha256(&hash.finalize()).hex().to_owned());
        }
        hash.update(&buffer[..count]);
    }
}
