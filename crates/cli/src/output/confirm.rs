//! Questions whose answer lets a command go on.

/// What a yes puts at stake; it decides what Enter alone means.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AtStake {
    /// Nothing is lost and nobody is interrupted: Enter is yes.
    Nothing,
    /// Data, or a service that people are using: Enter is no.
    Something,
}

/// What is said where nobody says yes.
#[derive(Debug, Clone, Copy)]
pub struct Otherwise<'a> {
    /// What became of it.
    pub summary: &'a str,
    /// What to do next.
    pub hint: &'a str,
    /// What to do where nobody can be asked.
    pub unasked: &'a str,
}

impl<'a> Otherwise<'a> {
    /// Nothing was changed, and `--yes` does it without a question.
    pub fn unchanged(hint: &'a str) -> Self {
        Self { summary: "nothing was changed", hint, unasked: "add --yes" }
    }

    /// Nothing was removed, and `--yes` does it without a question.
    pub fn unremoved(hint: &'a str) -> Self {
        Self { summary: "nothing was removed", hint, unasked: "add --yes" }
    }
}

/// A question that is answered with yes or no.
#[derive(Debug, Clone, Copy)]
pub struct Confirmation<'a> {
    /// The question.
    pub question: &'a str,
    /// What a yes puts at stake.
    pub at_stake: AtStake,
    /// Whether it was said beforehand.
    pub yes: bool,
    /// What is said where nobody says yes.
    pub otherwise: Otherwise<'a>,
}

impl Confirmation<'_> {
    pub(super) fn prompt(&self) -> String {
        let keys = match self.at_stake {
            AtStake::Nothing => "[Y/n]",
            AtStake::Something => "[y/N]",
        };
        format!("{} {keys} ", self.question)
    }

    /// The end of input is no answer.
    pub(super) fn accepts(&self, answer: Option<&str>) -> bool {
        match answer.map(|answer| answer.trim().to_lowercase()).as_deref() {
            Some("y" | "yes") => true,
            Some("") => self.at_stake == AtStake::Nothing,
            _ => false,
        }
    }
}

/// A question that is answered with the name of what will be gone for good.
#[derive(Debug, Clone, Copy)]
pub struct NameToType<'a> {
    /// What has to be typed.
    pub name: &'a str,
    /// What for: `remove it`.
    pub purpose: &'a str,
    /// Whether it was said beforehand.
    pub yes: bool,
    /// What is said where it is not typed.
    pub otherwise: Otherwise<'a>,
}

impl NameToType<'_> {
    pub(super) fn prompt(&self) -> String {
        format!("Type {} to {}: ", self.name, self.purpose)
    }

    pub(super) fn accepts(&self, answer: Option<&str>) -> bool {
        answer.map(str::trim) == Some(self.name)
    }
}
