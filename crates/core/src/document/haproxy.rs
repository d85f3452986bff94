//! HAProxy configuration: sections of lines of words, and their text.
//!
//! Grammar: HAProxy's "Configuration Manual", section 2, "Configuring HAProxy".

/// One section: its head (`backend synapse`) and the lines below it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Section {
    head: Vec<String>,
    lines: Vec<Vec<String>>,
}

impl Section {
    /// The section with that head, still without lines.
    pub fn new<'a>(head: impl IntoIterator<Item = &'a str>) -> Self {
        Self { head: owned(head), lines: Vec::new() }
    }

    /// Then a line.
    pub fn line<'a>(mut self, words: impl IntoIterator<Item = &'a str>) -> Self {
        self.lines.push(owned(words));
        self
    }

    /// Then several lines.
    pub fn lines(mut self, lines: impl IntoIterator<Item = Vec<String>>) -> Self {
        self.lines.extend(lines);
        self
    }
}

fn owned<'a>(words: impl IntoIterator<Item = &'a str>) -> Vec<String> {
    words.into_iter().map(str::to_owned).collect()
}

/// The text of `sections`, below a comment.
pub fn to_string(header: &str, sections: &[Section]) -> String {
    let mut text: String = header.lines().map(|line| format!("# {line}\n")).collect();
    for section in sections {
        text.push_str(&format!("\n{}\n", joined(&section.head)));
        for line in &section.lines {
            text.push_str(&format!("    {}\n", joined(line)));
        }
    }
    text
}

fn joined(words: &[String]) -> String {
    let quoted: Vec<String> = words.iter().map(|word| quoted(word)).collect();
    quoted.join(" ")
}

/// A word as HAProxy reads it back. Inside single quotes nothing is special.
fn quoted(word: &str) -> String {
    if word.is_empty()
        || word.contains(|c: char| c.is_whitespace() || matches!(c, '"' | '\'' | '\\' | '#' | '$'))
    {
        format!("'{}'", word.replace('\'', "'\\''"))
    } else {
        word.to_owned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text() {
        let sections = [
            Section::new(["defaults"]).line(["mode", "http"]),
            Section::new(["backend", "a"]).line(["x", "", "a 'b' \\c $d"]).lines([vec!["y".to_owned()]]),
        ];
        assert_eq!(
            to_string("why\nand how", &sections),
            "# why\n# and how\n\ndefaults\n    mode http\n\nbackend a\n    x '' 'a '\\''b'\\'' \\c $d'\n    y\n"
        );
    }
}
