//! A run on a terminal: a line for each step under way, with what it waits for.

use std::{collections::BTreeMap, sync::Mutex, time::Duration};

use indicatif::{MultiProgress, ProgressBar, ProgressStyle};
use matrix_podman_host::progress::{Event, Listener, Saying};

use super::{DIM, GREEN, RED, YELLOW, duration, foreign::on_terminal, one_line, styled};

/// Live lines, and finished ones above them.
pub struct Terminal {
    all: MultiProgress,
    open: Mutex<BTreeMap<String, ProgressBar>>,
}

impl Terminal {
    /// A display with nothing on it.
    pub fn new() -> Self {
        Self { all: MultiProgress::new(), open: Mutex::new(BTreeMap::new()) }
    }

    fn with(&self, id: &str, act: impl FnOnce(&ProgressBar)) {
        if let Ok(open) = self.open.lock()
            && let Some(bar) = open.get(id)
        {
            act(bar);
        }
    }

    fn close(&self, id: &str) {
        if let Ok(mut open) = self.open.lock()
            && let Some(bar) = open.remove(id)
        {
            bar.finish_and_clear();
        }
    }

    fn print(&self, line: &str) {
        // Nothing to be done for a terminal that is gone.
        let _ = self.all.println(on_terminal(line));
    }
}

fn spinner() -> ProgressStyle {
    ProgressStyle::with_template("{spinner} {prefix} {elapsed:.dim} {wide_msg:.dim}")
        .unwrap_or_else(|_| ProgressStyle::default_spinner())
}

fn share() -> ProgressStyle {
    ProgressStyle::with_template("{spinner} {prefix} [{bar:20}] {percent}% {wide_msg:.dim}")
        .unwrap_or_else(|_| ProgressStyle::default_bar())
}

fn transfer() -> ProgressStyle {
    ProgressStyle::with_template(
        "{spinner} {prefix} [{bar:20}] {bytes}/{total_bytes} {bytes_per_sec:.dim} {eta:.dim}",
    )
    .unwrap_or_else(|_| ProgressStyle::default_bar())
}

impl Listener for Terminal {
    fn on(&self, event: &Event<'_>) {
        match event {
            Event::Started { id, what } => {
                let bar = self.all.add(ProgressBar::new_spinner().with_style(spinner()));
                bar.set_prefix((*what).to_owned());
                bar.enable_steady_tick(Duration::from_millis(120));
                if let Ok(mut open) = self.open.lock() {
                    open.insert((*id).to_owned(), bar);
                }
            }
            Event::Doing { id, effect } => self.with(id, |bar| {
                bar.set_style(spinner());
                bar.set_message(effect.clone());
            }),
            Event::Said { saying: Saying::TriesAgain(why), .. } => {
                self.print(&styled(YELLOW, &one_line(why)))
            }
            Event::Said { id, saying } => self.with(id, |bar| match saying {
                Saying::Line(line) => bar.set_message(one_line(line)),
                Saying::TriesAgain(why) => bar.set_message(one_line(why)),
                Saying::WaitsFor(what) => bar.set_message(format!("waits for {}", one_line(what))),
                Saying::Share { percent, at } => {
                    if bar.length() != Some(100) {
                        bar.set_length(100);
                        bar.set_style(share());
                    }
                    bar.set_position(u64::from(*percent));
                    bar.set_message(one_line(at));
                }
                Saying::Bytes { done, total } => {
                    if let Some(total) = total
                        && bar.length() != Some(*total)
                    {
                        bar.set_length(*total);
                        bar.set_style(transfer());
                    }
                    bar.set_position(*done);
                    if Some(*done) == *total {
                        bar.set_style(spinner());
                        bar.set_message("waits for the other end to store it");
                    }
                }
            }),
            Event::Finished { id, what, millis } => {
                self.close(id);
                self.print(&format!(
                    "{} {what} {}",
                    styled(GREEN, "✓"),
                    styled(DIM, &format!("({})", duration(*millis)))
                ));
            }
            Event::Failed { id, what, .. } => {
                self.close(id);
                self.print(&format!("{} {what}", styled(RED, "✗")));
            }
            Event::Note { text } => self.print(text),
        }
    }
}
