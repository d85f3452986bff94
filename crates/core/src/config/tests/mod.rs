//! Tests of the config as a whole.

mod messages;
mod pages;
mod released;
mod roundtrip;
mod table;

use super::Config;

/// What somebody is told about `text`, or that it is good.
fn told(text: &str) -> String {
    match Config::parse(text, "matrix.toml") {
        Ok(_) => "(good)".to_owned(),
        Err(mistakes) => mistakes.to_string(),
    }
}

/// What somebody is told about lines in a file that is good otherwise.
fn told_about(lines: &str) -> String {
    told(&format!("domain = \"chat.home.arpa\"\n{lines}\n"))
}
