//! A guide for a terminal, as Markdown, as a page.

use std::fmt::Write as _;

use super::{Guide, Part};

/// Longest line of a paragraph on a terminal.
const WIDTH: usize = 90;

/// For a terminal or a plain file.
pub fn terminal(guide: &Guide) -> String {
    let mut out = format!("{}\n\n", guide.title);
    wrap(&mut out, &guide.intro, "");
    for (number, step) in guide.steps.iter().enumerate() {
        let _ = write!(out, "\n{}. {}\n\n", number + 1, step.title);
        let mut after_fields = false;
        for part in &step.parts {
            if std::mem::replace(&mut after_fields, matches!(part, Part::Fields(_))) {
                out.push('\n');
            }
            match part {
                Part::Text(text) => wrap(&mut out, text, "   "),
                Part::Fields(all) => {
                    let width = all.iter().map(|(name, _)| name.chars().count()).max().unwrap_or(0);
                    for (name, value) in all {
                        let _ = writeln!(out, "     {name:<width$}   {value}");
                    }
                }
                // Without an indent, so that it can be copied as it is.
                Part::Block(_, text) => {
                    let _ = write!(out, "\n{}\n\n", text.trim_end());
                }
            }
        }
    }
    out
}

fn wrap(out: &mut String, text: &str, indent: &str) {
    let mut line = String::new();
    for word in text.split_whitespace() {
        if !line.is_empty() && indent.len() + line.chars().count() + 1 + word.chars().count() > WIDTH {
            let _ = writeln!(out, "{indent}{line}");
            line.clear();
        }
        if !line.is_empty() {
            line.push(' ');
        }
        line.push_str(word);
    }
    let _ = writeln!(out, "{indent}{line}");
}

/// As Markdown.
pub fn markdown(guide: &Guide) -> String {
    let mut out = format!("# {}\n\n{}\n", guide.title, guide.intro);
    for (number, step) in guide.steps.iter().enumerate() {
        let _ = write!(out, "\n## {}. {}\n", number + 1, step.title);
        for part in &step.parts {
            match part {
                Part::Text(text) => {
                    let _ = write!(out, "\n{}\n", text.replace('*', "\\*"));
                }
                Part::Fields(all) => {
                    out.push_str("\n| Field | Value |\n|---|---|\n");
                    for (name, value) in all {
                        let _ = writeln!(out, "| {name} | `{}` |", value.replace('|', "\\|"));
                    }
                }
                Part::Block(language, text) => {
                    let _ = write!(out, "\n```{language}\n{}\n```\n", text.trim_end());
                }
            }
        }
    }
    out
}

/// As a page that needs nothing besides itself.
pub fn html(guide: &Guide) -> String {
    let mut out = format!(
        "<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n\
         <meta name=\"viewport\" content=\"width=device-width\">\n<title>{0}</title>\n\
         <style>body{{font:1rem/1.5 system-ui,sans-serif;max-width:50rem;margin:2rem auto;padding:0 1rem}}\
         pre{{background:#8882;padding:.8rem;overflow:auto}}td{{padding:.2rem 1rem .2rem 0;vertical-align:top}}</style>\n\
         </head>\n<body>\n<h1>{0}</h1>\n<p>{1}</p>\n<ol>\n",
        escape(&guide.title),
        escape(&guide.intro)
    );
    for step in &guide.steps {
        let _ = writeln!(out, "<li><h2>{}</h2>", escape(&step.title));
        for part in &step.parts {
            match part {
                Part::Text(text) => {
                    let _ = writeln!(out, "<p>{}</p>", escape(text));
                }
                Part::Fields(all) => {
                    out.push_str("<table>\n");
                    for (name, value) in all {
                        let _ = writeln!(
                            out,
                            "<tr><td>{}</td><td><code>{}</code></td></tr>",
                            escape(name),
                            escape(value)
                        );
                    }
                    out.push_str("</table>\n");
                }
                Part::Block(_, text) => {
                    let _ = writeln!(out, "<pre>{}</pre>", escape(text.trim_end()));
                }
            }
        }
        out.push_str("</li>\n");
    }
    out.push_str("</ol>\n</body>\n</html>\n");
    out
}

fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}
