//! What PostgreSQL and Synapse's container say about themselves.

use serde::{Deserialize, Serialize};

use super::{Output, last_line, usage::ask_read_only};
use crate::{
    frame::{Database, InsideSynapse},
    name::Invalid,
    schema::Schema,
    stack::{self, DatabaseName, postgres::roles, synapse::homeserver},
};

/// One question, one answer: a document. Tables that are not there before
/// Synapse's first start are asked for only where they are (`query_to_xml` is
/// the one PostgreSQL function that runs text as a query). How large all databases are
/// is put into the place of `@SIZE@`.
const QUERY: &str = "SELECT json_build_object(\
'server_version', current_setting('server_version'), \
'encoding', pg_encoding_to_char(d.encoding), 'collate', d.datcollate, 'ctype', d.datctype, \
'size', @SIZE@, \
'schema', CASE WHEN to_regclass('schema_version') IS NULL THEN NULL ELSE \
(xpath('//version/text()', query_to_xml('SELECT version FROM schema_version', false, false, '')))[1]::text::int END, \
'compat', CASE WHEN to_regclass('schema_compat_version') IS NULL THEN NULL ELSE \
(xpath('//compat_version/text()', query_to_xml('SELECT compat_version FROM schema_compat_version', false, false, '')))[1]::text::int END, \
'background', CASE WHEN to_regclass('background_updates') IS NULL THEN '[]'::json ELSE array_to_json(\
xpath('//update_name/text()', query_to_xml('SELECT update_name FROM background_updates ORDER BY ordering', false, false, ''))::text[]) END) \
FROM pg_database d WHERE d.datname = current_database()";

/// As long as the question may take.
const PATIENCE_MILLIS: u32 = 5000;

pub(super) fn ask_database() -> Vec<String> {
    ask_read_only(PATIENCE_MILLIS, &QUERY.replace("@SIZE@", &stack::sizes(&stack::databases())))
}

/// What the roles in PostgreSQL are and have.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Roles {
    /// Whether none of them may do what a plain role may not.
    pub plain: bool,
    /// The name of the cluster's owner.
    pub owner: String,
    /// How much of Synapse's data is the cluster owner's.
    pub others: u64,
    /// The databases that are not there.
    pub missing: Vec<DatabaseName>,
    /// Whether Synapse began to make its tables and never finished.
    pub unfinished: bool,
}

pub(super) fn ask_roles() -> Vec<String> {
    ask_read_only(PATIENCE_MILLIS, &roles::question(&stack::databases()))
}

pub(super) fn parse_roles(output: &Output) -> Result<Result<Roles, String>, Invalid> {
    match output.status {
        Some(0) => serde_json::from_slice(&output.stdout)
            .map(Ok)
            .map_err(|e| Invalid::new(format!("the database's answer could not be read: {e}"))),
        Some(_) => Ok(Err(last_line(&output.stderr))),
        None => Err(Invalid::new("podman exec did not come to an end")),
    }
}

pub(super) fn parse_database(output: &Output) -> Result<Database, Invalid> {
    match output.status {
        Some(0) => serde_json::from_slice(&output.stdout)
            .map(Database::Answers)
            .map_err(|e| Invalid::new(format!("the database's answer could not be read: {e}"))),
        Some(_) => Ok(Database::Refuses(last_line(&output.stderr))),
        None => Err(Invalid::new("podman exec did not come to an end")),
    }
}

/// Reads files and prints a line of JSON. Synapse itself is not imported, which
/// would take seconds. An entry of /proc/net/tcp has its address as a
/// hexadecimal number in the machine's own byte order, and 01 means established.
const LOOK: &str = r#"
import importlib.util, json, os, re, socket, struct
schema = None
spec = importlib.util.find_spec("synapse")
if spec:
    with open(os.path.join(os.path.dirname(spec.origin), "storage/schema/__init__.py")) as source:
        found = re.search(r"^SCHEMA_VERSION = (\d+)", source.read(), re.M)
        schema = int(found.group(1)) if found else None
peers = []
with open("/proc/net/tcp") as table:
    for line in list(table)[1:]:
        fields = line.split()
        if fields[3] == "01":
            address, port = fields[2].split(":")
            peers.append("%s:%d" % (socket.inet_ntoa(struct.pack("=I", int(address, 16))), int(port, 16)))
media = "@MEDIA@"
print(json.dumps({"schema": schema, "media_writable": os.access(media, os.W_OK | os.X_OK), "peers": peers}))
"#;

pub(super) fn ask_synapse() -> Vec<String> {
    let look = LOOK.replace("@MEDIA@", &format!("{}/media_store", homeserver::DATA));
    ["podman", "exec", stack::synapse::ID.name(), "python3", "-c", look.as_str()].map(str::to_owned).to_vec()
}

pub(super) fn parse_synapse(output: &Output) -> Result<InsideSynapse, Invalid> {
    match output.status {
        Some(0) => serde_json::from_slice(&output.stdout)
            .map_err(|e| Invalid::new(format!("what Synapse's container says could not be read: {e}"))),
        Some(_) => Err(Invalid::new(last_line(&output.stderr))),
        None => Err(Invalid::new("podman exec did not come to an end")),
    }
}

/// Reads what an image's Synapse says of its schema: two numbers in its source,
/// the second of them in brackets and with comments.
const LOOK_IN_IMAGE: &str = r#"
import ast, importlib.util, json, os
found = {}
spec = importlib.util.find_spec("synapse")
if spec:
    with open(os.path.join(os.path.dirname(spec.origin), "storage/schema/__init__.py")) as source:
        for node in ast.parse(source.read()).body:
            if isinstance(node, ast.Assign) and isinstance(node.value, ast.Constant):
                for target in node.targets:
                    found[getattr(target, "id", "")] = node.value.value
schema = {"version": found.get("SCHEMA_VERSION"), "compat": found.get("SCHEMA_COMPAT_VERSION")}
print(json.dumps(schema if all(isinstance(n, int) for n in schema.values()) else None))
"#;

pub(super) fn ask_image(image: &str) -> Vec<String> {
    [
        "podman",
        "run",
        "--rm",
        "--pull=never",
        "--network=none",
        "--read-only",
        "--cap-drop=all",
        "--security-opt=no-new-privileges",
        "--log-driver=none",
        "--user=65534:65534",
        "--entrypoint=python3",
        image,
        "-c",
        LOOK_IN_IMAGE,
    ]
    .map(str::to_owned)
    .to_vec()
}

pub(super) fn parse_image(output: &Output) -> Result<Option<Schema>, Invalid> {
    match output.status {
        Some(0) => serde_json::from_slice(&output.stdout)
            .map_err(|e| Invalid::new(format!("what the image says could not be read: {e}"))),
        Some(_) => Err(Invalid::new(last_line(&output.stderr))),
        None => Err(Invalid::new("podman run did not come to an end")),
    }
}

/// The time, and whether anybody keeps it right.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Clock {
    /// Milliseconds since 1970.
    pub now: u64,
    /// Whether the kernel's clock follows time servers; `None` when nobody says.
    pub synchronized: Option<bool>,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn output(status: i32, stdout: &str, stderr: &str) -> Output {
        Output { status: Some(status), stdout: stdout.into(), stderr: stderr.into() }
    }

    #[test]
    fn a_database_is_read() {
        let printed = r#"{"server_version" : "17.6 (Debian 17.6-0+deb13u1)", "encoding" : "UTF8", "collate" : "C", "ctype" : "C", "size" : 12345, "schema" : 94, "compat" : 84, "background" : ["a","b"]}"#;
        let Database::Answers(state) = parse_database(&output(0, printed, "")).unwrap() else { panic!() };
        assert_eq!((state.schema, state.compat, state.background.len()), (Some(94), Some(84), 2));
    }

    #[test]
    fn a_database_before_the_first_start_of_synapse() {
        let printed = r#"{"server_version":"18.1","encoding":"UTF8","collate":"C","ctype":"C","size":1,"schema":null,"compat":null,"background":[]}"#;
        let Database::Answers(state) = parse_database(&output(0, printed, "")).unwrap() else { panic!() };
        assert_eq!(state.schema, None);
    }

    #[test]
    fn a_database_that_refuses_is_quoted() {
        let said = "psql: error: connection to server on socket failed: FATAL:  the database system is starting up\n";
        let Database::Refuses(why) = parse_database(&output(2, "", said)).unwrap() else { panic!() };
        assert!(why.ends_with("starting up"));
        assert!(parse_database(&Output::default()).is_err());
    }

    #[test]
    fn roles_are_read() {
        let printed = r#"{"plain" : false, "owner" : "synapse", "missing" : ["synapse"], "others" : 181, "unfinished" : true}"#;
        let roles = parse_roles(&output(0, printed, "")).unwrap().unwrap();
        assert_eq!((roles.plain, roles.owner.as_str(), roles.others), (false, "synapse", 181));
        assert!(roles.unfinished);
        assert_eq!(roles.missing, [stack::synapse::DATABASE.name]);
        let refused = parse_roles(&output(2, "", "psql: error: FATAL:  role \"synapse\" does not exist\n"));
        assert!(refused.unwrap().unwrap_err().ends_with("does not exist"));
        assert!(parse_roles(&Output::default()).is_err());
    }

    #[test]
    fn the_inside_of_synapse_is_read() {
        let printed = r#"{"schema": 94, "media_writable": true, "peers": ["10.89.0.2:5432"]}"#;
        let inside = parse_synapse(&output(0, printed, "")).unwrap();
        assert_eq!(inside.peers[0].port(), 5432);
        let schema = parse_image(&output(0, "{\"version\": 94, \"compat\": 84}\n", "")).unwrap();
        assert_eq!(schema, Some(Schema { version: 94, compat: 84 }));
        assert_eq!(parse_image(&output(0, "null\n", "")).unwrap(), None);
        assert!(parse_synapse(&output(125, "", "Error: no container with name \"synapse\"\n")).is_err());
    }
}
