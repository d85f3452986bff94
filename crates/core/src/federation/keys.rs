//! Whether a server proves who it is: its keys, and its signature over them.

use base64::{
    Engine as _,
    alphabet::STANDARD,
    engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig},
};
use ed25519_dalek::{Signature, VerifyingKey};
use serde::Serialize;
use serde_json::{Map, Value};

use super::canonical;

/// What the keys of a server come to.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct KeyAnswer {
    /// The keys that it signs with now.
    pub keys: Vec<SeenKey>,
    /// Until when others may rely on them: milliseconds since 1970.
    pub valid_until: Option<u64>,
    /// What is wrong, each in a sentence that begins with "it" or "its".
    pub problems: Vec<String>,
}

/// One key.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct SeenKey {
    /// `ed25519:a_AbCd`
    pub id: String,
    /// The key itself, in base64.
    pub key: String,
    /// Whether it has signed the answer.
    pub signed: bool,
}

/// Standard alphabet; written without padding, accepted with it.
const BASE64: GeneralPurpose = GeneralPurpose::new(
    &STANDARD,
    GeneralPurposeConfig::new()
        .with_encode_padding(false)
        .with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

/// Judges what a server that is called `name` answered to
/// `/_matrix/key/v2/server`. `now` is in milliseconds since 1970.
///
/// Every ed25519 key has to have signed: that is what the public federation
/// testers demand. One would do for Synapse.
pub fn judge(body: &str, name: &str, now: u64) -> KeyAnswer {
    let mut answer = KeyAnswer::default();
    let document: Map<String, Value> = match serde_json::from_str(body) {
        Ok(document) => document,
        Err(_) => {
            let begin: String = body.trim().chars().take(60).collect();
            answer.problems.push(format!("its answer about keys is not JSON; it begins with {begin:?}"));
            return answer;
        }
    };
    match document.get("server_name").and_then(Value::as_str) {
        Some(said) if said == name => {}
        Some(said) => answer.problems.push(format!("it says that it is {said}, and {name} was asked")),
        None => answer.problems.push("it does not say which server it is".to_owned()),
    }
    answer.valid_until = document.get("valid_until_ts").and_then(Value::as_u64);
    match answer.valid_until {
        Some(until) if until > now => {}
        Some(_) => answer.problems.push("its keys are past the time that it says they are valid".to_owned()),
        None => answer.problems.push("it does not say how long its keys are valid".to_owned()),
    }
    let signed_text = signed_text(&document);
    if let Err(why) = &signed_text {
        answer.problems.push(format!("its answer cannot be signed: {why}"));
    }
    let signatures = document.get("signatures").and_then(|all| all.get(name)).and_then(Value::as_object);
    let keys = document.get("verify_keys").and_then(Value::as_object);
    for (id, entry) in keys.into_iter().flatten() {
        if !id.starts_with("ed25519:") {
            continue;
        }
        let text = entry.get("key").and_then(Value::as_str).unwrap_or_default();
        let key = match decode(text).and_then(|bytes| <[u8; 32]>::try_from(bytes).ok()) {
            Some(bytes) => bytes,
            None => {
                answer.problems.push(format!("its key {id} is not 32 bytes in base64"));
                continue;
            }
        };
        let signature = signatures.and_then(|all| all.get(id)).and_then(Value::as_str);
        let problem = match (signature, &signed_text) {
            (None, _) => Some(format!("its key {id} has not signed the answer")),
            (Some(signature), Ok(message)) if !verifies(&key, signature, message) => {
                Some(format!("its signature with {id} is wrong"))
            }
            _ => None,
        };
        answer.keys.push(SeenKey {
            id: id.clone(),
            key: BASE64.encode(key),
            signed: problem.is_none() && signed_text.is_ok(),
        });
        answer.problems.extend(problem);
    }
    if answer.keys.is_empty() {
        answer.problems.push("it has no ed25519 key".to_owned());
    }
    answer
}

/// What is signed: the answer without the signatures and what is not covered.
fn signed_text(document: &Map<String, Value>) -> Result<String, super::NotCanonical> {
    let mut covered = document.clone();
    covered.remove("signatures");
    covered.remove("unsigned");
    canonical(&Value::Object(covered))
}

fn decode(text: &str) -> Option<Vec<u8>> {
    BASE64.decode(text).ok()
}

fn verifies(key: &[u8; 32], signature: &str, message: &str) -> bool {
    let Some(signature) = decode(signature).and_then(|bytes| <[u8; 64]>::try_from(bytes).ok()) else {
        return false;
    };
    VerifyingKey::from_bytes(key)
        .is_ok_and(|key| key.verify_strict(message.as_bytes(), &Signature::from_bytes(&signature)).is_ok())
}

#[cfg(test)]
mod tests {
    use ed25519_dalek::{Signer as _, SigningKey};
    use serde_json::json;

    use super::*;

    const NOW: u64 = 1_800_000_000_000;
    const NAME: &str = "a.example";

    fn seed(n: u8) -> SigningKey {
        SigningKey::from_bytes(&[n; 32])
    }

    fn public(n: u8) -> String {
        BASE64.encode(seed(n).verifying_key().as_bytes())
    }

    fn document() -> Value {
        json!({
            "server_name": NAME,
            "valid_until_ts": NOW + 86_400_000,
            "verify_keys": {"ed25519:a": {"key": public(1)}},
            "old_verify_keys": {"ed25519:0": {"expired_ts": 1, "key": public(9)}},
        })
    }

    /// The document with a signature by each of these.
    fn signed(mut document: Value, by: &[(&str, u8)]) -> String {
        let text = canonical(&document).unwrap();
        let signatures: Map<String, Value> = by
            .iter()
            .map(|(id, n)| {
                ((*id).to_owned(), json!(BASE64.encode(seed(*n).sign(text.as_bytes()).to_bytes())))
            })
            .collect();
        document["signatures"] = json!({ NAME: signatures });
        document.to_string()
    }

    fn problems(body: &str) -> Vec<String> {
        judge(body, NAME, NOW).problems
    }

    #[test]
    fn a_good_answer() {
        let answer = judge(&signed(document(), &[("ed25519:a", 1)]), NAME, NOW);
        assert_eq!(answer.problems, Vec::<String>::new());
        assert_eq!(answer.keys, [SeenKey { id: "ed25519:a".to_owned(), key: public(1), signed: true }]);
    }

    /// A signature made by Synapse's own libraries (signedjson 1.1.4, PyNaCl),
    /// over a document with what is easily encoded differently.
    #[test]
    fn another_implementations_signature() {
        assert_eq!(problems(include_str!("testdata/signed_by_signedjson.json")), Vec::<String>::new());
    }

    #[test]
    fn what_is_not_covered_may_change() {
        let body = signed(document(), &[("ed25519:a", 1)]);
        let mut later: Value = serde_json::from_str(&body).unwrap();
        later["unsigned"] = json!({"age_ts": 12});
        assert_eq!(problems(&later.to_string()), Vec::<String>::new());
    }

    #[test]
    fn padding_is_accepted() {
        let mut document = document();
        document["verify_keys"]["ed25519:a"]["key"] = json!(format!("{}=", public(1)));
        assert_eq!(problems(&signed(document, &[("ed25519:a", 1)])), Vec::<String>::new());
    }

    #[test]
    fn every_flaw_is_named() {
        let change = |change: &dyn Fn(&mut Value)| {
            let mut document = document();
            change(&mut document);
            document
        };
        let body = |document| signed(document, &[("ed25519:a", 1)]);
        for (body, said) in [
            ("<html>".to_owned(), "not JSON"),
            ("[]".to_owned(), "not JSON"),
            (String::new(), "not JSON"),
            (body(change(&|d| d["server_name"] = json!("b.example"))), "it says that it is b.example"),
            (body(change(&|d| d["server_name"] = json!(1))), "does not say which server"),
            (body(change(&|d| d["valid_until_ts"] = json!(NOW))), "past the time"),
            (body(change(&|d| d["valid_until_ts"] = json!(null))), "how long"),
            (body(change(&|d| d["verify_keys"] = json!({}))), "no ed25519 key"),
            (
                body(change(&|d| d["verify_keys"] = json!({"curve25519:a": {"key": public(1)}}))),
                "no ed25519 key",
            ),
            (
                body(change(&|d| d["verify_keys"] = json!({"ed25519:a": {"key": "AAAA"}}))),
                "ed25519:a is not 32 bytes",
            ),
            (
                body(change(&|d| d["verify_keys"] = json!({"ed25519:a": {"key": "not base64!"}}))),
                "ed25519:a is not 32 bytes",
            ),
            (document().to_string(), "ed25519:a has not signed"),
            (signed(document(), &[("ed25519:a", 2)]), "signature with ed25519:a is wrong"),
            (
                body(change(&|d| d["verify_keys"]["ed25519:b"] = json!({"key": public(2)}))),
                "ed25519:b has not signed",
            ),
        ] {
            let found = problems(&body);
            assert!(found.iter().any(|problem| problem.contains(said)), "{said:?} in {found:?} for {body}");
        }
    }

    #[test]
    fn a_changed_answer_is_noticed() {
        let body = signed(document(), &[("ed25519:a", 1)]);
        let changed = body.replace(&(NOW + 86_400_000).to_string(), &(NOW + 99_999_999).to_string());
        assert_ne!(body, changed);
        assert_eq!(problems(&changed), ["its signature with ed25519:a is wrong"]);
    }

    #[test]
    fn a_signature_under_another_servers_name_does_not_count() {
        let body = signed(document(), &[("ed25519:a", 1)])
            .replace("\"signatures\":{\"a.example\"", "\"signatures\":{\"b.example\"");
        assert_eq!(problems(&body), ["its key ed25519:a has not signed the answer"]);
    }

    #[test]
    fn a_signature_that_is_no_signature() {
        let mut document: Value = serde_json::from_str(&signed(document(), &[("ed25519:a", 1)])).unwrap();
        for odd in [json!("AAAA"), json!("%%"), json!("")] {
            document["signatures"][NAME]["ed25519:a"] = odd;
            assert_eq!(problems(&document.to_string()), ["its signature with ed25519:a is wrong"]);
        }
        document["signatures"] = json!("odd");
        assert_eq!(problems(&document.to_string()), ["its key ed25519:a has not signed the answer"]);
    }

    #[test]
    fn numbers_that_cannot_be_signed() {
        let mut document: Value = serde_json::from_str(&signed(document(), &[("ed25519:a", 1)])).unwrap();
        document["extra"] = json!(1.5);
        let answer = judge(&document.to_string(), NAME, NOW);
        assert!(answer.problems[0].contains("cannot be signed"), "{answer:?}");
        assert!(!answer.keys[0].signed);
    }
}
