//! systemd unit files, which Quadlet files are too: sections of keys and values.
//!
//! Format: systemd.syntax(7); quoting of words: systemd.service(5), "Command
//! lines"; `%` begins a specifier, so a literal one is doubled (systemd.unit(5)).

/// A value, which systemd or Quadlet reads in one of two ways.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Value {
    /// Taken as it stands to the end of the line.
    Raw(String),
    /// Split at spaces, with quotes and backslash escapes.
    Words(Vec<String>),
}

/// One `[Section]`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Section {
    name: &'static str,
    entries: Vec<(&'static str, Value)>,
}

impl Section {
    /// A section without entries.
    pub fn new(name: &'static str) -> Self {
        Self { name, entries: Vec::new() }
    }

    /// With a value that is taken as it stands. It holds no line breaks.
    #[must_use]
    pub fn raw(mut self, key: &'static str, value: impl ToString) -> Self {
        self.entries.push((key, Value::Raw(value.to_string())));
        self
    }

    /// With one line for each of `values`.
    #[must_use]
    pub fn each<T: ToString>(self, key: &'static str, values: impl IntoIterator<Item = T>) -> Self {
        values.into_iter().fold(self, |section, value| section.raw(key, value))
    }

    /// With a value, if there is one.
    #[must_use]
    pub fn maybe(self, key: &'static str, value: Option<impl ToString>) -> Self {
        self.each(key, value)
    }

    /// With words in one line; without any, the key is left out.
    #[must_use]
    pub fn words<T: ToString>(mut self, key: &'static str, words: impl IntoIterator<Item = T>) -> Self {
        let words: Vec<String> = words.into_iter().map(|word| word.to_string()).collect();
        if !words.is_empty() {
            self.entries.push((key, Value::Words(words)));
        }
        self
    }

    /// The keys, in order.
    pub fn keys(&self) -> impl Iterator<Item = &'static str> {
        self.entries.iter().map(|(key, _)| *key)
    }
}

/// The text of a unit, below a comment; sections without entries are left out.
pub fn to_string(header: &str, sections: &[Section]) -> String {
    let mut text = format!("# {header}\n");
    for section in sections.iter().filter(|section| !section.entries.is_empty()) {
        text.push_str(&format!("\n[{}]\n", section.name));
        for (key, value) in &section.entries {
            let value = match value {
                Value::Raw(value) => raw(value),
                Value::Words(words) => words.iter().map(|w| word(w)).collect::<Vec<_>>().join(" "),
            };
            text.push_str(&format!("{key}={value}\n"));
        }
    }
    text
}

/// A raw value has no escapes: a line break could only end it, so becomes a
/// space, and a backslash at the end would join the next line to it.
fn raw(value: &str) -> String {
    let value = value.replace(char::is_control, " ").replace('%', "%%");
    if value.ends_with('\\') { value + " " } else { value }
}

/// One word. `$` is doubled too: the words here end up on a command line, where
/// systemd would put a variable's value.
fn word(text: &str) -> String {
    let plain = |c: char| !c.is_whitespace() && !c.is_control() && !matches!(c, '"' | '\'' | '\\' | ';');
    let doubled = text.replace('%', "%%").replace('$', "$$");
    if !text.is_empty() && text.chars().all(plain) {
        return doubled;
    }
    let mut quoted = String::from('"');
    for c in doubled.chars() {
        match c {
            '"' | '\\' => quoted.extend(['\\', c]),
            '\n' => quoted.push_str("\\n"),
            '\t' => quoted.push_str("\\t"),
            c if c.is_ascii_control() => quoted.push_str(&format!("\\x{:02x}", u32::from(c))),
            c => quoted.push(c),
        }
    }
    quoted.push('"');
    quoted
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Reads a line of words as systemd does (`extract_first_word` with
    /// unquoting and escapes, then specifiers and variables).
    fn read_words(line: &str) -> Vec<String> {
        let mut words = Vec::new();
        let mut chars = line.chars().peekable();
        loop {
            while chars.next_if(|c| *c == ' ').is_some() {}
            if chars.peek().is_none() {
                return words.iter().map(|w: &String| w.replace("%%", "%").replace("$$", "$")).collect();
            }
            let mut word = String::new();
            let mut quoted = false;
            while let Some(c) = chars.next() {
                match c {
                    '"' => quoted = !quoted,
                    ' ' if !quoted => break,
                    '\\' => match chars.next() {
                        Some('n') => word.push('\n'),
                        Some('t') => word.push('\t'),
                        Some('x') => {
                            let hex: String = chars.by_ref().take(2).collect();
                            word.push(char::from(u8::from_str_radix(&hex, 16).unwrap()));
                        }
                        Some(c) => word.push(c),
                        None => panic!("a backslash at the end of {line:?}"),
                    },
                    c => word.push(c),
                }
            }
            words.push(word);
        }
    }

    proptest! {
        #[test]
        fn words_read_back(words in prop::collection::vec(any::<String>(), 1..5)) {
            let text = to_string("", &[Section::new("S").words("K", &words)]);
            let line = text.split_once("K=").unwrap().1.strip_suffix('\n').unwrap();
            prop_assert!(!line.contains('\n'));
            prop_assert_eq!(read_words(line), words);
        }

        #[test]
        fn raw_values_stay_on_their_line(value in any::<String>()) {
            let text = to_string("", &[Section::new("S").raw("K", &value)]);
            prop_assert_eq!(text.lines().filter(|l| l.starts_with("K=")).count(), 1);
            prop_assert!(!text.trim_end_matches('\n').ends_with('\\'));
        }
    }

    #[test]
    fn text() {
        let sections = [
            Section::new("Unit").raw("Description", "100 %").maybe("After", None::<&str>),
            Section::new("Empty"),
            Section::new("Service")
                .words("ExecStart", ["/bin/a", "b c", "", "$HOME", "d\"e"])
                .each("X", [1, 2]),
        ];
        assert_eq!(
            to_string("why", &sections),
            "# why\n\n[Unit]\nDescription=100 %%\n\n[Service]\nExecStart=/bin/a \"b c\" \"\" $$HOME \"d\\\"e\"\nX=1\nX=2\n"
        );
    }
}
