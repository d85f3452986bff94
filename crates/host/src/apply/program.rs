//! The program itself, put into the guest.

use std::{
    fs::{self, File},
    path::Path,
    time::Duration,
};

use matrix_podman_core::{
    layout,
    name::{Mode, Owner},
};

use crate::{
    failure::{Doing, Failure},
    file,
    guest::Doorway,
    own_program,
    process::{Input, Program},
};

/// How long each act on the way may take.
const PATIENCE: Duration = Duration::from_secs(120);

/// Puts the running program where people and units of this side find it: a link
/// to the package's, so that apt upgrades both, else a copy.
pub(super) fn install() -> Result<(), Failure> {
    let running = fs::read_link("/proc/self/exe").doing(|| "find the program's own file")?;
    if running == Path::new(layout::PACKAGED) {
        return file::link(Path::new(layout::BINARY), layout::PACKAGED);
    }
    let mut own = File::open("/proc/self/exe").doing(|| "read the program's own file")?;
    file::write_from(Path::new(layout::BINARY), &mut own, Mode(0o755), Owner::ROOT)
}

/// Copies the running program into the guest, sees that it runs there and is
/// whole, then puts it in place.
pub fn push(doorway: &Doorway) -> Result<(), Failure> {
    let doing = format!("put matrix-podman into the guest {}", doorway.guest);
    let partial = format!("{}.new", layout::BINARY);
    let own = File::open("/proc/self/exe").doing(|| "read the program's own file")?;
    // The pipe belongs to the machine's root, so nothing in the guest may open
    // it by name; dd reads the one that it is given.
    Program::new(doorway.argv(&["dd", "status=none", "bs=1M", "conv=fsync", &format!("of={partial}")]))
        .input(Input::Stream(Box::new(own)))
        .deadline(PATIENCE)
        .run(&doing, &|_| {})?;
    Program::new(doorway.argv(&["chmod", "0755", "--", &partial])).deadline(PATIENCE).run(&doing, &|_| {})?;
    let said = Program::new(doorway.argv(&[&partial, "agent", "--digest"]))
        .deadline(PATIENCE)
        .run_keeping(&doing, &|_| {})
        .map_err(|failure| {
            failure.hint(
                "it must be built as this project's .cargo/config.toml says (statically linked) to run in any guest",
            )
        })?;
    if said.trim() != own_program::digest()? {
        return Err(Failure::new(doing, "it did not arrive whole").hint("run the same again"));
    }
    Program::new(doorway.argv(&["mv", "--force", "--", &partial, layout::BINARY]))
        .deadline(PATIENCE)
        .run(&doing, &|_| {})
}
