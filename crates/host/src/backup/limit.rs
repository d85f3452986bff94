//! How fast a repository is written to and read from.

use std::{
    io::{self, Read},
    sync::{Arc, Mutex, PoisonError},
    thread,
    time::{Duration, Instant},
};

use matrix_podman_core::{backup, size::Rate};

/// What was not used of this long may be made up for.
const CREDIT: Duration = Duration::from_millis(100);
/// So much passes at a time, so that what is limited flows and does not gush.
const PIECE: usize = 32 << 10;

/// The limits of a repository, for all who use it.
#[derive(Debug, Clone, Default)]
pub(super) struct Limits {
    /// Of what is written.
    pub up: Limit,
    /// Of what is read.
    pub down: Limit,
}

impl Limits {
    pub fn of(limits: &backup::Limits) -> Self {
        Self { up: Limit::of(limits.upload), down: Limit::of(limits.download) }
    }
}

/// Lets so many bytes through in a second, however many share it; or all.
#[derive(Debug, Clone, Default)]
pub(super) struct Limit(Option<Arc<Bucket>>);

impl Limit {
    fn of(rate: Option<Rate>) -> Self {
        Self(rate.map(|rate| Arc::new(Bucket::new(rate, Instant::now()))))
    }

    /// Waits until so many more bytes may be through.
    pub fn pass(&self, bytes: usize) {
        let Some(bucket) = &self.0 else { return };
        let until = bucket.through_at(bytes, Instant::now());
        while let Some(left) = until.checked_duration_since(Instant::now()).filter(|left| !left.is_zero()) {
            thread::sleep(left);
        }
    }

    /// How long so many bytes take.
    pub fn takes(&self, bytes: u64) -> Duration {
        self.0.as_ref().map_or(Duration::ZERO, |bucket| bucket.takes(bytes))
    }

    /// What is read through the limit.
    pub fn reader<R>(&self, from: R) -> Limited<R> {
        Limited { from, limit: self.clone() }
    }
}

/// See [`Limit::reader`].
pub(super) struct Limited<R> {
    from: R,
    limit: Limit,
}

impl<R: Read> Read for Limited<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let most = buffer.len().min(PIECE);
        let count = self.from.read(&mut buffer[..most])?;
        self.limit.pass(count);
        Ok(count)
    }
}

/// Runs empty at a rate; who pours in waits until what they poured is out.
#[derive(Debug)]
struct Bucket {
    rate: Rate,
    empty_at: Mutex<Instant>,
}

impl Bucket {
    fn new(rate: Rate, now: Instant) -> Self {
        Self { rate, empty_at: Mutex::new(now) }
    }

    fn takes(&self, bytes: u64) -> Duration {
        let rate = u128::from(self.rate.bytes().max(1));
        Duration::from_nanos(u64::try_from(u128::from(bytes) * 1_000_000_000 / rate).unwrap_or(u64::MAX))
    }

    /// When so many bytes, poured in `now`, are out.
    fn through_at(&self, bytes: usize, now: Instant) -> Instant {
        let mut empty_at = self.empty_at.lock().unwrap_or_else(PoisonError::into_inner);
        // Who waited a little too long is not made to wait for it again.
        let from = (*empty_at).max(now.checked_sub(CREDIT).unwrap_or(now));
        *empty_at = from + self.takes(bytes as u64);
        *empty_at
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bucket(now: Instant) -> Bucket {
        Bucket::new(Rate::parse("100K/s").unwrap(), now)
    }

    #[test]
    fn a_second_lets_through_as_much_as_the_rate_says() {
        let start = Instant::now();
        let bucket = bucket(start);
        let after = |seconds: u64| start + Duration::from_secs(seconds);
        assert_eq!(bucket.through_at(100 << 10, start), after(1));
        // Another one that comes meanwhile waits behind it.
        assert_eq!(bucket.through_at(50 << 10, start), start + Duration::from_millis(1500));
        assert_eq!(bucket.through_at(50 << 10, after(1)), after(2));
        // Of a long pause next to nothing is made up for.
        assert_eq!(bucket.through_at(100 << 10, after(60)), after(61) - CREDIT);
        assert_eq!(bucket.through_at(0, after(61)), after(61) - CREDIT);
    }

    #[test]
    fn pieces_take_as_long_as_the_whole() {
        let start = Instant::now();
        let bucket = bucket(start);
        let mut now = start;
        for _ in 0..100 {
            // Each waits, and wakes up a millisecond late.
            now = bucket.through_at(10 << 10, now).max(now) + Duration::from_millis(1);
        }
        let took = now - start;
        assert!(took >= Duration::from_secs(10) && took < Duration::from_millis(10_200), "{took:?}");
    }

    #[test]
    fn what_is_read_through_it_is_the_same_and_takes_its_time() {
        let limit = Limit::of(Rate::parse("1M/s").ok());
        let content: Vec<u8> = (0..200 << 10).map(|n: u32| n.to_le_bytes()[1]).collect();
        let started = Instant::now();
        let mut read = Vec::new();
        limit.reader(content.as_slice()).read_to_end(&mut read).unwrap();
        assert!(read == content);
        assert!(started.elapsed() >= Duration::from_millis(95), "{:?}", started.elapsed());
        let mut read = Vec::new();
        Limit::default().reader(content.as_slice()).read_to_end(&mut read).unwrap();
        assert!(read == content && Limit::default().takes(1 << 40).is_zero());
    }
}
