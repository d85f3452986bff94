//! Configs as every released version wrote them into guests: keys with their old names, and
//! values in their old forms, are read for a year and more.

#![allow(clippy::disallowed_methods, reason = "what was released is kept in files")]

use std::{fs, path::PathBuf};

use crate::{
    config::Config,
    testing::{changed_config, default_config},
};

const FOLDER: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../fixtures/released");
const VERSION: &str = env!("CARGO_PKG_VERSION");

#[test]
fn the_configs_of_every_released_version_are_read() {
    let folder = PathBuf::from(FOLDER);
    let own = folder.join(VERSION);
    let texts = [("usual", default_config()), ("unusual", changed_config())];
    for (name, config) in texts {
        let file = format!("config-{name}.toml");
        if std::env::var_os("MATRIX_PODMAN_RECORD").is_some() {
            fs::create_dir_all(&own).unwrap();
            fs::write(own.join(&file), config.to_applied_toml()).unwrap();
        }
        let mut count = 0;
        for version in
            fs::read_dir(&folder).unwrap().map(|entry| entry.unwrap().path()).filter(|path| path.is_dir())
        {
            let Ok(left) = fs::read_to_string(version.join(&file)) else { continue };
            count += 1;
            let shown = version.join(&file).display().to_string();
            let read = Config::parse(&left, &shown).unwrap_or_else(|mistakes| panic!("{mistakes}"));
            assert_eq!(read.server_name, config.server_name, "{shown}");
        }
        assert!(count > 0, "no released version is kept");
    }
}
