//! Values with a form of their own: sizes, spans of time, lines of text.

use serde_json::{Value as Json, json};

use super::{Flaw, TextType};
use crate::{
    config::RootPassword,
    name::AbsPath,
    size::{Bytes, Seconds},
};

/// A size from `MIN` to `MAX` mebibytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Size<const MIN: u64, const MAX: u64>(pub(in crate::config) Bytes);

impl<const MIN: u64, const MAX: u64> TextType for Size<MIN, MAX> {
    fn wanted() -> String {
        format!("a size from {} to {}", Bytes::mib(MIN), Bytes::mib(MAX))
    }
    fn from_text(text: &str) -> Result<Self, Flaw> {
        let size = Bytes::parse(text)?;
        if (Bytes::mib(MIN)..=Bytes::mib(MAX)).contains(&size) {
            return Ok(Self(size));
        }
        let (least, most) = (Bytes::mib(MIN), Bytes::mib(MAX));
        let flaw = if size < least {
            Flaw::new(format!("this is too small: at least {least} is needed"))
        } else {
            Flaw::new(format!("this is too large: at most {most} is possible"))
        };
        let bare = text.chars().all(|c| c.is_ascii_digit());
        Err(match Self::repair(text) {
            Some(better) if bare => {
                flaw.hint(format!("without a unit these are bytes; did you mean {better:?}?"))
            }
            _ => flaw,
        })
    }
    fn to_text(&self) -> String {
        self.0.to_string()
    }
    fn pattern() -> Option<String> {
        Some("^[0-9]+[KMGT]?B?$".to_owned())
    }
    /// Other tools count memory in mebibytes and disks in gibibytes.
    fn repair(raw: &str) -> Option<String> {
        let raw = raw.trim_matches('"');
        ["M", "G"].iter().map(|unit| format!("{raw}{unit}")).find(|text| {
            Bytes::parse(text).is_ok_and(|size| (Bytes::mib(MIN)..=Bytes::mib(MAX)).contains(&size))
        })
    }
}

/// A span of time from `MIN` to `MAX` seconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::config) struct Span<const MIN: u64, const MAX: u64>(pub Seconds);

const SPAN_PATTERN: &str = "[0-9]+[wdhms]";

impl<const MIN: u64, const MAX: u64> TextType for Span<MIN, MAX> {
    fn wanted() -> String {
        format!("a span of time from {} to {}", Seconds(MIN), Seconds(MAX))
    }
    fn from_text(text: &str) -> Result<Self, Flaw> {
        let span = Seconds::parse(text)?;
        if (MIN..=MAX).contains(&span.0) {
            Ok(Self(span))
        } else {
            Err(Flaw::new(format!("must be {}", Self::wanted())))
        }
    }
    fn to_text(&self) -> String {
        self.0.to_string()
    }
    fn pattern() -> Option<String> {
        Some(format!("^{SPAN_PATTERN}$"))
    }
}

/// How long something is kept: at least an hour, or forever.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct KeptFor(pub(in crate::config) Option<Seconds>);

impl TextType for KeptFor {
    fn wanted() -> String {
        "a span of time such as 90d, or forever".to_owned()
    }
    fn from_text(text: &str) -> Result<Self, Flaw> {
        if text == "forever" {
            return Ok(Self(None));
        }
        let span = Seconds::parse(text)
            .map_err(|_| Flaw::new("a span of time looks like 90d or 12h; \"forever\" keeps everything"))?;
        // Synapse takes milliseconds in a signed 64-bit number.
        if (3600..=100 * 365 * 86_400).contains(&span.0) {
            Ok(Self(Some(span)))
        } else {
            Err(Flaw::new("must be from 1h to 36500d").hint("to keep everything, write \"forever\""))
        }
    }
    fn to_text(&self) -> String {
        self.0.map_or_else(|| "forever".to_owned(), |span| span.to_string())
    }
    fn pattern() -> Option<String> {
        Some(format!("^(forever|{SPAN_PATTERN})$"))
    }
}

/// A line of text for people to read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Words(pub(in crate::config) String);

impl TextType for Words {
    fn wanted() -> String {
        "a line of text".to_owned()
    }
    fn from_text(text: &str) -> Result<Self, Flaw> {
        if text.trim().is_empty() {
            Err(Flaw::new("the text is empty"))
        } else if text.chars().any(char::is_control) {
            Err(Flaw::new("the text must be one line, without control characters"))
        } else if text.chars().count() > 200 {
            Err(Flaw::new("the text has more than 200 characters"))
        } else {
            Ok(Self(text.to_owned()))
        }
    }
    fn to_text(&self) -> String {
        self.0.clone()
    }
    fn text_schema() -> Json {
        json!({ "type": "string", "minLength": 1, "maxLength": 200 })
    }
}

/// The path of a file with a secret. Whoever writes the secret itself here by
/// mistake must not see it in a message, so its messages do not show the value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SecretPath(pub(in crate::config) AbsPath);

impl TextType for SecretPath {
    const NAMES_LOCAL: bool = true;

    fn wanted() -> String {
        "the path of a file that holds the secret".to_owned()
    }
    fn from_text(text: &str) -> Result<Self, Flaw> {
        AbsPath::parse(text).map(Self).map_err(|why| {
            Flaw::from(why).hint("put the secret into a file of its own, and write that file's path here")
        })
    }
    fn to_text(&self) -> String {
        self.0.to_string()
    }
    fn pattern() -> Option<String> {
        <AbsPath as TextType>::pattern()
    }
    fn repair(_raw: &str) -> Option<String> {
        None
    }
}

impl TextType for RootPassword {
    const NAMES_LOCAL: bool = true;

    fn wanted() -> String {
        "locked, ask, or the path of a file that holds the password".to_owned()
    }
    fn from_text(text: &str) -> Result<Self, Flaw> {
        match text {
            "locked" => Ok(Self::Locked),
            "ask" => Ok(Self::Ask),
            text => AbsPath::parse(text).map(Self::File).map_err(|_| {
                Flaw::new(format!("must be {}", Self::wanted()))
                    .hint("put the password into a file of its own, and write that file's path here")
            }),
        }
    }
    fn to_text(&self) -> String {
        match self {
            Self::Locked => "locked".to_owned(),
            Self::Ask => "ask".to_owned(),
            Self::File(path) => path.to_string(),
        }
    }
    fn pattern() -> Option<String> {
        Some("^(locked|ask|/[^\\s]*[^\\s/])$".to_owned())
    }
    fn repair(_raw: &str) -> Option<String> {
        None
    }
}

/// A two-letter country code (ISO 3166-1).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Country(pub(in crate::config) String);

impl TextType for Country {
    fn wanted() -> String {
        "a country's two letters, such as DE".to_owned()
    }
    fn from_text(text: &str) -> Result<Self, Flaw> {
        let two_letters = text.len() == 2 && text.chars().all(|c| c.is_ascii_alphabetic());
        if two_letters && text.chars().all(|c| c.is_ascii_uppercase()) {
            return Ok(Self(text.to_owned()));
        }
        let flaw = Flaw::new("a country is written with two capital letters, such as DE");
        Err(if two_letters { flaw.hint(format!("write {:?}", text.to_ascii_uppercase())) } else { flaw })
    }
    fn to_text(&self) -> String {
        self.0.clone()
    }
    fn pattern() -> Option<String> {
        Some("^[A-Z]{2}$".to_owned())
    }
}

/// A release of a Python package (PEP 440, without its rarer forms).
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::config) struct BuildVersion(pub String);

impl TextType for BuildVersion {
    fn wanted() -> String {
        "a version such as 1.157.1".to_owned()
    }
    fn from_text(text: &str) -> Result<Self, Flaw> {
        let (release, candidate) = text.split_once("rc").unwrap_or((text, "0"));
        let number =
            |part: &str| !part.is_empty() && part.len() <= 9 && part.chars().all(|c| c.is_ascii_digit());
        if number(candidate) && release.split('.').count() >= 2 && release.split('.').all(number) {
            return Ok(Self(text.to_owned()));
        }
        let flaw = Flaw::new("a version here looks like 1.157.1 or 1.158.0rc1");
        Err(match text.strip_prefix('v') {
            Some(rest) if Self::from_text(rest).is_ok() => {
                flaw.hint(format!("packages have no v in front: {rest:?}"))
            }
            _ => flaw,
        })
    }
    fn to_text(&self) -> String {
        self.0.clone()
    }
    fn pattern() -> Option<String> {
        Some("^[0-9]+(\\.[0-9]+)+(rc[0-9]+)?$".to_owned())
    }
}
