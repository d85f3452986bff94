//! Everybody can see what stands on a command line. This looks all the time.

use std::{
    collections::HashSet,
    fs,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread::{self, JoinHandle},
    time::Duration,
};

/// Between two looks.
const LOOK: Duration = Duration::from_millis(60);

/// Collects the arguments and the environment of every process on the machine,
/// those in guests and containers included, until it is told to stop.
pub struct ProcessWatcher {
    stop: Arc<AtomicBool>,
    thread: JoinHandle<(HashSet<String>, usize)>,
}

impl ProcessWatcher {
    /// Begins to look.
    pub fn start() -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let ending = Arc::clone(&stop);
        let thread = thread::spawn(move || {
            let mut seen = HashSet::new();
            let mut looks = 0;
            while !ending.load(Ordering::Relaxed) {
                look(&mut seen);
                looks += 1;
                thread::sleep(LOOK);
            }
            (seen, looks)
        });
        Self { stop, thread }
    }

    /// Stops; everything that was seen.
    #[track_caller]
    pub fn stop(self) -> HashSet<String> {
        self.stop.store(true, Ordering::Relaxed);
        let (seen, looks) = self.thread.join().unwrap_or_else(|_| panic!("the watcher failed"));
        println!(
            "  … {looks} looks at all processes, {} different command lines and environments",
            seen.len()
        );
        seen
    }
}

fn look(seen: &mut HashSet<String>) {
    let Ok(processes) = fs::read_dir("/proc") else { return };
    for process in processes.flatten() {
        if !process.file_name().to_string_lossy().starts_with(|c: char| c.is_ascii_digit()) {
            continue;
        }
        for what in ["cmdline", "environ"] {
            // A process that has ended since is none to look at.
            let Ok(bytes) = fs::read(process.path().join(what)) else { continue };
            let text = String::from_utf8_lossy(&bytes).replace('\0', " ");
            if !seen.contains(text.as_str()) {
                seen.insert(text);
            }
        }
    }
}
