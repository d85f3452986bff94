//! Podman's storage, on the disk: what it is given is flushed before anything
//! names it, and what a power cut may have taken from it is looked for.

use std::{
    fs,
    path::Path,
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use matrix_podman_core::{
    name::{Mode, Owner},
    storage::{self, Storage},
};

use super::unit;
use crate::{
    failure::{Doing, Failure},
    file,
    process::Program,
    progress::{Saying, Sink},
};

/// Where Podman keeps images and containers of root's.
const ROOT: &str = "/var/lib/containers/storage";
/// How long Podman may take to read all that it keeps.
const READING: Duration = Duration::from_secs(3600);

/// How many pieces of work of this process write to it.
static WRITERS: Mutex<usize> = Mutex::new(0);

/// A piece of work that gives Podman something to keep. Until it is flushed, the
/// note says that a power cut may take it.
pub(super) struct Writing {
    flushed: bool,
}

impl Writing {
    /// Notes that it begins, after looking for what an earlier power cut took.
    pub fn begin(sink: &Sink) -> Result<Self, Failure> {
        let mut writers = writers();
        if *writers == 0 {
            let boot = boot()?;
            if noted().is_some_and(|note| note.is_doubtful(&boot)) {
                check(sink)?;
            }
            note(&Storage::written(&boot))?;
        }
        *writers += 1;
        Ok(Self { flushed: false })
    }

    /// Has the disk hold what was written: to be called before anything names it.
    pub fn flush(&mut self) -> Result<(), Failure> {
        file::flush(Path::new(ROOT))?;
        self.flushed = true;
        Ok(())
    }
}

impl Drop for Writing {
    fn drop(&mut self) {
        let mut writers = writers();
        *writers = writers.saturating_sub(1);
        // The flush was of everything, also of what an earlier attempt of this boot
        // left. A note that cannot be taken back only has it checked once more.
        if *writers == 0 && self.flushed {
            let _ = note(&Storage::Flushed);
        }
    }
}

/// Has the disk hold all that Podman keeps, after reading all of it with `read`.
pub(super) fn settle(read: bool, sink: &Sink) -> Result<(), Failure> {
    let _writers = writers();
    if read {
        check(sink)?;
    }
    file::flush(Path::new(ROOT))?;
    note(&Storage::Flushed)
}

/// Has Podman compare what is in every file of every layer with its checksum
/// (`--quick`; without it, owners and modes are compared too, and folders that a
/// layer does not name count as changed). What differs is removed, with what runs
/// from it, and comes again as what is missing does.
fn check(sink: &Sink) -> Result<(), Failure> {
    let doing = "check the images that Podman keeps";
    sink(Saying::WaitsFor(
        "Podman to read every image, since the power went while they were written".to_owned(),
    ));
    let podman = |options: &[&str]| {
        let argv = ["podman", "system", "check", "--quick"].into_iter().chain(options.iter().copied());
        Program::new(argv).deadline(READING)
    };
    if podman(&[]).output().status == Some(0) {
        return Ok(());
    }
    // What nothing runs from is removed without touching what runs.
    podman(&["--repair"]).output();
    if podman(&[]).output().status == Some(0) {
        return Ok(());
    }
    sink(Saying::WaitsFor("the services to stop, whose images are damaged".to_owned()));
    unit::stop_all()?;
    podman(&["--repair", "--force"])
        .run(doing, &|line| sink(Saying::Line(line.to_owned())))
        .or_else(|failure| match podman(&[]).output().status {
            Some(0) => Ok(()),
            _ => Err(failure.hint(
                "`podman system reset` in the guest removes all images and no data; then `matrix-podman up` loads them again",
            )),
        })
}

fn writers() -> MutexGuard<'static, usize> {
    WRITERS.lock().unwrap_or_else(PoisonError::into_inner)
}

fn boot() -> Result<String, Failure> {
    fs::read_to_string(storage::BOOT_ID).doing(|| "ask the kernel which boot this is")
}

fn noted() -> Option<Storage> {
    fs::read_to_string(storage::file().as_str()).ok().and_then(|text| Storage::parse(&text))
}

fn note(storage: &Storage) -> Result<(), Failure> {
    file::write(Path::new(storage::file().as_str()), storage.render().as_bytes(), Mode(0o644), Owner::ROOT)
}
