//! A request held against `api.json`, which describes Cloudflare's API as far
//! as it is used: method, path, query and body, with closed objects.

use serde_json::Value;

/// The description.
pub const API: &str = include_str!("api.json");

/// The call that a request is; else what is wrong with it. `target` is path and
/// query below the API's base.
pub fn judge(api: &Value, method: &str, target: &str, body: &Value) -> Result<String, String> {
    let (path, query) = target.split_once('?').unwrap_or((target, ""));
    let calls: Vec<&Value> = api["calls"]
        .as_array()
        .into_iter()
        .flatten()
        .filter(|call| call["method"] == method && fits(call["path"].as_str().unwrap_or_default(), path))
        .collect();
    // A word that is written out stands before one that may be any.
    let call = calls
        .iter()
        .max_by_key(|call| call["path"].as_str().map(|p| p.matches('{').count()).map(std::cmp::Reverse))
        .ok_or_else(|| format!("there is no call {method} {path}"))?;
    let name = call["name"].as_str().unwrap_or_default().to_owned();
    for pair in query.split('&').filter(|pair| !pair.is_empty()) {
        let (key, value) = pair.split_once('=').ok_or_else(|| format!("{name}: {pair:?} is no pair"))?;
        let schema = call["query"].get(key).ok_or_else(|| format!("{name}: no {key} in the query"))?;
        let value = match schema["type"].as_str() {
            Some("integer") => serde_json::from_str(value).unwrap_or(Value::Null),
            _ => Value::String(value.to_owned()),
        };
        check(api, schema, &value).map_err(|why| format!("{name}: {key} in the query: {why}"))?;
    }
    match (call.get("body"), body) {
        (None, Value::Null) => {}
        (None, _) => return Err(format!("{name}: it has no body")),
        (Some(schema), body) => check(api, schema, body).map_err(|why| format!("{name}: {why}"))?,
    }
    Ok(name)
}

fn fits(pattern: &str, path: &str) -> bool {
    let (wanted, found): (Vec<&str>, Vec<&str>) = (pattern.split('/').collect(), path.split('/').collect());
    wanted.len() == found.len()
        && wanted.iter().zip(&found).all(|(wanted, found)| match *wanted {
            "{id}" => is_hex32(found),
            "{uuid}" => {
                found.split('-').map(str::len).eq([8, 4, 4, 4, 12])
                    && found.chars().all(|c| c.is_ascii_hexdigit() || c == '-')
            }
            "{word}" => !found.is_empty() && found.chars().all(|c| c.is_ascii_lowercase() || c == '_'),
            wanted => wanted == *found,
        })
}

fn is_hex32(text: &str) -> bool {
    text.len() == 32 && text.chars().all(|c| c.is_ascii_hexdigit())
}

fn check(api: &Value, schema: &Value, value: &Value) -> Result<(), String> {
    if let Some(name) = schema["$ref"].as_str() {
        return check(api, &api["definitions"][name], value);
    }
    if let Some(all) = schema["enum"].as_array() {
        return if all.contains(value) {
            Ok(())
        } else {
            Err(format!("{value} is none of {}", schema["enum"]))
        };
    }
    let bound = |key: &str| schema[key].as_u64();
    let within = |what: &str, size: u64, least: &str, most: &str| {
        if bound(least).is_some_and(|least| size < least) || bound(most).is_some_and(|most| size > most) {
            return Err(format!("{what} is {size}, which is out of bounds"));
        }
        Ok(())
    };
    match schema["type"].as_str() {
        Some("string") => {
            let text = value.as_str().ok_or_else(|| format!("{value} is no string"))?;
            match schema["pattern"].as_str() {
                Some("hex32") if !is_hex32(text) => return Err(format!("{text:?} is no id")),
                Some("ascii") if !text.is_ascii() || text.contains('%') => {
                    return Err(format!("{text:?} is not as DNS carries it"));
                }
                _ => {}
            }
            within("its length", text.chars().count() as u64, "minLength", "maxLength")
        }
        Some("integer") => {
            let number = value.as_u64().ok_or_else(|| format!("{value} is no integer"))?;
            within("it", number, "minimum", "maximum")
        }
        Some("boolean") if value.is_boolean() => Ok(()),
        Some("array") => {
            let items = value.as_array().ok_or_else(|| format!("{value} is no list"))?;
            within("the number of its items", items.len() as u64, "minItems", "maxItems")?;
            items.iter().try_for_each(|item| check(api, &schema["items"], item))
        }
        Some("object") => {
            let object = value.as_object().ok_or_else(|| format!("{value} is no object"))?;
            for key in schema["required"].as_array().into_iter().flatten().filter_map(Value::as_str) {
                if !object.contains_key(key) {
                    return Err(format!("{key} is missing"));
                }
            }
            for (key, value) in object {
                match schema["properties"].get(key) {
                    Some(schema) => check(api, schema, value).map_err(|why| format!("{key}: {why}"))?,
                    None if schema.get("open").is_some() => {}
                    None => return Err(format!("{key} is not known")),
                }
            }
            Ok(())
        }
        _ => Err(format!("{value} is not of the kind {}", schema["type"])),
    }
}
