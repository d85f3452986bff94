//! Ctrl-C while something is at work: it says what became of it.

use std::sync::{Mutex, OnceLock};

use matrix_podman_host::journal::UP;
use signal_hook::{consts::SIGINT, iterator::Signals};

use crate::output::Reporter;

/// As shells count a program that SIGINT ended.
const INTERRUPTED: i32 = 130;

/// What is said when the operator stops it now.
static WORDS: Mutex<Option<String>> = Mutex::new(None);
static LISTENS: OnceLock<()> = OnceLock::new();

/// As long as it lives, Ctrl-C says what becomes of `command`.
pub struct Interruptible;

impl Interruptible {
    /// Begins.
    pub fn begin(command: &str, out: &Reporter) -> Self {
        set(Some(words(command)));
        let out = out.clone();
        LISTENS.get_or_init(|| {
            // Without it Ctrl-C ends the program all the same.
            let Ok(mut signals) = Signals::new([SIGINT]) else { return };
            std::thread::spawn(move || {
                if signals.forever().next().is_some() {
                    if let Some(words) = WORDS.lock().ok().and_then(|words| words.clone()) {
                        out.say(&words);
                    }
                    std::process::exit(INTERRUPTED);
                }
            });
        });
        Self
    }
}

impl Drop for Interruptible {
    fn drop(&mut self) {
        set(None);
    }
}

fn set(words: Option<String>) {
    if let Ok(mut now) = WORDS.lock() {
        *now = words;
    }
}

fn words(command: &str) -> String {
    match command {
        UP => "\nStopped. Nothing is lost; `matrix-podman up` continues.".to_owned(),
        // Of the others some go on when they are typed again, and some would do something else.
        _ => {
            "\nStopped. `matrix-podman status` says how the server is, and what goes on from here.".to_owned()
        }
    }
}
