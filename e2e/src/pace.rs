//! How busy the machine is. Deadlines and bounds are those of a machine that has
//! nothing else to do; one that is busy with other things takes longer, and the
//! program is not to blame.

use std::{fs, time::Duration};

/// Busier than this, and something is wrong with the machine.
const MOST: f64 = 12.0;

/// How many times longer than alone things may take now: how many processes want each
/// processor, or wait for the disk.
pub fn pace() -> f64 {
    let load = fs::read_to_string("/proc/loadavg").unwrap_or_default();
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    pace_of(&load, cores)
}

fn pace_of(load: &str, cores: usize) -> f64 {
    let minute: f64 = load.split(' ').next().and_then(|word| word.parse().ok()).unwrap_or_default();
    // What runs at once shares caches and disk too: twice as many are more than twice
    // as slow.
    (2.0 * minute / cores as f64).clamp(1.0, MOST)
}

/// What takes `alone` at most on a machine that does nothing else, on this one now.
pub fn at_this_pace(alone: Duration) -> Duration {
    alone.mul_f64(pace())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_busy_machine_gets_more_time_and_an_idle_one_no_less() {
        assert!((pace_of("0.05 0.10 0.10 1/200 7", 2) - 1.0).abs() < f64::EPSILON);
        assert!((pace_of("4.00 0.10 0.10 1/200 7", 2) - 4.0).abs() < f64::EPSILON);
        assert!((pace_of("400.0 0.10 0.10 1/200 7", 2) - MOST).abs() < f64::EPSILON);
        assert!((pace_of("", 2) - 1.0).abs() < f64::EPSILON);
    }
}
