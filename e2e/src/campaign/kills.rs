//! Kills of the program, at random moments of changes of a server that runs.

use std::{
    thread,
    time::{Duration, Instant},
};

use super::{Dice, Sender, Tally};
use crate::Lab;

const PASSWORD: &str = "correct horse battery staple";
/// How long a run may take on a machine that is busy with other things.
const LONG: Duration = Duration::from_secs(900);
/// Longer than the next `up` may take, beside what a busy machine adds.
const SLOW: Duration = Duration::from_secs(60);

/// Kills `up` `count` times, of which every second restarts the guest.
pub fn kills(name: &str, count: usize) -> Tally {
    let lab = Lab::with_config(name);
    lab.use_archives();
    lab.command(&["up", "--yes"]).within(LONG).run().ok();
    let anna = lab.user("anna", PASSWORD);
    let (mut tally, mut dice) = (Tally::default(), Dice::new());
    for n in 0..count {
        let (act, span) = change(&lab, n);
        let at = Duration::from_secs_f64(span * dice.roll());
        let tag = format!("{act}, killed after {:.2} s", at.as_secs_f32());
        let room = anna.create_room(&tag);
        let sender = Sender::start(anna.clone(), room.clone(), tag.clone());
        let running = lab.command(&["up", "--yes"]).within(LONG).start();
        thread::sleep(at);
        running.kill();
        let started = Instant::now();
        let next = lab.command(&["up", "--yes"]).within(LONG).run();
        let took = started.elapsed();
        let acknowledged = sender.stop();
        let mut wrong = (next.code != 0).then(|| {
            let said: Vec<&str> = next.stderr.lines().rev().filter(|line| !line.is_empty()).take(2).collect();
            format!("exit code {}: {}", next.code, said.join(" / "))
        });
        if wrong.is_none() {
            let ailing = lab.ailing();
            wrong = (!ailing.is_empty()).then(|| format!("not healthy: {ailing:?}"));
        }
        if wrong.is_some() || took > SLOW {
            println!("{}", next.evidence());
        }
        let lost = if wrong.is_none() {
            let there = anna.messages(&room);
            acknowledged.iter().filter(|text| !there.contains(text)).count()
        } else {
            0
        };
        let failed = wrong.is_some();
        tally.note(&tag, took, acknowledged.len(), lost, wrong);
        if failed {
            lab.command(&["up", "--yes"]).within(LONG).run();
        }
    }
    println!("\n{tally}");
    tally
}

/// Has there be something to do: what it is, and over how many seconds of it moments
/// are spread.
fn change(lab: &Lab, n: usize) -> (&'static str, f64) {
    let other = |a: &'static str, b: &'static str| if lab.config().contains(a) { b } else { a };
    match n % 4 {
        0 | 2 => {
            lab.set("[guest]", "memory", other("\"3500M\"", "\"3600M\""));
            ("a change of guest.memory", 12.0)
        }
        1 => {
            lab.set("[synapse]", "max_upload_size", other("\"120M\"", "\"130M\""));
            ("a change of a setting of Synapse", 6.0)
        }
        _ => {
            lab.set("[postgres]", "max_connections", other("70", "80"));
            ("a change of a setting of PostgreSQL", 8.0)
        }
    }
}
