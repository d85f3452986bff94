//! Doing effects, on the side that the program runs on.
//!
//! One file for each kind of thing that is acted on. Each act is idempotent,
//! and leaves the state before or the state after.

mod apt;
mod boot;
pub mod build;
mod cluster;
pub mod disk;
mod flush;
pub mod image;
mod interface;
pub mod lxc;
pub mod names;
pub mod network;
mod podman;
pub mod program;
pub mod proxmox;
mod roles;
mod rootfs;
mod runtime;
mod storage;
mod unit;

use matrix_podman_core::{effect::Local, ids, size::Seconds, stack};

pub use unit::stop_all;

use crate::{
    failure::Failure,
    file,
    postgres::{self, dump},
    progress::Sink,
    secret, synapse,
};

/// Does one act here.
pub fn apply(act: &Local, sink: &Sink) -> Result<(), Failure> {
    match act {
        Local::MakeDir { path, mode, owner, .. } => file::make_dir(path.as_str().as_ref(), *mode, *owner),
        Local::WriteFile { path, content, mode, owner, .. } => {
            file::write(path.as_str().as_ref(), content.as_bytes(), *mode, *owner)
        }
        Local::Link { path, target, .. } => file::link(path.as_str().as_ref(), target),
        Local::RemoveFile { path, .. } => file::remove(path.as_str().as_ref()),
        Local::MakeSecret { secret } => secret::make(*secret),
        Local::WriteSecretFile { path, template, owner } => secret::write_file(path, template, *owner),
        Local::Install { packages, .. } => apt::install(packages, sink),
        Local::Purge { packages, .. } => apt::purge(packages, sink),
        Local::Upgrade { stamp } => apt::upgrade(stamp, sink),
        Local::UpgradeRuntime { image } => runtime::upgrade(image, sink),
        Local::ApplySysctl => unit::apply_sysctl(sink),
        Local::ReloadUnits { .. } => unit::reload(),
        Local::EnableUnit { unit, start, .. } => unit::enable(unit, *start, sink),
        Local::DisableUnit { unit, .. } => unit::disable(unit),
        Local::InstallProgram { .. } => program::install(),
        Local::RestartDaemon { unit } => unit::restart_daemon(unit, sink),
        Local::StartService { service, restart, timeout } => {
            unit::start_service(*service, *restart, *timeout, sink)
        }
        Local::StopService { service } => unit::stop_service(*service),
        Local::AllowIds { start, count } => lxc::allow_ids(*start, *count),
        Local::NetworkUp(network) => network::up(network, sink),
        Local::BuildRootfs { archive, packages } => rootfs::build(archive, packages, sink),
        Local::CreateGuest(guest) => lxc::create(guest, sink),
        Local::MountDisk { name } => disk::mount(name, sink),
        Local::GrowGuestDisk { name, size } => disk::grow(name, *size, sink),
        Local::StartGuest { name } => lxc::start(name, sink),
        Local::StopGuest { name, timeout } => lxc::stop(name, *timeout, sink),
        Local::FetchTemplate { storage, template, arch } => {
            proxmox::fetch_template(storage, template.as_ref(), arch, sink)
        }
        Local::SetContainer { container, options, delete } => proxmox::set(container, options, delete, sink),
        Local::StartContainer { container } => proxmox::start(container, sink),
        Local::RebootContainer { container } => proxmox::reboot(container, sink),
        Local::SnapshotContainer { container, name, before_update } => {
            proxmox::snapshot::make(container, name, *before_update, sink)
        }
        Local::RollBackContainer { container, name } => proxmox::snapshot::roll_back(container, name, sink),
        Local::RemoveSnapshot { container, name } => proxmox::snapshot::remove(container, name, sink),
        Local::CheckpointDatabase => dump::checkpoint(),
        Local::AwaitBoot => boot::await_boot(sink),
        Local::AwaitStack => boot::await_stack(sink),
        Local::AwaitAddress { interface, address } => interface::await_address(interface, *address, sink),
        Local::SetInterface { interface, mtu, address6, gateway6 } => {
            interface::set(interface, *mtu, *address6, *gateway6)
        }
        Local::PullImage { reference, tag } => image::pull(reference, tag, sink),
        Local::InitDatabase { image, major, cluster } => podman::init_database(image, *major, cluster, sink),
        Local::SeparateRoles => roles::separate(sink),
        Local::EmptyUnfinishedDatabase => roles::empty_unfinished(),
        Local::MakeDatabases { names } => roles::make(names),
        Local::DumpDatabase { to } => dump::take(&postgres::there()?, to, sink),
        Local::RestoreDatabase { from, keep_as } => dump::restore(from, keep_as, sink),
        Local::MoveDatabase(wanted) => cluster::move_database(wanted, sink),
        Local::SetClusterAside { major, generation } => cluster::set_aside(*major, *generation),
        Local::RemoveCluster { name } => cluster::remove(name),
        Local::ForgetOneTimeKeys => {
            unit::stop_if_there(&stack::wait_for(&ids::DATABASE_ONE_TIME_KEYS))?;
            dump::forget_one_time_keys()?;
            // They keep nothing over a restart.
            let mut copies = stack::Data::Copies.keepers().into_iter();
            copies.try_for_each(|service| unit::start_service(service, true, Seconds(300), sink))
        }
        Local::InstallSynapseConfig { image, content, mode, owner, check } => {
            podman::write_synapse_candidate(content, *mode, *owner)?;
            if *check {
                podman::check_synapse_candidate(image, sink)?;
            }
            podman::install_synapse_candidate()
        }
        Local::TrySettings { service, argv } => podman::try_settings(*service, argv, sink),
        Local::Flush { .. } => flush::flush_all(),
        Local::SettleStorage { check } => storage::settle(*check, sink),
        Local::RemoveImage { id, names } => image::remove_image(id, names),
        Local::DropDatabase { name } => dump::drop_kept(name),
        Local::ForgetRemoteMedia { before } => synapse::forget_remote_media(*before),
    }
}
