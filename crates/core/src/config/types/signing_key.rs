//! A public key in PEM form (RFC 7468) that images are signed with, as text.

use base64::{Engine as _, engine::general_purpose::STANDARD};

use super::{Flaw, TextType};

const BEGIN: &str = "-----BEGIN PUBLIC KEY-----";
const END: &str = "-----END PUBLIC KEY-----";

/// One key between its lines. Its user judges what is in it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::config) struct SigningKey(pub String);

impl TextType for SigningKey {
    fn wanted() -> String {
        "a public key in PEM form".to_owned()
    }

    fn from_text(text: &str) -> Result<Self, Flaw> {
        if text.contains("PRIVATE KEY") {
            return Err(Flaw::new("this holds a private key, which does not belong here")
                .hint("give the public one, which stands in cosign.pub"));
        }
        let lines: Vec<&str> = text.lines().map(str::trim).filter(|line| !line.is_empty()).collect();
        let [BEGIN, body @ .., END] = lines.as_slice() else {
            return Err(Flaw::new("it is no single public key")
                .hint(format!("write it between triple quotes, with its lines {BEGIN} and {END}")));
        };
        let body = body.concat();
        if body.is_empty() || STANDARD.decode(&body).is_err() {
            return Err(Flaw::new("what stands in the key is not base64"));
        }
        Ok(Self(format!("{}\n", lines.join("\n"))))
    }

    fn to_text(&self) -> String {
        self.0.clone()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_and_what_is_none() {
        let key = format!("\n{BEGIN}\n TUZrd0V3\n{END}\n\n");
        assert_eq!(SigningKey::from_text(&key).unwrap().0, format!("{BEGIN}\nTUZrd0V3\n{END}\n"));
        for (bad, why) in [
            (String::new(), "no single"),
            (format!("{BEGIN}\n{END}\n"), "not base64"),
            (format!("{BEGIN}\n!!\n{END}\n"), "not base64"),
            (format!("{key}{key}"), "not base64"),
            (key.replace("PUBLIC", "ENCRYPTED SIGSTORE PRIVATE"), "private key"),
        ] {
            let flaw = format!("{:?}", SigningKey::from_text(&bad).unwrap_err());
            assert!(flaw.contains(why), "{bad}: {flaw}");
        }
    }
}
