//! The table of all keys: the single source for reading, for the hints about
//! unknown keys, the JSON Schema, the reference page and the file of `init`.

pub(super) mod backup;
pub(super) mod edge;
pub(super) mod extra;
pub(super) mod gateway;
pub(super) mod guest;
pub(super) mod images;
pub(super) mod notify;
pub(super) mod ports;
pub(super) mod postgres;
pub(super) mod proxmox;
mod section;
pub(super) mod site;
pub(super) mod synapse;
pub(super) mod turn;
pub(super) mod update;
pub(super) mod web;
pub(super) mod well_known;

use serde_json::Value as Json;

use super::{Config, types::TomlType};

/// A key whose values are `T`; `F` says what holds when it is not written, and `S` is the
/// part of the config that has its value.
pub(super) struct Key<T: 'static, F: 'static = Fixed<T>, S: 'static = Config> {
    /// Its place: `guest.network.bridge`.
    pub path: &'static str,
    /// What holds when it is not written.
    pub fallback: F,
    /// Its value there, as it would be written; none where it has none.
    pub of: fn(&S) -> Option<T>,
    /// A value other than the default, as TOML.
    pub example: &'static str,
    /// What it means, in an operator's words; the first sentence stands alone.
    pub doc: &'static str,
    /// Whether the file of `init` mentions it.
    pub init: bool,
}

/// The key has a default.
pub(super) struct Fixed<T>(pub fn() -> T);

/// The key's default follows from something else, as the words say.
pub(super) struct Follows(pub &'static str);

/// The key must be written.
pub(super) struct Required;

/// A part of the config that has values of keys.
pub(super) trait Within: 'static {
    /// The part that has the value of the key at `path`, where it is there.
    fn within<'a>(config: &'a Config, path: &str) -> Option<&'a Self>;
}

impl Within for Config {
    fn within<'a>(config: &'a Config, _: &str) -> Option<&'a Self> {
        Some(config)
    }
}

/// What holds when a key is not written and has a default.
pub(super) trait Usual<T>: Fallback<T> {
    /// The default.
    fn usual(&self) -> T;
}

impl<T> Usual<T> for Fixed<T> {
    fn usual(&self) -> T {
        (self.0)()
    }
}

/// What holds when a key is not written.
pub(super) trait Fallback<T>: Sync {
    /// The default, where there is one.
    fn value(&self) -> Option<T>;
    /// Words in place of a default.
    fn words(&self) -> Option<&'static str>;
}

impl<T> Fallback<T> for Fixed<T> {
    fn value(&self) -> Option<T> {
        Some(self.usual())
    }
    fn words(&self) -> Option<&'static str> {
        None
    }
}

impl<T> Fallback<T> for Follows {
    fn value(&self) -> Option<T> {
        None
    }
    fn words(&self) -> Option<&'static str> {
        Some(self.0)
    }
}

impl<T> Fallback<T> for Required {
    fn value(&self) -> Option<T> {
        None
    }
    fn words(&self) -> Option<&'static str> {
        None
    }
}

/// A key without its type: what the table's other readers need.
pub(super) trait AnyKey: Sync {
    fn path(&self) -> &'static str;
    fn doc(&self) -> &'static str;
    fn example(&self) -> &'static str;
    fn in_init(&self) -> bool;
    fn wanted(&self) -> String;
    fn schema(&self) -> Json;
    /// Whether its values name something that belongs to one machine.
    fn local(&self) -> bool;
    /// The default as TOML.
    fn default_value(&self) -> Option<toml::Value>;
    /// Words in place of a default.
    fn default_words(&self) -> Option<&'static str>;
    /// Its value in `config`, as TOML.
    fn value_in(&self, config: &Config) -> Option<toml::Value>;
    /// Whether the config is wrong without it.
    fn required(&self) -> bool {
        self.default_value().is_none() && self.default_words().is_none()
    }

    /// The section it is in; empty for the top of the file.
    fn section(&self) -> &'static str {
        self.path().rsplit_once('.').map_or("", |(section, _)| section)
    }

    /// Its name within the section.
    fn name(&self) -> &'static str {
        self.path().rsplit_once('.').map_or(self.path(), |(_, name)| name)
    }
}

impl<T: TomlType, F: Fallback<T>, S: Within> AnyKey for Key<T, F, S> {
    fn path(&self) -> &'static str {
        self.path
    }
    fn doc(&self) -> &'static str {
        self.doc
    }
    fn example(&self) -> &'static str {
        self.example
    }
    fn in_init(&self) -> bool {
        self.init
    }
    fn wanted(&self) -> String {
        T::wanted()
    }
    fn schema(&self) -> Json {
        T::schema()
    }
    fn local(&self) -> bool {
        T::LOCAL
    }
    fn default_value(&self) -> Option<toml::Value> {
        self.fallback.value().map(|value| value.to_toml())
    }
    fn default_words(&self) -> Option<&'static str> {
        self.fallback.words()
    }
    fn value_in(&self, config: &Config) -> Option<toml::Value> {
        S::within(config, self.path).and_then(self.of).map(|value| value.to_toml())
    }
}

/// Declares keys and the list of them, so that none can be forgotten.
macro_rules! keys {
    ($($name:ident: $type:ty = $key:expr;)*) => {
        $(pub(in crate::config) static $name: $type = $key;)*
        /// Every key that is declared here, in the order of the file.
        pub(in crate::config) static ALL: &[&dyn $crate::config::keys::AnyKey] = &[$(&$name),*];
    };
}
pub(super) use keys;
pub(super) use section::section;

/// A section of the file.
pub(super) struct Section {
    /// Its path, empty for the top of the file.
    pub path: &'static str,
    /// What it is about, in one sentence.
    pub doc: &'static str,
    /// The keys that are declared with it, in the order of the file: its own, and in
    /// `[edge]` those of the sections below it too.
    pub keys: &'static [&'static dyn AnyKey],
}

/// The sections that are always there, in the order of the file.
static SECTIONS: &[&Section] = &[
    &Section {
        path: "",
        doc: "Who the server is. These stand at the top of the file, before the first section.",
        keys: site::ALL,
    },
    &ports::SECTION,
    &gateway::SECTION,
    &guest::SECTION,
    &Section { path: "guest.network", doc: "How the guest is connected.", keys: guest::ALL },
    &proxmox::SECTION,
    &Section { path: "images", doc: "Where the containers' images come from.", keys: images::ALL },
    &synapse::SECTION,
    &postgres::SECTION,
    &Section {
        path: "turn",
        doc: "A TURN server, which helps calls through firewalls: your own, or one that somebody else runs. Without \
              `server` or `uris` there is none.",
        keys: turn::ALL,
    },
    &web::SECTION,
    &update::SECTION,
    &Section {
        path: "edge",
        doc: "What stands between the internet and the guest. Each part is left alone unless it is named.",
        keys: edge::ALL,
    },
    &Section {
        path: "edge.cloudflare",
        doc: "A Cloudflare tunnel that leads people to the server. Without `tunnel` Cloudflare is left alone.",
        keys: &[],
    },
    &Section {
        path: "edge.npm",
        doc: "Nginx Proxy Manager, which stands before the guest. Without `address` it is left alone.",
        keys: &[],
    },
    &well_known::SECTION,
    &Section { path: "backup", doc: "Backups. Without `repository` there are none.", keys: backup::ALL },
    &notify::SECTION,
];

/// The sections, in the order of the file.
pub(super) fn sections() -> impl Iterator<Item = &'static Section> {
    SECTIONS.iter().flat_map(|section| {
        let images = images::in_file().filter(|_| section.path == "images");
        std::iter::once(*section).chain(images.map(|image| &image.section))
    })
}

/// Every key, in the order of the file.
pub(super) fn all() -> impl Iterator<Item = &'static dyn AnyKey> {
    sections().flat_map(|section| section.keys.iter().copied())
}

/// The key at `path`.
pub(super) fn at(path: &str) -> Option<&'static dyn AnyKey> {
    all().find(|key| key.path() == path)
}

/// The keys of one section.
pub(super) fn in_section(section: &str) -> impl Iterator<Item = &'static dyn AnyKey> {
    all().filter(move |key| key.section() == section)
}

/// The first sentence of a key's or section's text.
pub(super) fn first_sentence(doc: &str) -> &str {
    doc.split_once(". ").map_or(doc, |(first, _)| first).trim_end_matches('.')
}
