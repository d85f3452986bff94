//! The streams of the process: the one place where the program prints and asks.
//! Data go to standard output, everything else to standard error.

use std::io::{self, BufRead as _, IsTerminal as _, Read as _, Write as _, stderr, stdin};

use super::foreign::{Washed, on_terminal};

/// Where lines go, and where answers come from.
pub trait Console: Send + Sync {
    /// A line of data.
    fn data(&self, line: &str);
    /// A line for the person at work.
    fn say(&self, line: &str);
    /// Whether somebody is there to answer.
    fn can_ask(&self) -> bool;
    /// Asks; `None` at the end of input.
    fn ask(&self, question: &str) -> io::Result<Option<String>>;
    /// Asks for what must not show on the screen.
    fn ask_secret(&self, question: &str) -> io::Result<String>;
}

/// The process's own streams.
pub struct Streams;

impl Console for Streams {
    fn data(&self, line: &str) {
        let mut out = anstream::stdout().lock();
        // Whoever closed the pipe has read enough; a program gets what there is, as it is.
        let _ = match io::stdout().is_terminal() {
            true => writeln!(out, "{}", on_terminal(line)),
            false => writeln!(out, "{line}"),
        };
    }

    fn say(&self, line: &str) {
        say(line);
    }

    fn can_ask(&self) -> bool {
        stdin().is_terminal() && stderr().is_terminal()
    }

    fn ask(&self, question: &str) -> io::Result<Option<String>> {
        let mut err = stderr();
        write!(err, "{question}").and_then(|()| err.flush())?;
        let mut answer = String::new();
        let read = stdin().read_line(&mut answer)?;
        Ok((read > 0).then(|| answer.trim_end_matches('\n').to_owned()))
    }

    fn ask_secret(&self, question: &str) -> io::Result<String> {
        rpassword::prompt_password(question)
    }
}

/// A line on standard error, for those who have no [`super::Reporter`] to hand over.
pub fn say(line: &str) {
    let _ = writeln!(anstream::stderr().lock(), "{}", on_terminal(line));
}

/// What others print, as it comes. On a terminal nothing of it may act; a program
/// gets the bytes.
pub fn passing() -> impl FnMut(&[u8]) {
    let mut out = io::stdout().lock();
    let (terminal, mut washed) = (out.is_terminal(), Washed::default());
    move |bytes| {
        let shown = if terminal { washed.wash(bytes).into_bytes() } else { bytes.to_vec() };
        // Whoever closed the pipe has read enough.
        let _ = out.write_all(&shown).and_then(|()| out.flush());
    }
}

/// The first line of standard input, without its end.
pub fn piped_line() -> io::Result<String> {
    let mut line = String::new();
    stdin().lock().read_line(&mut line)?;
    Ok(line.trim_end_matches(['\n', '\r']).to_owned())
}

/// All of standard input.
pub fn piped_text() -> io::Result<String> {
    let mut text = String::new();
    stdin().read_to_string(&mut text)?;
    Ok(text)
}
