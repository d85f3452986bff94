//! Changing one key of `matrix.toml`, everything else left as it was written,
//! comments included.

use toml_edit::{DocumentMut, Item, TableLike};

use super::{
    Config, Defaults, Mistakes, Override,
    init::shown_value,
    keys::{self, AnyKey},
    mistake::Source,
    read::Reader,
    renamed::{self, RENAMED, Renamed},
};

/// What is made of a key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Edit<'a> {
    /// It says this; lists are separated by commas.
    Value(&'a str),
    /// It is left out, so that its default holds.
    Default,
}

/// The text with `key` changed; `file` is what messages call it.
pub fn edit(
    text: &str,
    file: &str,
    key: &str,
    edit: Edit<'_>,
    defaults: &Defaults,
) -> Result<String, Mistakes> {
    edit_with(text, file, key, edit, defaults, RENAMED)
}

/// The same where other keys were renamed.
pub(super) fn edit_with(
    text: &str,
    file: &str,
    key: &str,
    edit: Edit<'_>,
    defaults: &Defaults,
    table: &'static [Renamed],
) -> Result<String, Mistakes> {
    let read = |text: &str, overrides: &[Override]| {
        Reader::with(Source { file, text }, overrides, defaults, table).run().0
    };
    let mut overrides = Vec::new();
    if let Edit::Value(value) = edit {
        overrides.push(Override::new(key, value, format!("set {key}")));
    }
    // Tells all that is wrong with file, key and value.
    let config = read(text, &overrides)?;
    let (Some(known), Ok(mut document)) =
        (keys::at(renamed::current(key, table)), text.parse::<DocumentMut>())
    else {
        // A key that is to be left out and is none.
        let unknown = [Override::new(key, "", format!("set {key}"))];
        read(text, &unknown)?;
        return Ok(text.to_owned());
    };
    renamed::rename(&mut document, table);
    let before = document.to_string();
    match edit {
        Edit::Value(_) => write(&mut document, known, &config),
        Edit::Default => remove(document.as_table_mut(), &known.path().split('.').collect::<Vec<_>>()),
    }
    let text = document.to_string();
    let in_place = match edit {
        Edit::Value(_) => on_its_own_line(&before, known, &config),
        Edit::Default => as_a_comment(&before, known),
    };
    // The same config, with every line where a person expects it.
    let text = in_place.filter(|line| means_the_same(line, &text)).unwrap_or(text);
    read(&text, &[])?;
    Ok(text)
}

/// The text with the key on the line where it stands as a comment, as `init` writes it.
fn on_its_own_line(text: &str, key: &dyn AnyKey, config: &Config) -> Option<String> {
    let value = key.value_in(config).and_then(inline)?;
    let commented = |line: &str, _: &str| {
        let told = line.strip_prefix('#').and_then(|rest| rest.split_once('='));
        told.is_some_and(|(name, _)| name.trim() == key.name())
    };
    replaced(text, key.section(), commented, &format!("{} = {value}", key.name()))
}

/// The text with the key's line as a comment that says the default, below its description.
fn as_a_comment(text: &str, key: &dyn AnyKey) -> Option<String> {
    let described = |line: &str, above: &str| {
        above.starts_with('#') && line.split_once('=').is_some_and(|(name, _)| name.trim() == key.name())
    };
    replaced(text, key.section(), described, &format!("#{} = {}", key.name(), shown_value(key, None)))
}

/// The text with the first line of a section that is wanted replaced; what is wanted is told by
/// a line and the one above it.
fn replaced(text: &str, section: &str, is_wanted: impl Fn(&str, &str) -> bool, by: &str) -> Option<String> {
    let (mut here, mut above) = (String::new(), "");
    let mut lines: Vec<&str> = text.lines().collect();
    let at = lines.iter().position(|line| {
        if let Some(header) = line.trim().strip_prefix('[') {
            here = header.split(']').next().unwrap_or_default().trim().to_owned();
        }
        here == section && is_wanted(line, std::mem::replace(&mut above, line))
    })?;
    lines[at] = by;
    Some(lines.join("\n") + "\n")
}

fn means_the_same(one: &str, other: &str) -> bool {
    let read = |text: &str| text.parse::<toml::Table>().ok();
    read(one).is_some_and(|table| Some(table) == read(other))
}

fn write(document: &mut DocumentMut, key: &dyn AnyKey, config: &Config) {
    let Some(value) = key.value_in(config).and_then(inline) else { return };
    let path: Vec<&str> = key.path().split('.').collect();
    let Some((name, sections)) = path.split_last() else { return };
    // What stands below the last section is a part of it, so a new one comes after it.
    let below = match is_there(document.as_table(), sections) {
        true => String::new(),
        false => document.trailing().as_str().unwrap_or_default().to_owned(),
    };
    if !below.is_empty() {
        document.set_trailing("");
    }
    let mut table: &mut dyn TableLike = document.as_table_mut();
    for section in sections {
        let next = table.entry(section).or_insert_with(|| {
            let mut new = toml_edit::Table::new();
            // A section that only holds other sections has no line of its own.
            new.set_implicit(true);
            if !below.is_empty() {
                new.decor_mut().set_prefix(format!("{below}\n"));
            }
            Item::Table(new)
        });
        let Some(next) = next.as_table_like_mut() else { return };
        table = next;
    }
    match table.get_mut(name).and_then(Item::as_value_mut) {
        Some(now) => {
            // What stands behind the value on its line stays.
            let decor = now.decor().clone();
            *now = value;
            *now.decor_mut() = decor;
        }
        None => {
            table.insert(name, Item::Value(value));
        }
    }
}

/// Whether a section is there.
fn is_there(table: &dyn TableLike, path: &[&str]) -> bool {
    let Some((section, rest)) = path.split_first() else { return true };
    table.get(section).and_then(Item::as_table_like).is_some_and(|below| is_there(below, rest))
}

fn remove(table: &mut dyn TableLike, path: &[&str]) {
    match path {
        [] => {}
        [name] => {
            table.remove(name);
        }
        [section, rest @ ..] => {
            if let Some(table) = table.get_mut(section).and_then(Item::as_table_like_mut) {
                remove(table, rest);
            }
        }
    }
}

/// The value as it stands behind a key; there are no dates in a config.
fn inline(value: toml::Value) -> Option<toml_edit::Value> {
    Some(match value {
        toml::Value::String(text) => text.into(),
        toml::Value::Integer(number) => number.into(),
        toml::Value::Float(number) => number.into(),
        toml::Value::Boolean(yes) => yes.into(),
        toml::Value::Array(items) => {
            items.into_iter().map(inline).collect::<Option<toml_edit::Array>>()?.into()
        }
        toml::Value::Datetime(_) | toml::Value::Table(_) => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::init::{InitAnswers, render_init};

    const FILE: &str = "\
# Ours.
domain = \"chat.home.arpa\"

[synapse] # the homeserver
# Large videos.
max_upload_size = \"50M\" # was 20M
presence = true
";

    fn changed(key: &str, edited: Edit<'_>) -> Result<String, String> {
        edit(FILE, "matrix.toml", key, edited, &Defaults::default()).map_err(|m| m.to_string())
    }

    #[test]
    fn a_value_is_replaced_and_all_comments_stay() {
        let text = changed("synapse.max_upload_size", Edit::Value("64M")).unwrap();
        assert_eq!(text, FILE.replace("\"50M\"", "\"64M\""));
    }

    #[test]
    fn a_key_is_added_to_its_section_and_a_section_to_the_file() {
        let text = changed("synapse.url_previews", Edit::Value("false")).unwrap();
        assert_eq!(text, format!("{FILE}url_previews = false\n"));
        let text = changed("guest.extra_packages", Edit::Value("htop, jq")).unwrap();
        assert_eq!(text, format!("{FILE}\n[guest]\nextra_packages = [\"htop\", \"jq\"]\n"));
        let text = changed("guest.network.bridge", Edit::Value("br0")).unwrap();
        assert_eq!(text, format!("{FILE}\n[guest.network]\nbridge = \"br0\"\n"));
    }

    #[test]
    fn a_key_is_left_out_so_that_its_default_holds() {
        let text = changed("synapse.presence", Edit::Default).unwrap();
        assert_eq!(text, FILE.replace("presence = true\n", ""));
        assert_eq!(changed("guest.cores", Edit::Default).unwrap(), FILE);
        assert!(changed("domain", Edit::Default).unwrap_err().contains("domain"));
    }

    #[test]
    fn in_the_file_that_init_writes_each_key_has_its_line() {
        let defaults = Defaults::default();
        let config =
            Config::from_domain("chat.home.arpa", &defaults).unwrap_or_else(|mistakes| panic!("{mistakes}"));
        let init = render_init(&InitAnswers { config, chosen: Vec::new() });
        let set = |text: &str, key: &str, value| edit(text, "matrix.toml", key, value, &defaults).unwrap();
        let large = set(&init, "synapse.max_upload_size", Edit::Value("120M"));
        assert_eq!(large, init.replace("#max_upload_size = \"200M\"", "max_upload_size = \"120M\""));
        let larger = set(&large, "synapse.max_upload_size", Edit::Value("150M"));
        assert_eq!(larger, large.replace("120M", "150M"));
        assert_eq!(set(&larger, "synapse.max_upload_size", Edit::Default), init);
        let backup = set(&init, "backup.repository", Edit::Value("/mnt/disk"));
        let example = "#repository = \"/mnt/disk2/matrix-backup\"";
        assert_eq!(backup, init.replace(example, "repository = \"/mnt/disk\""));
        // A new section stands behind all that belongs to the last one.
        let larger = set(&init, "postgres.max_connections", Edit::Value("50"));
        assert_eq!(larger, format!("{init}\n[postgres]\nmax_connections = 50\n"));
    }

    #[test]
    fn a_comment_elsewhere_that_looks_like_the_key_is_none() {
        let file = "domain = \"chat.home.arpa\"\n[guest]\n#presence = true\n[synapse]\nurl_previews = true\n";
        let text = edit(file, "matrix.toml", "synapse.presence", Edit::Value("false"), &Defaults::default())
            .unwrap();
        assert_eq!(text, format!("{file}presence = false\n"));
    }

    #[test]
    fn what_is_wrong_is_said_and_nothing_comes_of_it() {
        for (key, edited, word) in [
            ("synapse.max_upload_sise", Edit::Value("1M"), "synapse.max_upload_size"),
            ("synapse.max_upload_sise", Edit::Default, "synapse.max_upload_size"),
            ("synapse.max_upload_size", Edit::Value("much"), "much"),
            ("synapse.presence", Edit::Value("maybe"), "maybe"),
            ("domain", Edit::Value("example.com"), "example.com"),
        ] {
            let said = changed(key, edited).unwrap_err();
            assert!(said.contains(word), "{key}: {said}");
        }
    }
}
