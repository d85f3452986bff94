//! `watch`: the status as a screen that stays, and what a service says.
//!
//! One thread asks, over one connection, as long as the screen is there; this
//! one draws and hears keys, so that a guest that does not answer keeps nobody
//! from leaving. Nothing is changed.

mod model;
mod screen;
mod worker;

use std::{
    io::{IsTerminal as _, stdin, stdout},
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use matrix_podman_host::failure::Failure;
use ratatui::{
    DefaultTerminal,
    crossterm::event::{self, Event, KeyEventKind},
};
use rustix::event::{PollFd, PollFlags, Timespec};
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};

use self::{
    model::{Act, Model},
    worker::Worker,
};
use super::status;
use crate::{
    args,
    error::{DONE, Error},
    output::Reporter,
};

/// How often keys and news are looked for.
const TICK: Duration = Duration::from_millis(100);
/// The exit code after a signal: 128 and its number, as shells have it.
const ENDED: u8 = 128 + 15;

pub fn run(config: Option<&Path>, args: &args::Watch, out: &Reporter) -> Result<u8, Error> {
    if !stdin().is_terminal() || !stdout().is_terminal() {
        return Err(Error::usage(
            "watch draws on a terminal, and here is none",
            "`matrix-podman status` says the same once, `matrix-podman status --json` says it to programs",
        ));
    }
    let (world, _) = super::world(config, out)?;
    // A person at the screen cannot be asked on it.
    let world = matrix_podman_host::world::World::new(world.site().clone());
    let ended = Arc::new(AtomicBool::new(false));
    for signal in [SIGTERM, SIGHUP, SIGINT] {
        signal_hook::flag::register(signal, Arc::clone(&ended))
            .map_err(|e| Failure::new("listen for signals", e))?;
    }
    let colours = std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty());
    let name = world.site().config.server_name.to_string();
    let worker = Worker::start(world, Duration::from_secs(args.every.0));
    let mut model = Model::new(name, args.every.0, colours);
    on_screen(|terminal| draw(terminal, &worker, &mut model, &ended))?;
    Ok(if ended.load(Ordering::SeqCst) { ENDED } else { DONE })
}

/// Gives `draw` the terminal for itself, and puts it back however that ends: also
/// by a panic, in whatever thread, and before that is told.
fn on_screen(draw: impl FnOnce(&mut DefaultTerminal) -> std::io::Result<()>) -> Result<(), Failure> {
    let mut terminal = ratatui::try_init().map_err(|e| Failure::new("draw on the terminal", e))?;
    let drawn = draw(&mut terminal);
    let restored = ratatui::try_restore();
    drawn.map_err(|e| Failure::new("draw on the terminal", e))?;
    restored.map_err(|e| Failure::new("put the terminal back", e))
}

/// Until somebody leaves, or a signal says so.
fn draw(
    terminal: &mut DefaultTerminal,
    worker: &Worker,
    model: &mut Model,
    ended: &AtomicBool,
) -> std::io::Result<()> {
    let mut stale = true;
    while !ended.load(Ordering::SeqCst) {
        while let Some(news) = worker.news()? {
            model.hear(news);
            stale = true;
        }
        if model.passes(status::now()) || stale {
            terminal.draw(|frame| screen::draw(frame, model))?;
            stale = false;
        }
        if is_gone(TICK)? {
            return Ok(());
        }
        // A signal may cut this short.
        match event::poll(Duration::ZERO) {
            Ok(true) => {}
            Ok(false) => continue,
            Err(e) if e.kind() == std::io::ErrorKind::Interrupted => continue,
            Err(e) => return Err(e),
        }
        stale = true;
        match event::read()? {
            Event::Key(key) if key.kind != KeyEventKind::Release => match model.press(key) {
                Act::Nothing => {}
                Act::Ask(question) => worker.ask(question),
                Act::Leave => return Ok(()),
            },
            _ => {}
        }
    }
    Ok(())
}

/// Waits for a key, and says whether the terminal was closed meanwhile: one that
/// is gone has endless nothing to read, which crossterm never comes back from.
fn is_gone(patience: Duration) -> std::io::Result<bool> {
    let terminal = stdin();
    let mut fds = [PollFd::new(&terminal, PollFlags::IN)];
    let patience = Timespec::try_from(patience).map_err(std::io::Error::other)?;
    match rustix::event::poll(&mut fds, Some(&patience)) {
        Ok(_) => Ok(fds[0].revents().intersects(PollFlags::HUP | PollFlags::ERR)),
        Err(rustix::io::Errno::INTR) => Ok(false),
        Err(e) => Err(e.into()),
    }
}

#[cfg(test)]
mod tests {
    use std::{fs, process::Command};

    use super::*;

    /// Says to the test below that it runs on a terminal, and where to begin.
    const ON_TERMINAL: &str = "MATRIX_PODMAN_TEST_ON_TERMINAL";

    #[test]
    fn a_panic_puts_the_terminal_back_before_it_is_told() {
        if std::env::var_os(ON_TERMINAL).is_some() {
            let _ = on_screen(|terminal| {
                terminal.draw(|frame| frame.render_widget("drawn", frame.area()))?;
                panic!("a mistake while drawing");
            });
        }
        let folder = tempfile::tempdir().unwrap();
        let (before, after) = (folder.path().join("before"), folder.path().join("after"));
        let script = format!(
            "stty rows 24 cols 80; stty -a >{}; '{}' --exact --nocapture {}::a_panic_puts_the_terminal_back_before_it_is_told; stty -a >{}",
            before.display(),
            std::env::current_exe().unwrap().display(),
            module_path!().split_once("::").unwrap().1,
            after.display(),
        );
        let ran = Command::new("script")
            .args(["--quiet", "--return", "--command", &script, "/dev/null"])
            .env(ON_TERMINAL, "yes")
            .env("TERM", "xterm-256color")
            .env("RUST_BACKTRACE", "0")
            .output()
            .unwrap();
        let said = String::from_utf8_lossy(&ran.stdout);
        let at = |what: &str| said.find(what).unwrap_or_else(|| panic!("no {what:?} in {said:?}"));
        // The screen of its own is left before the panic is told; the cursor comes back.
        let (entered, left) = (at("\u{1b}[?1049h"), at("\u{1b}[?1049l"));
        assert!(entered < at("drawn") && at("drawn") < left, "{said:?}");
        assert!(left < at("a mistake while drawing") && left < at("\u{1b}[?25h"), "{said:?}");
        let (before, after) = (fs::read_to_string(before).unwrap(), fs::read_to_string(after).unwrap());
        assert!(before.contains(" icanon ") && before.contains(" echo "), "{before}");
        assert_eq!(before, after, "the terminal is not as it was");
    }
}
