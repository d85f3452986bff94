//! Gives a target inputs for a while.

use std::{
    cell::RefCell,
    fs, io,
    panic::{self, AssertUnwindSafe},
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use crate::{Mutator, Target};

/// What came of it.
#[derive(Debug)]
pub enum Outcome {
    /// So many inputs, and nothing.
    Fine {
        /// How many.
        inputs: u64,
        /// The longest that one took.
        slowest: Duration,
    },
    /// It panicked.
    Panicked {
        /// With this.
        input: Vec<u8>,
        /// What it said.
        why: String,
        /// The how manieth input that was.
        number: u64,
    },
    /// It took longer than it may.
    TookTooLong {
        /// With this.
        input: Vec<u8>,
        /// So long.
        took: Duration,
    },
}

thread_local! {
    static SAID: RefCell<String> = const { RefCell::new(String::new()) };
}

/// The seeds of a target, in the order of their names.
pub fn corpus(name: &str) -> io::Result<Vec<Vec<u8>>> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fuzz/corpus").join(name);
    let mut files: Vec<PathBuf> =
        fs::read_dir(folder)?.map(|entry| entry.map(|entry| entry.path())).collect::<io::Result<_>>()?;
    files.sort();
    files.iter().map(fs::read).collect()
}

/// Gives `target` the seeds, and then what comes of them, for `long`; each may take `longest`.
pub fn run(target: Target, seeds: &[Vec<u8>], seed: u64, long: Duration, longest: Duration) -> Outcome {
    let quiet = panic::take_hook();
    panic::set_hook(Box::new(|info| {
        let payload = info.payload();
        let said = payload.downcast_ref::<String>().cloned();
        let said = said.or_else(|| payload.downcast_ref::<&str>().map(|text| (*text).to_owned()));
        SAID.with_borrow_mut(|place| *place = said.unwrap_or_default());
    }));
    let outcome = inputs(target, seeds, seed, long, longest);
    panic::set_hook(quiet);
    outcome
}

fn inputs(target: Target, seeds: &[Vec<u8>], seed: u64, long: Duration, longest: Duration) -> Outcome {
    let (begun, mut slowest, mut number) = (Instant::now(), Duration::ZERO, 0);
    let mut mutator = Mutator::new(seeds, seed);
    let mut first = seeds.iter();
    while begun.elapsed() < long || number == 0 {
        let input = match first.next() {
            Some(seed) => seed.as_slice(),
            None => mutator.next(),
        };
        number += 1;
        let at = Instant::now();
        let done = panic::catch_unwind(AssertUnwindSafe(|| (target.run)(input)));
        let took = at.elapsed();
        slowest = slowest.max(took);
        if done.is_err() {
            let why = SAID.with_borrow(Clone::clone);
            return Outcome::Panicked { input: input.to_vec(), why, number };
        }
        if took > longest {
            return Outcome::TookTooLong { input: input.to_vec(), took };
        }
    }
    Outcome::Fine { inputs: number, slowest }
}
