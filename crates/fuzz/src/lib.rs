//! Every parser of what others send, as a function of bytes.
//!
//! A target must not panic, whatever it gets, and must be done soon. `fuzz/` gives each to
//! libFuzzer (`cargo fuzz run NAME`); the program of this crate gives each, for a while, what
//! comes of the corpus by chance, on stable Rust and without anything to install. CI runs that.

mod edge;
mod federation;
mod mutate;
mod runner;
mod text;
mod wire;

pub use mutate::Mutator;
pub use runner::{Outcome, corpus, run};

/// A parser.
#[derive(Clone, Copy)]
pub struct Target {
    /// Its name, and that of its folder in `fuzz/corpus`.
    pub name: &'static str,
    /// What is done with bytes.
    pub run: fn(&[u8]),
}

/// All of them.
pub static ALL: &[Target] = &[
    Target { name: "frames", run: wire::frames },
    Target { name: "facts", run: wire::facts },
    Target { name: "dns", run: wire::dns },
    Target { name: "archive", run: wire::archive },
    Target { name: "proxmox", run: wire::proxmox },
    Target { name: "federation", run: federation::federation },
    Target { name: "well_known", run: federation::well_known },
    Target { name: "server_keys", run: federation::server_keys },
    Target { name: "canonical_json", run: federation::canonical_json },
    Target { name: "cloudflare", run: edge::cloudflare },
    Target { name: "npm", run: edge::npm },
    Target { name: "lock", run: text::lock },
    Target { name: "manifest", run: text::manifest },
    Target { name: "media_list", run: text::media_list },
    Target { name: "config", run: text::config },
    Target { name: "gateway", run: text::gateway },
];

/// The target of that name.
pub fn target(name: &str) -> Option<Target> {
    ALL.iter().copied().find(|target| target.name == name)
}

#[cfg(test)]
mod tests {
    use std::{fs, path::Path, time::Duration};

    use super::*;

    /// Seeds whose parsers accept them: a corpus of what is refused at once finds nothing.
    #[test]
    fn every_target_has_a_corpus_and_takes_all_of_it() {
        for target in ALL {
            let seeds = corpus(target.name).unwrap();
            assert!(seeds.len() >= 2, "{} has {} seeds in fuzz/corpus", target.name, seeds.len());
            for seed in &seeds {
                (target.run)(seed);
            }
            let mut mutator = Mutator::new(&seeds, 1);
            for _ in 0..50 {
                (target.run)(mutator.next());
            }
        }
    }

    #[test]
    fn libfuzzer_gets_the_same_targets() {
        let fuzz = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fuzz");
        let manifest = fs::read_to_string(fuzz.join("Cargo.toml")).unwrap();
        for target in ALL {
            let text = fs::read_to_string(fuzz.join(format!("fuzz_targets/{}.rs", target.name))).unwrap();
            assert!(text.contains(&format!("\"{}\"", target.name)), "{}", target.name);
            assert!(manifest.contains(&format!("name = \"{}\"", target.name)), "{}", target.name);
        }
        let there = fs::read_dir(fuzz.join("fuzz_targets")).unwrap().count();
        assert_eq!(there, ALL.len());
    }

    #[test]
    fn a_target_that_panics_or_takes_for_ever_is_found() {
        fn panics(bytes: &[u8]) {
            assert!(!bytes.contains(&b'!'), "found");
        }
        fn sleeps(bytes: &[u8]) {
            if bytes.len() > 3 {
                std::thread::sleep(Duration::from_millis(300));
            }
        }
        let seeds = vec![b"abc".to_vec(), b"x!y".to_vec()];
        let long = Duration::from_secs(60);
        let found = run(Target { name: "panics", run: panics }, &seeds[..1], 7, long, long);
        assert!(
            matches!(&found, Outcome::Panicked { input, why, .. } if input.contains(&b'!') && why == "found")
        );
        let short = Duration::from_millis(200);
        let found = run(Target { name: "sleeps", run: sleeps }, &seeds[..1], 7, long, short);
        assert!(matches!(found, Outcome::TookTooLong { .. }));
        // The same chance every time.
        let inputs = |seed| {
            let mut mutator = Mutator::new(&seeds, seed);
            (0..100).map(|_| mutator.next().to_vec()).collect::<Vec<_>>()
        };
        assert_eq!(inputs(3), inputs(3));
        assert_ne!(inputs(3), inputs(4));
    }
}
