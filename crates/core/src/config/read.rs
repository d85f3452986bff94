//! From text and flags to a checked [`Config`], or everything that is wrong.

use std::collections::{BTreeMap, BTreeSet};

use toml::{Spanned, de::DeValue};

use super::{
    Config, assemble,
    document::{Document, Placed},
    keys::{self, AnyKey, Fallback, Key, Usual, Within},
    mistake::{Mistake, Mistakes, Source, shorten},
    renamed::{self, RENAMED, Renamed},
    types::{Flaw, TomlType, from_flag, nearest, zone_is_known},
};
use crate::name::Timezone;

/// A value from the command line, which takes the place of the file's.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Override {
    /// The key's path: `guest.backend`.
    pub key: String,
    /// The value as typed; lists are separated by commas.
    pub value: String,
    /// The flag, which messages name: `--backend`.
    pub flag: String,
}

impl Override {
    /// An override of `key` by `flag`.
    pub fn new(key: impl Into<String>, value: impl Into<String>, flag: impl Into<String>) -> Self {
        Self { key: key.into(), value: value.into(), flag: flag.into() }
    }
}

/// Defaults that follow from the machine.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Defaults {
    /// The machine's time zone.
    pub timezone: Option<Timezone>,
    /// Whether the machine is a Proxmox VE node, for `guest.backend = "auto"`.
    pub proxmox: bool,
}

impl Defaults {
    /// Defaults with the machine's time zone; one that the tz database does
    /// not know is left out, since the guest could not have it.
    pub fn with_timezone(zone: Option<&str>) -> Self {
        let known = zone.filter(|zone| zone_is_known(zone)).and_then(|zone| Timezone::parse(zone).ok());
        Self { timezone: known, proxmox: false }
    }

    /// The same for a Proxmox VE node, or not.
    #[must_use]
    pub fn on_proxmox(self, proxmox: bool) -> Self {
        Self { proxmox, ..self }
    }
}

impl Config {
    /// Reads the text of `matrix.toml`; `file` is what messages call it.
    pub fn parse(text: &str, file: &str) -> Result<Self, Mistakes> {
        Self::parse_with(text, file, &[], &Defaults::default())
    }

    /// Reads the text of `matrix.toml` with values from flags over it.
    pub fn parse_with(
        text: &str,
        file: &str,
        overrides: &[Override],
        defaults: &Defaults,
    ) -> Result<Self, Mistakes> {
        Reader::new(Source { file, text }, overrides, defaults).run().0
    }

    /// The config of somebody who gave only a domain, with `--domain`.
    pub fn from_domain(domain: &str, defaults: &Defaults) -> Result<Self, Mistakes> {
        Self::parse_with("", "matrix.toml", &[Override::new("domain", domain, "--domain")], defaults)
    }
}

/// Where a value came from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Origin {
    /// Nobody wrote it.
    Default,
    /// It was written and is good in itself.
    Written,
    /// It was written and is wrong; a default stands in for it, and nothing
    /// that follows from it is worth a message.
    Wrong,
}

/// A value with its origin.
#[derive(Debug, Clone, Copy)]
pub(super) struct Got<T> {
    pub value: T,
    pub origin: Origin,
}

impl<T> Got<T> {
    pub(super) fn written(&self) -> bool {
        self.origin == Origin::Written
    }
    /// Whether it can be compared with others.
    pub(super) fn sound(&self) -> bool {
        self.origin != Origin::Wrong
    }
}

/// Hands out values by key and gathers mistakes.
pub(super) struct Reader<'a> {
    source: Source<'a>,
    document: Document<'a>,
    flags: BTreeMap<&'static str, &'a Override>,
    pub(super) defaults: &'a Defaults,
    /// Of the keys that were asked for.
    origins: BTreeMap<&'static str, Origin>,
    mistakes: Vec<Placed>,
}

impl<'a> Reader<'a> {
    fn new(source: Source<'a>, overrides: &'a [Override], defaults: &'a Defaults) -> Self {
        Self::with(source, overrides, defaults, RENAMED)
    }

    /// The same where other keys were renamed.
    pub(super) fn with(
        source: Source<'a>,
        overrides: &'a [Override],
        defaults: &'a Defaults,
        table: &'static [Renamed],
    ) -> Self {
        let mut document = Document::read(source, table);
        let mut mistakes = std::mem::take(&mut document.mistakes);
        let mut flags = BTreeMap::new();
        for given in overrides {
            match keys::at(renamed::current(&given.key, table)) {
                Some(key) => {
                    flags.insert(key.path(), given);
                }
                None => mistakes.push((
                    usize::MAX,
                    Mistake {
                        file: source.file.to_owned(),
                        line: None,
                        column: None,
                        flag: Some(given.flag.clone()),
                        key: given.key.clone(),
                        value: None,
                        problem: format!("there is no key {:?} in the config", given.key),
                        hint: nearest(&given.key, keys::all().map(keys::AnyKey::path))
                            .map(|near| format!("did you mean {near}?")),
                    },
                )),
            }
        }
        Self { source, document, flags, defaults, origins: BTreeMap::new(), mistakes }
    }

    /// What is read where nobody wrote anything.
    pub(super) fn of_nothing<T>(read: impl FnOnce(&mut Reader<'_>) -> T) -> T {
        read(&mut Reader::new(Source { file: "", text: "" }, &[], &Defaults::default()))
    }

    /// The config, and the keys that were asked for on the way.
    pub(super) fn run(mut self) -> (Result<Config, Mistakes>, BTreeSet<&'static str>) {
        // A text that is not TOML was told about already; without its keys
        // everything else would be about what is missing.
        let readable = self.mistakes.iter().all(|(_, mistake)| !mistake.key.is_empty());
        let config = if readable { assemble::config(&mut self) } else { None };
        self.mistakes.sort_by_key(|(at, _)| *at);
        let list: Vec<Mistake> = self.mistakes.into_iter().map(|(_, mistake)| mistake).collect();
        let result = match config {
            Some(config) if list.is_empty() => Ok(config),
            _ => Err(Mistakes::new(list)),
        };
        (result, self.origins.into_keys().collect())
    }

    /// The value of a key that has a default.
    pub(super) fn value<T: TomlType, F: Usual<T>, S: Within>(&mut self, key: &Key<T, F, S>) -> Got<T> {
        let Got { value, origin } = self.optional(key);
        Got { value: value.unwrap_or_else(|| key.fallback.usual()), origin }
    }

    /// The value of a key, if it is written and good.
    pub(super) fn optional<T: TomlType, F: Fallback<T>, S: Within>(
        &mut self,
        key: &Key<T, F, S>,
    ) -> Got<Option<T>> {
        let read = match (self.flags.get(key.path), self.document.values.get(key.path)) {
            (Some(given), _) => Some(T::from_toml(&from_flag(T::FORM, &given.value))),
            (None, Some(written)) => Some(T::from_toml(&written.value)),
            (None, None) => None,
        };
        let (value, origin) = match read {
            None => (None, Origin::Default),
            Some(Ok(value)) => (Some(value), Origin::Written),
            Some(Err(flaws)) => {
                for flaw in flaws {
                    self.complain(key, flaw);
                }
                (None, Origin::Wrong)
            }
        };
        self.origins.insert(key.path, origin);
        Got { value, origin }
    }

    /// Whether a key that was asked for is written and good in itself.
    pub(super) fn written(&self, key: &dyn AnyKey) -> bool {
        self.origins.get(key.path()) == Some(&Origin::Written)
    }

    /// Whether the value of a key that was asked for can be compared with others.
    pub(super) fn sound(&self, key: &dyn AnyKey) -> bool {
        self.origins.get(key.path()) != Some(&Origin::Wrong)
    }

    /// Notes that something is wrong with what is written at `key`.
    pub(super) fn complain(&mut self, key: &dyn AnyKey, flaw: Flaw) {
        let mut mistake = Mistake {
            file: self.source.file.to_owned(),
            line: None,
            column: None,
            flag: None,
            key: key.path().to_owned(),
            value: None,
            problem: flaw.problem,
            hint: Some(
                flaw.hint.unwrap_or_else(|| format!("for example {} = {}", key.name(), key.example())),
            ),
        };
        // Somebody may have written the secret itself where its file is wanted.
        let secret =
            ["secret_file", "token_file", "secret_variable", "token_variable", "password", "s3_credentials"]
                .iter()
                .any(|end| key.path().ends_with(end));
        let show = |value: &str| (!secret && !has_password(value)).then(|| shorten(value));
        let place = if let Some(given) = self.flags.get(key.path()) {
            mistake.flag = Some(given.flag.clone());
            mistake.value = show(&given.value);
            mistake.hint = mistake.hint.map(|hint| in_flag_words(&hint, key, &given.flag));
            usize::MAX
        } else if let Some(written) = self.document.values.get(key.path()) {
            let at = flaw.span.clone().unwrap_or_else(|| written.key_span.clone()).start;
            let (line, column) = self.source.position(at);
            (mistake.line, mistake.column) = (Some(line), Some(column));
            // A section in the place of a value has nothing to show on one line.
            if !written.value.get_ref().is_table() {
                mistake.value = show(self.written_value(&written.value, flaw.span));
            }
            at
        } else {
            0
        };
        self.mistakes.push((place, mistake));
    }

    fn written_value(&self, value: &Spanned<DeValue<'_>>, part: Option<std::ops::Range<usize>>) -> &'a str {
        self.source.slice(part.unwrap_or_else(|| value.span()))
    }
}

/// Whether somebody wrote a password into an address.
fn has_password(value: &str) -> bool {
    value.split("://").skip(1).any(|rest| {
        let host = rest.split('/').next().unwrap_or_default();
        host.rsplit_once('@').is_some_and(|(who, _)| who.contains(':'))
    })
}

/// A hint about the file made into one about a flag, where nobody writes
/// `key = "value"`.
fn in_flag_words(hint: &str, key: &dyn AnyKey, flag: &str) -> String {
    match hint.strip_prefix(&format!("for example {} = ", key.name())) {
        Some(example) => {
            let bare = example.replace(['"', '[', ']'], "").replace(", ", ",");
            format!("for example {flag} {bare}")
        }
        None => hint.to_owned(),
    }
}

#[cfg(test)]
impl<'a> Reader<'a> {
    /// The keys that reading `text` asks for.
    pub(super) fn keys_asked(text: &'a str, defaults: &'a Defaults) -> BTreeSet<&'static str> {
        Reader::new(Source { file: "matrix.toml", text }, &[], defaults).run().1
    }
}
