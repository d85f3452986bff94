//! The files that this crate brings along.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use crate::error::{Error, IoContext};
use crate::recipe::Recipe;

/// A file: its name or its path in the image, its mode and its content.
#[derive(Debug)]
pub(crate) struct Asset {
    pub path: &'static str,
    pub mode: u32,
    pub content: &'static str,
}

macro_rules! asset {
    ($path:literal, $mode:literal, $source:literal) => {
        Asset { path: $path, mode: $mode, content: include_str!(concat!("../assets/", $source)) }
    };
}

/// The programs that work while an image is built.
macro_rules! assets {
    ($($name:ident = $file:literal;)*) => {
        $(pub(crate) const $name: Asset = Asset {
            path: $file,
            mode: 0o755,
            content: include_str!(concat!("../assets/build/", $file)),
        };)*
        const BUILD: &[&Asset] = &[$(&$name),*];
    };
}

assets! {
    KEEP_LISTS = "keep-lists.sh";
    GIVE_APT = "give-apt.sh";
    ADD_USER = "add-user.sh";
    LAY_STAGE = "lay-stage.sh";
    FINISH_POSTGRES = "postgres.sh";
    FINISH_REDIS = "redis.sh";
    FINISH_SYNAPSE = "synapse.sh";
    FINISH_WEB = "web.sh";
    FINISH_COTURN = "coturn.sh";
    CHECK_PYTHON = "check-python.py";
    PIP_FOR = "pip_for.py";
}

/// Not among those of every image, so that these stay as they are.
pub(crate) const FINISH_GATEWAY: Asset = asset!("gateway.sh", 0o755, "build/gateway.sh");

/// What npm is told to install for the web client.
pub(crate) const NPM: [Asset; 2] = [
    asset!("package.json", 0o644, "web/package.json"),
    asset!("package-lock.json", 0o644, "web/package-lock.json"),
];

/// The page of the web client and the program that starts it.
pub(crate) const WEB_INDEX: &str = include_str!("../assets/web/index.html");
pub(crate) const WEB_APP: &str = include_str!("../assets/web/app.js");

/// The files that stand in an image as they are.
pub(crate) fn of(recipe: Recipe) -> &'static [Asset] {
    match recipe {
        Recipe::Postgres => {
            const { &[asset!("usr/local/bin/docker-entrypoint.sh", 0o755, "postgres/docker-entrypoint.sh")] }
        }
        Recipe::Redis => {
            const { &[asset!("usr/local/bin/docker-entrypoint.sh", 0o755, "redis/docker-entrypoint.sh")] }
        }
        Recipe::Synapse => const { &[asset!("start.py", 0o755, "synapse/start.py")] },
        Recipe::WebClient => {
            const {
                &[
                    asset!("docker-entrypoint.sh", 0o755, "web/docker-entrypoint.sh"),
                    asset!("etc/nginx/nginx.conf", 0o644, "web/nginx.conf"),
                    asset!("etc/nginx/conf.d/default.conf", 0o644, "web/default.conf"),
                    asset!("etc/nginx/templates/default.conf.template", 0o644, "web/default.conf.template"),
                    asset!("app/config.json", 0o644, "web/config.json"),
                    asset!("app/50x.html", 0o644, "web/50x.html"),
                ]
            }
        }
        Recipe::Coturn | Recipe::Gateway => &[],
    }
}

/// The program that finishes an image's root file system.
pub(crate) fn finish(recipe: Recipe) -> &'static Asset {
    match recipe {
        Recipe::Postgres => &FINISH_POSTGRES,
        Recipe::Redis => &FINISH_REDIS,
        Recipe::Synapse => &FINISH_SYNAPSE,
        Recipe::WebClient => &FINISH_WEB,
        Recipe::Coturn => &FINISH_COTURN,
        Recipe::Gateway => &FINISH_GATEWAY,
    }
}

/// All that goes into an image besides packages: when it changes, the image does.
pub(crate) fn sources(recipe: Recipe) -> Vec<&'static str> {
    let mut sources: Vec<&str> = BUILD.iter().map(|asset| asset.content).collect();
    sources.extend(of(recipe).iter().map(|asset| asset.content));
    if recipe == Recipe::WebClient {
        sources.extend(NPM.iter().map(|asset| asset.content));
        sources.extend([WEB_INDEX, WEB_APP]);
    }
    if recipe == Recipe::Gateway {
        sources.push(FINISH_GATEWAY.content);
    }
    sources
}

/// Writes an asset into a directory, under its own name, and says where.
pub(crate) fn place(asset: &Asset, dir: &Path) -> Result<PathBuf, Error> {
    let path = dir.join(asset.path);
    write(&path, asset.content.as_bytes(), asset.mode)?;
    Ok(path)
}

/// Writes a file and the directories above it.
pub(crate) fn write(path: &Path, content: &[u8], mode: u32) -> Result<(), Error> {
    if let Some(dir) = path.parent() {
        fs::create_dir_all(dir).during("create", dir)?;
    }
    fs::write(path, content).during("write", path)?;
    fs::set_permissions(path, fs::Permissions::from_mode(mode)).during("set the mode of", path)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::process::Command;

    fn all() -> impl Iterator<Item = &'static Asset> {
        BUILD.iter().copied().chain(Recipe::ALL.into_iter().flat_map(of))
    }

    #[test]
    fn shell_files_are_shell() {
        let dir = tempfile::tempdir().unwrap();
        for asset in all().filter(|asset| asset.path.ends_with(".sh")) {
            let path = place(asset, dir.path()).unwrap();
            let checked = Command::new("bash").arg("-n").arg(&path).output().unwrap();
            assert!(checked.status.success(), "{}: {}", asset.path, String::from_utf8_lossy(&checked.stderr));
            assert!(asset.content.starts_with("#!"), "{}", asset.path);
            assert_eq!(asset.mode, 0o755, "{}", asset.path);
        }
    }

    #[test]
    fn json_files_are_json_and_name_no_registry() {
        for asset in all().chain(&NPM).filter(|asset| asset.path.ends_with(".json")) {
            serde_json::from_str::<serde_json::Value>(asset.content).unwrap();
            assert!(!asset.content.contains("resolved"), "{}", asset.path);
            assert!(!asset.content.contains("://"), "{}", asset.path);
        }
    }
}
