//! The dump of the database in parts, cut while it comes.
//!
//! How large a file is has to be known before it goes into a snapshot, and how
//! large a dump is only shows at its end. Cut into parts that fit into memory,
//! it goes into the repository while PostgreSQL still writes it. Where it is cut
//! depends on what stands there, so that rows which come or go leave later parts
//! as they were.
//!
//! PostgreSQL must not wait for a slow repository: as long as a dump goes on,
//! whoever wants a table for itself waits, and so does everybody behind them. What
//! is not taken soon waits in a file without a name, as far as the disk has room.

use std::{
    fs::File,
    io::{self, Read},
    os::unix::fs::FileExt as _,
    path::PathBuf,
    sync::{Arc, Condvar, Mutex, mpsc},
    time::Duration,
};

/// The least that a part holds, in bytes; the last one may hold less.
const LEAST: usize = 16 << 20;
/// The most that a part holds, in bytes.
const MOST: usize = 24 << 20;
/// How many parts there are in memory, at most.
const AT_A_TIME: usize = 4;
/// Room on the disk that is left to others, in bytes: a full one harms the machine.
const SPARE: u64 = 1 << 30;
/// How long PostgreSQL waits for room in memory before a part is put aside.
const PATIENCE: Duration = Duration::from_millis(200);
/// How much before the end of a row decides about a cut, in bytes: more than
/// rows of one table have in common at their ends.
const LOOKED_AT: usize = 256;
/// One row of so many is good for a cut.
const ONE_OF: u64 = 64;

/// The parts of what is read.
struct Parts<R> {
    from: R,
    /// What was read, and belongs to the next part.
    rest: Vec<u8>,
    ended: bool,
    /// The least and the most that a part holds.
    sizes: (usize, usize),
    room: Room,
    aside: Aside,
    /// How much room on the disk is left to others.
    spare: u64,
}

impl<R: Read> Parts<R> {
    /// Of what comes out of `from`; what has to wait does that in `folder`.
    fn new(from: R, folder: PathBuf) -> Self {
        let (room, aside) = (Room::default(), Aside::In(folder));
        Self { from, rest: Vec::new(), ended: false, sizes: (LEAST, MOST), room, aside, spare: SPARE }
    }

    /// Fills `bytes`, unless there is no more.
    fn fill(&mut self, bytes: &mut Vec<u8>) -> io::Result<bool> {
        let (least, most) = self.sizes;
        bytes.reserve_exact(most);
        bytes.append(&mut self.rest);
        if !self.ended {
            let wanted = most - bytes.len();
            let read = self.from.by_ref().take(wanted as u64).read_to_end(bytes)?;
            self.ended = read < wanted;
        }
        if !self.ended || bytes.len() > least {
            let end = cut(bytes, least);
            self.rest.extend_from_slice(bytes.get(end..).unwrap_or_default());
            bytes.truncate(end);
        }
        Ok(!bytes.is_empty())
    }
}

impl<R: Read> Iterator for Parts<R> {
    type Item = io::Result<Part>;

    /// The next part. Waits for those before it to be dropped only when there are too
    /// many and the disk has no room for one.
    fn next(&mut self) -> Option<Self::Item> {
        let mut bytes = self.room.take();
        match self.fill(&mut bytes) {
            Ok(true) => {}
            Ok(false) => return None,
            Err(error) => return Some(Err(error)),
        }
        let mut part = Part { size: bytes.len(), read: 0, place: Where::Memory(bytes, self.room.clone()) };
        // Without room for the next one, this one makes some.
        if !self.room.comes_within(PATIENCE)
            && let Some(place) = self.aside.put(&part, self.spare)
        {
            part.place = place;
        }
        Some(Ok(part))
    }
}

/// Reads all parts of `from` ahead of whoever takes them; what has to wait does
/// that in `folder`.
pub fn ahead(
    from: impl Read + Send + 'static,
    folder: PathBuf,
) -> impl Iterator<Item = io::Result<Part>> + Send {
    let (to, parts) = mpsc::channel();
    std::thread::spawn(move || {
        let mut all = Parts::new(from, folder);
        loop {
            let next = all.next();
            let last = !matches!(next, Some(Ok(_)));
            if to.send(next).is_err() || last {
                break;
            }
        }
    });
    let mut over = false;
    std::iter::from_fn(move || {
        if over {
            return None;
        }
        // The end is told: a thread that failed must not be taken for it.
        let next = parts.recv().unwrap_or_else(|_| Some(Err(io::Error::other("a thread failed"))));
        over = !matches!(next, Some(Ok(_)));
        next
    })
}

/// A part, to be read.
#[derive(Debug)]
pub struct Part {
    size: usize,
    read: usize,
    place: Where,
}

#[derive(Debug)]
enum Where {
    Memory(Vec<u8>, Room),
    /// At this place in the file.
    Aside(Arc<File>, u64),
}

impl Part {
    /// How much it holds, in bytes.
    pub fn size(&self) -> usize {
        self.size
    }
}

impl Read for Part {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = match &self.place {
            Where::Memory(bytes, _) => bytes.get(self.read..).unwrap_or_default().read(buffer)?,
            Where::Aside(file, at) => {
                let wanted = buffer.len().min(self.size - self.read);
                let buffer = buffer.get_mut(..wanted).unwrap_or_default();
                file.read_at(buffer, at + self.read as u64)?
            }
        };
        self.read += count;
        Ok(count)
    }
}

impl Drop for Where {
    fn drop(&mut self) {
        if let Where::Memory(bytes, room) = self {
            room.give_back(std::mem::take(bytes));
        }
    }
}

/// Where parts wait on the disk.
enum Aside {
    /// In a file in this folder, when there is need of one.
    In(PathBuf),
    /// In this file without a name, behind what is there.
    At(Arc<File>, u64),
    /// The disk has no room.
    Nowhere,
}

impl Aside {
    /// Writes a part there, if it has room for more than that.
    fn put(&mut self, part: &Part, spare: u64) -> Option<Where> {
        let Where::Memory(bytes, _) = &part.place else { return None };
        if let Aside::In(folder) = self {
            *self = match tempfile::tempfile_in(folder) {
                Ok(file) => Aside::At(Arc::new(file), 0),
                Err(_) => Aside::Nowhere,
            };
        }
        let Aside::At(file, end) = self else { return None };
        let stat = rustix::fs::fstatvfs(&**file).ok()?;
        if stat.f_bavail.saturating_mul(stat.f_frsize) < spare + part.size as u64 {
            return None;
        }
        if file.write_all_at(bytes, *end).is_err() {
            // Those that are in it stay until they were read.
            *self = Aside::Nowhere;
            return None;
        }
        let place = Where::Aside(Arc::clone(file), *end);
        *end += part.size as u64;
        Some(place)
    }
}

/// Where a part of these bytes ends that holds at least so many.
fn cut(bytes: &[u8], least: usize) -> usize {
    let good = |end: &usize| {
        let row = bytes.get(end.saturating_sub(LOOKED_AT)..*end).unwrap_or_default();
        row.last() == Some(&b'\n') && fnv(row).is_multiple_of(ONE_OF)
    };
    (least.min(bytes.len())..bytes.len()).find(good).unwrap_or(bytes.len())
}

/// FNV-1a with 64 bits, its bits mixed once more: the lowest ones decide. Every
/// version has to cut alike, which the standard library's hashes do not promise.
fn fnv(bytes: &[u8]) -> u64 {
    let hash = bytes.iter().fold(0xcbf2_9ce4_8422_2325, |hash: u64, byte| {
        (hash ^ u64::from(*byte)).wrapping_mul(0x100_0000_01b3)
    });
    hash ^ (hash >> 32)
}

/// What parts in memory are made of, and how many there may still be.
#[derive(Debug, Clone)]
struct Room(Arc<(Mutex<Vec<Vec<u8>>>, Condvar)>);

impl Default for Room {
    fn default() -> Self {
        Self(Arc::new((Mutex::new(vec![Vec::new(); AT_A_TIME]), Condvar::new())))
    }
}

// Nothing that could fail is done under the lock.
impl Room {
    /// Waits for some.
    fn take(&self) -> Vec<u8> {
        let (spare, returned) = &*self.0;
        let spare = spare.lock().and_then(|spare| returned.wait_while(spare, |spare| spare.is_empty()));
        spare.ok().and_then(|mut spare| spare.pop()).unwrap_or_default()
    }

    /// Whether there is some within a time.
    fn comes_within(&self, patience: Duration) -> bool {
        let (spare, returned) = &*self.0;
        let Ok(spare) = spare.lock() else { return true };
        let waited = returned.wait_timeout_while(spare, patience, |spare| spare.is_empty());
        waited.is_ok_and(|(_, waited)| !waited.timed_out())
    }

    fn give_back(&self, mut bytes: Vec<u8>) {
        let (spare, returned) = &*self.0;
        if let Ok(mut spare) = spare.lock() {
            bytes.clear();
            spare.push(bytes);
            returned.notify_all();
        }
    }
}

#[cfg(test)]
mod tests {
    use std::{fs, path::Path};

    use super::*;

    /// Rows as a table of events has them, which all end alike.
    fn rows(numbers: impl Iterator<Item = u64>) -> Vec<u8> {
        let row = |n: u64| {
            let words = (0..40).map(|part| format!("{:016x}", fnv(format!("{n}-{part}").as_bytes())));
            format!("{n}\t{}\",\"unsigned\":{{}}}}\t4\n", words.collect::<String>())
        };
        numbers.flat_map(|n| row(n).into_bytes()).collect()
    }

    const SMALL: (usize, usize) = (16 << 10, 48 << 10);

    fn small<R: Read>(from: R, folder: &Path) -> Parts<R> {
        Parts { sizes: SMALL, spare: 0, ..Parts::new(from, folder.to_owned()) }
    }

    fn nowhere<R: Read>(from: R) -> Parts<R> {
        Parts { aside: Aside::Nowhere, ..small(from, Path::new("/")) }
    }

    fn bytes(mut part: Part) -> Vec<u8> {
        let mut bytes = Vec::new();
        part.read_to_end(&mut bytes).unwrap();
        assert_eq!(bytes.len(), part.size());
        bytes
    }

    fn parts(from: &[u8]) -> Vec<Vec<u8>> {
        nowhere(from).map(|part| bytes(part.unwrap())).collect()
    }

    #[test]
    fn together_they_are_the_whole_and_each_fits_into_memory() {
        let (least, most) = SMALL;
        for bytes in [rows(0..1000), vec![0; 3 * most + 5], Vec::new(), vec![b'\n'; least + 1], rows(0..9)] {
            let parts = parts(&bytes);
            assert!(parts.concat() == bytes);
            assert!(parts.iter().all(|part| !part.is_empty() && part.len() <= most));
            let (_, before_the_last) = parts.split_last().unwrap_or((&bytes, &[]));
            assert!(before_the_last.iter().all(|part| part.len() >= least));
        }
    }

    #[test]
    fn rows_that_come_and_go_leave_later_parts_as_they_were() {
        let before = parts(&rows(0..3000));
        assert!(before.len() > 20, "{}", before.len());
        let after = parts(&rows((0..100).chain(110..700).chain(100_000..100_010).chain(700..3000)));
        let kept = before.iter().filter(|part| after.contains(part)).count();
        assert!(kept >= before.len() - 10, "{kept} of {}", before.len());
    }

    #[test]
    fn without_a_disk_there_are_never_too_many_at_a_time() {
        let mut parts = nowhere(io::repeat(1).take(1 << 20));
        let mut held: Vec<_> = parts.by_ref().take(AT_A_TIME).map(Result::unwrap).collect();
        let (to, from) = mpsc::channel();
        std::thread::scope(|scope| {
            scope.spawn(move || {
                to.send(parts.next().is_some()).unwrap();
            });
            from.recv_timeout(Duration::from_millis(100)).unwrap_err();
            held.pop();
            assert!(from.recv_timeout(Duration::from_secs(10)).unwrap());
        });
    }

    #[test]
    fn whoever_writes_waits_for_nobody_who_is_slow_and_nothing_is_left_on_the_disk() {
        let folder = tempfile::tempdir().unwrap();
        let all = rows(0..500);
        let held: Vec<Part> = small(all.as_slice(), folder.path()).map(Result::unwrap).collect();
        assert!(held.len() > AT_A_TIME + 2, "{}", held.len());
        assert!(held.iter().any(|part| matches!(part.place, Where::Aside(..))));
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 0, "it has no name");
        assert!(held.into_iter().flat_map(bytes).collect::<Vec<_>>() == all);
    }

    #[test]
    fn what_cannot_be_read_is_no_end() {
        struct Broken;
        impl Read for Broken {
            fn read(&mut self, _: &mut [u8]) -> io::Result<usize> {
                Err(io::Error::other("cut"))
            }
        }
        let bytes = rows(0..5);
        assert!(nowhere(bytes.as_slice().chain(Broken)).next().unwrap().is_err());
        let mut all = ahead(io::Cursor::new(bytes).chain(Broken), PathBuf::from("/"));
        assert!(all.next().unwrap().is_err());
        assert!(all.next().is_none());
    }

    #[test]
    fn a_thread_that_fails_is_no_end() {
        struct Panics;
        impl Read for Panics {
            fn read(&mut self, _: &mut [u8]) -> io::Result<usize> {
                panic!("on purpose")
            }
        }
        let mut all = ahead(io::Cursor::new(rows(0..5)).chain(Panics), PathBuf::from("/"));
        assert!(all.next().unwrap().is_err());
        assert!(all.next().is_none());
        let whole = ahead(io::Cursor::new(rows(0..5)), PathBuf::from("/"));
        assert_eq!(whole.map(|part| bytes(part.unwrap())).collect::<Vec<_>>(), [rows(0..5)]);
    }
}
