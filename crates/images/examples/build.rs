//! Builds images by hand: `cargo run --example build -- CACHE [--synapse VERSION] [RECIPE...]`.
#![allow(clippy::print_stdout, clippy::print_stderr)]

use std::process::ExitCode;
use std::time::Instant;

use matrix_podman_images::{BuildOptions, Recipe, build, missing_tools};

fn main() -> ExitCode {
    match run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(err) => {
            eprintln!("{err}");
            ExitCode::FAILURE
        }
    }
}

fn run() -> Result<(), Box<dyn std::error::Error>> {
    let mut args = std::env::args().skip(1);
    let mut options = BuildOptions::new(args.next().ok_or("name a directory for the cache")?);
    let mut recipes = Vec::new();
    while let Some(arg) = args.next() {
        if arg == "--synapse" {
            options.synapse_version = Some(args.next().ok_or("--synapse wants a version")?);
        } else {
            recipes.push(arg.parse::<Recipe>()?);
        }
    }
    if recipes.is_empty() {
        recipes = Recipe::ALL.to_vec();
    }
    for (command, package) in missing_tools(&recipes) {
        println!("missing: {command} (apt-get install {package})");
    }
    for recipe in recipes {
        let start = Instant::now();
        let note = |text: &str| println!("{:6.1} s  {text}", start.elapsed().as_secs_f32());
        let image = build(recipe, &options, &note)?;
        note(&format!("{image:#?}"));
    }
    Ok(())
}
