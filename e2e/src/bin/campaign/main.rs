//! `cargo xtask campaign`: cut off at many moments, the server comes back with one `up`; and
//! one of an earlier program is taken over.

use std::{path::Path, process::ExitCode};

use matrix_podman_e2e::{
    campaign::{Act, Tally, cuts, kills, takeover},
    empty_trash,
};

fn main() -> ExitCode {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    if let ["takeover", before] = words.as_slice() {
        let changed = takeover("takeover", Path::new(before));
        empty_trash();
        println!("taken over, with nothing lost; files that are other than before: {changed:?}");
        return ExitCode::SUCCESS;
    }
    let number = |word: Option<&&str>, usual: usize| match word {
        None => Some(usual),
        Some(word) => word.parse::<usize>().ok().filter(|count| *count > 0),
    };
    let tally: Option<Tally> = match words.as_slice() {
        ["cuts", rest @ ..] if rest.len() < 3 => number(rest.first(), 50).and_then(|count| {
            let acts = match rest.get(1) {
                None => Act::ALL.to_vec(),
                Some(word) => {
                    Act::ALL.into_iter().filter(|act| format!("{act:?}").to_lowercase() == **word).collect()
                }
            };
            (!acts.is_empty()).then(|| cuts("cuts", &acts, count))
        }),
        ["kills", rest @ ..] if rest.len() < 2 => {
            number(rest.first(), 200).map(|count| kills("kills", count))
        }
        _ => None,
    };
    let Some(tally) = tally else {
        eprintln!(
            "campaign cuts [N [first|update|backup|restore|major]] | campaign kills [N] | campaign takeover COMMIT"
        );
        return ExitCode::from(2);
    };
    empty_trash();
    println!(
        "{} times, {} acknowledged, {} went wrong",
        tally.count(),
        tally.acknowledged(),
        tally.wrongs().len()
    );
    if tally.wrongs().is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
