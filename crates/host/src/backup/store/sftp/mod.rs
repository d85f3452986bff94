//! A folder on another machine, through the operator's own ssh.

mod session;
mod wire;

use std::{
    collections::VecDeque,
    fmt,
    sync::{Arc, Mutex, PoisonError, mpsc::Receiver},
    time::{Duration, UNIX_EPOCH},
};

use bytes::Bytes;
use matrix_podman_core::backup::SftpPlace;
use rustic_core::BytesList;

use self::{
    session::{Lost, Session},
    wire::{Attributes, Packet, Words, code, flag, kind},
};
use super::{DATA, FOLDERS, Item, Limit, Name, Store, StoreTraffic, Trouble};
use crate::failure::Failure;

/// How much is read or written with one request; every server takes that.
const PIECE: usize = 32 << 10;
/// How many requests are under way at a time, so that a long way does not make it slow.
const UNDER_WAY: usize = 64;
/// Ends the names of files that are not whole yet.
const PARTIAL: &str = ".matrix-podman-partial";
/// Replaces what is there, and is known to OpenSSH.
const RENAME_OVER: &str = "posix-rename@openssh.com";
/// Puts a file onto the disk.
const FLUSH: &str = "fsync@openssh.com";
/// Says how much room there is.
const ROOM: &str = "statvfs@openssh.com";

/// A folder that ssh reaches.
pub(super) struct Sftp {
    place: SftpPlace,
    traffic: StoreTraffic,
    session: Mutex<Option<Arc<Session>>>,
}

impl fmt::Debug for Sftp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.shown())
    }
}

/// A folder's items with what is known of them.
type Listed = Vec<(String, Attributes)>;

impl Sftp {
    pub(super) fn new(place: &SftpPlace, traffic: &StoreTraffic) -> Result<Self, Failure> {
        Ok(Self { place: place.clone(), traffic: traffic.clone(), session: Mutex::new(None) })
    }

    fn shown(&self) -> String {
        format!("{} on {}", self.place.path(), self.place.host().host())
    }

    fn path(&self, below: &str) -> String {
        format!("{}/{below}", self.place.path())
    }

    /// The login, made when there is none.
    fn session(&self) -> Result<Arc<Session>, Lost> {
        let mut session = self.session.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(session) = session.as_ref() {
            return Ok(Arc::clone(session));
        }
        let fresh = Arc::new(Session::open(self.place.host())?);
        *session = Some(Arc::clone(&fresh));
        Ok(fresh)
    }

    /// Lets go of a login that is lost, unless somebody has made a new one.
    fn forget(&self, lost: &Arc<Session>) {
        let mut session = self.session.lock().unwrap_or_else(PoisonError::into_inner);
        if session.as_ref().is_some_and(|session| Arc::ptr_eq(session, lost)) {
            *session = None;
        }
    }

    /// Does something there, and again when the connection was lost.
    fn there<T>(&self, what: &str, act: impl Fn(&Session) -> Result<T, Lost>) -> Result<T, Failure> {
        let doing = || format!("{what} in {}", self.shown());
        self.traffic.again(|| {
            let session = self.session().map_err(|lost| self.trouble(&doing(), lost))?;
            act(&session).map_err(|lost| {
                if matches!(lost, Lost::Connection(..)) {
                    self.forget(&session);
                }
                self.trouble(&doing(), lost)
            })
        })
    }

    fn trouble(&self, doing: &str, lost: Lost) -> Trouble {
        let host = self.place.host().host();
        let (why, said) = match lost {
            Lost::Refused(_, why) => return Failure::new(doing, why).into(),
            Lost::Connection(why, said) => (why, said),
        };
        let says = |words: &str| said.iter().any(|line| line.contains(words));
        let failure = |why: &str| Failure::new(doing, why).evidence(said.clone());
        if says("REMOTE HOST IDENTIFICATION HAS CHANGED") {
            return failure("ssh knows the machine by another key: it is another machine, or was made anew")
                .hint(format!(
                    "find out which; if it was made anew: ssh-keygen -R {host}, then `ssh {host}` once, as root"
                ))
                .into();
        }
        if says("Host key verification failed") {
            return failure("ssh does not know the machine's key yet")
                .hint(format!("type `ssh {host}` once, as root, and compare the key"))
                .into();
        }
        if says("Permission denied") {
            return failure("ssh is not let in")
                .hint(format!(
                    "root's ssh needs a key that {host} takes without a question: ssh-copy-id {host}"
                ))
                .into();
        }
        if says("subsystem request failed") {
            return failure("its sshd has no SFTP")
                .hint(format!("turn on the subsystem sftp on {host}"))
                .into();
        }
        let hint = format!("does `ssh {host}` get there from this machine, as root?");
        Trouble::passing(Failure::new(doing, why).evidence(said.clone()).hint(hint))
    }

    /// Everything in a folder.
    fn listed(session: &Session, path: &str) -> Result<Listed, Lost> {
        let handle = match session.call(kind::OPENDIR, Words::default().text(path)) {
            Err(lost) if lost.is_not_there() => return Ok(Vec::new()),
            answer => handle(&answer?)?,
        };
        let mut listed = Vec::new();
        loop {
            match session.call(kind::READDIR, Words::default().text(&handle)) {
                Ok(packet) => names(&packet, &mut listed).ok_or_else(strange)?,
                Err(Lost::Refused(code::END, _)) => break,
                Err(lost) => return Err(lost),
            }
        }
        session.call(kind::CLOSE, Words::default().text(&handle))?;
        Ok(listed)
    }

    fn attributes(session: &Session, path: &str) -> Result<Option<Attributes>, Lost> {
        match session.call(kind::STAT, Words::default().text(path)) {
            Ok(packet) => {
                let mut words = packet.words();
                words.u32();
                let found = (packet.kind == kind::ATTRS).then(|| words.attributes()).flatten();
                found.map(Some).ok_or_else(strange)
            }
            Err(lost) if lost.is_not_there() => Ok(None),
            Err(lost) => Err(lost),
        }
    }

    /// Makes a folder, unless it is there, with those above it.
    fn make_folder(session: &Session, path: &str) -> Result<(), Lost> {
        if Self::attributes(session, path)?.is_some_and(|found| found.is_folder()) {
            return Ok(());
        }
        if let Some((above, _)) = path.rsplit_once('/').filter(|(above, _)| !above.is_empty()) {
            Self::make_folder(session, above)?;
        }
        match session.call(kind::MKDIR, Words::default().text(path).mode(0o700)) {
            // Somebody else may have made it meanwhile.
            Err(Lost::Refused(..)) if Self::attributes(session, path)?.is_some_and(|f| f.is_folder()) => {
                Ok(())
            }
            other => other.map(drop),
        }
    }

    /// Writes beside the place, and puts it there.
    fn put(session: &Session, path: &str, content: &BytesList, limit: &Limit) -> Result<(), Lost> {
        let partial = format!("{path}{PARTIAL}");
        let open = || {
            let flags = flag::WRITE | flag::CREATE | flag::CUT;
            session.call(kind::OPEN, Words::default().text(&partial).u32(flags).mode(0o600))
        };
        let opened = match open() {
            Err(lost) if lost.is_not_there() => {
                Self::make_folder(session, path.rsplit_once('/').map_or("", |(above, _)| above))?;
                open()?
            }
            opened => opened?,
        };
        let handle = handle(&opened)?;
        let (mut offset, mut under_way) = (0u64, VecDeque::new());
        for piece in content.slice().iter().flat_map(|bytes| bytes.chunks(PIECE)) {
            if under_way.len() == UNDER_WAY
                && let Some(oldest) = under_way.pop_front()
            {
                session.answer(&oldest)?;
            }
            limit.pass(piece.len());
            let words = Words::default().text(&handle).u64(offset).text(piece);
            under_way.push_back(session.ask(kind::WRITE, words)?);
            offset += piece.len() as u64;
        }
        for answer in under_way {
            session.answer(&answer)?;
        }
        if session.knows(FLUSH) {
            session.call(kind::EXTENDED, Words::default().text(FLUSH).text(&handle))?;
        }
        session.call(kind::CLOSE, Words::default().text(&handle))?;
        if session.knows(RENAME_OVER) {
            let words = Words::default().text(RENAME_OVER).text(&partial).text(path);
            return session.call(kind::EXTENDED, words).map(drop);
        }
        // Names say what is in a file, so one that is there already is as good.
        match session.call(kind::REMOVE, Words::default().text(path)) {
            Err(lost) if !lost.is_not_there() => Err(lost),
            _ => session.call(kind::RENAME, Words::default().text(&partial).text(path)).map(drop),
        }
    }

    /// What the other side means by a plain "Failure", as far as it can be found out.
    fn in_words(&self, session: &Session, lost: Lost) -> Lost {
        let Lost::Refused(code, said) = lost else { return lost };
        let room = || {
            if !session.knows(ROOM) {
                return None;
            }
            let words = Words::default().text(ROOM).text(self.place.path());
            let packet = session.call(kind::EXTENDED, words).ok()?;
            let mut words = (packet.kind == kind::EXTENDED_REPLY).then(|| packet.words())?;
            words.u32()?;
            let (_, size) = (words.u64()?, words.u64()?);
            let (_, _, free) = (words.u64()?, words.u64()?, words.u64()?);
            Some(size.saturating_mul(free))
        };
        match room() {
            Some(free) if free < 64 << 20 => Lost::Refused(code, "No space left on device".to_owned()),
            _ => Lost::Refused(code, said),
        }
    }

    fn got(session: &Session, path: &str, part: Option<(u32, u32)>, limit: &Limit) -> Result<Vec<u8>, Lost> {
        let (from, length) = match part {
            Some((offset, length)) => (u64::from(offset), u64::from(length)),
            None => {
                let found = Self::attributes(session, path)?;
                let gone = || Lost::Refused(code::NOT_THERE, "it is not there".to_owned());
                (0, found.ok_or_else(gone)?.size.ok_or_else(strange)?)
            }
        };
        let words = Words::default().text(path).u32(flag::READ).u32(0);
        let handle = handle(&session.call(kind::OPEN, words)?)?;
        let length = usize::try_from(length).ok().filter(|length| *length <= LARGEST).ok_or_else(strange)?;
        // The other side only says so: there is room for what has come.
        let mut content = Vec::new();
        let ask = |at: usize, count: usize| {
            let place = from + at as u64;
            let words =
                Words::default().text(&handle).u64(place).u32(u32::try_from(count).unwrap_or(u32::MAX));
            Ok::<_, Lost>((at, count, session.ask(kind::READ, words)?))
        };
        let mut under_way: VecDeque<(usize, usize, Receiver<Packet>)> = VecDeque::new();
        let mut next = 0;
        loop {
            while next < length && under_way.len() < UNDER_WAY {
                let count = PIECE.min(length - next);
                limit.pass(count);
                under_way.push_back(ask(next, count)?);
                next += count;
            }
            let Some((at, count, answer)) = under_way.pop_front() else { break };
            let packet = match session.answer(&answer) {
                Err(Lost::Refused(code::END, _)) => {
                    return Err(Lost::Refused(code::END, "it is shorter than it should be".to_owned()));
                }
                packet => packet?,
            };
            let mut words = packet.words();
            words.u32();
            let bytes = (packet.kind == kind::DATA).then(|| words.bytes()).flatten().ok_or_else(strange)?;
            if bytes.is_empty() || bytes.len() > count {
                return Err(strange());
            }
            put(&mut content, at, bytes);
            if bytes.len() < count {
                under_way.push_back(ask(at + bytes.len(), count - bytes.len())?);
            }
        }
        session.call(kind::CLOSE, Words::default().text(&handle))?;
        Ok(content)
    }
}

/// Puts bytes where they belong in what has come so far.
fn put(content: &mut Vec<u8>, at: usize, bytes: &[u8]) {
    let end = at + bytes.len();
    if content.len() < end {
        content.resize(end, 0);
    }
    content[at..end].copy_from_slice(bytes);
}

/// The largest file of a repository that is read, in bytes.
const LARGEST: usize = 4 << 30;

fn strange() -> Lost {
    Lost::Connection("what comes is not SFTP as it should be".to_owned(), Vec::new())
}

fn handle(packet: &Packet) -> Result<Vec<u8>, Lost> {
    let mut words = packet.words();
    words.u32();
    (packet.kind == kind::HANDLE).then(|| words.bytes()).flatten().map(<[u8]>::to_vec).ok_or_else(strange)
}

fn names(packet: &Packet, to: &mut Listed) -> Option<()> {
    let mut words = packet.words();
    words.u32()?;
    for _ in 0..(packet.kind == kind::NAME).then(|| words.u32())?? {
        let name = words.text()?;
        // The same, as `ls` shows it.
        words.bytes()?;
        let attributes = words.attributes()?;
        if name != "." && name != ".." {
            to.push((name, attributes));
        }
    }
    Some(())
}

fn item(name: String, attributes: &Attributes) -> Item {
    let written = attributes.written.map(|at| UNIX_EPOCH + Duration::from_secs(at.into()));
    Item { name, size: attributes.size.unwrap_or_default(), written }
}

impl Store for Sftp {
    fn prepare(&self) -> Result<(), Failure> {
        self.there("make a repository", |session| {
            let there = Self::listed(session, self.place.path())?;
            if !there.is_empty() && !there.iter().any(|(name, _)| name == "keys") {
                return Err(Lost::Refused(0, "there is something else in it".to_owned()));
            }
            Self::make_folder(session, self.place.path())?;
            for folder in FOLDERS {
                Self::make_folder(session, &self.path(folder))?;
            }
            for number in 0..=u8::MAX {
                let path = self.path(&format!("{DATA}/{number:02x}"));
                match session.call(kind::MKDIR, Words::default().text(&path).mode(0o700)) {
                    // What it says of a folder that is there is not in the standard.
                    Ok(_) | Err(Lost::Refused(..)) => {}
                    Err(lost) => return Err(lost),
                }
            }
            Ok(())
        })
    }

    fn list(&self, folder: &'static str) -> Result<Vec<Item>, Failure> {
        let listed = self.there(&format!("list {folder}"), |session| {
            let here = Self::listed(session, &self.path(folder))?;
            if folder != DATA {
                return Ok(here);
            }
            let mut all = Vec::new();
            for (name, _) in here.iter().filter(|(_, attributes)| attributes.is_folder()) {
                all.extend(Self::listed(session, &self.path(&format!("{folder}/{name}")))?);
            }
            Ok(all)
        })?;
        Ok(listed.into_iter().map(|(name, attributes)| item(name, &attributes)).collect())
    }

    fn look(&self, name: &Name) -> Result<Option<Item>, Failure> {
        let path = self.path(&name.path());
        let found =
            self.there(&format!("look for {}", name.path()), |session| Self::attributes(session, &path))?;
        Ok(found.map(|found| item(path.rsplit('/').next().unwrap_or_default().to_owned(), &found)))
    }

    fn read(&self, name: &Name, part: Option<(u32, u32)>) -> Result<Bytes, Failure> {
        let path = self.path(&name.path());
        let read = |session: &Session| Self::got(session, &path, part, &self.traffic.limits.down);
        self.there(&format!("read {}", name.path()), read).map(Bytes::from)
    }

    fn write(&self, name: &Name, content: &BytesList) -> Result<(), Failure> {
        let path = self.path(&name.path());
        let write = |session: &Session| {
            Self::put(session, &path, content, &self.traffic.limits.up).map_err(|lost| {
                let lost = self.in_words(session, lost);
                // What is not whole is of no use to anybody.
                if matches!(lost, Lost::Refused(..)) {
                    let _ = session.call(kind::REMOVE, Words::default().text(format!("{path}{PARTIAL}")));
                }
                lost
            })
        };
        let written = self.there(&format!("write {}", name.path()), write);
        written.map_err(|failure| failure.in_their_words().about_full_disk("the other machine's"))
    }

    fn remove(&self, name: &Name) -> Result<(), Failure> {
        let path = self.path(&name.path());
        self.there(&format!("remove {}", name.path()), |session| {
            match session.call(kind::REMOVE, Words::default().text(&path)) {
                Err(lost) if !lost.is_not_there() => Err(lost),
                _ => Ok(()),
            }
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn room_is_made_for_what_has_come_and_not_for_what_is_claimed() {
        let mut content = Vec::new();
        put(&mut content, 3, b"def");
        put(&mut content, 0, b"abc");
        put(&mut content, 4, b"E");
        assert_eq!(content, b"abcdEf");
    }
}
