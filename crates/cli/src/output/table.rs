//! Tables for people. What is in a cell may come from anybody on the internet,
//! so nothing in it may act on the terminal.

use anstyle::Style;
use unicode_width::UnicodeWidthStr as _;

use super::{DIM, harmless, styled};

/// A table; columns are as wide as their widest cell.
pub struct Table {
    head: Vec<&'static str>,
    rows: Vec<Vec<(String, Style)>>,
}

impl Table {
    /// An empty table with these columns.
    pub fn new(head: impl IntoIterator<Item = &'static str>) -> Self {
        Self { head: head.into_iter().collect(), rows: Vec::new() }
    }

    /// A row.
    pub fn row(&mut self, cells: impl IntoIterator<Item = (String, Style)>) {
        self.rows.push(cells.into_iter().map(|(text, style)| (harmless(&text), style)).collect());
    }

    /// Its lines.
    pub fn lines(&self) -> Vec<String> {
        let head: Vec<(String, Style)> = self.head.iter().map(|h| ((*h).to_owned(), DIM)).collect();
        let rows: Vec<&Vec<(String, Style)>> = std::iter::once(&head).chain(&self.rows).collect();
        let widths: Vec<usize> = (0..self.head.len())
            .map(|column| {
                rows.iter().filter_map(|row| row.get(column)).map(|c| c.0.width()).max().unwrap_or_default()
            })
            .collect();
        rows.into_iter()
            .map(|row| {
                let mut line = String::new();
                for (index, ((text, style), width)) in row.iter().zip(&widths).enumerate() {
                    line.push_str(&styled(*style, text));
                    if index + 1 < row.len() {
                        line.push_str(&" ".repeat(width + 2 - text.width()));
                    }
                }
                line
            })
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_stand_below_each_other_in_any_script() {
        let mut table = Table::new(["name", "role", "last"]);
        let plain = |text: &str| (text.to_owned(), Style::new());
        table.row([plain("@anna:a.de"), plain("admin"), plain("now")]);
        table.row([plain("安娜"), plain("-"), plain("never")]);
        let lines: Vec<String> =
            table.lines().iter().map(|l| anstream::adapter::strip_str(l).to_string()).collect();
        assert_eq!(lines, ["name        role   last", "@anna:a.de  admin  now", "安娜        -      never"]);
    }
}
