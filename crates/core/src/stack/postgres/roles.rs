//! Who may do what in PostgreSQL, and from where.
//!
//! The cluster's owner may do everything and comes in by the socket alone. Besides, there is
//! a role for each database, which owns that and nothing else. A statement that
//! gets into Synapse's connection therefore reads no file, starts no program and
//! sees no other database.
//!
//! Format: PostgreSQL's manual, "The pg_hba.conf File" and "User Name Maps".

use crate::{
    desired::DesiredFile,
    layout,
    stack::{DatabaseName, RoomDatabase, databases, listed, synapse},
};

/// The cluster's owner: the superuser that a cluster is made with.
pub const OWNER: &str = "postgres";
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

/// Synapse's role. Clusters of older versions know it alone, as their superuser.
const SYNAPSES: DatabaseName = synapse::DATABASE.role;

/// `pg_hba.conf`. The socket is inside the container, where only PostgreSQL itself and
/// `podman exec` are, and lets in nobody but PostgreSQL's own user. Over the network
/// each role comes into its one database, with its password; what no rule names is refused.
pub fn pg_hba(databases: &[RoomDatabase]) -> String {
    let rule = |kind: &str, database: &str, role: &str, address: &str, method: &str| {
        format!("{kind:<7} {database:<25} {role:<11} {address:<7} {method}\n")
    };
    let socket = format!("peer map={OWNER}");
    let inside = databases.iter().map(|database| {
        let names = format!("{},{}", database.name, database.filling());
        rule("local", &names, database.role.as_str(), "", &socket)
    });
    let network = databases
        .iter()
        .map(|database| rule("host", database.name.as_str(), database.role.as_str(), "all", "scram-sha-256"));
    [
        "# Written by matrix-podman; changes here are overwritten.\n".to_owned(),
        rule("local", "all", OWNER, "", &socket),
    ]
    .into_iter()
    .chain(inside)
    .chain(network)
    .collect()
}

/// `pg_ident.conf`: PostgreSQL's own user may come in as any of the roles.
pub fn pg_ident(databases: &[RoomDatabase]) -> String {
    let lines = SYSTEM_USERS.into_iter().flat_map(|user| {
        let roles = databases.iter().map(|database| database.role.as_str());
        std::iter::once(OWNER).chain(roles).map(move |role| format!("{OWNER:<11} {user:<11} {role}\n"))
    });
    ["# Written by matrix-podman; changes here are overwritten.\n".to_owned()]
        .into_iter()
        .chain(lines)
        .collect()
}

/// Gives the role of `database` the password of the secret. PostgreSQL reads the file itself,
/// so the password stands in no statement.
fn take_password(database: &RoomDatabase) -> String {
    format!(
        "DO $do$ BEGIN EXECUTE format('ALTER ROLE {} PASSWORD %L', \
         btrim(pg_read_file('{}'), E' \\t\\r\\n')); END $do$",
        database.role,
        database.password.in_container()
    )
}

/// What makes the roles and databases in an empty cluster, a statement each, on one line
/// each.
pub fn first_statements(databases: &[RoomDatabase]) -> Vec<String> {
    let statements = |database: &RoomDatabase| {
        let RoomDatabase { name, role, .. } = database;
        [
            format!("CREATE ROLE {role} {PLAIN}"),
            take_password(database),
            format!("CREATE DATABASE {name} {}", database.form()),
        ]
    };
    databases.iter().flat_map(statements).collect()
}

/// What makes the same in a cluster that serves, for psql, which runs what the last line prints:
/// `CREATE DATABASE` can stand in no block. What is there already stays.
pub fn make_missing(database: &RoomDatabase) -> String {
    let RoomDatabase { name, role, .. } = database;
    format!(
        "DO $do$ BEGIN IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = '{role}') THEN \
         CREATE ROLE {role} {PLAIN}; END IF; END $do$;\n\
         {};\n\
         SELECT $make$CREATE DATABASE {name} {}$make$ WHERE NOT EXISTS \
         (SELECT FROM pg_database WHERE datname = '{name}') \\gexec\n",
        take_password(database),
        database.form()
    )
}

/// Files that PostgreSQL reads, for its user and root alone.
pub fn files() -> Vec<DesiredFile> {
    let databases = databases();
    let first: String =
        first_statements(&databases).iter().map(|statement| format!("{statement};\n")).collect();
    let file = |name: &str, content: String, why| {
        DesiredFile::read_by(super::ID.owner(), layout::in_root(&format!("postgres/{name}")), content, why)
    };
    vec![
        file("pg_hba.conf", pg_hba(&databases), "Who may come into the database, and from where"),
        file("pg_ident.conf", pg_ident(&databases), "As which roles PostgreSQL's own user may come in"),
        file("first.sql", first, "What an image that makes a cluster itself puts into it"),
    ]
}

/// What the roles of `databases` are and have, asked in Synapse's: a document.
pub fn question(databases: &[RoomDatabase]) -> String {
    let names = listed(databases.iter().map(|database| database.name));
    let roles = listed(databases.iter().map(|database| database.role));
    format!(
        "SELECT json_build_object(\
'plain', NOT EXISTS (SELECT FROM pg_roles r WHERE r.rolname IN ({roles}) AND (r.rolsuper OR r.rolcreatedb \
OR r.rolcreaterole OR r.rolreplication OR r.rolbypassrls \
OR EXISTS (SELECT FROM pg_auth_members m WHERE m.member = r.oid))), \
'owner', (SELECT rolname FROM pg_roles WHERE oid = 10), \
'missing', (SELECT coalesce(json_agg(n.name), '[]'::json) FROM unnest(ARRAY[{names}]) AS n (name) \
WHERE NOT EXISTS (SELECT FROM pg_database d WHERE d.datname = n.name)), \
'others', (SELECT count(*) FROM pg_database d WHERE d.datdba = 10 AND d.datname ~ '^synapse(_[a-z0-9_]+)?$') + \
(SELECT count(*) FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace WHERE c.relowner = 10 \
AND n.nspname !~ '^pg_' AND n.nspname <> 'information_schema' AND NOT EXISTS (SELECT FROM pg_depend e \
WHERE e.classid = 'pg_class'::regclass AND e.objid = c.oid AND e.deptype = 'e')), \
'unfinished', CASE WHEN to_regclass('public.schema_version') IS NULL THEN false ELSE NOT xmlexists('//version' \
PASSING BY VALUE query_to_xml('SELECT version FROM public.schema_version', false, false, '')) END)"
    )
}

/// Empties the database that it is said in, where Synapse began to make its tables and never finished.
///
/// Synapse makes its first tables in several transactions and writes the schema's version last
/// (`synapse/storage/prepare_database.py`). Cut off in between, it begins anew at its next start and finds
/// tables that it takes for a mistake. Without a version it never served, so nobody has anything in them.
pub const EMPTY_UNFINISHED: &str = "DO $do$ BEGIN IF to_regclass('public.schema_version') IS NOT NULL THEN \
IF NOT EXISTS (SELECT FROM public.schema_version) THEN DROP OWNED BY CURRENT_USER; END IF; END IF; END $do$;";

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
         ALTER ROLE {SYNAPSES} RENAME TO {OWNER};\n\
         CREATE ROLE {SYNAPSES} {PLAIN};\n\
         {};\n\
         ALTER ROLE {OWNER} PASSWORD NULL;\n\
         {};\n\
         ALTER DATABASE {} OWNER TO {SYNAPSES};\n\
         RESET SESSION AUTHORIZATION;\n\
         DROP ROLE matrix_podman_moving;\n\
         COMMIT;\n",
        take_password(&synapse::DATABASE),
        give_away(),
        synapse::DATABASE.name
    )
}

/// Takes from a role what makes it more than a plain one, where the cluster's owner has a
/// name of its own.
pub fn make_plain(role: DatabaseName) -> String {
    format!(
        "DO $do$ DECLARE upper name; BEGIN \
         FOR upper IN SELECT g.rolname FROM pg_auth_members m JOIN pg_roles g ON g.oid = m.roleid \
         JOIN pg_roles r ON r.oid = m.member WHERE r.rolname = '{role}' LOOP \
         EXECUTE format('REVOKE %I FROM {role}', upper); END LOOP; END $do$;\n\
         ALTER ROLE {role} {PLAIN};\n"
    )
}

/// Gives to Synapse's role what the cluster's owner has in one of Synapse's databases, and
/// the database last: one of which the owner is another is not done yet.
pub fn give_database(name: &str) -> String {
    format!(
        "SET lock_timeout = '5s';\nBEGIN;\n{};\nALTER DATABASE {name} OWNER TO {SYNAPSES};\nCOMMIT;\n",
        give_away()
    )
}

/// Synapse's databases that are still the cluster owner's.
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
         LOOP EXECUTE statement || ' OWNER TO {SYNAPSES}'; END LOOP; END $do$",
        schema = not_of("pg_namespace"),
        proc = not_of("pg_proc"),
        kind = not_of("pg_type"),
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::two_databases;

    #[test]
    fn who_may_come_in() {
        insta::assert_snapshot!(format!("{}\n{}", pg_hba(&databases()), pg_ident(&databases())));
        let two = two_databases();
        insta::assert_snapshot!("with_two_databases", format!("{}\n{}", pg_hba(&two), pg_ident(&two)));
    }

    #[test]
    fn nobody_comes_in_over_the_network_but_each_role_into_its_database_with_its_password() {
        let hba = pg_hba(&two_databases());
        let network: Vec<&str> = hba.lines().filter(|line| line.starts_with("host")).collect();
        assert_eq!(network.len(), 2);
        for (line, database) in network.into_iter().zip(two_databases()) {
            let words: Vec<&str> = line.split_whitespace().collect();
            let RoomDatabase { name, role, .. } = database;
            assert_eq!(words, ["host", name.as_str(), role.as_str(), "all", "scram-sha-256"]);
        }
        assert!(!hba.contains("trust"));
    }

    #[test]
    fn each_role_is_a_plain_one_that_owns_its_database_alone() {
        insta::assert_snapshot!(first_statements(&two_databases()).join("\n"));
        let [_, accounts] = two_databases();
        insta::assert_snapshot!("in_a_cluster_that_serves", make_missing(&accounts));
        let asked = question(&two_databases());
        assert!(asked.contains("r.rolname IN ('synapse', 'accounts') AND (r.rolsuper"), "{asked}");
        assert!(asked.contains("unnest(ARRAY['synapse', 'accounts'])"), "{asked}");
    }

    #[test]
    fn how_an_older_cluster_is_taken_over() {
        insta::assert_snapshot!(format!(
            "{}\n{}\n{}",
            take_over(),
            make_plain(SYNAPSES),
            give_database("synapse_before_7")
        ));
    }

    #[test]
    fn a_first_statement_is_one_line_without_a_secret() {
        for statement in first_statements(&databases()) {
            assert!(!statement.contains(['\n', ';']) || statement.starts_with("DO "), "{statement}");
        }
        insta::assert_snapshot!(first_statements(&databases()).join("\n"));
    }
}
