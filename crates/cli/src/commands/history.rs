//! `history`: what ran, since when, because of whom, and what came of it.

use std::path::Path;

use matrix_podman_core::update::Outcome;
use matrix_podman_host::{failure::Failure, work::update};

use crate::{
    args,
    error::{DONE, Error},
    output::{self, DIM, GREEN, RED, Table, YELLOW},
};

pub fn run(config: Option<&Path>, args: &args::History) -> Result<u8, Error> {
    let (world, _) = super::world(config)?;
    let mut history = update::history(&world)?;
    let lock = update::lock(&world)?;
    // What `up` made is part of it, whether or not an update came after.
    history.note(&lock, "", "up");
    if args.output.json {
        let text =
            serde_json::to_string(&history.generations).map_err(|e| Failure::new("print the history", e))?;
        output::data(&text);
        return Ok(DONE);
    }
    let current = history.current(&lock).map(|generation| generation.number);
    let mut table = Table::new(["#", "when", "outcome", "by", "versions"]);
    for generation in &history.generations {
        let style = match &generation.outcome {
            _ if current == Some(generation.number) => GREEN,
            Outcome::Kept => DIM,
            Outcome::UnderWay => YELLOW,
            Outcome::Undone { .. } => RED,
        };
        let outcome = if current == Some(generation.number) { "runs" } else { generation.outcome.name() };
        let versions: Vec<String> =
            generation.images.iter().map(|(service, image)| format!("{service} {}", image.version)).collect();
        table.row([
            (generation.number.to_string(), style),
            (generation.at.clone(), DIM),
            (outcome.to_owned(), style),
            (generation.by.clone(), DIM),
            (versions.join(", "), DIM),
        ]);
    }
    table.print();
    for generation in &history.generations {
        if let Outcome::Undone { why, .. } = &generation.outcome {
            output::data(&format!("{} was undone: {}", generation.number, output::one_line(why)));
        }
    }
    Ok(DONE)
}
