//! What a contributor does, in one command: `cargo xtask ci`, `e2e`, `bench`,
//! `campaign`, `docs`.

mod bench;
mod campaign;
mod ci;
mod docs;
mod e2e;
mod lanes;
mod phase;
mod tools;

use std::process::ExitCode;

const HELP: &str = "\
cargo xtask ci [--allow-not-run]            everything that must pass, fast things first
cargo xtask e2e [FILTER] [--allow-not-run]  the end-to-end tests, or those whose file or name has FILTER in it
cargo xtask bench [ARGUMENT...]             measure speed and size
cargo xtask campaign cuts [N [ACT]]         cut the power N times, in ACT alone or in everything that changes a server
cargo xtask campaign kills [N]              kill N runs at random moments
cargo xtask docs                            write what is generated in docs/reference anew

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
        ["campaign", "cuts" | "kills", ..] => campaign::run(&arguments[1..]),
        ["docs"] => docs::write(),
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
