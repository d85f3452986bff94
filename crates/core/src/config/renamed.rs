//! Keys that were called otherwise. The old name goes on working for a year, with a line that
//! says what it is called now; after that it is unknown, like any other word.

use toml_edit::{DocumentMut, Item, TableLike};

use super::{document::Document, mistake::Source};

/// A key with another name than before.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Renamed {
    /// Its path until then.
    pub old: &'static str,
    /// Its path now.
    pub new: &'static str,
    /// Until when the old one works: a year after the release that brought the new one.
    pub until: &'static str,
}

/// All of them. CONTRIBUTING.md says how an entry comes and goes.
pub(super) const RENAMED: &[Renamed] = &[];

/// What the config's text calls by an old name, in a line each; nothing of a text that is
/// not TOML.
pub fn old_names(text: &str, file: &str) -> Vec<String> {
    told(text, file, RENAMED)
}

fn told(text: &str, file: &str, table: &'static [Renamed]) -> Vec<String> {
    let source = Source { file, text };
    let mut found = Document::read(source, table).renamed;
    found.sort_by_key(|(at, _)| *at);
    found
        .into_iter()
        .map(|(at, Renamed { old, new, until })| {
            let (line, _) = source.position(at);
            format!("{file}:{line}: {old} is called {new} now; the old name works until {until}")
        })
        .collect()
}

/// The name that a key has now.
pub(super) fn current<'a>(key: &'a str, table: &[Renamed]) -> &'a str
where
    'static: 'a,
{
    table.iter().find(|renamed| renamed.old == key).map_or(key, |renamed| renamed.new)
}

/// Gives the keys of a document the names that they have now, whatever else is in it.
pub(super) fn rename(document: &mut DocumentMut, table: &[Renamed]) {
    for renamed in table {
        let (from, to) = (path(renamed.old), path(renamed.new));
        if let Some(item) = take(document.as_table_mut(), &from) {
            put(document.as_table_mut(), &to, item);
        }
    }
}

fn path(key: &'static str) -> Vec<&'static str> {
    key.split('.').collect()
}

fn take(table: &mut dyn TableLike, path: &[&str]) -> Option<Item> {
    match path {
        [] => None,
        [name] => table.remove(name),
        [section, rest @ ..] => {
            let inner = table.get_mut(section)?.as_table_like_mut()?;
            let item = take(inner, rest);
            // A section that nothing is left of has no meaning under its old name.
            if inner.is_empty() && item.is_some() {
                table.remove(section);
            }
            item
        }
    }
}

fn put(table: &mut dyn TableLike, path: &[&str], item: Item) {
    match path {
        [] => {}
        [name] => {
            table.insert(name, item);
        }
        [section, rest @ ..] => {
            let inner = table.entry(section).or_insert_with(toml_edit::table);
            if let Some(inner) = inner.as_table_like_mut() {
                put(inner, rest, item);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        config::{
            Config, Defaults, Mistakes, Override,
            edit::{Edit, edit_with},
            keys,
            read::Reader,
        },
        size::Bytes,
    };

    const TABLE: &[Renamed] = &[
        Renamed { old: "synapse.upload_limit", new: "synapse.max_upload_size", until: "2027-11-30" },
        Renamed { old: "look.brand", new: "web.brand", until: "2027-11-30" },
    ];

    fn read(text: &str, overrides: &[Override]) -> Result<Config, Mistakes> {
        let source = Source { file: "matrix.toml", text };
        Reader::with(source, overrides, &Defaults::default(), TABLE).run().0
    }

    #[test]
    fn an_old_name_works_and_the_new_one_is_told() {
        let text =
            "domain = \"chat.home.arpa\"\n[look]\nbrand = \"Club\"\n[synapse]\nupload_limit = \"64M\"\n";
        let config = read(text, &[]).unwrap();
        assert_eq!((&*config.web.brand, *config.synapse.max_upload_size), ("Club", Bytes(64 << 20)));
        assert_eq!(
            told(text, "matrix.toml", TABLE),
            [
                "matrix.toml:3: look.brand is called web.brand now; the old name works until 2027-11-30",
                "matrix.toml:5: synapse.upload_limit is called synapse.max_upload_size now; the old name works until \
                 2027-11-30",
            ]
        );
        let flag = Override::new("synapse.upload_limit", "64M", "set synapse.upload_limit");
        let config = read("domain = \"chat.home.arpa\"\n", &[flag]).unwrap();
        assert_eq!(*config.synapse.max_upload_size, Bytes(64 << 20));
    }

    #[test]
    fn what_is_wrong_is_told_at_the_old_name_and_both_names_are_one_too_many() {
        let wrong = read("domain = \"chat.home.arpa\"\n[synapse]\nupload_limit = 1\n", &[]).unwrap_err();
        assert_eq!(wrong.list()[0].line, Some(3), "{wrong}");
        let both =
            "domain = \"chat.home.arpa\"\n[synapse]\nmax_upload_size = \"1M\"\nupload_limit = \"2M\"\n";
        let told = read(both, &[]).unwrap_err().to_string();
        assert!(told.contains("the old name of synapse.max_upload_size, which is written too"), "{told}");
    }

    #[test]
    fn a_change_gives_keys_their_new_names_and_keeps_comments() {
        let text = "domain = \"chat.home.arpa\"\n\n[look]\nbrand = \"Club\"\n\n[synapse]\n# Videos.\nupload_limit = \"64M\" # was 20M\n";
        let set = |key, value| {
            edit_with(text, "matrix.toml", key, Edit::Value(value), &Defaults::default(), TABLE).unwrap()
        };
        for key in ["synapse.upload_limit", "synapse.max_upload_size"] {
            let changed = set(key, "80M");
            assert!(
                changed.contains("max_upload_size = \"80M\"") && !changed.contains("upload_limit"),
                "{changed}"
            );
            assert!(changed.contains("brand = \"Club\"") && !changed.contains("[look]"), "{changed}");
            Config::parse(&changed, "matrix.toml").unwrap();
        }
    }

    #[test]
    fn every_entry_leads_to_a_key_from_a_name_that_is_none() {
        for renamed in RENAMED.iter().chain(TABLE) {
            assert!(keys::at(renamed.new).is_some(), "{}", renamed.new);
            assert!(keys::at(renamed.old).is_none(), "{}", renamed.old);
            let date: Vec<u32> = renamed.until.split('-').map(|part| part.parse().unwrap()).collect();
            assert!(matches!(date[..], [2026..=2999, 1..=12, 1..=31]), "{}", renamed.until);
        }
    }
}
