//! Certificates in PEM form (RFC 7468), as text.

use base64::{Engine as _, engine::general_purpose::STANDARD};

use super::{Flaw, TextType};

const BEGIN: &str = "-----BEGIN CERTIFICATE-----";
const END: &str = "-----END CERTIFICATE-----";

/// One certificate or several, each between its lines. What is in them is
/// judged by whoever uses them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Certificates(pub(in crate::config) String);

impl TextType for Certificates {
    fn wanted() -> String {
        "certificates in PEM form".to_owned()
    }

    fn from_text(text: &str) -> Result<Self, Flaw> {
        let mut clean = String::new();
        let mut inside: Option<String> = None;
        for line in text.lines().map(str::trim).filter(|line| !line.is_empty()) {
            match (&mut inside, line) {
                (None, BEGIN) => inside = Some(String::new()),
                (None, line) if line.contains("PRIVATE KEY") => {
                    return Err(Flaw::new("this holds a private key, which does not belong here")
                        .hint("take only what stands between the CERTIFICATE lines"));
                }
                // People's remarks and what openssl prints above.
                (None, _) => {}
                (Some(body), END) => {
                    if body.is_empty() || STANDARD.decode(&*body).is_err() {
                        return Err(Flaw::new("what stands in a certificate is not base64"));
                    }
                    inside = None;
                }
                (Some(body), line) => body.push_str(line),
            }
            if inside.is_some() || line == END {
                clean.push_str(line);
                clean.push('\n');
            }
        }
        if inside.is_some() {
            return Err(Flaw::new(format!("a certificate has no end ({END})")));
        }
        if clean.is_empty() {
            return Err(Flaw::new("there is no certificate in it")
                .hint(format!("write it between triple quotes, with its lines {BEGIN} and {END}")));
        }
        Ok(Self(clean))
    }

    fn to_text(&self) -> String {
        self.0.clone()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn certificates() {
        let one = format!("{BEGIN}\nMIIB\nAQID\n{END}\n");
        assert_eq!(Certificates::from_text(&one).unwrap().0, one);
        let remarked = format!("subject: CN=x\r\n\r\n  {BEGIN}\r\nMIIB\r\nAQID\r\n{END}");
        assert_eq!(Certificates::from_text(&remarked).unwrap().0, one);
        assert_eq!(Certificates::from_text(&format!("{one}{one}")).unwrap().0, format!("{one}{one}"));
    }

    #[test]
    fn what_is_no_certificate() {
        let said = |text: String| Certificates::from_text(&text).unwrap_err().problem;
        assert!(said(String::new()).contains("no certificate"));
        assert!(said("/etc/ssl/ca.pem".to_owned()).contains("no certificate"));
        assert!(said(format!("{BEGIN}\nMIIB\n")).contains("no end"));
        assert!(said(format!("{BEGIN}\n%%\n{END}")).contains("not base64"));
        assert!(said(format!("{BEGIN}\n{END}")).contains("not base64"));
        assert!(said("-----BEGIN PRIVATE KEY-----\nMIIB".to_owned()).contains("private key"));
    }
}
