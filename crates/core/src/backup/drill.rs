//! A drill: a snapshot brought back into containers that nobody can reach and
//! that are thrown away (see [`crate::aside`]), to see whether it would have
//! helped.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::Rows;

/// What a drill found in what came back.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CameBack {
    /// Rows of each table of Synapse's database.
    pub tables: Rows,
    /// The same of the further ones, by their names.
    pub databases: BTreeMap<String, Rows>,
    /// The digests of the media files, in the order in which they were asked for.
    pub media: Vec<String>,
    /// The keys that Synapse signs with: id and public half.
    pub keys: Vec<(String, String)>,
    /// The test user who was made and logged in.
    pub logged_in: String,
}

/// Reads the answer to [`crate::aside::Containers::keys`].
pub fn parse_keys(text: &str) -> Option<Vec<(String, String)>> {
    let answer: serde_json::Value = serde_json::from_str(text).ok()?;
    let keys = answer.get("verify_keys")?.as_object()?;
    keys.iter().map(|(id, key)| Some((id.clone(), key.get("key")?.as_str()?.to_owned()))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_keys_of_a_server_are_read() {
        let text = r#"{"server_name":"m","verify_keys":{"ed25519:a_x":{"key":"KEY"}},"old_verify_keys":{}}"#;
        assert_eq!(parse_keys(text), Some(vec![("ed25519:a_x".to_owned(), "KEY".to_owned())]));
        assert_eq!(parse_keys("{}"), None);
        assert_eq!(parse_keys("nginx"), None);
    }
}
