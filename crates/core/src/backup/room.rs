//! Which media belong to a room, out of a dump of the database.
//!
//! Format: what `pg_restore --data-only` prints of a table: a line `COPY … FROM
//! stdin;`, a line for each row, `\.` (PostgreSQL's manual, COPY, "Text Format").

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::name::ServerName;

/// The tables that are read.
pub const TABLES: [&str; 2] = ["event_json", "local_media_repository"];

/// What was found of a room.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct RoomMedia {
    /// How many events it has.
    pub events: u64,
    /// Whether it is encrypted; which media are sent in it is then known to its
    /// members' clients alone.
    pub encrypted: bool,
    /// Ids of this server's media that its events name, with the names that they
    /// were uploaded under.
    pub media: BTreeMap<String, Option<String>>,
}

/// Reads the tables line by line.
#[derive(Debug)]
pub struct Reader<'a> {
    room: &'a str,
    begin: String,
    table: Option<Table>,
    found: RoomMedia,
    names: BTreeMap<String, String>,
}

/// The table that is being read, with the places of what is wanted.
#[derive(Debug, Clone, Copy)]
enum Table {
    Events { room: usize, json: usize },
    Media { id: usize, name: usize },
}

impl<'a> Reader<'a> {
    /// One for `room` on `server`.
    pub fn new(room: &'a str, server: &ServerName) -> Self {
        Self {
            room,
            begin: format!("mxc://{server}/"),
            table: None,
            found: RoomMedia::default(),
            names: BTreeMap::new(),
        }
    }

    /// Takes in a line.
    pub fn line(&mut self, line: &str) {
        match self.table {
            None => self.table = table(line),
            Some(_) if line == "\\." => self.table = None,
            Some(Table::Events { room, json }) => {
                let mut fields = line.split('\t');
                let Some(of) = fields.clone().nth(room) else { return };
                if unescaped(of) != self.room {
                    return;
                }
                self.found.events += 1;
                if let Some(event) =
                    fields.nth(json).and_then(|text| serde_json::from_str(&unescaped(text)).ok())
                {
                    self.event(&event);
                }
            }
            Some(Table::Media { id, name }) => {
                let fields: Vec<&str> = line.split('\t').collect();
                if let (Some(id), Some(name)) = (fields.get(id), fields.get(name))
                    && *name != "\\N"
                {
                    self.names.insert(unescaped(id), unescaped(name));
                }
            }
        }
    }

    /// What was found.
    pub fn end(mut self) -> RoomMedia {
        for (id, name) in &mut self.found.media {
            *name = self.names.remove(id);
        }
        self.found
    }

    fn event(&mut self, event: &Value) {
        match event.get("type").and_then(Value::as_str) {
            Some("m.room.encryption") => self.found.encrypted = true,
            // The pictures of people are theirs, not the room's.
            Some("m.room.member") => return,
            _ => {}
        }
        let mut open = vec![event];
        while let Some(value) = open.pop() {
            match value {
                Value::String(text) => {
                    let id = text.strip_prefix(&self.begin).filter(|id| is_id(id));
                    self.found.media.extend(id.map(|id| (id.to_owned(), None)));
                }
                Value::Array(all) => open.extend(all),
                Value::Object(all) => open.extend(all.values()),
                _ => {}
            }
        }
    }
}

/// Synapse's own ids are 24 letters; what is longer than five has a place.
fn is_id(id: &str) -> bool {
    id.len() > 5 && id.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_'))
}

/// Where the file with this id is, below the media store.
pub fn media_path(id: &str) -> Option<String> {
    is_id(id).then(|| format!("local_content/{}/{}/{}", &id[..2], &id[2..4], &id[4..]))
}

fn table(line: &str) -> Option<Table> {
    let (name, columns) = line.strip_prefix("COPY ")?.strip_suffix(" FROM stdin;")?.split_once(" (")?;
    let columns: Vec<&str> = columns.trim_end_matches(')').split(", ").collect();
    let at = |wanted: &str| columns.iter().position(|column| column.trim_matches('"') == wanted);
    match name.rsplit('.').next()? {
        "event_json" => Some(Table::Events { room: at("room_id")?, json: at("json")? }),
        "local_media_repository" => Some(Table::Media { id: at("media_id")?, name: at("upload_name")? }),
        _ => None,
    }
}

/// A field as it was before COPY wrote it.
fn unescaped(field: &str) -> String {
    let mut text = String::with_capacity(field.len());
    let mut letters = field.chars();
    while let Some(letter) = letters.next() {
        if letter != '\\' {
            text.push(letter);
            continue;
        }
        text.extend(letters.next().map(|escaped| match escaped {
            'b' => '\u{8}',
            'f' => '\u{c}',
            'n' => '\n',
            'r' => '\r',
            't' => '\t',
            'v' => '\u{b}',
            other => other,
        }));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    const DUMP: &str = concat!(
        "SET statement_timeout = 0;\n",
        "COPY public.event_json (event_id, room_id, internal_metadata, json, format_version) FROM stdin;\n",
        "$1\t!a:m\t{}\t{\"type\":\"m.room.message\",\"content\":{\"url\":\"mxc://m.a.org/AAbbCCddEE\",",
        "\"body\":\"tab\\\\tquote\\\\\"\"}}\t4\n",
        "$2\t!b:m\t{}\t{\"type\":\"m.room.message\",\"content\":{\"url\":\"mxc://m.a.org/OtherRoom1\"}}\t4\n",
        "$3\t!a:m\t{}\t{\"type\":\"m.room.member\",\"content\":{\"avatar_url\":\"mxc://m.a.org/MyFaceMyFace\"}}\t4\n",
        "$4\t!a:m\t{}\t{\"type\":\"m.room.message\",\"content\":{\"info\":{\"thumbnail_url\":\"mxc://m.a.org/ThumbThumb\"},",
        "\"url\":\"mxc://elsewhere/Remote1234\"}}\t4\n",
        "$5\t!a:m\t{}\t{\"type\":\"x\",\"content\":{\"url\":\"mxc://m.a.org/../../etc\"}}\t4\n",
        "\\.\n\n",
        "COPY public.local_media_repository (media_id, media_type, upload_name) FROM stdin;\n",
        "AAbbCCddEE\timage/png\tholiday\\tin\\\\May.png\n",
        "ThumbThumb\timage/png\t\\N\n",
        "OtherRoom1\timage/png\tother.png\n",
        "\\.\n",
    );

    fn read(dump: &str) -> RoomMedia {
        let server = ServerName::parse("m.a.org").unwrap();
        let mut reader = Reader::new("!a:m", &server);
        dump.lines().for_each(|line| reader.line(line));
        reader.end()
    }

    #[test]
    fn a_rooms_own_media_are_found_with_their_names() {
        let found = read(DUMP);
        assert_eq!((found.events, found.encrypted), (4, false));
        let media: Vec<_> = found.media.iter().map(|(id, name)| (id.as_str(), name.as_deref())).collect();
        assert_eq!(media, [("AAbbCCddEE", Some("holiday\tin\\May.png")), ("ThumbThumb", None)]);
        assert_eq!(media_path("AAbbCCddEE").as_deref(), Some("local_content/AA/bb/CCddEE"));
    }

    #[test]
    fn an_encrypted_room_is_told() {
        let line =
            "$9\\t!a:m\\t{}\\t{\"type\":\"m.room.encryption\",\"content\":{}}\\t4".replace("\\t", "\t");
        assert!(read(&DUMP.replacen("$1\t", &format!("{line}\n$1\t"), 1)).encrypted);
    }

    #[test]
    fn no_id_leads_out_of_the_media() {
        for id in ["", "abc", "../../etc/x", "abcdef/gh", "abcd.ef"] {
            assert_eq!(media_path(id), None, "{id}");
        }
    }
}
