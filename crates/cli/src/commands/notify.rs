//! Telling the operator what came of things, and `notify test`.

mod overdue;

use std::{fs, path::Path, time::Duration};

use matrix_podman_core::{
    layout,
    name::{Mode, Owner},
    notify::Subject,
};
use matrix_podman_host::{
    file,
    notify::{self, Sent},
    work::update::room_runs_out,
    world::World,
};
use serde::Serialize;
use serde_json::Value as Json;

pub use overdue::wordless;

use crate::{
    args,
    error::{DONE, Error, FAILED},
    output::{GREEN, Printable, RED, Reporter, Wording, harmless, one_line, styled},
};

/// Tells those whom the config names what came of something. A notice that
/// cannot be sent is said here and in `status`, and fails nothing.
pub fn tell(world: &World, subject: Subject, well: bool, what: &str, out: &Reporter) {
    for sent in notify::tell(world, subject, well, what) {
        if let Err(failure) = sent.result {
            out.say(&format!("note: the notice was not sent: {}", one_line(&failure.to_string())));
        }
    }
}

/// The name of a notice in JSON.
const NOTICE: &str = "notice";
/// How long one notice of a disk that runs full is enough.
const ROOM_TOLD: Duration = Duration::from_secs(6 * 86_400);

/// Tells that the guest's disk will soon be too full for what runs automatically, before anything
/// is refused for it; once a week, and anew when there was room in between. That it cannot be looked
/// at fails nothing: whoever looks for room next says so.
pub fn tell_of_room(world: &World, out: &Reporter) {
    let told = layout::machine_state(world.site().config.site()).join("room-told");
    let told = Path::new(told.as_str());
    match room_runs_out(world) {
        Ok(None) => {
            if let Err(failure) = file::remove(told) {
                out.say(&format!("note: {failure}"));
            }
        }
        Ok(Some(what)) => {
            out.say(&format!("note: {what}"));
            let age =
                fs::metadata(told).and_then(|meta| meta.modified()).ok().and_then(|at| at.elapsed().ok());
            if age.is_some_and(|age| age < ROOM_TOLD) {
                return;
            }
            tell(world, Subject::Room, false, &what, out);
            if let Err(failure) = file::write(told, b"", Mode(0o600), Owner::ROOT) {
                out.say(&format!("note: the same will be told again: {failure}"));
            }
        }
        Err(failure) => out.say(&format!("note: {failure}")),
    }
}

pub fn run(config: Option<&Path>, args: &args::Notify, out: &Reporter) -> Result<u8, Error> {
    match args {
        args::Notify::Test => test(config, out),
        args::Notify::Check => overdue::check(config, out),
    }
}

fn test(config: Option<&Path>, out: &Reporter) -> Result<u8, Error> {
    let (world, _) = super::world(config, out)?;
    if world.site().config.notify.is_nobody() {
        return Err(Error::usage(
            "matrix.toml names nobody to be told",
            "`matrix-podman set notify.webhook_file FILE`, or notify.room, or notify.file",
        ));
    }
    let sent = notify::tell(&world, Subject::Test, true, "notices arrive");
    let mut lines: Vec<NoticeTried> = sent.into_iter().map(|sent| NoticeTried::of("here", sent)).collect();
    if !world.site().backend.is_this_machine() {
        for line in &mut lines {
            line.from = "the machine";
        }
        lines.extend(from_guest(&world)?);
    }
    let well = lines.iter().all(|line| line.why.is_none());
    for line in &lines {
        out.report(line)?;
    }
    Ok(if well { DONE } else { FAILED })
}

/// What became of a test on one way.
#[derive(Serialize)]
struct NoticeTried {
    event: &'static str,
    from: &'static str,
    to: String,
    why: Option<String>,
    hint: Option<String>,
}

impl NoticeTried {
    fn of(from: &'static str, sent: Sent) -> Self {
        let failure = sent.result.err();
        let why = failure.as_ref().map(ToString::to_string);
        Self { event: NOTICE, from, to: sent.to, why, hint: failure.and_then(|failure| failure.hint) }
    }
}

impl Printable for NoticeTried {
    fn words(&self) -> Wording {
        let Self { from, to, why, hint, .. } = self;
        let Some(why) = why else {
            return Wording::of(format!("{} from {from} to {}", styled(GREEN, "✓"), harmless(to)));
        };
        let mut words =
            Wording::of(format!("{} from {from} to {}: {}", styled(RED, "✗"), harmless(to), one_line(why)));
        if let Some(hint) = hint {
            words.data(format!("    {}", one_line(hint)));
        }
        words
    }
}

/// The same, sent by the program in the guest: what nobody types there is told
/// from there.
fn from_guest(world: &World) -> Result<Vec<NoticeTried>, Error> {
    let applied = layout::applied_config();
    let argv = [layout::BINARY, "--config", applied.as_str(), "notify", "test", "--json"];
    let mut printed = Vec::new();
    let argv = argv.map(str::to_owned).to_vec();
    let code = world.follow(argv, &mut |bytes| printed.extend_from_slice(bytes))?;
    let printed = String::from_utf8_lossy(&printed);
    let lines: Vec<NoticeTried> = printed
        .lines()
        .filter_map(|line| serde_json::from_str::<Json>(line).ok())
        .filter(|line| line["event"] == NOTICE)
        .map(|line| {
            let text = |key: &str| line[key].as_str().map(str::to_owned);
            NoticeTried {
                event: NOTICE,
                from: "the guest",
                to: text("to").unwrap_or_default(),
                why: text("why"),
                hint: text("hint"),
            }
        })
        .collect();
    if !lines.is_empty() {
        return Ok(lines);
    }
    // Its config is the one that was applied last.
    Ok(vec![NoticeTried {
        event: NOTICE,
        from: "the guest",
        to: "those whom the config names".to_owned(),
        why: Some(format!(
            "the program there did not try it (exit code {})",
            code.map_or_else(|| "none".to_owned(), |code| code.to_string())
        )),
        hint: Some("`matrix-podman up` tells the guest whom to tell".to_owned()),
    }])
}
