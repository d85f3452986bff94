//! How long to wait before something that is away is tried again.

use std::time::Duration;

/// The pauses, one after the other; the last one goes on.
const PAUSES: [Duration; 4] =
    [Duration::from_secs(5), Duration::from_secs(30), Duration::from_secs(120), Duration::from_secs(300)];

/// Tries of something that is away, for so long as somebody has patience.
#[derive(Debug)]
pub struct Patience {
    whole: Duration,
    tries: usize,
}

impl Patience {
    /// From the first try on.
    pub fn of(whole: Duration) -> Self {
        Self { whole, tries: 0 }
    }

    /// How long to wait before the next try, when the tries have taken `spent` so far;
    /// `None` when it is time to give up. The last try is at the very end.
    pub fn next(&mut self, spent: Duration) -> Option<Duration> {
        let left = self.whole.checked_sub(spent).filter(|left| !left.is_zero())?;
        let pause = PAUSES.get(self.tries).or(PAUSES.last())?;
        self.tries += 1;
        Some(left.min(*pause))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The moments of all tries after the first, in seconds, when each takes `each`.
    fn moments(whole: u64, each: u64) -> Vec<u64> {
        let mut patience = Patience::of(Duration::from_secs(whole));
        let (mut now, mut moments) = (each, Vec::new());
        while let Some(pause) = patience.next(Duration::from_secs(now)) {
            now += pause.as_secs();
            moments.push(now);
            now += each;
        }
        moments
    }

    #[test]
    fn pauses_grow_and_the_last_try_is_at_the_end() {
        assert_eq!(moments(1800, 0), [5, 35, 155, 455, 755, 1055, 1355, 1655, 1800]);
        assert_eq!(moments(20, 0), [5, 20]);
        assert_eq!(moments(0, 0), [0; 0]);
    }

    #[test]
    fn tries_that_take_long_use_the_patience_up() {
        assert_eq!(moments(100, 40), [45, 100]);
        assert_eq!(moments(30, 40), [0; 0]);
    }
}
