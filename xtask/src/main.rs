//! What a contributor does, in one command: `cargo xtask ci`, `e2e`, `bench`,
//! `campaign`, `docs`.

mod bench;
mod campaign;
mod ci;
mod dependencies;
mod dist;
mod docs;
mod e2e;
mod fuzz;
mod lanes;
mod phase;
mod released;
mod tools;

use std::process::ExitCode;

const HELP: &str = "\
cargo xtask ci [--allow-not-run]            everything that must pass, fast things first
cargo xtask e2e [FILTER] [--allow-not-run]  the end-to-end tests, or those whose file or name has FILTER in it
cargo xtask bench [ARGUMENT...]             measure speed and size
cargo xtask campaign cuts [N [ACT]]         cut the power N times, in ACT alone or in everything that changes a server
cargo xtask campaign kills [N]              kill N runs at random moments
cargo xtask campaign reproduce              build a release twice, elsewhere and on another day; compare the bytes
cargo xtask dependencies                    licences, sources, duplicates and known holes of what we depend on
cargo xtask fuzz [SECONDS [SEED [TARGET]]]  give every parser of what others send inputs made by chance
cargo xtask docs                            write what is generated in docs/reference anew
cargo xtask released                        record what this version leaves behind, for the upgrade tests of later ones
cargo xtask dist --key FINGERPRINT          make a release: programs, packages, apt repository, signatures

--allow-not-run  let tests that this machine cannot run pass; they are named in the end
";

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let result = match words.as_slice() {
        ["ci"] => ci::run(false),
        ["ci", "--allow-not-run"] => ci::run(true),
        ["e2e", rest @ ..] => {
            let allow = rest.contains(&"--allow-not-run");
            match rest.iter().filter(|word| **word != "--allow-not-run").collect::<Vec<_>>().as_slice() {
                [] => e2e::run(None, allow),
                [filter] => e2e::run(Some(filter), allow),
                _ => Err(format!("too many filters\n\n{HELP}")),
            }
        }
        ["bench", ..] => bench::run(&arguments[1..]),
        ["campaign", "reproduce"] => dist::reproduce::run(),
        ["campaign", "cuts" | "kills", ..] => campaign::run(&arguments[1..]),
        ["docs"] => docs::write(),
        ["released"] => released::record(),
        ["dist", "--help" | "-h"] => {
            print!("{}", dist::USAGE);
            Ok(())
        }
        ["dist", rest @ ..] => dist::Options::read(rest).and_then(|options| dist::run(&options)),
        ["dependencies"] => dependencies::check().and_then(|()| dependencies::advisories()),
        ["fuzz", rest @ ..] => fuzz::run(rest),
        ["--help" | "-h" | "help"] => {
            print!("{HELP}");
            Ok(())
        }
        _ => {
            eprint!("{HELP}");
            return ExitCode::from(2);
        }
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(why) => {
            eprintln!("xtask: {why}");
            ExitCode::FAILURE
        }
    }
}
