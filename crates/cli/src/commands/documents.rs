//! Documents that follow from the program itself: schema, completions, manual.

use std::{fs, io, path::Path};

use clap::CommandFactory as _;
use matrix_podman_core::config::schema;
use matrix_podman_host::failure::Failure;

use crate::{args::Args, error::Error, output};

pub fn schema() -> Result<u8, Error> {
    let text = serde_json::to_string_pretty(&schema::json_schema())
        .map_err(|e| Failure::new("write the schema", e))?;
    output::data(&text);
    super::OK
}

pub fn completions(shell: clap_complete::Shell) -> Result<u8, Error> {
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut Args::command(), "matrix-podman", &mut script);
    output::data(String::from_utf8_lossy(&script).trim_end());
    super::OK
}

pub fn man(folder: &Path) -> Result<u8, Error> {
    let failed = |e: io::Error| Failure::new(format!("write the manual pages to {}", folder.display()), e);
    fs::create_dir_all(folder).map_err(failed)?;
    clap_mangen::generate_to(Args::command(), folder).map_err(failed)?;
    output::say(&format!("the manual pages are in {}", folder.display()));
    super::OK
}
