//! What a command found or did: data for programs, words for people.

use serde::Serialize;

use super::Table;

/// A value that can be printed either way.
pub trait Printable: Serialize {
    /// The same for a person.
    fn words(&self) -> Wording;
}

/// A line and the stream that it belongs to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ReportLine {
    /// Standard output: what was asked for.
    Data(String),
    /// Standard error: what a person should know besides.
    Said(String),
}

/// Lines for a person, in order.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Wording {
    lines: Vec<ReportLine>,
}

impl Wording {
    /// Only this line of data.
    pub fn of(line: impl Into<String>) -> Self {
        let mut words = Self::default();
        words.data(line);
        words
    }

    /// Only this line beside the data.
    pub fn saying(line: impl Into<String>) -> Self {
        let mut words = Self::default();
        words.say(line);
        words
    }

    /// A line of what was asked for.
    pub fn data(&mut self, line: impl Into<String>) {
        self.lines.push(ReportLine::Data(line.into()));
    }

    /// A line beside the data.
    pub fn say(&mut self, line: impl Into<String>) {
        self.lines.push(ReportLine::Said(line.into()));
    }

    /// A table as data.
    pub fn table(&mut self, table: &Table) {
        self.lines.extend(table.lines().into_iter().map(ReportLine::Data));
    }

    /// The lines in order.
    pub fn lines(&self) -> &[ReportLine] {
        &self.lines
    }
}
