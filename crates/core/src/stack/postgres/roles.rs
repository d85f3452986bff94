//! Who may do what in PostgreSQL, and from where.
//!
//! Two roles: the cluster's owner, who may do everything and comes in by the socket
//! alone, and Synapse's, which owns its database and nothing else. A statement that
//! gets into Synapse's connection therefore reads no file, starts no program and
//! sees no other database.
//!
//! Format: PostgreSQL's manual, "The pg_hba.conf File" and "User Name Maps".

use crate::{
    desired::DesiredFile,
    layout::{self, Secret},
    stack::synapse::homeserver::DATABASE,
};

/// The cluster's owner: the superuser that a cluster is made with.
pub const OWNER: &str = "postgres";
/// A database under this name is being filled; only restores use it.
pub const FILLING: &str = "synapse_restoring";
/// Where the container finds `pg_hba.conf`.
pub const HBA: &str = "/usr/local/etc/postgresql/pg_hba.conf";
/// Where the container finds `pg_ident.conf`.
pub const IDENT: &str = "/usr/local/etc/postgresql/pg_ident.conf";
/// Where the image's entry point finds what it runs in a cluster that it makes.
pub const FIRST: &str = "/docker-entrypoint-initdb.d/matrix-podman.sql";
/// What a role is without that could do more than read and write its own tables.
const PLAIN: &str = "LOGIN NOSUPERUSER NOCREATEDB NOCREATEROLE NOREPLICATION NOBYPASSRLS";
/// Names of the user who runs PostgreSQL: the image's, and the one that Podman gives
/// to a user whom an image does not know.
const SYSTEM_USERS: [&str; 2] = ["postgres", "70"];

/// `pg_hba.conf`. The socket is inside the container, where only PostgreSQL itself and
/// `podman exec` are, and lets in nobody but PostgreSQL's own user. Over the network
/// there is one role, one database and one password; what no rule names is refused.
pub fn pg_hba() -> String {
    let rule = |kind: &str, database: &str, role: &str, address: &str, method: &str| {
        format!("{kind:<7} {database:<25} {role:<11} {address:<7} {method}\n")
    };
    let socket = format!("peer map={OWNER}");
    [
        "# Written by matrix-podman; changes here are overwritten.\n".to_owned(),
        rule("local", "all", OWNER, "", &socket),
        rule("local", &format!("{DATABASE},{FILLING}"), DATABASE, "", &socket),
        rule("host", DATABASE, DATABASE, "all", "scram-sha-256"),
    ]
    .concat()
}

/// `pg_ident.conf`: PostgreSQL's own user may come in as either of the two roles.
pub fn pg_ident() -> String {
    let lines = SYSTEM_USERS
        .into_iter()
        .flat_map(|user| [OWNER, DATABASE].map(|role| format!("{OWNER:<11} {user:<11} {role}\n")));
    ["# Written by matrix-podman; changes here are overwritten.\n".to_owned()]
        .into_iter()
        .chain(lines)
        .collect()
}

/// Gives Synapse's role the password of the secret. PostgreSQL reads the file itself,
/// so the password stands in no statement.
fn take_password() -> String {
    format!(
        "DO $do$ BEGIN EXECUTE format('ALTER ROLE {DATABASE} PASSWORD %L', \
         btrim(pg_read_file('{}'), E' \\t\\r\\n')); END $do$",
        Secret::Postgres.in_container()
    )
}

/// What makes role and database of Synapse in an empty cluster, a statement each, on
/// one line each.
pub fn first_statements() -> Vec<String> {
    vec![
        format!("CREATE ROLE {DATABASE} {PLAIN}"),
        take_password(),
        format!("CREATE DATABASE {DATABASE} {LIKE_SYNAPSE}"),
    ]
}

/// A database as Synapse wants it: it accepts no encoding but UTF-8 and no locale but C.
pub const LIKE_SYNAPSE: &str = "OWNER synapse TEMPLATE template0 ENCODING 'UTF8' LC_COLLATE 'C' LC_CTYPE 'C'";

/// Files that PostgreSQL reads, for its user and root alone.
pub fn files() -> Vec<DesiredFile> {
    let first: String = first_statements().iter().map(|statement| format!("{statement};\n")).collect();
    let file = |name: &str, content: String, why| {
        DesiredFile::read_by(super::ID.owner(), layout::in_root(&format!("postgres/{name}")), content, why)
    };
    vec![
        file("pg_hba.conf", pg_hba(), "Who may come into the database, and from where"),
        file("pg_ident.conf", pg_ident(), "As which roles PostgreSQL's own user may come in"),
        file("first.sql", first, "What an image that makes a cluster itself puts into it"),
    ]
}

/// What Synapse's role is and has, asked as that role: a document.
pub const QUESTION: &str = "SELECT json_build_object(\
'plain', NOT (r.rolsuper OR r.rolcreatedb OR r.rolcreaterole OR r.rolreplication OR r.rolbypassrls) \
AND NOT EXISTS (SELECT FROM pg_auth_members m WHERE m.member = r.oid), \
'owner', (SELECT rolname FROM pg_roles WHERE oid = 10), \
'others', (SELECT count(*) FROM pg_database d WHERE d.datdba = 10 AND d.datname ~ '^synapse(_[a-z0-9_]+)?$') + \
(SELECT count(*) FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace WHERE c.relowner = 10 \
AND n.nspname !~ '^pg_' AND n.nspname <> 'information_schema' AND NOT EXISTS (SELECT FROM pg_depend e \
WHERE e.classid = 'pg_class'::regclass AND e.objid = c.oid AND e.deptype = 'e'))) \
FROM pg_roles r WHERE r.rolname = current_user";

/// Makes the superuser that has Synapse's name the cluster's owner under a name of its own,
/// and a plain role with Synapse's name in its place, which gets what was that
/// one's in this database. One transaction: there is never a moment in which nobody has the
/// name, and cut off anywhere nothing has changed.
///
/// The superuser that a cluster was made with cannot be made a plain one (PostgreSQL
/// refuses it from version 16 on), and nobody can rename who they came in as; so
/// the statements run as somebody who exists in this transaction only.
pub fn take_over() -> String {
    format!(
        "SET lock_timeout = '5s';\n\
         BEGIN;\n\
         CREATE ROLE matrix_podman_moving SUPERUSER;\n\
         SET LOCAL SESSION AUTHORIZATION matrix_podman_moving;\n\
         ALTER ROLE {DATABASE} RENAME TO {OWNER};\n\
         CREATE ROLE {DATABASE} {PLAIN};\n\
         {};\n\
         ALTER ROLE {OWNER} PASSWORD NULL;\n\
         {};\n\
         ALTER DATABASE {DATABASE} OWNER TO {DATABASE};\n\
         RESET SESSION AUTHORIZATION;\n\
         DROP ROLE matrix_podman_moving;\n\
         COMMIT;\n",
        take_password(),
        give_away()
    )
}

/// Takes from Synapse's role what makes it more than a plain one, where the cluster's
/// owner has a name of its own.
pub fn make_plain() -> String {
    format!(
        "DO $do$ DECLARE upper name; BEGIN \
         FOR upper IN SELECT g.rolname FROM pg_auth_members m JOIN pg_roles g ON g.oid = m.roleid \
         JOIN pg_roles r ON r.oid = m.member WHERE r.rolname = '{DATABASE}' LOOP \
         EXECUTE format('REVOKE %I FROM {DATABASE}', upper); END LOOP; END $do$;\n\
         ALTER ROLE {DATABASE} {PLAIN};\n"
    )
}

/// Gives to Synapse's role what the cluster's owner has in a database of Synapse's, and
/// the database last: one of which the owner is another is not done yet.
pub fn give_database(name: &str) -> String {
    format!(
        "SET lock_timeout = '5s';\nBEGIN;\n{};\nALTER DATABASE {name} OWNER TO {DATABASE};\nCOMMIT;\n",
        give_away()
    )
}

/// The databases of Synapse's that are still the cluster owner's.
pub const OWNERS_DATABASES: &str = "SELECT datname FROM pg_database WHERE datdba = 10 \
AND datname ~ '^synapse(_[a-z0-9_]+)?$' ORDER BY 1;";

/// Ends sessions over the network that began when Synapse's role was the superuser, which they
/// stay until they end; Synapse connects again by itself.
pub const END_SESSIONS: &str = "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity \
WHERE client_addr IS NOT NULL AND usesysid = 10;";

/// Ends all sessions with Synapse's database that come over the network.
pub const END_ALL_SESSIONS: &str = "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity \
WHERE client_addr IS NOT NULL;";

/// A block that gives all tables, views, sequences, functions, types and schemas that the
/// cluster's owner has in this database to Synapse's role, except for what belongs to PostgreSQL itself or
/// to an extension. What follows something else (a sequence its column, an array its
/// type) follows it by itself.
fn give_away() -> String {
    let not = |catalog: &str, kinds: &str| {
        format!(
            "NOT EXISTS (SELECT FROM pg_depend e WHERE e.classid = '{catalog}'::regclass AND e.objid = o.oid \
             AND e.deptype IN ({kinds}))"
        )
    };
    let not_of = |catalog: &str| not(catalog, "'e', 'i'");
    // A table that is partitioned depends on its own columns.
    let class =
        format!("{} AND (o.relkind <> 'S' OR {})", not("pg_class", "'e'"), not("pg_class", "'a', 'i'"));
    let ours = "n.nspname !~ '^pg_' AND n.nspname <> 'information_schema'";
    format!(
        "DO $do$ DECLARE statement text; BEGIN FOR statement IN \
         SELECT format('ALTER SCHEMA %I', o.nspname) FROM pg_namespace o WHERE o.nspowner = 10 \
         AND o.nspname !~ '^pg_' AND o.nspname NOT IN ('public', 'information_schema') AND {schema} \
         UNION ALL SELECT format('ALTER %s %I.%I', CASE o.relkind WHEN 'v' THEN 'VIEW' \
         WHEN 'm' THEN 'MATERIALIZED VIEW' WHEN 'S' THEN 'SEQUENCE' WHEN 'f' THEN 'FOREIGN TABLE' ELSE 'TABLE' END, \
         n.nspname, o.relname) FROM pg_class o JOIN pg_namespace n ON n.oid = o.relnamespace WHERE o.relowner = 10 \
         AND {ours} AND o.relkind IN ('r', 'p', 'v', 'm', 'S', 'f') AND {class} \
         UNION ALL SELECT format('ALTER %s %s', CASE o.prokind WHEN 'a' THEN 'AGGREGATE' ELSE 'ROUTINE' END, \
         o.oid::regprocedure) FROM pg_proc o JOIN pg_namespace n ON n.oid = o.pronamespace WHERE o.proowner = 10 \
         AND {ours} AND {proc} \
         UNION ALL SELECT format('ALTER TYPE %I.%I', n.nspname, o.typname) FROM pg_type o \
         JOIN pg_namespace n ON n.oid = o.typnamespace LEFT JOIN pg_class c ON c.oid = o.typrelid \
         WHERE o.typowner = 10 AND {ours} AND o.typelem = 0 AND (o.typtype IN ('d', 'e', 'r') \
         OR o.typtype = 'c' AND c.relkind = 'c') AND {kind} \
         LOOP EXECUTE statement || ' OWNER TO {DATABASE}'; END LOOP; END $do$",
        schema = not_of("pg_namespace"),
        proc = not_of("pg_proc"),
        kind = not_of("pg_type"),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_may_come_in() {
        insta::assert_snapshot!(format!("{}\n{}", pg_hba(), pg_ident()));
    }

    #[test]
    fn nobody_comes_in_over_the_network_but_synapse_with_its_password() {
        for line in pg_hba().lines().filter(|line| line.starts_with("host")) {
            let words: Vec<&str> = line.split_whitespace().collect();
            assert_eq!(words, ["host", DATABASE, DATABASE, "all", "scram-sha-256"]);
        }
        assert!(!pg_hba().contains("trust"));
    }

    #[test]
    fn how_an_older_cluster_is_taken_over() {
        insta::assert_snapshot!(format!(
            "{}\n{}\n{}",
            take_over(),
            make_plain(),
            give_database("synapse_before_7")
        ));
    }

    #[test]
    fn a_first_statement_is_one_line_without_a_secret() {
        for statement in first_statements() {
            assert!(!statement.contains(['\n', ';']) || statement.starts_with("DO "), "{statement}");
        }
        insta::assert_snapshot!(first_statements().join("\n"));
    }
}
