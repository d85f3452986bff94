//! `history`: what ran, since when, because of whom, and what came of it.

use std::path::Path;

use matrix_podman_core::update::{Generation, Outcome};
use matrix_podman_host::work::update;
use serde::Serialize;

use crate::{
    error::{DONE, Error},
    output::{DIM, GREEN, Printable, RED, Reporter, Table, Wording, YELLOW, one_line},
};

/// What ran, oldest first.
#[derive(Serialize)]
#[serde(transparent)]
struct GenerationList {
    generations: Vec<Generation>,
    /// The number of the one that runs now.
    #[serde(skip)]
    current: Option<u32>,
}

pub fn run(config: Option<&Path>, out: &Reporter) -> Result<u8, Error> {
    let (world, _) = super::world(config, out)?;
    let mut history = update::history(&world)?;
    let lock = update::lock(&world)?;
    // What `up` made is part of it, whether or not an update came after.
    history.note(&lock, "", "up");
    let current = history.current(&lock).map(|generation| generation.number);
    out.report(&GenerationList { generations: history.generations, current })?;
    Ok(DONE)
}

impl Printable for GenerationList {
    fn words(&self) -> Wording {
        let mut table = Table::new(["#", "when", "outcome", "by", "versions"]);
        for generation in &self.generations {
            let runs = self.current == Some(generation.number);
            let style = match &generation.outcome {
                _ if runs => GREEN,
                Outcome::Kept => DIM,
                Outcome::UnderWay => YELLOW,
                Outcome::Undone { .. } => RED,
            };
            let outcome = if runs { "runs" } else { generation.outcome.name() };
            let versions: Vec<String> = generation
                .images
                .iter()
                .map(|(service, image)| format!("{service} {}", image.version))
                .collect();
            table.row([
                (generation.number.to_string(), style),
                (generation.at.clone(), DIM),
                (outcome.to_owned(), style),
                (generation.by.clone(), DIM),
                (versions.join(", "), DIM),
            ]);
        }
        let mut words = Wording::default();
        words.table(&table);
        for generation in &self.generations {
            if let Outcome::Undone { why, .. } = &generation.outcome {
                words.data(format!("{} was undone: {}", generation.number, one_line(why)));
            }
        }
        words
    }
}
