//! YAML by `serde-saphyr`. Synapse and podman-compose read it with PyYAML,
//! which knows YAML 1.1: there `on`, `yes`, `0123`, `12:30` and `1e3` are not
//! strings unless they are quoted. The crate's default quotes what either
//! version of YAML would misread; the test below holds it to that.

use serde::Serialize;

/// `document` as YAML below `header`, whose lines become comments.
pub fn to_string(header: &str, document: &impl Serialize) -> String {
    let mut text: String = header.lines().map(|line| format!("# {line}\n")).collect();
    // Folding long strings over lines is valid but unkind to people who grep.
    let options = serde_saphyr::ser_options! { prefer_block_scalars: false, compact_list_indent: false };
    // Writing to a string cannot fail, and the documents here hold nothing that
    // YAML cannot say; were it otherwise, the reason stands where a test and
    // Synapse's own config check see it.
    match serde_saphyr::to_string_with_options(document, options) {
        Ok(yaml) => text.push_str(&yaml),
        Err(error) => text.push_str(&format!("%cannot be written: {error}\n")),
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn strings_that_yaml_1_1_would_misread_are_quoted() {
        let tricky = [
            "on",
            "Yes",
            "no",
            "y",
            "N",
            "TRUE",
            "0123",
            "0x1F",
            "0o17",
            "0b1",
            "1_000",
            "12:30",
            "1:2:3",
            "190:20:30.15",
            "1e3",
            "1.2",
            ".5",
            "1.",
            "+1",
            "-1",
            ".inf",
            ".NaN",
            "~",
            "null",
            "",
            "=",
            "<<",
            "2024-01-01",
            "-",
            "?",
            "- a",
            "a: b",
            "a #b",
            "#x",
            "*a",
            "&a",
            "!t",
            "%x",
            "@x",
            "`x",
            "[a",
            "{a",
            " lead",
            "trail ",
            "a:",
            "---",
            "'q'",
            "\"q\"",
            "a\nb\n",
            "tab\tx",
            "\u{85}x",
            "\u{7f}",
            "x\u{2028}y",
            "\0",
            "a\r\nb",
        ];
        for text in tricky {
            let yaml = to_string("", &[text]);
            let scalar = yaml.trim_start_matches('-').trim();
            assert!(
                scalar.starts_with(['"', '\'']) && scalar.ends_with(['"', '\'']),
                "{text:?} became {yaml:?}"
            );
        }
        for plain in ["10M", "127.0.0.0/8", "a,b", "a-b.de", "200M"] {
            assert_eq!(to_string("", &[plain]), format!("- {plain}\n"));
        }
    }

    #[test]
    fn a_header_becomes_comments() {
        assert_eq!(to_string("one\ntwo", &["x"]), "# one\n# two\n- x\n");
    }
}
