//! Settings of a service that have no key of their own: any table, but for what the
//! program decides itself.

use std::{marker::PhantomData, ops::Range};

use serde::Deserialize as _;
use serde_json::{Map, Value as Json, json};
use toml::{
    Spanned,
    de::{DeTable, DeValue, ValueDeserializer},
};

use super::{Flaw, Form, TomlType, wrong_type};
use crate::config::extra::Extra;

/// A service's own config file, as far as the program writes it.
pub(in crate::config) trait Decides: Clone + 'static {
    /// What the file is called.
    const FILE: &'static str;
    /// The settings that the program decides, each with all that is below it.
    const DECIDED: &'static [Decided];
    /// What settings are: tables in tables, or single values.
    const NESTED: bool;
    /// Where the secret goes that somebody wrote as the setting at `path`, whose last part is
    /// `name`.
    fn secret_goes(path: &str, name: &str) -> String;
}

/// A setting that the program decides.
pub(in crate::config) struct Decided {
    /// Its path in the file: `caches.global_factor`.
    pub path: &'static str,
    /// The key of matrix.toml that it follows from, else why it is what it is.
    pub by: By,
}

/// What a setting follows from.
pub(in crate::config) enum By {
    /// A key.
    Key(&'static str),
    /// The program's own decision, and why.
    Program(&'static str),
}

/// The settings of the file that `D` is.
#[derive(Debug, Clone, PartialEq)]
pub struct ExtraSettings<D> {
    /// Checked.
    pub(in crate::config) extra: Extra,
    file: PhantomData<D>,
}

impl<D> Default for ExtraSettings<D> {
    fn default() -> Self {
        Self { extra: Extra::default(), file: PhantomData }
    }
}

impl<D> ExtraSettings<D> {
    /// Settings that were checked before.
    pub(super) fn new(extra: Extra) -> Self {
        Self { extra, file: PhantomData }
    }
}

/// Ends of names whose values are secrets.
const SECRETS: [&str; 7] =
    ["secret", "secret_key", "password", "smtp_pass", "pepper", "private_key", "token"];

/// The flaws of a table that is to be merged into the file that `D` is.
fn look<D: Decides>(prefix: &str, table: &DeTable<'_>, flaws: &mut Vec<Flaw>) {
    for (name, value) in table {
        let path = if prefix.is_empty() {
            name.get_ref().to_string()
        } else {
            format!("{prefix}.{}", name.get_ref())
        };
        let is_table = value.get_ref().is_table();
        if let Some(decided) = D::DECIDED.iter().find(|decided| clash(decided.path, &path, is_table)) {
            flaws.push(of_decided::<D>(decided, name.span()));
            continue;
        }
        match value.get_ref() {
            DeValue::Table(inner) if D::NESTED => look::<D>(&path, inner, flaws),
            DeValue::Table(_) | DeValue::Array(_) if !D::NESTED => {
                flaws.push(at(name.span(), format!("{path}: a setting in {} is one value", D::FILE)));
            }
            _ if !D::NESTED && !is_setting(name.get_ref()) => {
                let flaw = at(name.span(), format!("{path}: this is not how a setting is called"));
                flaws.push(flaw.hint("small letters, digits and _, as in work_mem"));
            }
            other => values::<D>(&path, name.get_ref(), other, name.span(), flaws),
        }
    }
}

/// Whether it can be the name of one of PostgreSQL's settings (its manual, "Parameter Names and
/// Values"; the dot is that of an extension's settings).
fn is_setting(name: &str) -> bool {
    name.starts_with(|c: char| c.is_ascii_lowercase())
        && name.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || matches!(c, '_' | '.'))
}

/// The flaws of a value that is put in as it is: secrets, and what TOML can say and the files
/// cannot. `name` is the last part of its path.
fn values<D: Decides>(
    path: &str,
    name: &str,
    value: &DeValue<'_>,
    span: Range<usize>,
    flaws: &mut Vec<Flaw>,
) {
    match value {
        DeValue::String(_) if SECRETS.iter().any(|end| name.ends_with(end)) => {
            let flaw = at(span, format!("{path} is a secret, and this file is not for secrets"));
            flaws.push(flaw.hint(D::secret_goes(path, name)));
        }
        DeValue::Datetime(_) => {
            let flaw = at(span, format!("{path}: a date without quotes means nothing to the service"));
            flaws.push(flaw.hint("put it in quotes"));
        }
        DeValue::Float(number) if number.as_str().contains(['n', 'N']) => {
            flaws.push(at(span, format!("{path}: this is not a number that can be counted with")));
        }
        DeValue::Array(items) => {
            for item in items.iter() {
                values::<D>(path, name, item.get_ref(), item.span(), flaws);
            }
        }
        DeValue::Table(inner) => {
            for (key, item) in inner {
                let key_path = format!("{path}.{}", key.get_ref());
                values::<D>(&key_path, key.get_ref(), item.get_ref(), key.span(), flaws);
            }
        }
        _ => {}
    }
}

/// Whether a setting at `path` would replace the decided one, be below it, or be in its place.
fn clash(decided: &str, path: &str, is_table: bool) -> bool {
    let below = |whole: &str, part: &str| part.strip_prefix(whole).is_some_and(|rest| rest.starts_with('.'));
    decided == path || below(decided, path) || (below(path, decided) && !is_table)
}

fn at(span: Range<usize>, problem: String) -> Flaw {
    Flaw { span: Some(span), ..Flaw::new(problem) }
}

fn of_decided<D: Decides>(decided: &Decided, span: Range<usize>) -> Flaw {
    let (path, file) = (decided.path, D::FILE);
    match decided.by {
        By::Key(key) => at(span, format!("{path} in {file} follows from {key}"))
            .hint(format!("remove it here and write {key} = … instead")),
        By::Program(why) => {
            at(span, format!("matrix-podman decides {path} in {file}: {why}")).hint("remove it")
        }
    }
}

impl<D: Decides> TomlType for ExtraSettings<D> {
    const FORM: Form = Form::Bare;

    fn wanted() -> String {
        format!("a section with settings of {}", D::FILE)
    }

    fn from_toml(value: &Spanned<DeValue<'_>>) -> Result<Self, Vec<Flaw>> {
        let DeValue::Table(table) = value.get_ref() else {
            return Err(vec![wrong_type::<Self>(value.get_ref())]);
        };
        let mut flaws = Vec::new();
        look::<D>("", table, &mut flaws);
        if !flaws.is_empty() {
            return Err(flaws);
        }
        let settings = Map::deserialize(ValueDeserializer::from(value.clone()))
            .map_err(|error| vec![Flaw::new(format!("this cannot be read: {}", error.message()))])?;
        Ok(Self::new(Extra::new(settings)))
    }

    fn to_toml(&self) -> toml::Value {
        // What was read from TOML can be said in TOML.
        let settings = self
            .extra
            .settings()
            .filter_map(|(name, value)| Some((name.to_owned(), toml::Value::try_from(value).ok()?)));
        toml::Value::Table(settings.collect())
    }

    fn schema() -> Json {
        json!({ "type": "object" })
    }
}
