//! Tests that share one server, in a given order: making one costs a minute or
//! more, and most of what is to be shown can be shown on the same.
//!
//! A test file with a scenario has `harness = false` in Cargo.toml and a `main`
//! that names its tests one after the other. The output is that of any Rust
//! test. A test that fails does not keep the next ones from running.

use std::{
    panic::{AssertUnwindSafe, catch_unwind, resume_unwind},
    process::ExitCode,
    time::Instant,
};

/// A run of one file's tests.
pub struct Scenario {
    name: &'static str,
    filters: Vec<String>,
    passed: usize,
    failed: Vec<String>,
    left_out: usize,
    started: Instant,
}

impl Scenario {
    /// Begins; arguments that are no options are parts of names of tests, and
    /// only those tests are run, beside what they all stand on.
    pub fn begin(name: &'static str) -> Self {
        let arguments: Vec<String> = std::env::args().skip(1).collect();
        if arguments.iter().any(|a| a == "--list") {
            std::process::exit(0);
        }
        println!("\nrunning the scenario {name}");
        Self {
            name,
            filters: arguments.into_iter().filter(|a| !a.starts_with('-')).collect(),
            passed: 0,
            failed: Vec::new(),
            left_out: 0,
            started: Instant::now(),
        }
    }

    /// What the tests stand on. Without it there is nothing to be tested, and
    /// the run ends.
    pub fn foundation<T>(&mut self, sentence: &str, build: impl FnOnce() -> T) -> T {
        match self.attempt(sentence, build) {
            Some(built) => built,
            None => {
                println!("nothing else of {} could be tried\n", self.name);
                self.report();
                // Not an exit: what the test holds is to be removed on the way.
                resume_unwind(Box::new(self.name));
            }
        }
    }

    /// One test.
    pub fn test(&mut self, sentence: &str, test: impl FnOnce()) {
        let name = format!("{}: {sentence}", self.name);
        if !self.filters.is_empty() && !self.filters.iter().any(|filter| name.contains(filter)) {
            self.left_out += 1;
            return;
        }
        self.attempt(sentence, test);
    }

    /// A test that is one of several of its kind: `cargo xtask ci` leaves it to
    /// `cargo xtask e2e`, and says so.
    pub fn long(&mut self, sentence: &str, test: impl FnOnce()) {
        if std::env::var_os("E2E_SAMPLE").is_some() {
            println!("test {}: {sentence} ... left to `cargo xtask e2e`", self.name);
            self.left_out += 1;
        } else {
            self.test(sentence, test);
        }
    }

    fn attempt<T>(&mut self, sentence: &str, act: impl FnOnce() -> T) -> Option<T> {
        let name = format!("{}: {sentence}", self.name);
        let started = Instant::now();
        let result = catch_unwind(AssertUnwindSafe(act)).ok();
        let took = started.elapsed().as_secs_f32();
        let word = if result.is_some() { "ok" } else { "FAILED" };
        println!("test {name} ... {word} ({took:.1} s)");
        match result {
            Some(_) => self.passed += 1,
            None => self.failed.push(name),
        }
        result
    }

    fn report(&self) {
        if !self.failed.is_empty() {
            println!("\nfailures:");
            for name in &self.failed {
                println!("    {name}");
            }
        }
        println!(
            "\ntest result: {}. {} passed; {} failed; 0 ignored; 0 measured; {} filtered out; finished in {:.2}s\n",
            if self.failed.is_empty() { "ok" } else { "FAILED" },
            self.passed,
            self.failed.len(),
            self.left_out,
            self.started.elapsed().as_secs_f32(),
        );
    }

    /// Ends: the result line, and the exit code of a Rust test.
    pub fn end(self) -> ExitCode {
        self.report();
        if self.failed.is_empty() { ExitCode::SUCCESS } else { ExitCode::from(101) }
    }
}
