//! A terminal that a test can look at: tmux, of a size that the test says.

use std::time::Duration;

use crate::{Invocation, Ran, wait_until};

/// How long something may take until it shows.
const SHOWS: Duration = Duration::from_secs(30);

/// A terminal with one program in it. It ends with the test.
pub struct Tmux {
    socket: String,
}

impl Tmux {
    /// A terminal called `name`, in which a shell runs `script`; what it shows
    /// last stays to be looked at.
    pub fn start(name: &str, (columns, lines): (u16, u16), script: &str) -> Self {
        let terminal = Self { socket: format!("matrix-podman-e2e-{name}-{}", std::process::id()) };
        let (columns, lines) = (columns.to_string(), lines.to_string());
        let script = format!("{script}\nsleep 600");
        let words = ["new-session", "-d", "-x", &columns, "-y", &lines, "sh", "-c", &script];
        terminal.tmux(&words).ok();
        terminal
    }

    fn tmux(&self, words: &[&str]) -> Ran {
        let argv = ["tmux", "-f", "/dev/null", "-L", &self.socket];
        Invocation::new(argv.iter().chain(words)).env("TERM", "xterm-256color").quietly().run()
    }

    /// Presses a key, in tmux' words: `q`, `Up`, `C-c`.
    pub fn press(&self, key: &str) {
        self.tmux(&["send-keys", key]).ok();
    }

    /// Makes it another size.
    pub fn resize(&self, columns: u16, lines: u16) {
        let (columns, lines) = (columns.to_string(), lines.to_string());
        self.tmux(&["resize-window", "-x", &columns, "-y", &lines]).ok();
    }

    /// Closes it, as a window that is closed: what runs in it is not asked.
    pub fn close(&self) {
        self.tmux(&["kill-session"]).ok();
    }

    /// What is to be seen.
    pub fn screen(&self) -> String {
        self.tmux(&["capture-pane", "-p"]).ok().stdout
    }

    /// What is to be seen, with the codes of its colours.
    pub fn coloured(&self) -> String {
        self.tmux(&["capture-pane", "-p", "-e"]).ok().stdout
    }

    /// Waits until all of `words` are to be seen at once.
    #[track_caller]
    pub fn shows(&self, words: &[&str]) -> String {
        self.shows_within(SHOWS, words)
    }

    /// The same, with more time.
    #[track_caller]
    pub fn shows_within(&self, deadline: Duration, words: &[&str]) -> String {
        wait_until(&format!("{words:?} are on the screen"), deadline, || {
            let screen = self.screen();
            if words.iter().all(|word| screen.contains(word)) { Ok(screen) } else { Err(screen) }
        })
    }
}

impl Drop for Tmux {
    fn drop(&mut self) {
        let argv = ["tmux", "-L", &self.socket, "kill-server"];
        // It is gone already when its last program ended.
        let _ = std::process::Command::new(argv[0]).args(&argv[1..]).output();
    }
}
