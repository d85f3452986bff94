//! The reference page `docs/reference/config.md`.

use std::fmt::Write as _;

use super::keys::{self, AnyKey};

const INTRO: &str = "\
<!-- Generated from crates/core/src/config/keys; `cargo xtask docs` writes it anew. -->

# The config: `matrix.toml`

One file says what the server is. Only `domain` must be written:

```toml
domain = \"chat.home.arpa\"
```

`matrix-podman init` writes a file with comments to start from, and `matrix-podman schema` prints a JSON Schema, with
which editors complete and check the file while you type. Every mistake in the file is told with its line, before
anything is touched. Nothing in this file is a secret.

Sizes are written `200M` or `16G` (`K`, `M`, `G` and `T` are powers of 1024), spans of time `30s`, `5m`, `12h`, `90d` or
`2w`, both in quotes.
";

/// The page.
pub fn render() -> String {
    let mut page = INTRO.to_owned();
    for section in keys::sections() {
        let heading = match section.path {
            "" => "At the top of the file".to_owned(),
            path => format!("`[{path}]`"),
        };
        let _ = write!(page, "\n## {heading}\n\n{}\n", section.doc);
        for key in keys::in_section(section.path) {
            entry(&mut page, key);
        }
    }
    page
}

fn entry(page: &mut String, key: &dyn AnyKey) {
    let default = match (key.default_value(), key.default_words()) {
        (Some(value), _) => format!("Default: `{value}`."),
        (None, Some(words)) => format!("Default: {words}."),
        (None, None) => "**Must be written.**".to_owned(),
    };
    let mut wanted = key.wanted();
    if let Some(first) = wanted.get_mut(..1) {
        first.make_ascii_uppercase();
    }
    let _ = write!(
        page,
        "\n### `{}`\n\n{}\n\n{wanted}. {default}\n\n```toml\n{} = {}\n```\n",
        key.path(),
        key.doc(),
        key.name(),
        key.example()
    );
}
