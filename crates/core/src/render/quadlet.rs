//! The Quadlet units, which are what really runs, and `matrix-stack.service`.
//!
//! Format: podman-systemd.unit(5) of Podman 5.4, Debian 13's; a key that it
//! does not know makes a unit fail, so a test holds the keys to its list.

use sha2::{Digest as _, Sha256};

use crate::{
    config::Config,
    desired::DesiredFile,
    document::unit::{self, Section},
    layout,
    lock::Lock,
    name::{AbsPath, Digest},
    service::ServiceId,
    size::Bytes,
    stack::{self, ContainerSpec, Facts, MissingImage, PortHolder},
};

const HEADER: &str = "Written by matrix-podman; changes here are overwritten. Drop-ins beside it are kept.";

/// The units of all services.
pub fn containers(config: &Config, lock: &Lock, facts: &Facts) -> Result<Vec<DesiredFile>, MissingImage> {
    let both = stack::services(config).into_iter().map(|service| container(service, config, lock, facts));
    Ok(both.collect::<Result<Vec<_>, _>>()?.into_iter().flatten().collect())
}

/// The labels and the unit of `service`, and the unit of its sockets where it has some.
///
/// The label that changes with every setting is in a file of its own, so that
/// the unit stays as it is and systemd need not read all units anew for it.
pub fn container(
    service: ServiceId,
    config: &Config,
    lock: &Lock,
    facts: &Facts,
) -> Result<Vec<DesiredFile>, MissingImage> {
    let spec = stack::container(service, config, lock, facts)?;
    let unit = unit::to_string(HEADER, &container_sections(&spec));
    let label = format!("{}={}\n", layout::CONFIG_LABEL, full_digest(&unit, &spec).hex());
    let mut files = vec![
        DesiredFile::public(
            layout::labels_file(service),
            label,
            "Tells which unit and config a container has",
        ),
        DesiredFile::public(layout::container_file(service), unit, stack::room(service).unit_is()),
    ];
    files.extend((!spec.handed.is_empty()).then(|| sockets(&spec)));
    Ok(files)
}

/// The unit that holds the ports of others for `spec`: they stay open while its container is replaced,
/// and whoever connects meanwhile waits in the kernel's queue.
fn sockets(spec: &ContainerSpec) -> DesiredFile {
    let sections = [
        Section::new("Unit")
            .raw("Description", format!("Matrix: ports of {}", spec.service.title()))
            .raw("PartOf", layout::STACK_UNIT),
        Section::new("Socket")
            .each("ListenStream", spec.handed.iter().map(|port| format!("{}:{}", port.bind, port.host)))
            .raw("Backlog", 4096)
            // An address may come later than this.
            .raw("FreeBind", "true")
            // A container that fails again and again must not close the ports for good.
            .raw("TriggerLimitIntervalSec", 0),
    ];
    DesiredFile::public(
        layout::socket_file(spec.service),
        unit::to_string(HEADER, &sections),
        "Holds the published ports while what listens there is replaced",
    )
}

/// The label that the container of `service` has when it was made from this
/// very unit, image and config ([`layout::CONFIG_LABEL`]).
pub fn config_label(
    service: ServiceId,
    config: &Config,
    lock: &Lock,
    facts: &Facts,
) -> Result<String, MissingImage> {
    let spec = stack::container(service, config, lock, facts)?;
    let unit = unit::to_string(HEADER, &container_sections(&spec));
    Ok(full_digest(&unit, &spec).hex().to_owned())
}

/// Digest over the unit and over all that the service reads beside it.
fn full_digest(unit: &str, spec: &ContainerSpec) -> Digest {
    let both = Sha256::new().chain_update(unit).chain_update(spec.config_digest.hex());
    Digest::of_sha256(&both.finalize())
}

fn container_sections(spec: &ContainerSpec) -> [Section; 5] {
    // `Wants`, not `Requires`: a dependency that fails once at boot would leave
    // the service down for good, and a restart of the database would restart
    // Synapse, which reconnects.
    let after = spec.after.iter().map(|service| service.unit());
    let unit = Section::new("Unit")
        .raw("Description", format!("Matrix: {}", spec.service.title()))
        .raw("PartOf", layout::STACK_UNIT)
        .maybe("ConditionPathExists", spec.unless.map(|path| format!("!{path}")))
        .raw("After", layout::STACK_UNIT)
        .each("After", after.clone())
        .each("Wants", after)
        // Never give up: a full disk that was emptied needs no second person.
        .raw("StartLimitIntervalSec", "0");
    let stop = spec.stop_timeout.0;
    let service = Section::new("Service")
        .raw("Restart", "always")
        .raw("RestartSec", "1s")
        // Soon at first, then once a minute.
        .raw("RestartSteps", "6")
        .raw("RestartMaxDelaySec", "60s")
        .maybe("Sockets", (!spec.handed.is_empty()).then(|| layout::socket_unit(spec.service)))
        .words("ExecStartPre", &spec.before_start)
        .raw("TimeoutStartSec", spec.start_timeout.0)
        .raw("TimeoutStopSec", stop + 30)
        .maybe("MemoryMax", spec.memory_max.map(|size| size.0));
    // Only what publishes a port on an address, or speaks to the world, has to
    // wait for the guest's network.
    let quadlet =
        Section::new("Quadlet").maybe("DefaultDependencies", spec.ports.is_empty().then_some("false"));
    let install = Section::new("Install").raw("WantedBy", layout::STACK_UNIT);
    [unit, container_section(spec), service, quadlet, install]
}

fn container_section(spec: &ContainerSpec) -> Section {
    let owner = spec.service.owner();
    let health = &spec.health;
    let mut section = Section::new("Container")
        .raw("ContainerName", spec.service.name())
        .raw("Image", &spec.image)
        .raw("Pull", "never")
        .raw("User", owner.uid)
        .raw("Group", owner.gid)
        .raw("ReadOnly", "true")
        .raw("DropCapability", "all")
        .raw("NoNewPrivileges", "true")
        .maybe("PidsLimit", spec.pids_limit)
        .maybe("ShmSize", spec.shm_size.map(podman_size))
        .maybe("Entrypoint", spec.entrypoint)
        .words("Exec", &spec.command);
    for (name, value) in &spec.environment {
        section = section.words("Environment", [format!("{name}={value}")]);
    }
    section
        .each("Volume", spec.mounts.iter().map(volume))
        .each("Tmpfs", spec.tmpfs.iter().map(tmpfs))
        .each("Network", spec.networks.iter().map(|name| format!("{name}.network")))
        .each("Network", spec.own_network.map(|own| format!("{}.network:ip={}", own.name, own.address)))
        .each(
            "Network",
            spec.joined.iter().map(|(network, address)| format!("{}.network:ip={address}", network.name)),
        )
        .each("PublishPort", spec.ports.iter().filter(|port| port.held_by == PortHolder::Podman))
        .raw("Notify", "healthy")
        .raw("HealthCmd", exec_form(&health.command))
        .raw("HealthInterval", health.interval)
        .raw("HealthTimeout", health.timeout)
        .raw("HealthRetries", health.retries)
        .raw("HealthOnFailure", "kill")
        .raw("HealthStartupCmd", exec_form(&health.command))
        .raw("HealthStartupInterval", format!("{}ms", health.startup_interval_ms))
        .raw("HealthStartupTimeout", health.timeout)
        // 0: never restarted for being slow; `TimeoutStartSec` is the limit.
        .raw("HealthStartupRetries", "0")
        .raw("StopTimeout", spec.stop_timeout.0)
        .raw("LogDriver", "journald")
        .words("PodmanArgs", [format!("--label-file={}", layout::labels_file(spec.service))])
        .words("PodmanArgs", spec.stop_signal.map(|signal| format!("--stop-signal={signal}")))
}

/// `source:target:options`, as Podman and compose files write mounts.
pub(crate) fn volume(mount: &stack::Mount) -> String {
    format!("{}:{}:{}", mount.source, mount.target, if mount.writable { "rw" } else { "ro" })
}

/// `target:options`, as Podman and compose files write scratch space. Nothing
/// is copied up from the image: what is there may belong to another user. Nothing
/// in it can be run: it would be the one way around a root that is read-only.
pub(crate) fn tmpfs(tmpfs: &stack::Tmpfs) -> String {
    format!("{}:rw,nosuid,nodev,noexec,notmpcopyup,mode=1777,size={}", tmpfs.target, podman_size(tmpfs.size))
}

/// Podman's sizes have lower-case units.
pub(crate) fn podman_size(size: Bytes) -> String {
    size.to_string().to_lowercase()
}

/// A JSON array, which Podman runs without a shell.
fn exec_form(command: &[String]) -> String {
    serde_json::Value::from(command).to_string()
}

/// The networks of the stack, and those of single services.
pub fn networks(config: &Config, facts: &Facts) -> Vec<DesiredFile> {
    let network = |name: &'static str, section: Section, names: bool, why| {
        let sections = [
            Section::new("Unit").raw("Description", format!("Matrix: network {name}")),
            section.raw("NetworkName", name).raw("Driver", "bridge").raw("DisableDNS", !names),
            Section::new("Quadlet").raw("DefaultDependencies", "false"),
        ];
        DesiredFile::public(layout::network_file(name), unit::to_string(HEADER, &sections), why)
    };
    let mut files = vec![
        network(
            layout::DB_NETWORK,
            Section::new("Network").raw("Internal", "true"),
            true,
            "Network of database, cache and Synapse, without a way in or out",
        ),
        network(
            layout::edge_network(facts.ipv6),
            Section::new("Network").maybe("IPv6", facts.ipv6.then_some("true")),
            true,
            "Network of Synapse and the web client",
        ),
    ];
    let own = stack::rooms(config).filter_map(stack::Service::network);
    files.extend(own.map(|own| {
        let section = Section::new("Network")
            .raw("Subnet", format!("{}/{}", own.subnet.network(), own.subnet.prefix()))
            .maybe("Internal", own.internal.then_some("true"));
        let why = if own.internal {
            "Network of one service and those that it reaches"
        } else {
            "Network of one service alone"
        };
        network(own.name, section, false, why)
    }));
    files
}

/// The unit that starts and stops everything. The containers come after it, so
/// that `systemctl stop` returns when the last of them has stopped.
pub fn stack_unit() -> DesiredFile {
    let sections = [
        Section::new("Unit").raw("Description", "Matrix: the whole stack"),
        Section::new("Service")
            .raw("Type", "oneshot")
            .raw("RemainAfterExit", "yes")
            .words("ExecStart", ["/bin/true"]),
        Section::new("Install").raw("WantedBy", "multi-user.target"),
    ];
    DesiredFile::public(
        AbsPath::known(format!("/etc/systemd/system/{}", layout::STACK_UNIT)),
        unit::to_string(HEADER, &sections),
        "Starts the stack at boot and stops it in order",
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{changed_config, config_with, default_config, diff, facts, lock, show, weak_facts};

    /// Keys of `[Container]` in Podman 5.4.2 that could be of use here.
    const CONTAINER_KEYS: [&str; 34] = [
        "ContainerName",
        "DropCapability",
        "Entrypoint",
        "Environment",
        "Exec",
        "Group",
        "HealthCmd",
        "HealthInterval",
        "HealthLogDestination",
        "HealthOnFailure",
        "HealthRetries",
        "HealthStartPeriod",
        "HealthStartupCmd",
        "HealthStartupInterval",
        "HealthStartupRetries",
        "HealthStartupTimeout",
        "HealthTimeout",
        "Image",
        "Label",
        "LogDriver",
        "Network",
        "NetworkAlias",
        "NoNewPrivileges",
        "Notify",
        "PidsLimit",
        "PodmanArgs",
        "PublishPort",
        "Pull",
        "ReadOnly",
        "ShmSize",
        "StopTimeout",
        "Tmpfs",
        "User",
        "Volume",
    ];

    #[test]
    fn keys_are_known_to_podman_5_4() {
        for spec in stack::containers(&changed_config(), &lock(), &facts()).unwrap() {
            for key in container_section(&spec).keys() {
                assert!(CONTAINER_KEYS.contains(&key), "{key}");
            }
        }
    }

    #[test]
    fn default() {
        insta::assert_snapshot!(show(&containers(&default_config(), &lock(), &facts()).unwrap()));
    }

    #[test]
    fn changed() {
        insta::assert_snapshot!(show(&containers(&changed_config(), &lock(), &weak_facts()).unwrap()));
    }

    #[test]
    fn behind_a_gateway() {
        let on = config_with(&[("gateway.enabled", "true")]);
        let all = |config: &Config| {
            let mut files = networks(config, &facts());
            files.extend(containers(config, &lock(), &facts()).unwrap());
            show(&files)
        };
        insta::assert_snapshot!(diff(&all(&default_config()), &all(&on)));
    }

    #[test]
    fn around_the_containers() {
        let mut files = networks(&default_config(), &weak_facts());
        files.push(stack_unit());
        insta::assert_snapshot!(show(&files));
    }

    #[test]
    fn stopping_has_time_enough() {
        for spec in stack::containers(&default_config(), &lock(), &facts()).unwrap() {
            assert!(spec.stop_timeout.0 >= 10 && spec.stop_timeout < spec.start_timeout);
        }
    }
}
