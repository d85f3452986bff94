//! The dump of the database in parts, cut while it comes.
//!
//! How large a file is has to be known before it goes into a snapshot, and how
//! large a dump is only shows at its end. Cut into parts that fit into memory,
//! it goes into the repository while PostgreSQL still writes it, and no disk has
//! to have room for the whole of it. Where it is cut depends on what stands
//! there, so that rows which come or go leave later parts as they were.

use std::{
    io::{self, Read},
    sync::{Arc, Condvar, Mutex, mpsc},
};

/// The least that a part holds, in bytes; the last one may hold less.
const LEAST: usize = 16 << 20;
/// The most that a part holds, in bytes.
const MOST: usize = 24 << 20;
/// How many parts there are at a time, at most.
const AT_A_TIME: usize = 4;
/// How much before the end of a row decides about a cut, in bytes: more than
/// rows of one table have in common at their ends.
const LOOKED_AT: usize = 256;
/// One row of so many is good for a cut.
const ONE_OF: u64 = 64;

/// The parts of what is read.
pub struct Parts<R> {
    from: R,
    /// What was read, and belongs to the next part.
    rest: Vec<u8>,
    ended: bool,
    /// The least and the most that a part holds.
    sizes: (usize, usize),
    room: Room,
}

impl<R: Read> Parts<R> {
    /// Of what comes out of `from`.
    pub fn new(from: R) -> Self {
        Self { from, rest: Vec::new(), ended: false, sizes: (LEAST, MOST), room: Room::default() }
    }

    /// Fills `part`, unless there is no more.
    fn fill(&mut self, part: &mut Part) -> io::Result<bool> {
        let (least, most) = self.sizes;
        let bytes = &mut part.bytes;
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

    /// The next part. Waits for those before it to be dropped when there are too many.
    fn next(&mut self) -> Option<Self::Item> {
        let mut part = self.room.part();
        match self.fill(&mut part) {
            Ok(true) => Some(Ok(part)),
            Ok(false) => None,
            Err(error) => Some(Err(error)),
        }
    }
}

/// Reads all parts of `from` ahead of whoever takes them, as many as there may be
/// at a time.
pub fn ahead(from: impl Read + Send + 'static) -> impl Iterator<Item = io::Result<Part>> + Send {
    let (to, parts) = mpsc::sync_channel(0);
    std::thread::spawn(move || {
        for part in Parts::new(from) {
            let broken = part.is_err();
            if to.send(part).is_err() || broken {
                break;
            }
        }
    });
    parts.into_iter()
}

/// A part, to be read.
#[derive(Debug)]
pub struct Part {
    bytes: Vec<u8>,
    read: usize,
    room: Room,
}

impl Part {
    /// How much it holds, in bytes.
    pub fn size(&self) -> usize {
        self.bytes.len()
    }
}

impl Read for Part {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.bytes.get(self.read..).unwrap_or_default().read(buffer)?;
        self.read += count;
        Ok(count)
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

/// FNV-1a with 64 bits, its bits mixed once more: the lowest ones decide.
fn fnv(bytes: &[u8]) -> u64 {
    let hash = bytes.iter().fold(0xcbf2_9ce4_8422_2325, |hash: u64, byte| {
        (hash ^ u64::from(*byte)).wrapping_mul(0x100_0000_01b3)
    });
    hash ^ (hash >> 32)
}

/// What parts are made of, and how many there may still be.
#[derive(Debug, Clone)]
struct Room(Arc<(Mutex<Vec<Vec<u8>>>, Condvar)>);

impl Default for Room {
    fn default() -> Self {
        Self(Arc::new((Mutex::new(vec![Vec::new(); AT_A_TIME]), Condvar::new())))
    }
}

impl Room {
    /// An empty part.
    fn part(&self) -> Part {
        let (spare, returned) = &*self.0;
        // Nothing that could fail is done under the lock.
        let spare = spare.lock().and_then(|spare| returned.wait_while(spare, |spare| spare.is_empty()));
        let bytes = spare.ok().and_then(|mut spare| spare.pop()).unwrap_or_default();
        Part { bytes, read: 0, room: self.clone() }
    }
}

impl Drop for Part {
    fn drop(&mut self) {
        let (spare, returned) = &*self.room.0;
        if let Ok(mut spare) = spare.lock() {
            self.bytes.clear();
            spare.push(std::mem::take(&mut self.bytes));
            returned.notify_one();
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

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

    fn parts(bytes: &[u8]) -> Vec<Vec<u8>> {
        Parts { sizes: SMALL, ..Parts::new(bytes) }.map(|part| part.unwrap().bytes.clone()).collect()
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
    fn there_are_never_too_many_at_a_time() {
        let mut parts = Parts { sizes: SMALL, ..Parts::new(io::repeat(1).take(1 << 20)) };
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
    fn what_cannot_be_read_is_no_end() {
        struct Broken;
        impl Read for Broken {
            fn read(&mut self, _: &mut [u8]) -> io::Result<usize> {
                Err(io::Error::other("cut"))
            }
        }
        let bytes = rows(0..5);
        assert!(Parts::new(bytes.as_slice().chain(Broken)).next().unwrap().is_err());
        let mut all = ahead(io::Cursor::new(bytes).chain(Broken));
        assert!(all.next().unwrap().is_err());
        assert!(all.next().is_none());
    }
}
