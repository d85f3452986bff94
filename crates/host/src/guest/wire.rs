//! Frames between the two sides: a length, a kind, a payload.
//!
//! Control messages are JSON, so that a person with a trace can read them;
//! data is raw. Secrets that the operator gives travel here and nowhere else.

use std::{
    io::{self, Read, Write},
    time::Duration,
};

use matrix_podman_core::{effect::Local, fact::Fact, layout::Secret, observed::Answer, people};
use serde::{Deserialize, Serialize};

use crate::{
    failure::Failure,
    guest::calls::{Beside, Call, Step},
    lock::LockHolder,
    progress::Saying,
};

/// Changes when the two sides would no longer understand each other.
pub const PROTOCOL: u32 = 5;
/// Longest message that is accepted, in bytes.
pub const LONGEST_MESSAGE: u32 = 4 << 20;
/// How often the guest says that it is there while it has nothing else to say.
pub const PULSE: Duration = Duration::from_secs(3);
/// How much data one frame carries.
pub const CHUNK: usize = 512 << 10;
/// A kind and a number before data.
const HEAD: u32 = 5;

const MESSAGE: u8 = 0;
const DATA: u8 = 1;
const CUT: u8 = 2;

/// What the outside asks of the guest.
#[derive(Debug, Serialize, Deserialize)]
pub enum Request {
    /// Answer these questions.
    Observe(Vec<Fact>),
    /// Do this.
    Apply(Box<Local>),
    /// Give Podman the OCI archive that follows as data, under this name.
    LoadImage {
        /// The local name that it gets.
        tag: String,
    },
    /// Put the data that follow into the file of this secret.
    PutSecret(Secret),
    /// Take the guest's lock, for as long as the connection lasts.
    Lock(LockHolder),
    /// Run one of the program's own read-only or operator-given commands and
    /// send what it prints.
    Follow(Vec<String>),
    /// Ask Synapse something about people.
    People(Box<people::Call>),
    /// Send something that a backup holds as data. The guest sends one piece
    /// for each byte of data that it gets, so that what comes faster than it is
    /// worked on waits in the guest.
    Stream(Call),
    /// Do one act with the files of a snapshot; what a file is to hold follows as
    /// data.
    Restore(Beside, Step),
}

/// What the guest says back.
#[derive(Debug, Serialize, Deserialize)]
pub enum Reply {
    /// First of all: who speaks. Every version says this in this form, so that each can tell
    /// that it does not understand the rest.
    Hello {
        /// Its [`PROTOCOL`].
        protocol: u32,
        /// Its version.
        version: String,
        /// SHA-256 of its file, in hexadecimal.
        digest: String,
    },
    /// Something about how the work goes.
    Said(Saying),
    /// Answers to [`Request::Observe`], in its order.
    Answers(Vec<Answer>),
    /// Answer to [`Request::People`].
    People(Box<people::Answer>),
    /// It is done.
    Done,
    /// The end of a followed command.
    Ended(Option<i32>),
    /// It could not be done.
    Failed(Failure),
    /// Nothing new; the guest goes on. So silence means that it does not.
    Alive,
}

/// What travels in a message frame.
#[derive(Debug, Serialize, Deserialize)]
pub struct Envelope<T> {
    /// Which request it belongs to.
    pub id: u32,
    /// What is said.
    pub body: T,
}

/// One frame.
#[derive(Debug)]
pub enum Frame<T> {
    /// A message.
    Message(Envelope<T>),
    /// Data for the request; an empty piece is their end.
    Data {
        /// Which request they belong to.
        id: u32,
        /// The bytes.
        bytes: Vec<u8>,
    },
    /// No more data come for this request, and what came is not all.
    Cut(u32),
}

/// Writes a message.
pub fn write_message<T: Serialize>(to: &mut impl Write, id: u32, body: &T) -> io::Result<()> {
    #[derive(Serialize)]
    struct Borrowed<'a, T> {
        id: u32,
        body: &'a T,
    }
    let bytes = serde_json::to_vec(&Borrowed { id, body })?;
    if u32::try_from(bytes.len()).map_or(true, |length| length >= LONGEST_MESSAGE) {
        let why = format!("a message of {} bytes; {LONGEST_MESSAGE} are the most", bytes.len());
        return Err(io::Error::new(io::ErrorKind::InvalidInput, why));
    }
    write_frame(to, MESSAGE, &[], &bytes)
}

/// Writes a piece of data; an empty one is the end.
pub fn write_data(to: &mut impl Write, id: u32, bytes: &[u8]) -> io::Result<()> {
    write_frame(to, DATA, &id.to_be_bytes(), bytes)
}

/// Says that the data of a request end before their end.
pub fn write_cut(to: &mut impl Write, id: u32) -> io::Result<()> {
    write_frame(to, CUT, &id.to_be_bytes(), &[])
}

fn write_frame(to: &mut impl Write, kind: u8, head: &[u8], body: &[u8]) -> io::Result<()> {
    let length = u32::try_from(1 + head.len() + body.len()).map_err(io::Error::other)?;
    to.write_all(&length.to_be_bytes())?;
    to.write_all(&[kind])?;
    to.write_all(head)?;
    to.write_all(body)?;
    to.flush()
}

/// Reads one frame; `None` at the end of the connection.
pub fn read_frame<T: for<'de> Deserialize<'de>>(from: &mut impl Read) -> io::Result<Option<Frame<T>>> {
    let mut length = [0; 4];
    match from.read_exact(&mut length) {
        Err(e) if e.kind() == io::ErrorKind::UnexpectedEof => return Ok(None),
        other => other?,
    }
    let length = u32::from_be_bytes(length);
    let mut kind = [0];
    if length > 0 {
        from.read_exact(&mut kind)?;
    }
    let longest = if kind[0] == MESSAGE { LONGEST_MESSAGE } else { HEAD + CHUNK as u32 };
    if length == 0 || length > longest {
        return Err(io::Error::new(io::ErrorKind::InvalidData, format!("a frame of {length} bytes")));
    }
    let rest = u64::from(length) - 1;
    match kind[0] {
        MESSAGE => Ok(Some(Frame::Message(serde_json::from_slice(&read_body(from, rest)?)?))),
        DATA | CUT => {
            let mut id = [0; 4];
            let rest = rest
                .checked_sub(4)
                .ok_or_else(|| io::Error::new(io::ErrorKind::InvalidData, "a data frame without a number"))?;
            from.read_exact(&mut id)?;
            let id = u32::from_be_bytes(id);
            let bytes = read_body(from, rest)?;
            Ok(Some(if kind[0] == CUT { Frame::Cut(id) } else { Frame::Data { id, bytes } }))
        }
        other => Err(io::Error::new(io::ErrorKind::InvalidData, format!("a frame of kind {other}"))),
    }
}

/// What a frame carries, whole.
fn read_body(from: &mut impl Read, length: u64) -> io::Result<Vec<u8>> {
    let size = usize::try_from(length).map_err(io::Error::other)?;
    // What is only claimed takes no memory.
    let mut body = Vec::with_capacity(size.min(CHUNK));
    from.take(length).read_to_end(&mut body)?;
    if body.len() < size {
        return Err(io::ErrorKind::UnexpectedEof.into());
    }
    Ok(body)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frames_survive_the_way() {
        let mut pipe = Vec::new();
        write_message(&mut pipe, 7, &Reply::Done).unwrap();
        write_data(&mut pipe, 8, b"abc").unwrap();
        write_data(&mut pipe, 8, b"").unwrap();
        write_cut(&mut pipe, 9).unwrap();
        let mut from = pipe.as_slice();
        assert!(matches!(
            read_frame::<Reply>(&mut from).unwrap(),
            Some(Frame::Message(Envelope { id: 7, body: Reply::Done }))
        ));
        assert!(
            matches!(read_frame::<Reply>(&mut from).unwrap(), Some(Frame::Data { id: 8, bytes }) if bytes == b"abc")
        );
        assert!(
            matches!(read_frame::<Reply>(&mut from).unwrap(), Some(Frame::Data { bytes, .. }) if bytes.is_empty())
        );
        assert!(matches!(read_frame::<Reply>(&mut from).unwrap(), Some(Frame::Cut(9))));
        assert!(read_frame::<Reply>(&mut from).unwrap().is_none());
    }

    #[test]
    fn noise_is_refused() {
        for noise in [
            &b"\0\0\0\0"[..],
            b"\xff\xff\xff\xff\0",
            // More data than a piece has, and a longer message than any.
            b"\0\x08\0\x06\x01",
            b"\0\x40\0\x01\0",
            b"\0\0\0\x02\x09x",
            b"\0\0\0\x03\x01ab",
            b"\0\0\0\x02\0{",
        ] {
            assert!(read_frame::<Reply>(&mut &*noise).is_err(), "{noise:?}");
        }
        assert!(read_frame::<Reply>(&mut &b"\0\0"[..]).unwrap().is_none());
    }
}
