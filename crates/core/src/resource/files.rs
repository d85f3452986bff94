//! Files and folders that are simply there as they should be, in families.

use super::{
    Diff, FileChange, Resource, ResourceId, Risk, Site, Step, guest_ready, lower_first, stack::render_facts,
    write,
};
use crate::{
    desired::{DesiredFile, DesiredFolder},
    effect::{Effect, Local},
    fact::{FileKind, Side},
    ids,
    name::AbsPath,
    observed::{Observed, Seen},
    render::{signatures, system},
    stack,
};

pub(super) fn all(site: &Site) -> Vec<Box<dyn Resource>> {
    vec![
        Box::new(Settings { site: site.clone() }),
        Box::new(Kernel { site: site.clone() }),
        Box::new(Timezone { site: site.clone() }),
        Box::new(PodmanSettings { site: site.clone() }),
        Box::new(StackFiles { site: site.clone() }),
    ]
}

/// What differs between files as they should be and as they are.
pub(super) struct Difference {
    /// The effects that write what differs.
    pub effects: Vec<Effect>,
    /// The same for people.
    pub changes: Vec<FileChange>,
    /// What each of them is for.
    pub whys: Vec<&'static str>,
}

impl Difference {
    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.effects.is_empty()
    }

    /// Whether a file that is there is to be another.
    pub fn replaces(&self, path: &AbsPath) -> bool {
        self.changes.iter().any(|change| change.path == *path && change.before.is_some())
    }

    /// The step that removes the difference; `what` names the family.
    pub fn step(self, what: &str, after: Vec<Effect>) -> Diff {
        let names: Vec<&str> = self.changes.iter().map(|c| c.path.as_str()).collect();
        let what = match names.as_slice() {
            [] => format!("Make the folders of {what}"),
            [one] => format!("Write {one}"),
            many => format!("Write {} files of {what}", many.len()),
        };
        let why = match self.whys.first() {
            Some(why) if self.whys.len() == 1 => format!("it is not as it should be: {}", lower_first(why)),
            _ => "they are not as they should be".to_owned(),
        };
        let effects = self.effects.into_iter().chain(after).collect();
        Diff::Change(Step { what, why, risk: Risk::None, changes: self.changes, effects })
    }
}

/// Compares files in the guest.
pub(super) fn compare(folders: &[DesiredFolder], files: &[DesiredFile], seen: &Observed) -> Seen<Difference> {
    compare_on(Side::Guest, folders, files, seen)
}

/// Compares files on one side.
pub(super) fn compare_on(
    side: Side,
    folders: &[DesiredFolder],
    files: &[DesiredFile],
    seen: &Observed,
) -> Seen<Difference> {
    let mut difference = Difference { effects: Vec::new(), changes: Vec::new(), whys: Vec::new() };
    // All questions are put before the first answer is looked at, so that they
    // travel together.
    let states: Vec<_> = files.iter().map(|file| seen.file(side, &file.path)).collect();
    let metas: Vec<_> = folders.iter().map(|folder| seen.meta(side, &folder.path)).collect();
    for (folder, state) in folders.iter().zip(metas) {
        let right = state?
            .is_some_and(|s| s.kind == FileKind::Dir && s.mode == folder.mode && s.owner == folder.owner);
        if !right {
            difference.effects.push(Effect::Here(Local::MakeDir {
                side,
                path: folder.path.clone(),
                mode: folder.mode,
                owner: folder.owner,
            }));
        }
    }
    for (file, state) in files.iter().zip(states) {
        let state = state?;
        let right = state.is_some_and(|s| {
            s.content.as_deref() == Some(file.content.as_str())
                && s.mode == file.mode
                && s.owner == file.owner
        });
        if !right {
            difference.effects.push(write(side, file));
            difference.whys.push(file.why);
            difference.changes.push(FileChange {
                side,
                path: file.path.clone(),
                before: state.and_then(|s| s.content.clone()),
                after: file.content.clone(),
            });
        }
    }
    Ok(difference)
}

fn is_podmans(file: &DesiredFile) -> bool {
    file.path.as_str().starts_with("/etc/containers/")
}

fn is_kernels(file: &DesiredFile) -> bool {
    file.path.as_str() == system::SYSCTL_FILE
}

/// The guest's own settings: logs, updates, language.
struct Settings {
    site: Site,
}

impl Resource for Settings {
    fn id(&self) -> ResourceId {
        ids::GUEST_SETTINGS
    }

    fn needs(&self) -> Vec<ResourceId> {
        // dpkg would ask about a configuration file that is there before its package.
        vec![ids::GUEST_PACKAGES]
    }

    fn diff(&self, seen: &Observed) -> Seen<Diff> {
        let facts = render_facts(&self.site, seen)?;
        let files: Vec<DesiredFile> = system::files(&self.site.config, &facts)
            .into_iter()
            .filter(|file| !is_podmans(file) && !is_kernels(file))
            .collect();
        let difference = compare(&[], &files, seen)?;
        if difference.is_empty() {
            return Ok(Diff::settled(as_they_should_be(&files)));
        }
        let journald = difference.changes.iter().any(|c| c.path.as_str().contains("journald"));
        let after = if journald {
            vec![Effect::Here(Local::RestartDaemon { unit: "systemd-journald.service".to_owned() })]
        } else {
            vec![]
        };
        Ok(difference.step("the guest's settings", after))
    }
}

/// Kernel settings: in their file and in force.
struct Kernel {
    site: Site,
}

impl Resource for Kernel {
    fn id(&self) -> ResourceId {
        ids::GUEST_KERNEL
    }

    fn needs(&self) -> Vec<ResourceId> {
        vec![ids::GUEST_PACKAGES]
    }

    fn diff(&self, seen: &Observed) -> Seen<Diff> {
        let facts = render_facts(&self.site, seen)?;
        let files: Vec<DesiredFile> =
            system::files(&self.site.config, &facts).into_iter().filter(is_kernels).collect();
        let settings = system::sysctl_settings(&facts);
        let difference = compare(&[], &files, seen);
        let states: Vec<_> = settings
            .iter()
            .map(|(key, _)| {
                seen.file(Side::Guest, &AbsPath::known(format!("/proc/sys/{}", key.replace('.', "/"))))
            })
            .collect();
        let mut wrong = Vec::new();
        for ((key, value), state) in settings.iter().zip(states) {
            // A setting that this kernel does not have protects from nothing.
            let Some(state) = state? else { continue };
            if state.content.as_deref().map(str::trim) != Some(value.to_string().as_str()) {
                wrong.push(key.as_str());
            }
        }
        let difference = difference?;
        if difference.is_empty() && wrong.is_empty() {
            return Ok(Diff::settled(format!("{} settings are in force", settings.len())));
        }
        if difference.is_empty() {
            return Ok(Diff::quiet(
                "Apply the kernel's network settings again",
                format!("{} is not in force", wrong.join(", ")),
                vec![Effect::Here(Local::ApplySysctl)],
            ));
        }
        Ok(difference.step("the kernel's settings", vec![Effect::Here(Local::ApplySysctl)]))
    }
}

/// The guest's time zone.
struct Timezone {
    site: Site,
}

impl Resource for Timezone {
    fn id(&self) -> ResourceId {
        ids::GUEST_TIMEZONE
    }

    fn needs(&self) -> Vec<ResourceId> {
        vec![ids::GUEST_PACKAGES]
    }

    fn diff(&self, seen: &Observed) -> Seen<Diff> {
        let path = AbsPath::known("/etc/localtime");
        let target = system::localtime_target(&self.site.config).to_string();
        let state = seen.meta(Side::Guest, &path)?;
        if state.and_then(|s| s.target.as_deref()) == Some(target.as_str()) {
            return Ok(Diff::settled(format!("it is {}", self.site.config.timezone)));
        }
        Ok(Diff::quiet(
            format!("Set the guest's time zone to {}", self.site.config.timezone),
            "logs and schedules should say the time that people live by",
            vec![Effect::Here(Local::Link { side: Side::Guest, path, target })],
        ))
    }
}

/// Podman's settings, which must stand before it is first used.
struct PodmanSettings {
    site: Site,
}

impl Resource for PodmanSettings {
    fn id(&self) -> ResourceId {
        ids::GUEST_PODMAN
    }

    fn needs(&self) -> Vec<ResourceId> {
        guest_ready()
    }

    fn diff(&self, seen: &Observed) -> Seen<Diff> {
        let facts = render_facts(&self.site, seen)?;
        let files: Vec<DesiredFile> =
            system::files(&self.site.config, &facts).into_iter().filter(is_podmans).collect();
        // A key that was taken out of the config is asked for no more.
        let left: Vec<AbsPath> = signatures::places()
            .into_iter()
            .filter(|path| files.iter().all(|file| file.path != *path))
            .collect();
        let (difference, there) = (
            compare(&[], &files, seen),
            left.iter().map(|path| seen.meta(Side::Guest, path)).collect::<Vec<_>>(),
        );
        let difference = difference?;
        let mut removed = Vec::new();
        for (path, there) in left.into_iter().zip(there) {
            if there?.is_some() {
                removed.push(Effect::Here(Local::RemoveFile { side: Side::Guest, path }));
            }
        }
        if difference.is_empty() && removed.is_empty() {
            return Ok(Diff::settled(as_they_should_be(&files)));
        }
        if difference.is_empty() {
            return Ok(Diff::quiet(
                "No longer ask for signatures of images",
                "no image has a signature_key in the config any more",
                removed,
            ));
        }
        Ok(difference.step("Podman's settings", removed))
    }
}

/// Folders of the stack, and what its services read, Synapse's config apart.
struct StackFiles {
    site: Site,
}

impl Resource for StackFiles {
    fn id(&self) -> ResourceId {
        ids::STACK_FILES
    }

    fn needs(&self) -> Vec<ResourceId> {
        let mut needs = guest_ready();
        needs.push(ids::SECRETS);
        needs
    }

    fn diff(&self, seen: &Observed) -> Seen<Diff> {
        let facts = render_facts(&self.site, seen)?;
        let files: Vec<DesiredFile> = stack::rooms(&self.site.config)
            .flat_map(|room| room.files(&self.site.config, &facts))
            .filter(|file| !super::synapse::is_checked(&file.path))
            .collect();
        let difference = compare(&stack::folders(&self.site.config), &files, seen)?;
        if difference.is_empty() {
            return Ok(Diff::settled(as_they_should_be(&files)));
        }
        Ok(difference.step("the stack", Vec::new()))
    }
}

/// Says of files that nothing is to be done to them.
fn as_they_should_be(files: &[DesiredFile]) -> String {
    match files {
        [file] => format!("{} is as it should be", file.path),
        files => format!("{} files are as they should be", files.len()),
    }
}
