//! Campaigns: what must hold at any moment, tried at many. A site is cut off in the
//! middle of what it is at, brought back with one `up`, and has to be healthy then,
//! with everything that it ever acknowledged.

mod cuts;
mod disk;
mod kills;
mod sender;
mod takeover;
mod tally;

pub use cuts::{Act, cuts};
pub use disk::{PowerDisk, in_own_namespace};
pub use kills::kills;
pub use sender::Sender;
pub use takeover::takeover;
pub use tally::Tally;

/// Numbers that differ from run to run, told so that a run can be repeated:
/// `CAMPAIGN_SEED`.
#[derive(Debug)]
pub struct Dice(u64);

impl Dice {
    /// Those of the environment, else of the clock.
    pub fn new() -> Self {
        let given = std::env::var("CAMPAIGN_SEED").ok().and_then(|seed| seed.parse().ok());
        let clock =
            || std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).map_or(1, |d| d.as_secs());
        let seed = given.unwrap_or_else(clock);
        println!("(CAMPAIGN_SEED={seed})");
        Self(seed)
    }

    /// The next one, at least 0 and below 1 (SplitMix64).
    pub fn roll(&mut self) -> f64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        ((z ^ (z >> 31)) >> 11) as f64 / (1u64 << 53) as f64
    }
}

impl Default for Dice {
    fn default() -> Self {
        Self::new()
    }
}
