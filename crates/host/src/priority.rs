//! Giving way: what is done beside a server gets the processor and the disk
//! when the server does not want them.

use std::process;

use rustix::process::{getpriority_process, setpriority_process};

use crate::{
    failure::{Doing, Failure},
    process::Program,
};

/// As `nice` counts. With 10 a process gets a tenth of a processor that another
/// one wants all of: with less, a backup on a busy machine would never end.
const NICE: i32 = 10;

/// Has this process, and all that it starts from here on, give way to others:
/// the connection to the guest, too, and what works at its other end. Threads that
/// run already are not meant.
pub fn give_way() -> Result<(), Failure> {
    let doing = || "give way to the server";
    if getpriority_process(None).doing(doing)? < NICE {
        setpriority_process(None, NICE).doing(doing)?;
    }
    // What is its own is never more than asking for less; there is no other way to ask than this program.
    let own = process::id().to_string();
    Program::new(["ionice", "--class", "idle", "--pid", &own]).run(doing(), &|_| {})
}
