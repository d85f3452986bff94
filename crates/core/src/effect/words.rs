//! What journal and progress say of an act.

use super::Local;

impl Local {
    /// See [`super::Effect::describe`].
    pub fn describe(&self) -> String {
        match self {
            Local::MakeDir { path, .. } => format!("make {path}"),
            Local::WriteFile { path, .. } => format!("write {path}"),
            Local::Link { path, target, .. } => format!("link {path} to {target}"),
            Local::RemoveFile { path, .. } => format!("remove {path}"),
            Local::MakeSecret { secret } => format!("make the secret {}", secret.file_name()),
            Local::WriteSecretFile { path, .. } => format!("write {path}, with its secrets"),
            Local::Install { packages, .. } => format!("install {}", packages.join(" ")),
            Local::Purge { packages, .. } => format!("remove {}", packages.join(" ")),
            Local::UpgradeRuntime { .. } => "update what containers run by".to_owned(),
            Local::Upgrade { .. } => "update the guest's Debian packages".to_owned(),
            Local::ApplySysctl => "apply the kernel settings".to_owned(),
            Local::ReloadUnits { .. } => "make systemd read its units".to_owned(),
            Local::DisableUnit { unit, .. } => format!("disable {unit}"),
            Local::InstallProgram { .. } => format!("copy the program to {}", crate::layout::BINARY),
            Local::EnableUnit { unit, .. } => format!("enable {unit}"),
            Local::RestartDaemon { unit } => format!("restart {unit}"),
            Local::StartService { service, restart: false, .. } => format!("start {service}"),
            Local::StartService { service, restart: true, .. } => format!("restart {service}"),
            Local::StopService { service } => format!("stop {service}"),
            Local::AllowIds { start, count } => {
                format!("allow root the ids {start} to {}", start + count - 1)
            }
            Local::NetworkUp(network) => format!("bring up the bridge {}", network.bridge),
            Local::BuildRootfs { archive, .. } => format!("make the root file system {archive}"),
            Local::CreateGuest(guest) => format!("create the guest {}", guest.name),
            Local::MountDisk { name } => format!("mount the disk of the guest {name}"),
            Local::GrowGuestDisk { name, size } => format!("make the disk of the guest {name} {size} large"),
            Local::StartGuest { name } => format!("start the guest {name}"),
            Local::StopGuest { name, .. } => format!("stop the guest {name}"),
            Local::FetchTemplate { storage, template: Some(template), .. } => {
                format!("fetch {template} to {storage}")
            }
            Local::FetchTemplate { storage, template: None, .. } => {
                format!("fetch the newest Debian 13 template to {storage}")
            }
            Local::SetContainer { container, options, delete } => {
                let keys: Vec<&str> =
                    options.iter().map(|(key, _)| key).chain(delete).map(String::as_str).collect();
                format!("set {} of the container {}", keys.join(", "), container.id)
            }
            Local::StartContainer { container } => format!("start the container {}", container.id),
            Local::RebootContainer { container } => format!("restart the container {}", container.id),
            Local::SnapshotContainer { container, name, .. } => {
                format!("make the snapshot {name} of the container {}", container.id)
            }
            Local::RollBackContainer { container, name } => {
                format!("bring the container {} back to the snapshot {name}", container.id)
            }
            Local::RemoveSnapshot { container, name } => {
                format!("remove the snapshot {name} of the container {}", container.id)
            }
            Local::CheckpointDatabase => "have PostgreSQL write everything to the disk".to_owned(),
            Local::AwaitBoot => "wait for the guest to boot".to_owned(),
            Local::AwaitAddress { interface, address: Some(address) } => {
                format!("wait until {interface} has the address {address}")
            }
            Local::AwaitAddress { interface, address: None } => {
                format!("wait until {interface} has an address")
            }
            Local::SetInterface { interface, mtu, address6, .. } => {
                let mtu = mtu.map(|mtu| format!("packets of {mtu} bytes"));
                let address = address6.map(|address| format!("the address {address}"));
                let what: Vec<String> = mtu.into_iter().chain(address).collect();
                format!("give {interface} {}", what.join(" and "))
            }
            Local::AwaitStack => "wait for the stack".to_owned(),
            Local::PullImage { reference, .. } => format!("pull {reference}"),
            Local::InitDatabase { major, .. } => format!("make the PostgreSQL {major} cluster"),
            Local::SeparateRoles => "make Synapse's database role a plain one".to_owned(),
            Local::EmptyUnfinishedDatabase => "empty Synapse's unfinished database".to_owned(),
            Local::MakeDatabases { names } => {
                let names: Vec<&str> = names.iter().map(|name| name.as_str()).collect();
                format!("make the databases {}", names.join(", "))
            }
            Local::DumpDatabase { to } => format!("dump the database into {to}"),
            Local::RestoreDatabase { from, .. } => format!("restore the database from {from}"),
            Local::MoveDatabase(wanted) => {
                format!("move the data from PostgreSQL {} to {}", wanted.from, wanted.to)
            }
            Local::SetClusterAside { major, generation } => {
                format!("set the PostgreSQL {major} cluster of generation {generation} aside")
            }
            Local::RemoveCluster { name } => format!("remove the old PostgreSQL cluster {name}"),
            Local::ForgetOneTimeKeys => "forget the one-time keys and the cache".to_owned(),
            Local::InstallSynapseConfig { .. } => "check and install homeserver.yaml".to_owned(),
            Local::TrySettings { service, .. } => {
                format!("have {} read its new settings", service.title())
            }
            Local::RemoveImage { id, names } => {
                format!("remove the image {}", names.first().map_or(id.hex(), String::as_str))
            }
            Local::DropDatabase { name } => format!("drop the database {name}"),
            Local::Flush { .. } => "have the disk hold all that was written".to_owned(),
            Local::SettleStorage { check: true } => "check what Podman keeps".to_owned(),
            Local::SettleStorage { check: false } => "have the disk hold what Podman keeps".to_owned(),
            Local::ForgetRemoteMedia { .. } => "delete copies of other servers' media".to_owned(),
        }
    }
}
