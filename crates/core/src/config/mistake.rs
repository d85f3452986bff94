//! What is wrong with a config, told so that it can be mended.

use std::{fmt, ops::Range};

use serde::Serialize;

/// One thing that is wrong with the config.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Mistake {
    /// The file, as it was named to the program.
    pub file: String,
    /// Line, from 1; none for what is missing or came from a flag.
    pub line: Option<usize>,
    /// Column in characters, from 1.
    pub column: Option<usize>,
    /// The command-line flag that the value came from, in place of the file.
    pub flag: Option<String>,
    /// The key's whole path; empty where the file is not TOML.
    pub key: String,
    /// What was written there, shortened; none where it says nothing or might
    /// be a secret.
    pub value: Option<String>,
    /// What is wrong with it.
    pub problem: String,
    /// What to do about it.
    pub hint: Option<String>,
}

impl fmt::Display for Mistake {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (&self.flag, self.line) {
            (Some(flag), _) => match &self.value {
                Some(value) => write!(f, "{flag} {value}: ")?,
                None => write!(f, "{flag}: ")?,
            },
            (None, line) => {
                match line {
                    Some(line) => write!(f, "{}:{line}: ", self.file)?,
                    None => write!(f, "{}: ", self.file)?,
                }
                match &self.value {
                    Some(value) => write!(f, "{} = {value}: ", self.key)?,
                    None if self.key.is_empty() => {}
                    None => write!(f, "{}: ", self.key)?,
                }
            }
        }
        f.write_str(&self.problem)?;
        match &self.hint {
            Some(hint) => write!(f, "\n  hint: {hint}"),
            None => Ok(()),
        }
    }
}

/// Everything that is wrong with a config, in the order of the file; what came
/// from flags is at the end. Never empty.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(transparent)]
pub struct Mistakes(Vec<Mistake>);

impl Mistakes {
    pub(super) fn new(list: Vec<Mistake>) -> Self {
        Self(list)
    }

    /// The mistakes.
    pub fn list(&self) -> &[Mistake] {
        &self.0
    }
}

impl fmt::Display for Mistakes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (n, mistake) in self.0.iter().enumerate() {
            if n > 0 {
                writeln!(f)?;
            }
            mistake.fmt(f)?;
        }
        Ok(())
    }
}

impl std::error::Error for Mistakes {}

/// The text of a config with the name of its file.
#[derive(Debug, Clone, Copy)]
pub(super) struct Source<'a> {
    pub file: &'a str,
    pub text: &'a str,
}

impl<'a> Source<'a> {
    /// Line and column of a byte, both from 1.
    pub(super) fn position(&self, at: usize) -> (usize, usize) {
        let before = self.text.get(..at.min(self.text.len())).unwrap_or(self.text);
        let line_start = before.rfind('\n').map_or(0, |newline| newline + 1);
        let line = before.matches('\n').count() + 1;
        (line, before.get(line_start..).unwrap_or_default().chars().count() + 1)
    }

    /// What stands at `span`.
    pub(super) fn slice(&self, span: Range<usize>) -> &'a str {
        self.text.get(span).unwrap_or_default()
    }
}

/// A value on one line and not longer than a message can bear.
pub(super) fn shorten(value: &str) -> String {
    const LONGEST: usize = 60;
    let line: String = value
        .split_whitespace()
        .collect::<Vec<_>>()
        .join(" ")
        .chars()
        .map(|c| if c.is_control() { '\u{fffd}' } else { c })
        .collect();
    if line.chars().count() <= LONGEST {
        return line;
    }
    let mut short: String = line.chars().take(LONGEST - 1).collect();
    short.push('…');
    short
}
