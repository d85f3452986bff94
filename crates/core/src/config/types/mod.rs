//! How values are read from TOML, written to it and described: one
//! implementation per type, used by parsing, the schema and the reference.

mod address;
mod certificate;
mod choice;
mod edge;
mod extra;
mod held;
mod list;
mod number;
mod port_range;
mod repository;
mod signing_key;
mod text;
mod words;

use std::ops::Range;

use serde_json::Value as Json;
use toml::{
    Spanned,
    de::{DeArray, DeValue},
};

use crate::name::Invalid;

pub use self::port_range::PortRange;
pub(super) use self::{
    address::{AddressChoice, Subnet, TurnUri},
    choice::RegistrationChoice,
    edge::{EnvName, NetworkCidr, NetworkCidr4},
    extra::{By, Decided, Decides},
    repository::{Limit, MoreRepositories, Region},
    signing_key::SigningKey,
    text::{TextType, enum_schema, nearest, zone_is_known},
    words::{BuildVersion, Span},
};
pub use self::{
    address::{PrivateNetwork, PublicUrl},
    certificate::Certificates,
    edge::{Email, Room, ServiceUrl, UserId},
    extra::ExtraSettings,
    list::List,
    number::{Factor, Int},
    words::{Country, KeptFor, SecretPath, Size, Words},
};

/// One thing that is wrong with a value.
#[derive(Debug, Clone, PartialEq)]
pub(in crate::config) struct Flaw {
    /// Where in the file, when narrower than the whole value.
    pub span: Option<Range<usize>>,
    /// What is wrong; reads well after `key = value: `.
    pub problem: String,
    /// What to write instead.
    pub hint: Option<String>,
}

impl Flaw {
    pub(super) fn new(problem: impl Into<String>) -> Self {
        Self { span: None, problem: problem.into(), hint: None }
    }

    pub(super) fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }
}

impl From<Invalid> for Flaw {
    fn from(invalid: Invalid) -> Self {
        // What to write instead stands apart from what is wrong.
        match invalid.0.split_once(": try ") {
            Some((problem, better)) => Self::new(problem).hint(format!("write {better}")),
            None => Self::new(invalid.0),
        }
    }
}

/// How a value given to a command-line flag becomes TOML.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Form {
    /// A string.
    Text,
    /// A number or boolean, written without quotes.
    Bare,
    /// A list, separated by commas.
    List,
}

/// A type that a key of the config can have.
pub(super) trait TomlType: Clone + 'static {
    /// How it is written.
    const FORM: Form;

    /// What is wanted, with its article: `a whole number from 1 to 512`.
    fn wanted() -> String;

    /// Reads and checks a value.
    fn from_toml(value: &Spanned<DeValue<'_>>) -> Result<Self, Vec<Flaw>>;

    /// The value as TOML; `from_toml` reads it back to an equal one.
    fn to_toml(&self) -> toml::Value;

    /// The JSON Schema of the value, without title and description.
    fn schema() -> Json;

    /// Whether a value names something that belongs to one machine: a file, a
    /// variable of the environment, another machine, where an image comes from.
    /// Such a value is never taken over from somewhere else.
    const LOCAL: bool = false;
}

/// Reads a value given on the command line, where nobody writes quotes.
pub(super) fn from_flag(form: Form, text: &str) -> Spanned<DeValue<'_>> {
    fn string(text: &str) -> Spanned<DeValue<'_>> {
        Spanned::new(0..text.len(), DeValue::String(text.into()))
    }
    match form {
        Form::Text => string(text),
        Form::Bare => DeValue::parse(text).unwrap_or_else(|_| string(text)),
        Form::List => {
            let mut items = DeArray::new();
            for part in text.split(',').map(str::trim).filter(|part| !part.is_empty()) {
                items.push(string(part));
            }
            Spanned::new(0..text.len(), DeValue::Array(items))
        }
    }
}

/// What a value is, as a person would call it.
pub(super) fn found(value: &DeValue<'_>) -> &'static str {
    match value {
        DeValue::String(_) => "text",
        DeValue::Integer(_) => "a whole number",
        DeValue::Float(_) => "a number with a decimal point",
        DeValue::Boolean(_) => "true or false",
        DeValue::Datetime(_) => "a date or time",
        DeValue::Array(_) => "a list",
        DeValue::Table(_) => "a section",
    }
}

/// The flaw of a value that has another type than `T`.
fn wrong_type<T: TomlType>(value: &DeValue<'_>) -> Flaw {
    let flaw = Flaw::new(format!("this is {}; wanted is {}", found(value), T::wanted()));
    if T::FORM == Form::Bare
        && let DeValue::String(text) = value
    {
        let bare = match text.to_ascii_lowercase().as_str() {
            "yes" | "on" => "true".to_owned(),
            "no" | "off" => "false".to_owned(),
            other => other.to_owned(),
        };
        if DeValue::parse(&bare).is_ok_and(|value| T::from_toml(&value).is_ok()) {
            return flaw.hint(format!("write it without quotes: {bare}"));
        }
    }
    flaw
}
