//! What stands on the machine so that the guest comes back with it.

use crate::{
    config::Config,
    desired::DesiredFile,
    document::unit::{self, Section},
    layout,
    name::AbsPath,
};

const HEADER: &str = "Written by matrix-podman; changes here are overwritten.";
/// Folder of what the machine remembers of its sites.
pub const SITES: &str = "/var/lib/matrix-podman/sites";

/// Name of the unit that brings network and guest up at boot.
pub fn boot_unit(config: &Config) -> String {
    format!("matrix-podman-{}.service", config.guest.name)
}

/// The unit, and the config that it works from: the operator's own file may
/// be on a disk that is not there yet at boot.
pub fn boot_files(config: &Config) -> [DesiredFile; 2] {
    let applied = AbsPath::known(format!("{SITES}/{}/matrix.toml", config.site()));
    let sections = [
        Section::new("Unit")
            .raw("Description", format!("Matrix server {}: network and guest", config.site()))
            .raw("Wants", "network-online.target")
            .raw("After", "network-online.target")
            // It knows the guest's network; LXC's own autostart then finds it running.
            .raw("Before", "lxc.service"),
        Section::new("Service")
            .raw("Type", "oneshot")
            .raw("RemainAfterExit", "yes")
            .words("ExecStart", [layout::BINARY, "--config", applied.as_str(), "machine-start"])
            .words(
                "ExecStop",
                ["/usr/bin/lxc-stop", "--name", config.guest.name.as_str(), "--timeout", "170"],
            )
            .raw("TimeoutStartSec", "300")
            .raw("TimeoutStopSec", "200"),
        Section::new("Install").raw("WantedBy", "multi-user.target"),
    ];
    [
        DesiredFile::public(
            applied,
            config.to_applied_toml(),
            "The config as applied, for the machine's next boot",
        ),
        DesiredFile::public(
            AbsPath::known(format!("/etc/systemd/system/{}", boot_unit(config))),
            unit::to_string(HEADER, &sections),
            "Brings network and guest up when the machine starts",
        ),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{default_config, show};

    #[test]
    fn boot() {
        insta::assert_snapshot!(show(&boot_files(&default_config())));
    }
}
