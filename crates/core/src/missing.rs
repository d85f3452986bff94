//! What a server still lacks, as its config tells: what keeps people out, and what is not
//! backed up. It is said first wherever somebody hears how the server is.

use serde::Serialize;

use crate::config::{BackendChoice, Config, Network};

/// Something that a server lacks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum StillMissing {
    /// Nothing leads people from outside to it.
    Access,
    /// Nothing is backed up.
    Backups,
}

impl StillMissing {
    /// Everything that the server of `config` lacks.
    pub fn of(config: &Config) -> Vec<Self> {
        let mut missing = Vec::new();
        missing.extend(Self::access(config));
        missing.extend(Self::backups(config));
        missing
    }

    /// What keeps people out. Who puts the services on the machine itself, or into a
    /// network of their own, may lead there what the config does not tell.
    pub fn access(config: &Config) -> Option<Self> {
        let edge = &config.edge;
        let is_led = edge.cloudflare.is_some()
            || edge.npm.is_some()
            || edge.by_hand.is_some()
            || edge.connectors.is_some()
            || !edge.proxies.is_empty();
        let is_apart = config.guest.backend != BackendChoice::ThisMachine
            && matches!(config.guest.network, Network::Own { .. });
        (!is_led && is_apart).then_some(Self::Access)
    }

    /// What is not backed up.
    pub fn backups(config: &Config) -> Option<Self> {
        config.backup.repositories.is_empty().then_some(Self::Backups)
    }

    /// What it is about, in a word.
    pub const fn label(self) -> &'static str {
        match self {
            Self::Access => "access",
            Self::Backups => "backup",
        }
    }

    /// For a person, with what follows from it.
    pub const fn words(self) -> &'static str {
        match self {
            Self::Access => {
                "nobody can reach it yet: only this machine reaches the guest (a proxy on it? name it in edge.proxies)"
            }
            Self::Backups => "no backups: a broken disk takes everything",
        }
    }

    /// What to type about it.
    pub const fn command(self) -> &'static str {
        match self {
            Self::Access => "matrix-podman edge guide",
            Self::Backups => "matrix-podman set backup.repository /mnt/OTHER-DISK/matrix-backup",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(more: &str) -> Vec<StillMissing> {
        let text = format!("domain = \"chat.home.arpa\"\n{more}");
        StillMissing::of(&Config::parse(&text, "matrix.toml").unwrap())
    }

    #[test]
    fn only_what_the_config_has_not_is_missing() {
        assert_eq!(of(""), [StillMissing::Access, StillMissing::Backups]);
        assert_eq!(of("[backup]\nrepository = \"/srv/backup\"\n"), [StillMissing::Access]);
        assert_eq!(of("[edge]\nproxies = [\"192.168.1.5/32\"]\n"), [StillMissing::Backups]);
        assert_eq!(of("[guest]\nbackend = \"this-machine\"\n"), [StillMissing::Backups]);
    }
}
