//! Changing one key of `matrix.toml`, everything else left as it was written,
//! comments included.

use toml_edit::{DocumentMut, Item, TableLike};

use super::{
    Config, Defaults, Mistakes, Override,
    keys::{self, AnyKey},
    mistake::Source,
    read::Reader,
    renamed::{self, RENAMED, Renamed},
};

/// What is made of a key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Edit<'a> {
    /// It says this; lists are separated by commas.
    Value(&'a str),
    /// It is left out, so that its default holds.
    Default,
}

/// The text with `key` changed; `file` is what messages call it.
pub fn edit(
    text: &str,
    file: &str,
    key: &str,
    edit: Edit<'_>,
    defaults: &Defaults,
) -> Result<String, Mistakes> {
    edit_with(text, file, key, edit, defaults, RENAMED)
}

/// The same where other keys were renamed.
pub(super) fn edit_with(
    text: &str,
    file: &str,
    key: &str,
    edit: Edit<'_>,
    defaults: &Defaults,
    table: &'static [Renamed],
) -> Result<String, Mistakes> {
    let read = |text: &str, overrides: &[Override]| {
        Reader::with(Source { file, text }, overrides, defaults, table).run().0
    };
    let mut overrides = Vec::new();
    if let Edit::Value(value) = edit {
        overrides.push(Override::new(key, value, format!("set {key}")));
    }
    // Tells all that is wrong with file, key and value.
    let config = read(text, &overrides)?;
    let (Some(known), Ok(mut document)) =
        (keys::at(renamed::current(key, table)), text.parse::<DocumentMut>())
    else {
        // A key that is to be left out and is none.
        let unknown = [Override::new(key, "", format!("set {key}"))];
        read(text, &unknown)?;
        return Ok(text.to_owned());
    };
    renamed::rename(&mut document, table);
    match edit {
        Edit::Value(_) => write(&mut document, known, &config),
        Edit::Default => remove(document.as_table_mut(), &known.path().split('.').collect::<Vec<_>>()),
    }
    let text = document.to_string();
    read(&text, &[])?;
    Ok(text)
}

fn write(document: &mut DocumentMut, key: &dyn AnyKey, config: &Config) {
    let Some(value) = key.value_in(config).and_then(inline) else { return };
    let mut table: &mut dyn TableLike = document.as_table_mut();
    let path: Vec<&str> = key.path().split('.').collect();
    let Some((name, sections)) = path.split_last() else { return };
    for section in sections {
        let next = table.entry(section).or_insert_with(|| {
            let mut new = toml_edit::Table::new();
            // A section that only holds other sections has no line of its own.
            new.set_implicit(true);
            Item::Table(new)
        });
        let Some(next) = next.as_table_like_mut() else { return };
        table = next;
    }
    match table.get_mut(name).and_then(Item::as_value_mut) {
        Some(now) => {
            // What stands behind the value on its line stays.
            let decor = now.decor().clone();
            *now = value;
            *now.decor_mut() = decor;
        }
        None => {
            table.insert(name, Item::Value(value));
        }
    }
}

fn remove(table: &mut dyn TableLike, path: &[&str]) {
    match path {
        [] => {}
        [name] => {
            table.remove(name);
        }
        [section, rest @ ..] => {
            if let Some(table) = table.get_mut(section).and_then(Item::as_table_like_mut) {
                remove(table, rest);
            }
        }
    }
}

/// The value as it stands behind a key; there are no dates in a config.
fn inline(value: toml::Value) -> Option<toml_edit::Value> {
    Some(match value {
        toml::Value::String(text) => text.into(),
        toml::Value::Integer(number) => number.into(),
        toml::Value::Float(number) => number.into(),
        toml::Value::Boolean(yes) => yes.into(),
        toml::Value::Array(items) => {
            items.into_iter().map(inline).collect::<Option<toml_edit::Array>>()?.into()
        }
        toml::Value::Datetime(_) | toml::Value::Table(_) => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const FILE: &str = "\
# Ours.
domain = \"chat.home.arpa\"

[synapse] # the homeserver
# Large videos.
max_upload_size = \"50M\" # was 20M
presence = true
";

    fn changed(key: &str, edited: Edit<'_>) -> Result<String, String> {
        edit(FILE, "matrix.toml", key, edited, &Defaults::default()).map_err(|m| m.to_string())
    }

    #[test]
    fn a_value_is_replaced_and_all_comments_stay() {
        let text = changed("synapse.max_upload_size", Edit::Value("64M")).unwrap();
        assert_eq!(text, FILE.replace("\"50M\"", "\"64M\""));
    }

    #[test]
    fn a_key_is_added_to_its_section_and_a_section_to_the_file() {
        let text = changed("synapse.url_previews", Edit::Value("false")).unwrap();
        assert_eq!(text, format!("{FILE}url_previews = false\n"));
        let text = changed("guest.extra_packages", Edit::Value("htop, jq")).unwrap();
        assert_eq!(text, format!("{FILE}\n[guest]\nextra_packages = [\"htop\", \"jq\"]\n"));
        let text = changed("guest.network.bridge", Edit::Value("br0")).unwrap();
        assert_eq!(text, format!("{FILE}\n[guest.network]\nbridge = \"br0\"\n"));
    }

    #[test]
    fn a_key_is_left_out_so_that_its_default_holds() {
        let text = changed("synapse.presence", Edit::Default).unwrap();
        assert_eq!(text, FILE.replace("presence = true\n", ""));
        assert_eq!(changed("guest.cores", Edit::Default).unwrap(), FILE);
        assert!(changed("domain", Edit::Default).unwrap_err().contains("domain"));
    }

    #[test]
    fn what_is_wrong_is_said_and_nothing_comes_of_it() {
        for (key, edited, word) in [
            ("synapse.max_upload_sise", Edit::Value("1M"), "synapse.max_upload_size"),
            ("synapse.max_upload_sise", Edit::Default, "synapse.max_upload_size"),
            ("synapse.max_upload_size", Edit::Value("much"), "much"),
            ("synapse.presence", Edit::Value("maybe"), "maybe"),
            ("domain", Edit::Value("example.com"), "example.com"),
        ] {
            let said = changed(key, edited).unwrap_err();
            assert!(said.contains(word), "{key}: {said}");
        }
    }
}
