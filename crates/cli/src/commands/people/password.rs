//! How somebody chooses a password: from a file, from standard input, or at the terminal,
//! where a good one is offered and what was wrong is asked again.

use std::{fs, path::Path};

use matrix_podman_core::people::{Password, UserId};
use matrix_podman_host::{failure::Failure, offered_password};

use crate::{
    error::Error,
    output::{Reporter, piped_line},
};

/// How often somebody is asked.
const TRIES: usize = 5;

/// The password of `user`, with at least `least` characters, which is what Synapse asks of
/// those who choose one themselves.
pub fn choose(least: usize, user: &UserId, file: Option<&Path>, out: &Reporter) -> Result<Password, Error> {
    let text = match file {
        None if out.can_ask() => return ask(least, user, out),
        Some(file) if file != Path::new("-") => {
            let text = fs::read_to_string(file).map_err(|e| {
                Error::usage(format!("cannot read {}: {e}", file.display()), "name another file")
            })?;
            text.lines().next().unwrap_or_default().to_owned()
        }
        _ => piped_line().map_err(|e| Failure::new("read the password", e))?,
    };
    Password::chosen(least, user.localpart(), &text)
        .map_err(|why| Error::usage(why.to_string(), "nothing was changed; try another"))
}

fn ask(least: usize, user: &UserId, out: &Reporter) -> Result<Password, Error> {
    let question = format!("Password (at least {least} characters; Enter alone offers one): ");
    for _ in 0..TRIES {
        let first = out.ask_secret(&question)?;
        if first.is_empty() {
            let offered = offered_password(least)?;
            out.say(&format!("  {offered}   (shown only now; Enter takes it)"));
            if out.ask_secret("Press Enter, or type your own: ")?.is_empty() {
                return Ok(Password::chosen(least, user.localpart(), &offered)
                    .map_err(|why| Failure::new("make a password", why))?);
            }
            continue;
        }
        match Password::chosen(least, user.localpart(), &first) {
            Err(why) => out.say(&format!("  {why}")),
            Ok(password) if out.ask_secret("Once more: ")? == first => return Ok(password),
            Ok(_) => out.say("  the two passwords differ"),
        }
    }
    Err(Error::usage("no password was chosen", "nothing was changed; try again"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::output::{
        OutputForm,
        testing::{Heard, Recorded},
    };

    fn asked(answers: &[&str]) -> (Result<Password, Error>, String) {
        let answers: Vec<Option<&str>> = answers.iter().map(|answer| Some(*answer)).collect();
        let console = Recorded::new(&answers);
        let server = "matrix.home.arpa".parse().unwrap();
        let user = UserId::of(&"caroline".parse().unwrap(), &server);
        let chosen = choose(10, &user, None, &console.reporter(OutputForm::Words));
        let said = console.said().into_iter().map(|heard| match heard {
            Heard::Data(line) | Heard::Beside(line) | Heard::Asked(line) => line,
        });
        (chosen, said.collect::<Vec<_>>().join("\n"))
    }

    #[test]
    fn what_was_wrong_is_asked_again() {
        let good = "correct horse";
        let (chosen, said) =
            asked(&["short", "Password123!", "caroline2026", good, "correct h0rse", good, good]);
        assert_eq!(chosen.unwrap().reveal(), good);
        for words in ["at least 10 characters", "5 characters", "first that are guessed", "differ"] {
            assert!(said.contains(words), "{words}: {said}");
        }
        assert!(!said.contains(good) && !said.contains("Password123"), "{said}");
        assert_eq!(asked(&["short"; 5]).0.unwrap_err().exit_code(), 2);
    }

    #[test]
    fn a_good_one_is_offered() {
        let (chosen, said) = asked(&["", ""]);
        let chosen = chosen.unwrap();
        assert!(said.contains(chosen.reveal()) && chosen.reveal().len() >= 19, "{said}");
        let (own, _) = asked(&["", "own", "my own words", "my own words"]);
        assert_eq!(own.unwrap().reveal(), "my own words");
    }
}
