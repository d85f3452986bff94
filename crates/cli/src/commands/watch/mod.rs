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
};

/// How often keys and news are looked for.
const TICK: Duration = Duration::from_millis(100);
/// The exit code after a signal: 128 and its number, as shells have it.
const ENDED: u8 = 128 + 15;

pub fn run(config: Option<&Path>, args: &args::Watch) -> Result<u8, Error> {
    if !stdin().is_terminal() || !stdout().is_terminal() {
        return Err(Error::usage(
            "watch draws on a terminal, and here is none",
            "`matrix-podman status` says the same once, `matrix-podman status --json` says it to programs",
        ));
    }
    let (world, _) = super::world(config)?;
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
    // Also puts the terminal back when there is a panic, before that is told.
    let mut terminal = ratatui::try_init().map_err(|e| Failure::new("draw on the terminal", e))?;
    let drawn = draw(&mut terminal, &worker, &mut Model::new(name, args.every.0, colours), &ended);
    let restored = ratatui::try_restore();
    drawn.map_err(|e| Failure::new("draw on the terminal", e))?;
    restored.map_err(|e| Failure::new("put the terminal back", e))?;
    Ok(if ended.load(Ordering::SeqCst) { ENDED } else { DONE })
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
        while let Some(news) = worker.news() {
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
