//! The units that run the stack.

use super::{Diff, Resource, ResourceId, Risk, Site, files::compare, guest_ready, guest_state, image};
use crate::{
    config::Config,
    desired::DesiredFile,
    effect::{Effect, Local},
    fact::{GuestState, Side},
    ids, layout,
    lock::Lock,
    name::AbsPath,
    observed::{Gap, Observed, Seen},
    render::quadlet,
    service::ServiceId,
    stack::{self as rooms, Facts},
};

pub(super) fn all(site: &Site) -> Vec<Box<dyn Resource>> {
    let mut all: Vec<Box<dyn Resource>> = vec![Box::new(Networks { site: site.clone() })];
    for service in rooms::services(&site.config) {
        all.push(Box::new(Unit { site: site.clone(), service }));
    }
    all.push(Box::new(Boot { site: site.clone() }));
    all
}

/// The id of the resource that sees to the unit of `service`.
pub(super) fn unit_id(service: ServiceId) -> ResourceId {
    ids::unit(service)
}

/// What rendering must know of the guest.
pub fn render_facts(site: &Site, seen: &Observed) -> Seen<Facts> {
    // A guest that is not there yet will be what the machine lets it be.
    let is_absent = !site.backend.is_this_machine() && guest_state(site, seen)? == GuestState::Absent;
    let guest = seen.system(if is_absent { Side::Machine } else { Side::Guest })?;
    // What the guest sees is the machine's; what it may use was set.
    let memory = site.config.guest.memory.min(guest.memory);
    let cores = site.config.guest.cores.get().min(guest.cores);
    let has =
        |controller: &str| guest.cgroup2.as_ref().is_some_and(|all| all.iter().any(|c| c == controller));
    Ok(Facts {
        guest_memory: memory,
        cores,
        memory_limits: has("memory"),
        pids_limits: has("pids"),
        cpu_weights: has("cpu"),
        ipv6: site.config.guest.ipv6,
    })
}

/// A lock with just the image of `service`, once the guest has it.
pub(super) fn partial_lock(site: &Site, service: ServiceId, seen: &Observed) -> Seen<Option<Lock>> {
    Ok(image::resolved(site, service, seen)?.map(|image| {
        let mut lock = Lock::new(site.config.server_name.clone());
        lock.images.insert(service, image);
        lock
    }))
}

/// The networks and the unit of the whole stack.
struct Networks {
    site: Site,
}

impl Resource for Networks {
    fn id(&self) -> ResourceId {
        ids::UNIT_STACK
    }

    fn needs(&self) -> Vec<ResourceId> {
        guest_ready()
    }

    fn diff(&self, seen: &Observed) -> Seen<Diff> {
        let facts = render_facts(&self.site, seen)?;
        let mut files = quadlet::networks(&self.site.config, &facts);
        files.push(quadlet::stack_unit());
        let difference = compare(&[], &files, seen)?;
        if difference.is_empty() {
            return Ok(Diff::settled("networks and matrix-stack.service are as they should be"));
        }
        Ok(difference.step("the networks and the stack's unit", Vec::new()))
    }
}

/// The unit of one service.
struct Unit {
    site: Site,
    service: ServiceId,
}

impl Resource for Unit {
    fn id(&self) -> ResourceId {
        unit_id(self.service)
    }

    fn needs(&self) -> Vec<ResourceId> {
        // The unit's label vouches for the files that the service reads, so they
        // come first.
        let mut needs = vec![image::id(self.service), ids::UNIT_STACK, ids::STACK_FILES];
        needs.push(super::update::id());
        needs.extend(rooms::room(self.service).before_unit().iter().cloned());
        needs
    }

    fn diff(&self, seen: &Observed) -> Seen<Diff> {
        let facts = render_facts(&self.site, seen)?;
        let Some(lock) = partial_lock(&self.site, self.service, seen)? else {
            return Ok(Diff::later(
                format!("Write {}", layout::container_file(self.service)),
                format!("the image of {} is not there yet", self.service),
            ));
        };
        let room = rooms::room(self.service);
        let tried = room.tried_files(&self.site.config);
        let units = quadlet::container(self.service, &self.site.config, &lock, &facts)
            .map_err(|missing| Gap::Unknown(missing.to_string()))?;
        let files: Vec<DesiredFile> = tried.iter().cloned().chain(units).collect();
        let mut difference = compare(&[], &files, seen)?;
        if difference.is_empty() {
            return Ok(Diff::settled("it is as it should be"));
        }
        let unit = layout::container_file(self.service);
        let (mut before, mut after) = (Vec::new(), Vec::new());
        let is_other = |file: &DesiredFile| difference.replaces(&file.path);
        let trial = room.trial(&self.site.config, &facts);
        if let Some(argv) = trial.filter(|_| difference.replaces(&unit) || tried.iter().any(is_other)) {
            let candidates: Vec<DesiredFile> = tried.iter().map(candidate).collect();
            before.extend(candidates.iter().map(|file| super::write(Side::Guest, file)));
            before.push(Effect::Here(Local::TrySettings { service: self.service, argv }));
            after.extend(
                candidates
                    .into_iter()
                    .map(|file| Effect::Here(Local::RemoveFile { side: Side::Guest, path: file.path })),
            );
        }
        let sockets = layout::socket_file(self.service);
        let moves = difference.replaces(&sockets);
        if moves {
            // systemd opens other ports only while nobody has the old ones.
            before.push(Effect::Here(Local::StopService { service: self.service }));
        }
        let is_unit = |path: &AbsPath| *path == unit || *path == sockets;
        if difference.changes.iter().any(|change| is_unit(&change.path)) {
            after.push(Effect::Here(Local::ReloadUnits { side: Side::Guest }));
        }
        difference.effects.splice(0..0, before);
        let mut step = difference.step(&format!("{}'s unit", self.service.title()), after);
        if let Diff::Change(step) = &mut step
            && moves
        {
            step.risk = Risk::Interrupts;
        }
        Ok(step)
    }
}

/// The same file beside its place, for the service to read first.
fn candidate(file: &DesiredFile) -> DesiredFile {
    DesiredFile { path: AbsPath::known(format!("{}{}", file.path, layout::CANDIDATE)), ..file.clone() }
}

/// The stack starts with the guest.
struct Boot {
    site: Site,
}

impl Resource for Boot {
    fn id(&self) -> ResourceId {
        ids::STACK_BOOT
    }

    fn needs(&self) -> Vec<ResourceId> {
        super::service::all_ids(&self.site.config).collect()
    }

    fn diff(&self, seen: &Observed) -> Seen<Diff> {
        let unit = layout::STACK_UNIT;
        let state =
            seen.units(Side::Guest, all_units(&self.site.config).iter().map(String::as_str))?.get(unit);
        // A guest of its own has nothing else to start for.
        let wanted = !self.site.backend.is_this_machine() || self.site.config.guest.start_at_boot;
        let enabled = state.is_some_and(|s| s.file == "enabled");
        let active = state.is_some_and(|s| s.active == "active");
        let unit = unit.to_owned();
        Ok(match (wanted, enabled) {
            (true, true) if active => Diff::settled("the stack starts with the guest"),
            (true, _) => Diff::quiet(
                "Start the stack whenever the guest starts",
                "a power cut should not need a person",
                vec![Effect::Here(Local::EnableUnit { side: Side::Guest, unit, start: true })],
            ),
            (false, true) => Diff::quiet(
                "Let the stack no longer start with this machine",
                "the config says so",
                vec![Effect::Here(Local::DisableUnit { side: Side::Guest, unit })],
            ),
            (false, false) => Diff::settled("the stack does not start automatically, as the config says"),
        })
    }
}

/// All units of the stack, so that every question about one is the same question.
pub fn all_units(config: &Config) -> Vec<String> {
    let mut units: Vec<String> = rooms::services(config).into_iter().map(ServiceId::unit).collect();
    units.push(layout::STACK_UNIT.to_owned());
    units
}
