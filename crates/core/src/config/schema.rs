//! The JSON Schema of `matrix.toml`, for editors.

use serde_json::{Map, Value as Json, json};

use super::keys::{self, AnyKey, first_sentence};

/// The JSON Schema (draft 2020-12) of `matrix.toml`. It accepts every config
/// that the program accepts; what keys mean together only the program knows.
pub fn json_schema() -> Json {
    let mut root = section("");
    let described = json!({
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "matrix.toml",
        "description": "The config of a Matrix server that matrix-podman runs.",
    });
    if let (Json::Object(mut described), Json::Object(rest)) = (described, root.take()) {
        described.extend(rest.into_iter().filter(|(name, _)| name != "title" && name != "description"));
        root = Json::Object(described);
    }
    root
}

/// The names of all keys, with their sections.
pub fn key_names() -> Vec<&'static str> {
    keys::all().map(AnyKey::path).collect()
}

/// The schema of one section with those below it.
fn section(path: &str) -> Json {
    let mut properties = Map::new();
    for key in keys::in_section(path) {
        properties.insert(key.name().to_owned(), property(key));
    }
    for below in keys::sections().filter(|section| is_child(path, section.path)) {
        let name = below.path.rsplit('.').next().unwrap_or(below.path);
        properties.insert(name.to_owned(), section(below.path));
    }
    let required: Vec<&str> = keys::in_section(path).filter(|key| key.required()).map(AnyKey::name).collect();
    let doc = keys::sections().find(|section| section.path == path).map_or("", |section| section.doc);
    let mut schema = json!({
        "title": format!("[{path}]"),
        "description": doc,
        "type": "object",
        "properties": properties,
        "additionalProperties": false,
    });
    if !required.is_empty() {
        schema["required"] = json!(required);
    }
    schema
}

fn is_child(parent: &str, path: &str) -> bool {
    !path.is_empty() && path.rsplit_once('.').map_or("", |(above, _)| above) == parent
}

fn property(key: &dyn AnyKey) -> Json {
    let mut description = key.doc().to_owned();
    if let Some(words) = key.default_words() {
        description.push_str(&format!(" Default: {words}."));
    }
    let mut schema = json!({ "title": title(key.doc()), "description": description });
    if let (Json::Object(schema), Json::Object(kind)) = (&mut schema, key.schema()) {
        schema.extend(kind);
        if let Some(default) = key.default_value() {
            schema.insert("default".to_owned(), to_json(&default));
        }
        if let Some(example) = example_value(key) {
            schema.insert("examples".to_owned(), json!([to_json(&example)]));
        }
    }
    schema
}

/// What fits beside a field in an editor.
fn title(doc: &'static str) -> &'static str {
    let first = first_sentence(doc);
    first.split_once(": ").map_or(first, |(title, _)| title)
}

/// A key's example as a value.
pub(super) fn example_value(key: &dyn AnyKey) -> Option<toml::Value> {
    let mut table: toml::Table = format!("example = {}", key.example()).parse().ok()?;
    table.remove("example")
}

/// A TOML value as JSON; there are no dates in the config.
pub(super) fn to_json(value: &toml::Value) -> Json {
    match value {
        toml::Value::String(text) => json!(text),
        toml::Value::Integer(number) => json!(number),
        toml::Value::Float(number) => json!(number),
        toml::Value::Boolean(yes) => json!(yes),
        toml::Value::Datetime(date) => json!(date.to_string()),
        toml::Value::Array(items) => items.iter().map(to_json).collect(),
        toml::Value::Table(table) => {
            Json::Object(table.iter().map(|(name, value)| (name.clone(), to_json(value))).collect())
        }
    }
}
