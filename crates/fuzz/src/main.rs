//! Gives every parser of what others send inputs that come of the corpus by chance, for a
//! while: `matrix-podman-fuzz [SECONDS [SEED [TARGET]]]`. The same seed makes the same inputs.

use std::{fs, path::Path, process::ExitCode, time::Duration};

use matrix_podman_fuzz::{ALL, Outcome, Target, corpus, run, target};

/// One input may take that long, on a machine that is busy with other things, too.
const LONGEST: Duration = Duration::from_secs(10);

fn main() -> ExitCode {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let number = |at: usize, usual: u64| words.get(at).map_or(Some(usual), |word| word.parse().ok());
    let chosen = words.get(2).map(|name| target(name).map(|target| vec![target]));
    let (Some(seconds), Some(seed), Some(targets)) =
        (number(0, 60), number(1, 1), chosen.unwrap_or_else(|| Some(ALL.to_vec())))
    else {
        eprintln!("matrix-podman-fuzz [SECONDS [SEED [TARGET]]]");
        return ExitCode::from(2);
    };
    let each = Duration::from_secs(seconds) / u32::try_from(targets.len()).unwrap_or(1).max(1);
    let mut all_fine = true;
    for target in targets {
        // Said before: what overflows the stack ends the process.
        print!("{:<16}", target.name);
        let _ = std::io::Write::flush(&mut std::io::stdout());
        match one(target, seed, each) {
            Ok(line) => println!("{line}"),
            Err(why) => {
                println!("FAILED: {why}");
                all_fine = false;
            }
        }
    }
    if all_fine { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

fn one(target: Target, seed: u64, long: Duration) -> Result<String, String> {
    let name = target.name;
    let seeds = corpus(name).map_err(|e| format!("fuzz/corpus/{name} cannot be read: {e}"))?;
    if seeds.is_empty() {
        return Err(format!("fuzz/corpus/{name} is empty"));
    }
    let (input, why) = match run(target, &seeds, seed, long, LONGEST) {
        Outcome::Fine { inputs, slowest } => {
            return Ok(format!("{inputs} inputs, the slowest took {} ms", slowest.as_millis()));
        }
        Outcome::Panicked { input, why, number } => (input, format!("input {number} made it panic: {why}")),
        Outcome::TookTooLong { input, took } => (input, format!("one input took {} s", took.as_secs())),
    };
    let place = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../target").join(format!("fuzz-{name}"));
    fs::write(&place, input).map_err(|e| format!("{why}; and {} cannot be written: {e}", place.display()))?;
    Err(format!(
        "{why}; the input is in {}. Once it is mended, add it to fuzz/corpus/{name}",
        place.display()
    ))
}
