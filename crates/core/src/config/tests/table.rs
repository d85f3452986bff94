//! The table of keys and the reader agree.

use std::collections::BTreeSet;

use crate::config::{Config, Defaults, keys, read::Reader, schema::example_value};

#[test]
fn every_key_is_read_and_every_read_key_is_in_the_table() {
    let table: Vec<&str> = keys::all().map(|key| key.path()).collect();
    let set: BTreeSet<&str> = table.iter().copied().collect();
    assert_eq!(table.len(), set.len(), "a key stands in the table twice");
    for text in [
        "domain = \"chat.home.arpa\"",
        "domain = \"chat.home.arpa\"\nguest.network.existing = true",
        "domain = 1",
        "",
    ] {
        assert_eq!(Reader::keys_asked(text, &Defaults::default()), set, "{text}");
    }
}

#[test]
fn every_key_is_in_a_section_that_is_known() {
    for key in keys::all() {
        assert!(keys::sections().any(|section| section.path == key.section()), "{}", key.path());
    }
    for section in keys::sections() {
        let below = format!("{}.", section.path);
        let parent = keys::sections().any(|other| other.path.starts_with(&below));
        assert!(parent || keys::in_section(section.path).next().is_some(), "[{}] is empty", section.path);
    }
}

/// Defaults and examples have no mistake of their own: only what other keys
/// have to say about them can be wrong.
#[test]
fn defaults_and_examples_are_good_values() {
    for key in keys::all() {
        let values = [key.default_value(), Some(example_value(key).unwrap())];
        for value in values.into_iter().flatten() {
            let domain = if key.path() == "domain" { "" } else { "domain = \"chat.home.arpa\"\n" };
            let text = format!("{domain}{} = {value}\n", key.path());
            if let Err(mistakes) = Config::parse(&text, "matrix.toml") {
                for mistake in mistakes.list() {
                    let about_others = [
                        "effect",
                        "own bridge",
                        "without the secret",
                        "which bridge",
                        "spammers",
                        "lets nobody in",
                        "without its address",
                        "where does the tunnel",
                    ];
                    assert!(about_others.iter().any(|words| mistake.problem.contains(words)), "{mistake}");
                }
            }
        }
        assert_ne!(key.default_value(), example_value(key), "{}: the example is the default", key.path());
    }
}

#[test]
fn every_key_has_a_value_in_some_config() {
    let configs = super::roundtrip::configs();
    for key in keys::all() {
        assert!(configs.iter().any(|config| key.value_in(config).is_some()), "{}", key.path());
    }
}

#[test]
fn files_of_other_systems_are_read() {
    let text = "\u{feff}domain = \"chat.home.arpa\"\r\n\r\n[guest]\r\ncores = 2\r\n";
    assert_eq!(Config::parse(text, "matrix.toml").unwrap().guest.cores.get(), 2);
    let mistakes = Config::parse(&text.replace('2', "0"), "matrix.toml").unwrap_err();
    assert_eq!((mistakes.list()[0].line, mistakes.list()[0].column), (Some(4), Some(1)));
}

#[test]
fn texts_are_sentences() {
    for (path, doc) in keys::all()
        .map(|key| (key.path(), key.doc()))
        .chain(keys::sections().map(|section| (section.path, section.doc)))
    {
        assert!(doc.ends_with('.') && !doc.contains("  "), "{path}: {doc}");
    }
}
