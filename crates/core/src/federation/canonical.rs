//! Canonical JSON: the one form of a document that is signed
//! (Matrix specification, appendix "Canonical JSON").

use serde_json::Value;

/// Why a document has no canonical form.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NotCanonical {
    /// Only whole numbers are allowed, without point and exponent.
    #[error("it has the number {0}, and signed documents have only whole numbers")]
    NotWhole(String),
    /// Beyond what every language holds exactly.
    #[error("it has the number {0}, which is beyond ±(2^53 − 1)")]
    TooLarge(String),
}

/// The largest whole number that is allowed: 2^53 − 1.
const MAX: i64 = (1 << 53) - 1;

/// The canonical form: keys sorted by code points, no white space, nothing
/// escaped that need not be.
pub fn canonical(value: &Value) -> Result<String, NotCanonical> {
    let mut text = String::new();
    write(value, &mut text)?;
    Ok(text)
}

fn write(value: &Value, to: &mut String) -> Result<(), NotCanonical> {
    match value {
        Value::Null => to.push_str("null"),
        Value::Bool(true) => to.push_str("true"),
        Value::Bool(false) => to.push_str("false"),
        Value::Number(number) => match number.as_i64() {
            Some(whole) if (-MAX..=MAX).contains(&whole) => to.push_str(&whole.to_string()),
            _ if number.is_f64() => return Err(NotCanonical::NotWhole(number.to_string())),
            _ => return Err(NotCanonical::TooLarge(number.to_string())),
        },
        Value::String(text) => string(text, to),
        Value::Array(items) => {
            to.push('[');
            for (at, item) in items.iter().enumerate() {
                if at > 0 {
                    to.push(',');
                }
                write(item, to)?;
            }
            to.push(']');
        }
        Value::Object(fields) => {
            // UTF-8 sorts bytewise as its code points do.
            let mut fields: Vec<(&String, &Value)> = fields.iter().collect();
            fields.sort_by_key(|(key, _)| *key);
            to.push('{');
            for (at, (key, value)) in fields.into_iter().enumerate() {
                if at > 0 {
                    to.push(',');
                }
                string(key, to);
                to.push(':');
                write(value, to)?;
            }
            to.push('}');
        }
    }
    Ok(())
}

/// Only quotes, backslashes and control characters are escaped, in their
/// shortest form.
fn string(text: &str, to: &mut String) {
    to.push('"');
    for c in text.chars() {
        match c {
            '"' => to.push_str("\\\""),
            '\\' => to.push_str("\\\\"),
            '\u{8}' => to.push_str("\\b"),
            '\t' => to.push_str("\\t"),
            '\n' => to.push_str("\\n"),
            '\u{c}' => to.push_str("\\f"),
            '\r' => to.push_str("\\r"),
            c if c < ' ' => to.push_str(&format!("\\u{:04x}", u32::from(c))),
            c => to.push(c),
        }
    }
    to.push('"');
}

#[cfg(test)]
mod tests {
    use super::*;

    fn form(text: &str) -> Result<String, NotCanonical> {
        canonical(&serde_json::from_str(text).unwrap())
    }

    /// The examples of the specification, and what is easily got wrong.
    #[test]
    fn forms() {
        for (text, wanted) in [
            ("{}", "{}"),
            (r#"{"one": 1, "two": "Two"}"#, r#"{"one":1,"two":"Two"}"#),
            (r#"{"b": "2", "a": "1"}"#, r#"{"a":"1","b":"2"}"#),
            (
                r#"{"auth": {"success": true, "mxid": "@john.doe:example.com", "profile": {"display_name": "John Doe", "three_pids": [{"medium": "email", "address": "john.doe@example.org"}, {"medium": "msisdn", "address": "123456789"}]}}}"#,
                r#"{"auth":{"mxid":"@john.doe:example.com","profile":{"display_name":"John Doe","three_pids":[{"address":"john.doe@example.org","medium":"email"},{"address":"123456789","medium":"msisdn"}]},"success":true}}"#,
            ),
            (r#"{"a": "日本語"}"#, r#"{"a":"日本語"}"#),
            (r#"{"本": 2, "日": 1}"#, r#"{"日":1,"本":2}"#),
            (r#"{"a": "\u65E5"}"#, r#"{"a":"日"}"#),
            (r#"{"a": null}"#, r#"{"a":null}"#),
            // By code points, not as UTF-16 sorts: U+E000 comes before U+10000.
            ("{\"\u{10000}\": 1, \"\u{e000}\": 2}", "{\"\u{e000}\":2,\"\u{10000}\":1}"),
            (r#"{"a": "\u0000\u001f\b\t\n\f\r\"\\\/ é"}"#, r#"{"a":"\u0000\u001f\b\t\n\f\r\"\\/ é"}"#),
            ("[9007199254740991, -9007199254740991, 0]", "[9007199254740991,-9007199254740991,0]"),
            ("{\"\u{7f}\": \"\u{7f}\u{2028}\"}", "{\"\u{7f}\":\"\u{7f}\u{2028}\"}"),
        ] {
            assert_eq!(form(text).unwrap(), wanted);
        }
    }

    #[test]
    fn numbers_that_have_no_form() {
        for text in ["1.5", "1.0", "1e3", "-0", "1e400"] {
            match serde_json::from_str::<Value>(text) {
                Ok(value) => assert!(matches!(canonical(&value), Err(NotCanonical::NotWhole(_))), "{text}"),
                // Beyond what can be read at all.
                Err(_) => assert_eq!(text, "1e400"),
            }
        }
        for text in ["9007199254740992", "-9007199254740992", "18446744073709551615"] {
            assert!(matches!(form(text), Err(NotCanonical::TooLarge(_))), "{text}");
        }
    }
}
