//! What another machine handed over for a site: its config, and the files that this names.

use std::path::{Path, PathBuf};

use matrix_podman_core::{
    config::{Config, RootPassword},
    layout,
    name::AbsPath,
};
use sha2::{Digest as _, Sha256};

/// Folder of what was handed to this machine for a site.
pub fn folder(site: &str) -> PathBuf {
    PathBuf::from(layout::machine_state(site).as_str()).join("handed")
}

/// The config of a site that was handed to this machine.
pub fn config(site: &str) -> PathBuf {
    folder(site).join("matrix.toml")
}

/// Where a file is that was handed to this machine together with the config of a site.
pub fn file(site: &str, path: &str) -> PathBuf {
    let digest = Sha256::digest(path.as_bytes());
    let name: String = digest.iter().map(|byte| format!("{byte:02x}")).collect();
    folder(site).join(name)
}

/// Whether a config was handed to this machine, which then is the one that it
/// is about.
pub fn is_handed(file: &Path) -> bool {
    file.starts_with(layout::STATE) && file.ends_with("handed/matrix.toml")
}

/// Paths of files that were handed over together with the config stand for
/// where they are now.
pub fn with_files(mut config: Config, of: &Path) -> Config {
    if !is_handed(of) {
        return config;
    }
    let site = config.site().to_owned();
    let here = |path: &mut AbsPath| {
        let handed = file(&site, path.as_str());
        if handed.exists()
            && let Ok(handed) = AbsPath::parse(&handed.display().to_string())
        {
            *path = handed;
        }
    };
    if let RootPassword::File(path) = &mut config.proxmox.root_password {
        here(path);
    }
    if let Some(turn) = &mut config.turn {
        turn.files_mut().into_iter().for_each(here);
    }
    if let Some(path) = &mut config.proxmox.ssh_keys {
        here(path);
    }
    if let Some(path) = &mut config.notify.webhook_file {
        here(path);
    }
    config
}
