//! What is generated from the table: schema, reference page, file of `init`.

use serde_json::Value as Json;

use crate::{
    config::{
        Config, Defaults, Override,
        init::{InitAnswers, render_init, user_id_preview},
        keys, reference,
        schema::{example_value, json_schema, to_json},
    },
    name::Domain,
};

fn config(overrides: &[(&str, &str)]) -> Config {
    let overrides: Vec<_> =
        overrides.iter().map(|(key, value)| Override::new(*key, *value, "--flag")).collect();
    Config::parse_with("", "matrix.toml", &overrides, &Defaults::default()).unwrap()
}

/// Checks a value against the parts of JSON Schema that `json_schema` uses,
/// and refuses schemas that use others.
pub(super) fn check(schema: &Json, value: &Json, path: &str) {
    for (word, wanted) in schema.as_object().unwrap() {
        let good = match word.as_str() {
            "$schema" | "title" | "description" | "default" | "examples" => true,
            "type" => match wanted.as_str().unwrap() {
                "object" => value.is_object(),
                "array" => value.is_array(),
                "string" => value.is_string(),
                "boolean" => value.is_boolean(),
                "integer" => value.is_u64(),
                "number" => value.is_number(),
                other => panic!("{path}: type {other}"),
            },
            "properties" => {
                for (name, value) in value.as_object().unwrap() {
                    check(wanted.get(name).unwrap_or_else(|| panic!("{path}.{name}")), value, name);
                }
                true
            }
            "additionalProperties" => *wanted == Json::Bool(false),
            "required" => {
                wanted.as_array().unwrap().iter().all(|name| value.get(name.as_str().unwrap()).is_some())
            }
            "items" => {
                value.as_array().unwrap().iter().for_each(|item| check(wanted, item, path));
                true
            }
            "uniqueItems" => true,
            "enum" => wanted.as_array().unwrap().contains(value),
            "pattern" => {
                regex_lite::Regex::new(wanted.as_str().unwrap()).unwrap().is_match(value.as_str().unwrap())
            }
            "minimum" => value.as_f64() >= wanted.as_f64(),
            "maximum" => value.as_f64() <= wanted.as_f64(),
            "minLength" => value.as_str().unwrap().len() as u64 >= wanted.as_u64().unwrap(),
            "maxLength" => value.as_str().unwrap().len() as u64 <= wanted.as_u64().unwrap(),
            other => panic!("{path}: the test does not know {other}"),
        };
        assert!(good, "{path}: {value} does not satisfy {word} {wanted}");
    }
}

#[test]
fn the_schema_accepts_configs_and_knows_every_key() {
    let schema = json_schema();
    for config in super::roundtrip::configs() {
        let applied: toml::Table = config.to_applied_toml().parse().unwrap();
        check(&schema, &to_json(&toml::Value::Table(applied)), "");
    }
    for key in keys::all() {
        let mut at = &schema;
        for part in key.path().split('.') {
            at = &at["properties"][part];
        }
        assert!(at["description"].is_string(), "{} is not in the schema", key.path());
        check(at, &to_json(&example_value(key).unwrap()), key.path());
    }
    insta::assert_json_snapshot!(schema["properties"]["guest"]);
}

#[test]
#[expect(clippy::disallowed_methods, reason = "the test compares with a file of the repository")]
fn the_reference_page_is_current() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/reference/config.md");
    if std::env::var_os("UPDATE_DOCS").is_some() {
        std::fs::write(path, reference::render()).unwrap();
    }
    let page = std::fs::read_to_string(path).unwrap_or_default();
    assert!(page == reference::render(), "docs/reference/config.md is stale: run `cargo xtask docs`");
}

#[test]
fn the_file_of_init_reads_back() {
    let many = [
        ("domain", "chat.home.arpa"),
        ("server_name", "chat.home.arpa"),
        ("timezone", "Europe/Berlin"),
        ("guest.memory", "2G"),
        ("guest.extra_packages", "htop,ncdu"),
        ("synapse.registration", "open"),
        ("synapse.open_registration_reason", "a \"closed\" network # really"),
        ("images.synapse.archive", "/srv/synapse.tar"),
    ];
    for overrides in [&many[..1], &many[..]] {
        let config = config(overrides);
        let text = render_init(&InitAnswers { config: config.clone(), chosen: vec![] });
        assert_eq!(Config::parse(&text, "matrix.toml").unwrap(), config, "{text}");
    }
}

#[test]
fn every_line_of_init_can_be_uncommented() {
    let config = config(&[("domain", "chat.home.arpa")]);
    let text = render_init(&InitAnswers { config: config.clone(), chosen: vec!["guest.memory".to_owned()] });
    let uncommented: String = text
        .lines()
        .map(|line| match line.strip_prefix('#') {
            Some(rest) if !rest.starts_with(' ') => format!("{rest}\n"),
            _ => format!("{line}\n"),
        })
        .collect();
    let all = Config::parse(&uncommented, "matrix.toml").unwrap_or_else(|mistakes| panic!("{mistakes}"));
    // Only what has no default differs: the guest's disk, the TURN server, the edge, backups, who is told.
    let notify = crate::config::Notify::default();
    let guest = crate::config::Guest { disk: None, ..all.guest.clone() };
    let backup = crate::config::Backup { repositories: Vec::new(), ..all.backup.clone() };
    let edge = crate::config::Edge::default();
    assert_eq!(Config { guest, turn: None, edge, notify, backup, ..all }, config);
    insta::assert_snapshot!(text);
}

#[test]
fn user_ids_are_shown_beforehand() {
    insta::assert_debug_snapshot!(user_id_preview(&Domain::parse("chat.home.arpa").unwrap()));
}
