//! What every command prints and asks through: in words for a person, or as JSON.

use std::{io::IsTerminal as _, sync::Arc};

use matrix_podman_core::service::capitalized;
use matrix_podman_host::{failure::Failure, progress::Listener};

use super::{
    BOLD, DIM, JsonLines, Plain, Printable, RED, Terminal,
    confirm::{Confirmation, NameToType},
    console::{Console, Streams},
    harmless, one_line,
    report::ReportLine,
    styled,
};
use crate::error::Error;

/// How a command prints.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OutputForm {
    /// For a person.
    Words,
    /// For a program: one JSON document or event a line.
    Json,
}

/// The one place that prints and asks.
#[derive(Clone)]
pub struct Reporter {
    form: OutputForm,
    console: Arc<dyn Console>,
}

impl Reporter {
    /// On the process's own streams.
    pub fn new(form: OutputForm) -> Self {
        Self::on(form, Arc::new(Streams))
    }

    /// On streams of another kind.
    pub fn on(form: OutputForm, console: Arc<dyn Console>) -> Self {
        Self { form, console }
    }

    /// Whether a person reads it, not a program.
    pub fn is_for_person(&self) -> bool {
        self.form == OutputForm::Words
    }

    /// Prints what a command found or did.
    pub fn report(&self, report: &impl Printable) -> Result<(), Error> {
        match self.form {
            OutputForm::Json => {
                let text =
                    serde_json::to_string(report).map_err(|e| Failure::new("print the result as JSON", e))?;
                self.console.data(&text);
            }
            OutputForm::Words => {
                for line in report.words().lines() {
                    match line {
                        ReportLine::Data(text) => self.console.data(text),
                        ReportLine::Said(text) => self.console.say(text),
                    }
                }
            }
        }
        Ok(())
    }

    /// A document whose form is its own: a script, a page, another program's config.
    pub fn document(&self, text: &str) {
        self.console.data(text.trim_end());
    }

    /// A line that has to be told in either form, beside the data.
    pub fn say(&self, text: &str) {
        self.console.say(text);
    }

    /// A line for the person who watches; a program has no use for it.
    pub fn narrate(&self, text: &str) {
        if self.is_for_person() {
            self.console.say(text);
        }
    }

    /// Says that something went wrong which is no reason to stop.
    pub fn note(&self, failure: &Failure) {
        self.say(&format!("note: {}", one_line(&failure.to_string())));
    }

    /// Who shows how a run goes.
    pub fn listener(&self) -> Box<dyn Listener> {
        match self.form {
            OutputForm::Json => Box::new(JsonLines(self.clone())),
            OutputForm::Words if std::io::stderr().is_terminal() => Box::new(Terminal::new()),
            OutputForm::Words => Box::new(Plain::new(self.clone())),
        }
    }

    /// Prints why a command failed.
    pub fn error(&self, error: &Error) {
        match self.form {
            OutputForm::Json => self.console.data(&error_event(error).to_string()),
            OutputForm::Words => self.error_in_words(error),
        }
    }

    fn error_in_words(&self, error: &Error) {
        if let Error::Failed(failure) = error {
            for line in &failure.evidence {
                self.say(&styled(DIM, &format!("  | {}", harmless(line))));
            }
        }
        match error {
            Error::Config(mistakes) => self.say(&mistakes.to_string()),
            Error::Declined { summary, .. } => self.say(&format!("{}.", capitalized(summary))),
            other => self.say(&format!("{} {}", styled(RED, "error:"), one_line(&other.to_string()))),
        }
        if let Some(hint) = error.hint() {
            self.say(&format!("{} {}", styled(BOLD, hint_label(error)), one_line(hint)));
        }
    }

    /// Whether somebody is there to answer.
    pub fn can_ask(&self) -> bool {
        self.console.can_ask()
    }

    /// Whether questions may be asked that a flag or the config answers too: a program
    /// that wants JSON is asked nothing.
    pub fn may_ask(&self) -> bool {
        self.is_for_person() && self.console.can_ask()
    }

    /// Asks a question; `None` at the end of input.
    pub fn ask(&self, question: &str) -> Result<Option<String>, Error> {
        Ok(self.console.ask(question).map_err(|e| Failure::new("ask on the terminal", e))?)
    }

    /// Asks for a password.
    pub fn ask_secret(&self, question: &str) -> Result<String, Error> {
        Ok(self.console.ask_secret(question).map_err(|e| Failure::new("ask for the password", e))?)
    }

    /// Goes on only when somebody says yes.
    pub fn confirm(&self, confirmation: &Confirmation<'_>) -> Result<(), Error> {
        self.agreed(&confirmation.prompt(), confirmation.yes, &confirmation.otherwise, |answer| {
            confirmation.accepts(answer)
        })
    }

    /// Whether somebody says yes; no is an answer like any other.
    pub fn agrees(&self, confirmation: &Confirmation<'_>) -> Result<bool, Error> {
        Ok(confirmation.yes || confirmation.accepts(self.ask(&confirmation.prompt())?.as_deref()))
    }

    /// Goes on only when somebody types the name of what will be gone.
    pub fn confirm_name(&self, name: &NameToType<'_>) -> Result<(), Error> {
        self.agreed(&name.prompt(), name.yes, &name.otherwise, |answer| name.accepts(answer))
    }

    fn agreed(
        &self,
        prompt: &str,
        yes: bool,
        otherwise: &super::Otherwise<'_>,
        accepts: impl Fn(Option<&str>) -> bool,
    ) -> Result<(), Error> {
        if yes {
            return Ok(());
        }
        if !self.may_ask() {
            let why = match self.form {
                OutputForm::Json => "with --json nothing is asked, and this has to be confirmed",
                OutputForm::Words => "there is no terminal to ask on, and this has to be confirmed",
            };
            return Err(Error::usage(why, otherwise.unasked));
        }
        if accepts(self.ask(prompt)?.as_deref()) {
            return Ok(());
        }
        Err(Error::Declined { summary: otherwise.summary.to_owned(), hint: otherwise.hint.to_owned() })
    }
}

fn error_event(error: &Error) -> serde_json::Value {
    match error {
        Error::Config(mistakes) => serde_json::json!({"event": "error", "mistakes": mistakes}),
        Error::Failed(failure) => {
            serde_json::json!({"event": "error", "failure": failure, "text": failure.to_string()})
        }
        other => serde_json::json!({"event": "error", "text": other.to_string(), "hint": other.hint()}),
    }
}

/// What stands before what to do next. What a guest says may have been put into its
/// mouth, so it is not told as ours.
fn hint_label(error: &Error) -> &'static str {
    match error {
        Error::Failed(failure) if failure.of_guest => "the guest suggests next:",
        _ => "next:",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::output::{
        AtStake, Otherwise, Wording,
        testing::{Heard, Recorded},
    };

    #[derive(serde::Serialize)]
    struct Made {
        event: &'static str,
        count: u8,
    }

    impl Printable for Made {
        fn words(&self) -> Wording {
            let mut words = Wording::of(format!("{} made", self.count));
            words.say("next: nothing");
            words
        }
    }

    #[test]
    fn a_report_is_words_or_json_and_never_both() {
        let made = Made { event: "made", count: 2 };
        let person = Recorded::new(&[]);
        person.reporter(OutputForm::Words).report(&made).unwrap();
        assert_eq!(
            person.said(),
            [Heard::Data("2 made".to_owned()), Heard::Beside("next: nothing".to_owned())]
        );
        let program = Recorded::new(&[]);
        let reporter = program.reporter(OutputForm::Json);
        reporter.narrate("for a person");
        reporter.report(&made).unwrap();
        assert_eq!(program.said(), [Heard::Data(r#"{"event":"made","count":2}"#.to_owned())]);
    }

    #[test]
    fn an_error_is_data_for_a_program_and_beside_them_for_a_person() {
        let error = Error::usage("it is wrong", "do it otherwise");
        let person = Recorded::new(&[]);
        person.reporter(OutputForm::Words).error(&error);
        assert_eq!(
            person.said(),
            [
                Heard::Beside("error: it is wrong".to_owned()),
                Heard::Beside("next: do it otherwise".to_owned())
            ]
        );
        let program = Recorded::new(&[]);
        program.reporter(OutputForm::Json).error(&error);
        let expected = r#"{"event":"error","text":"it is wrong","hint":"do it otherwise"}"#;
        assert_eq!(program.said(), [Heard::Data(expected.to_owned())]);
    }

    #[test]
    fn no_is_an_answer_and_not_an_error() {
        let console = Recorded::new(&[Some("n")]);
        let refused = confirmed(&console, OutputForm::Words, AtStake::Nothing, false).unwrap_err();
        console.reporter(OutputForm::Words).error(&refused);
        let said = &console.said()[1..];
        assert_eq!(
            said,
            [Heard::Beside("Nothing was changed.".to_owned()), Heard::Beside("next: answer y".to_owned())]
        );
    }

    #[test]
    fn what_a_guest_suggests_is_told_as_the_guests() {
        let own = Failure::new("do it", "no").hint("matrix-podman up");
        assert_eq!(hint_label(&own.clone().into()), "next:");
        assert_eq!(hint_label(&own.of_guest(100).into()), "the guest suggests next:");
    }

    fn confirmed(console: &Recorded, form: OutputForm, at_stake: AtStake, yes: bool) -> Result<(), Error> {
        let otherwise = Otherwise { summary: "nothing was changed", hint: "answer y", unasked: "add --yes" };
        console.reporter(form).confirm(&Confirmation { question: "Do this?", at_stake, yes, otherwise })
    }

    #[test]
    fn enter_is_yes_only_where_nothing_is_at_stake() {
        for (at_stake, typed, agrees) in [
            (AtStake::Nothing, Some(""), true),
            (AtStake::Nothing, Some("no"), false),
            (AtStake::Nothing, None, false),
            (AtStake::Something, Some(""), false),
            (AtStake::Something, Some("Y"), true),
            (AtStake::Something, Some(" YES "), true),
            (AtStake::Something, Some("yess"), false),
            (AtStake::Something, None, false),
        ] {
            let console = Recorded::new(&[typed]);
            let result = confirmed(&console, OutputForm::Words, at_stake, false);
            assert_eq!(result.is_ok(), agrees, "{at_stake:?} {typed:?}");
            if let Err(error) = result {
                assert_eq!((error.exit_code(), error.hint()), (1, Some("answer y")));
            }
            let prompt = if at_stake == AtStake::Nothing { "Do this? [Y/n] " } else { "Do this? [y/N] " };
            assert_eq!(console.said(), [Heard::Asked(prompt.to_owned())]);
        }
    }

    #[test]
    fn nobody_is_asked_where_nobody_is_or_a_program_listens_or_yes_was_said() {
        let console = Recorded::new(&[Some("y")]);
        assert_eq!(
            confirmed(&console, OutputForm::Json, AtStake::Nothing, false).unwrap_err().exit_code(),
            2
        );
        confirmed(&console, OutputForm::Json, AtStake::Something, true).unwrap();
        let nobody = Recorded::without_terminal();
        let error = confirmed(&nobody, OutputForm::Words, AtStake::Nothing, false).unwrap_err();
        assert_eq!((error.exit_code(), error.hint()), (2, Some("add --yes")));
        assert!(console.said().is_empty() && nobody.said().is_empty());
    }

    #[test]
    fn a_name_has_to_be_typed_as_it_is() {
        for (typed, agrees) in
            [(Some("a.example"), true), (Some(" a.example "), true), (Some("y"), false), (None, false)]
        {
            let console = Recorded::new(&[typed]);
            let otherwise =
                Otherwise { summary: "nothing was removed", hint: "type it", unasked: "add --yes" };
            let name = NameToType { name: "a.example", purpose: "remove it", yes: false, otherwise };
            assert_eq!(console.reporter(OutputForm::Words).confirm_name(&name).is_ok(), agrees, "{typed:?}");
        }
    }
}
