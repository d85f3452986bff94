//! Documents that follow from the program itself: schema, completions, manual.

use std::{fs, io, path::Path};

use clap_complete::Shell;
use matrix_podman_core::config::schema;
use matrix_podman_host::failure::Failure;

use crate::{args, error::Error, output::Reporter};

pub fn schema(out: &Reporter) -> Result<u8, Error> {
    let text = serde_json::to_string_pretty(&schema::json_schema())
        .map_err(|e| Failure::new("write the schema", e))?;
    out.document(&text);
    super::OK
}

pub fn completions(shell: Shell, out: &Reporter) -> Result<u8, Error> {
    out.document(&script(shell));
    super::OK
}

/// The script for bash loses its way below a program whose name has a hyphen
/// (clap_complete 4.6 writes that name in two ways), so it is made for a name
/// without, and then given to the one with.
fn script(shell: Shell) -> String {
    const NAME: &str = "matrix-podman";
    const PLAIN: &str = "matrixpodman";
    let mut script = Vec::new();
    if shell != Shell::Bash {
        clap_complete::generate(shell, &mut args::command(), NAME, &mut script);
        return String::from_utf8_lossy(&script).into_owned();
    }
    clap_complete::generate(shell, &mut args::command().name(PLAIN), PLAIN, &mut script);
    let last_word = format!(" default {PLAIN}\n");
    String::from_utf8_lossy(&script).replace(&last_word, &format!(" default {NAME}\n"))
}

pub fn man(folder: &Path, out: &Reporter) -> Result<u8, Error> {
    let failed = |e: io::Error| Failure::new(format!("write the manual pages to {}", folder.display()), e);
    fs::create_dir_all(folder).map_err(failed)?;
    clap_mangen::generate_to(args::command(), folder).map_err(failed)?;
    out.say(&format!("the manual pages are in {}", folder.display()));
    super::OK
}
