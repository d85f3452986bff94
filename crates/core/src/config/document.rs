//! From TOML text to known keys with their values; what is not known is a
//! mistake here.

use std::{collections::BTreeMap, ops::Range};

use toml::{
    Spanned,
    de::{DeTable, DeValue},
};

use super::{
    keys::{self, AnyKey},
    mistake::{Mistake, Source, shorten},
    renamed::Renamed,
    types::{found, nearest},
};

/// A mistake with its place in the file, by which mistakes are sorted.
pub(super) type Placed = (usize, Mistake);

/// A value that is written in the file.
pub(super) struct Written<'a> {
    pub key_span: Range<usize>,
    pub value: Spanned<DeValue<'a>>,
}

/// The known keys of a document.
#[derive(Default)]
pub(super) struct Document<'a> {
    pub values: BTreeMap<&'static str, Written<'a>>,
    /// What stands there under an old name, and where.
    pub renamed: Vec<(usize, &'static Renamed)>,
    pub mistakes: Vec<Placed>,
    table: &'static [Renamed],
}

impl<'a> Document<'a> {
    /// Reads the text. A text that is not TOML yields only those mistakes:
    /// what the parser guessed of the rest would send people astray.
    pub(super) fn read(source: Source<'a>, table: &'static [Renamed]) -> Self {
        let (root, errors) = DeTable::parse_recoverable(source.text);
        let mut document = Document { table, ..Document::default() };
        if errors.is_empty() {
            document.walk(source, "", root.into_inner());
        } else {
            document.syntax(source, &errors);
        }
        document
    }

    /// One mistake a line: what follows on the same line mostly follows from it.
    fn syntax(&mut self, source: Source<'_>, errors: &[toml::de::Error]) {
        let mut last = None;
        let mut errors: Vec<_> =
            errors.iter().map(|error| (error.span().map_or(0, |span| span.start), error)).collect();
        errors.sort_by_key(|(at, _)| *at);
        for (at, error) in errors {
            let (line, column) = source.position(at);
            if last.replace(line) == Some(line) {
                continue;
            }
            let (problem, hint) = syntax_words(source, at, error.message());
            self.mistakes.push((
                at,
                Mistake {
                    file: source.file.to_owned(),
                    line: Some(line),
                    column: Some(column),
                    flag: None,
                    key: String::new(),
                    value: None,
                    problem,
                    hint,
                },
            ));
        }
    }

    fn walk(&mut self, source: Source<'a>, prefix: &str, table: DeTable<'a>) {
        for (name, value) in table {
            let path = match prefix {
                "" => written_name(name.get_ref()),
                prefix => format!("{prefix}.{}", written_name(name.get_ref())),
            };
            let is_section = keys::sections().any(|section| section.path == path && !path.is_empty());
            // A quoted name with a dot in it is one name, not two.
            let whole = !name.get_ref().contains('.');
            let known = if whole { keys::at(&path) } else { None };
            let renamed = self.table.iter().find(|renamed| whole && renamed.old == path);
            let below = format!("{path}.");
            let was_section = self.table.iter().any(|renamed| whole && renamed.old.starts_with(&below));
            if let Some(renamed) = renamed {
                self.insert_renamed(source, renamed, Written { key_span: name.span(), value });
            } else if let Some(key) = known {
                self.insert(source, key, Written { key_span: name.span(), value });
            } else if (is_section || was_section) && value.get_ref().is_table() {
                if let DeValue::Table(inner) = value.into_inner() {
                    self.walk(source, &path, inner);
                }
            } else {
                let (problem, hint) = if is_section {
                    let problem = format!("this is a section, but {} stands here", found(value.get_ref()));
                    (problem, format!("write [{path}] on a line of its own, and its keys below it"))
                } else {
                    unknown(prefix, name.get_ref(), &path, value.get_ref())
                };
                let (line, column) = source.position(name.span().start);
                self.mistakes.push((
                    name.span().start,
                    Mistake {
                        file: source.file.to_owned(),
                        line: Some(line),
                        column: Some(column),
                        flag: None,
                        key: shorten(&path),
                        value: None,
                        problem,
                        hint: Some(hint),
                    },
                ));
            }
        }
    }
}

impl<'a> Document<'a> {
    fn insert(&mut self, source: Source<'_>, key: &'static dyn AnyKey, written: Written<'a>) {
        if let Some(old) = self.renamed.iter().find(|(_, renamed)| renamed.new == key.path()) {
            self.twice(source, old.0, old.1);
        }
        self.values.insert(key.path(), written);
    }

    fn insert_renamed(&mut self, source: Source<'_>, renamed: &'static Renamed, written: Written<'a>) {
        let at = written.key_span.start;
        self.renamed.push((at, renamed));
        let Some(key) = keys::at(renamed.new) else { return };
        if self.values.contains_key(key.path()) {
            self.twice(source, at, renamed);
        } else {
            self.values.insert(key.path(), written);
        }
    }

    /// A key stands there under both of its names.
    fn twice(&mut self, source: Source<'_>, at: usize, renamed: &Renamed) {
        let (line, column) = source.position(at);
        self.mistakes.push((
            at,
            Mistake {
                file: source.file.to_owned(),
                line: Some(line),
                column: Some(column),
                flag: None,
                key: renamed.old.to_owned(),
                value: None,
                problem: format!("this is the old name of {}, which is written too", renamed.new),
                hint: Some("remove this line, after a look at which value is meant".to_owned()),
            },
        ));
    }
}

/// A key's name as it has to be written.
fn written_name(name: &str) -> String {
    let bare = !name.is_empty() && name.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '_' | '-'));
    if bare { name.to_owned() } else { format!("{name:?}") }
}

/// Problem and hint for a key or section that nothing is known of.
fn unknown(prefix: &str, name: &str, path: &str, value: &DeValue<'_>) -> (String, String) {
    let problem = if value.is_table() { "unknown section" } else { "unknown key" }.to_owned();
    let in_brackets = |path: &str| format!("[{path}]");
    let sections = || keys::sections().map(|section| section.path).filter(|path| !path.is_empty());
    if value.is_table()
        && let Some(near) = nearest(path, sections())
    {
        return (problem, format!("did you mean {}?", in_brackets(near)));
    }
    let here = || keys::in_section(prefix);
    if let Some(near) = nearest(name, here().map(AnyKey::name)) {
        let near = if prefix.is_empty() { near.to_owned() } else { format!("{prefix}.{near}") };
        return (problem, format!("did you mean {near}?"));
    }
    if let Some(key) = keys::all().find(|key| key.name() == name).or_else(|| keys::at(name)) {
        let place = match key.section() {
            "" => "at the top of the file, before the first [section]".to_owned(),
            section => format!("below [{section}]"),
        };
        return (problem, format!("{} belongs {place}", key.name()));
    }
    if let Some(near) = nearest(path, keys::all().map(AnyKey::path)) {
        return (problem, format!("did you mean {near}?"));
    }
    let below = |path: &&str| path.strip_prefix(prefix).is_some_and(|rest| rest.starts_with('.'));
    let below: Vec<String> = sections().filter(below).map(in_brackets).collect();
    let known: Vec<&str> = here().map(AnyKey::name).collect();
    let hint = match prefix {
        "" => {
            let sections: Vec<String> =
                sections().filter(|path| !path.contains('.')).map(in_brackets).collect();
            format!("known here are {}, and the sections {}", known.join(", "), sections.join(" "))
        }
        prefix if known.is_empty() || value.is_table() && !below.is_empty() => match below.split_last() {
            Some((last, rest)) if !rest.is_empty() => {
                format!("below [{prefix}] there are {} and {last}", rest.join(", "))
            }
            _ => format!("below [{prefix}] there is {}", below.concat()),
        },
        prefix => format!("known in [{prefix}] are {}", known.join(", ")),
    };
    (problem, hint)
}

/// The parser's words, made into what a person can act on.
fn syntax_words(source: Source<'_>, at: usize, message: &str) -> (String, Option<String>) {
    let rest = source.slice(at..source.text.len()).lines().next().unwrap_or_default();
    let before = source.slice(0..at).lines().next_back().unwrap_or_default();
    let told = |problem: &str, hint: &str| (problem.to_owned(), Some(hint.to_owned()));
    if message.starts_with("duplicate key") {
        told("this key or section stands in the file twice", "keep one of them")
    } else if message.starts_with("string values must be quoted") {
        let bare = rest.split(['#', ',', ']']).next().unwrap_or_default().trim();
        if bare.is_empty() {
            return told("a value is missing here", "write one, or remove the line");
        }
        // Somebody may have written a secret where the path of its file is wanted.
        let showable = !bare.contains(['"', '\'']) && !before.contains("secret") && !before.contains("token");
        let hint =
            if showable { format!("write {:?}", shorten(bare)) } else { "put it in quotes".to_owned() };
        told("text has to stand in quotes", &hint)
    } else if message.starts_with("invalid unquoted key") {
        told(
            "this is neither a setting nor a section",
            "settings look like key = value, sections like [guest], comments begin with #",
        )
    } else if message.starts_with("invalid basic string") {
        told(
            "this text cannot be read",
            "it begins and ends with \" on one line; inside it, write \\\\ for \\ and \\\" for \"",
        )
    } else if message.starts_with("missing escaped value") {
        told(
            "a \\ in text needs another one",
            "write \\\\ for \\, or put the text in '…' where \\ is an ordinary letter",
        )
    } else if message.starts_with("unclosed table") {
        told("the ] is missing", "a section looks like [guest]")
    } else {
        (format!("this is not TOML: {message}"), None)
    }
}
