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

use matrix_podman_core::{
    effect::{Effect, ImageSource},
    ids,
    size::Seconds,
    stack,
};

pub use unit::stop_all;

use crate::{
    failure::Failure,
    file,
    postgres::{self, dump},
    progress::Sink,
    secret, synapse,
};

/// Does one effect here.
pub fn apply(effect: &Effect, sink: &Sink) -> Result<(), Failure> {
    match effect {
        Effect::MakeDir { path, mode, owner, .. } => file::make_dir(path.as_str().as_ref(), *mode, *owner),
        Effect::WriteFile { path, content, mode, owner, .. } => {
            file::write(path.as_str().as_ref(), content.as_bytes(), *mode, *owner)
        }
        Effect::Link { path, target, .. } => file::link(path.as_str().as_ref(), target),
        Effect::RemoveFile { path, .. } => file::remove(path.as_str().as_ref()),
        Effect::MakeSecret { secret } => secret::make(*secret),
        Effect::WriteSecretFile { path, template, owner } => secret::write_file(path, template, *owner),
        Effect::Install { packages, .. } => apt::install(packages, sink),
        Effect::Purge { packages, .. } => apt::purge(packages, sink),
        Effect::Upgrade { stamp } => apt::upgrade(stamp, sink),
        Effect::UpgradeRuntime { image } => runtime::upgrade(image, sink),
        Effect::ApplySysctl => unit::apply_sysctl(sink),
        Effect::ReloadUnits { .. } => unit::reload(),
        Effect::EnableUnit { unit, start, .. } => unit::enable(unit, *start, sink),
        Effect::DisableUnit { unit, .. } => unit::disable(unit),
        Effect::InstallProgram { .. } => program::install(),
        Effect::RestartDaemon { unit } => unit::restart_daemon(unit, sink),
        Effect::StartService { service, restart, timeout } => {
            unit::start_service(*service, *restart, *timeout, sink)
        }
        Effect::StopService { service } => unit::stop_service(*service),
        Effect::AllowIds { start, count } => lxc::allow_ids(*start, *count),
        Effect::NetworkUp(network) => network::up(network, sink),
        Effect::BuildRootfs { archive, packages } => rootfs::build(archive, packages, sink),
        Effect::CreateGuest(guest) => lxc::create(guest, sink),
        Effect::MountDisk { name } => disk::mount(name, sink),
        Effect::GrowGuestDisk { name, size } => disk::grow(name, *size, sink),
        Effect::StartGuest { name } => lxc::start(name, sink),
        Effect::StopGuest { name, timeout } => lxc::stop(name, *timeout, sink),
        Effect::FetchTemplate { storage, template, arch } => {
            proxmox::fetch_template(storage, template.as_ref(), arch, sink)
        }
        Effect::SetContainer { container, options, delete } => proxmox::set(container, options, delete, sink),
        Effect::StartContainer { container } => proxmox::start(container, sink),
        Effect::RebootContainer { container } => proxmox::reboot(container, sink),
        Effect::SnapshotContainer { container, name, before_update } => {
            proxmox::snapshot::make(container, name, *before_update, sink)
        }
        Effect::RollBackContainer { container, name } => proxmox::snapshot::roll_back(container, name, sink),
        Effect::RemoveSnapshot { container, name } => proxmox::snapshot::remove(container, name, sink),
        Effect::CheckpointDatabase => dump::checkpoint(),
        Effect::AwaitBoot => boot::await_boot(sink),
        Effect::AwaitStack => boot::await_stack(sink),
        Effect::AwaitAddress { interface, address } => interface::await_address(interface, *address, sink),
        Effect::SetInterface { interface, mtu, address6, gateway6 } => {
            interface::set(interface, *mtu, *address6, *gateway6)
        }
        Effect::ObtainImage { from: ImageSource::Registry(reference), tag, .. } => {
            image::pull(reference, tag, sink)
        }
        Effect::InitDatabase { image, major, cluster } => podman::init_database(image, *major, cluster, sink),
        Effect::SeparateRoles => roles::separate(sink),
        Effect::MakeDatabases { names } => roles::make(names),
        Effect::DumpDatabase { to } => dump::take(&postgres::there()?, to, sink),
        Effect::RestoreDatabase { from, keep_as } => dump::restore(from, keep_as, sink),
        Effect::MoveDatabase(wanted) => cluster::move_database(wanted, sink),
        Effect::SetClusterAside { major, generation } => cluster::set_aside(*major, *generation),
        Effect::RemoveCluster { name } => cluster::remove(name),
        Effect::ForgetOneTimeKeys => {
            unit::stop_if_there(&stack::wait_for(&ids::DATABASE_ONE_TIME_KEYS))?;
            dump::forget_one_time_keys()?;
            // They keep nothing over a restart.
            let mut copies = stack::Data::Copies.keepers().into_iter();
            copies.try_for_each(|service| unit::start_service(service, true, Seconds(300), sink))
        }
        Effect::InstallSynapseConfig { image, content, mode, owner, check } => {
            podman::write_synapse_candidate(content, *mode, *owner)?;
            if *check {
                podman::check_synapse_candidate(image, sink)?;
            }
            podman::install_synapse_candidate()
        }
        Effect::TrySettings { service, argv } => podman::try_settings(*service, argv, sink),
        Effect::Flush { .. } => flush::flush_all(),
        Effect::SettleStorage { check } => storage::settle(*check, sink),
        Effect::RemoveImage { id, names } => image::remove_image(id, names),
        Effect::DropDatabase { name } => dump::drop_kept(name),
        Effect::ForgetRemoteMedia { before } => synapse::forget_remote_media(*before),
        Effect::ObtainImage { .. }
        | Effect::TakeSecret { .. }
        | Effect::CreateContainer(_)
        | Effect::GrowDisk { .. }
        | Effect::PushProgram { .. }
        | Effect::Edge(_) => {
            Err(Failure::new(effect.describe(), "it takes both sides; this is a mistake in matrix-podman"))
        }
    }
}
