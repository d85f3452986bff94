//! Disks that grow, with the file systems on them.

use std::{fs, os::unix::fs::FileTypeExt as _};

use matrix_podman_core::{
    effect::Container,
    proxmox::{Act, Answer, Question, disk_of, least_file_system},
    size::Bytes,
};

use super::{QUICK, Sink, act::call, ask, settings, unexpected};
use crate::{
    failure::{Doing, Failure},
    process::Program,
    progress::Saying,
};

/// Makes the file system on a mounted device as large as the device: a fixed text, with
/// the device as its argument. `resize2fs` has to see where it is mounted, so it is
/// mounted once more where nobody else sees it, as Proxmox does.
const ENLARGE: &str = "mount --make-rprivate / && mount -- \"$1\" /tmp && exec resize2fs \"$1\"";

/// Makes a disk of a container as large as it should be, and then its file system:
/// Proxmox writes the new size down first, and only warns when the file system stays
/// as it was. `inside` is what the guest says of that file system, when it is one of
/// which that can be said.
pub fn grow(
    container: &Container,
    volume: &str,
    size: Bytes,
    inside: &dyn Fn() -> Option<Bytes>,
    sink: &Sink,
) -> Result<(), Failure> {
    let doing = format!("make {volume} of the container {} larger", container.id);
    let has = || -> Result<Option<Bytes>, Failure> {
        Ok(disk_of(&settings(container)?, volume).map(|(_, size)| size))
    };
    let mut said = Ok(super::act::Said::default());
    if has()?.is_some_and(|has| has < size) {
        said = call(&Act::Resize { id: container.id, volume: volume.to_owned(), size }, &doing, sink);
        if has()?.is_none_or(|has| has < size) {
            return Err(match said {
                Err(failure) => failure,
                Ok(said) => said.nothing_came(&doing, "Proxmox took it, and the disk is as large as before"),
            });
        }
    }
    let fills = || inside().is_none_or(|total| total >= least_file_system(size));
    if fills() {
        return Ok(());
    }
    sink(Saying::WaitsFor("the file system to become as large as its disk".to_owned()));
    let enlarged = enlarge(container, volume, &doing, sink);
    if fills() {
        return Ok(());
    }
    let why = "the disk is larger, and its file system is not";
    let failure = match (enlarged, said) {
        (Err(failure), _) => {
            Failure::new(doing, format!("{why}: {}", failure.why)).evidence(failure.evidence)
        }
        (Ok(()), Err(failure)) => failure,
        (Ok(()), Ok(said)) => said.nothing_came(&doing, why),
    };
    let id = container.id;
    Err(failure.hint(format!(
        "`matrix-podman up` tries it again; if that does not help, `pct shutdown {id} && pct fsck {id} --device {volume}`, \
         then `matrix-podman up`"
    )))
}

fn enlarge(container: &Container, volume: &str, doing: &str, sink: &Sink) -> Result<(), Failure> {
    let settings = settings(container)?;
    let Some((id, _)) = disk_of(&settings, volume) else {
        return Err(Failure::new(doing, format!("{volume} is no Proxmox volume")));
    };
    let path = match ask(Question::VolumePath { volume: id.to_owned() })? {
        Answer::Names(paths) => paths.into_iter().next().unwrap_or_default(),
        other => return Err(unexpected(&other)),
    };
    let line = |text: &str| sink(Saying::Line(text.to_owned()));
    let is_device = fs::metadata(&path).doing(|| format!("look at {path}"))?.file_type().is_block_device();
    let device = if is_device {
        path
    } else {
        // A file, which is seen through a loop device.
        let asked = Program::new(["losetup", "--noheadings", "--output", "NAME", "--associated", &path]);
        let devices = asked.deadline(QUICK).run_keeping(doing, &|_| {})?;
        let device = devices.lines().next().unwrap_or_default().trim().to_owned();
        if device.is_empty() {
            return Err(Failure::new(doing, format!("{path} is mounted nowhere")));
        }
        Program::new(["losetup", "--set-capacity", &device]).deadline(QUICK).run(doing, &line)?;
        device
    };
    let words = ["unshare", "--mount", "--", "sh", "-c", ENLARGE, "sh", &device];
    Program::new(words).deadline(super::ENLARGING).run(doing, &line)
}
