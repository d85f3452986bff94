//! The guest's half of what is asked for as data.

use std::{
    io::{self, Read, Write},
    thread::JoinHandle,
};

use matrix_podman_core::stack::{self, DatabaseName, RoomDatabase};

use super::{drill, files, rehearsal, room_media, switch};
use crate::{
    failure::{Doing, Failure},
    guest::calls::Call,
    json_line,
    postgres::{Session, stream},
};

/// Writes the answer to `call` into `to`.
pub fn serve(call: &Call, to: &mut dyn Write) -> Result<(), Failure> {
    match call {
        Call::List => files::list(to),
        Call::Digests(paths) => files::digests(paths, to),
        Call::Read(path) => {
            let mut file = files::open(&files::root()?, path)?;
            io::copy(&mut file, to).doing(|| format!("read {path} in the guest")).map(drop)
        }
        Call::Dump(name) => stream::send(&called(*name)?, to),
        Call::Drill(drill, media) => drill::serve(drill, media, to),
        Call::SetAside => json_line::write(to, &switch::set_aside()?).doing(|| "tell what is set aside"),
        Call::RoomMedia(room, server) => {
            json_line::write(to, &room_media::find(room, server)?).doing(|| "tell what was found")
        }
        Call::Rehearse(rehearsal) => rehearsal::serve(rehearsal, to),
        Call::Rows(name) => {
            let database = called(*name)?;
            let rows = stream::rows(&database, &mut Session::open(&database)?)?;
            json_line::write(to, &rows).doing(|| "tell the rows")
        }
    }
}

fn called(name: DatabaseName) -> Result<RoomDatabase, Failure> {
    stack::database(name.as_str())
        .ok_or_else(|| Failure::new(format!("read the database {name}"), "there is none"))
}

/// The same as something to read from, where machine and guest are one.
pub fn stream_here(call: Call) -> Result<Here, Failure> {
    let (from, mut to) = io::pipe().doing(|| "make a pipe")?;
    let worker = std::thread::spawn(move || serve(&call, &mut to));
    Ok(Here { from, worker: Some(worker) })
}

/// See [`stream_here`].
pub struct Here {
    from: io::PipeReader,
    worker: Option<JoinHandle<Result<(), Failure>>>,
}

impl Read for Here {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.from.read(buffer)?;
        if count == 0
            && !buffer.is_empty()
            && let Some(worker) = self.worker.take()
        {
            // The end of the pipe is only the end when nothing went wrong.
            match worker.join() {
                Ok(Ok(())) => {}
                Ok(Err(failure)) => return Err(io::Error::other(failure)),
                Err(_) => return Err(io::Error::other("a thread failed")),
            }
        }
        Ok(count)
    }
}
