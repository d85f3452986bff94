//! Settings of a service that have no key of their own here.

use serde_json::{Map, Value};

/// What the operator wants in a service's own config file besides what stands there
/// anyway. It holds only what the file can say and the program does not decide itself.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Extra(Map<String, Value>);

impl Extra {
    pub(super) fn new(settings: Map<String, Value>) -> Self {
        Self(settings)
    }

    /// Whether there is nothing of that kind.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The settings, by name.
    pub fn settings(&self) -> impl Iterator<Item = (&str, &Value)> {
        self.0.iter().map(|(name, value)| (name.as_str(), value))
    }

    /// A document with these settings in it, by key.
    pub fn merged_into(&self, document: Value) -> Value {
        merged(document, Value::Object(self.0.clone()))
    }
}

fn merged(document: Value, extra: Value) -> Value {
    match (document, extra) {
        (Value::Object(mut document), Value::Object(extra)) => {
            for (name, value) in extra {
                match document.get_mut(&name) {
                    Some(place) => *place = merged(place.take(), value),
                    None => drop(document.insert(name, value)),
                }
            }
            Value::Object(document)
        }
        (_, extra) => extra,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn tables_are_merged_by_key_and_anything_else_is_put_in() {
        let Value::Object(extra) = json!({"a": {"c": {"d": 2}}, "e": [1], "f": {}}) else { panic!() };
        let document = json!({"a": {"b": 1, "c": {"x": 0}}, "z": true});
        let wanted = r#"{"a":{"b":1,"c":{"x":0,"d":2}},"z":true,"e":[1],"f":{}}"#;
        assert_eq!(Extra::new(extra).merged_into(document).to_string(), wanted);
    }
}
