//! Streams in memory, for tests.

use std::{
    collections::VecDeque,
    io,
    sync::{Arc, Mutex},
};

use super::{OutputForm, Reporter, console::Console};

/// Something that a person or a program would have seen.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Heard {
    /// On standard output.
    Data(String),
    /// On standard error.
    Beside(String),
    /// Asked on the terminal.
    Asked(String),
}

/// Keeps what is said, and answers what was agreed.
#[derive(Clone, Default)]
pub struct Recorded(Arc<Inside>);

#[derive(Default)]
struct Inside {
    said: Mutex<Vec<Heard>>,
    answers: Mutex<Option<VecDeque<Option<String>>>>,
}

impl Recorded {
    /// A terminal with a person who gives these answers.
    pub fn new(answers: &[Option<&str>]) -> Self {
        let answers = answers.iter().map(|answer| answer.map(str::to_owned)).collect();
        Self(Arc::new(Inside { said: Mutex::default(), answers: Mutex::new(Some(answers)) }))
    }

    /// A pipe.
    pub fn without_terminal() -> Self {
        Self::default()
    }

    /// What a command prints and asks through.
    pub fn reporter(&self, form: OutputForm) -> Reporter {
        Reporter::on(form, Arc::new(self.clone()))
    }

    /// What was said, without colours.
    pub fn said(&self) -> Vec<Heard> {
        self.0.said.lock().unwrap().clone()
    }

    fn keep(&self, said: fn(String) -> Heard, text: &str) {
        self.0.said.lock().unwrap().push(said(anstream::adapter::strip_str(text).to_string()));
    }
}

impl Console for Recorded {
    fn data(&self, line: &str) {
        self.keep(Heard::Data, line);
    }

    fn say(&self, line: &str) {
        self.keep(Heard::Beside, line);
    }

    fn can_ask(&self) -> bool {
        self.0.answers.lock().unwrap().is_some()
    }

    fn ask(&self, question: &str) -> io::Result<Option<String>> {
        self.keep(Heard::Asked, question);
        let mut answers = self.0.answers.lock().unwrap();
        answers.as_mut().and_then(VecDeque::pop_front).ok_or_else(|| io::Error::other("asked once too often"))
    }

    fn ask_secret(&self, question: &str) -> io::Result<String> {
        self.ask(question).map(Option::unwrap_or_default)
    }
}
