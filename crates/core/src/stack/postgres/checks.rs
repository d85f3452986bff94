//! Whether the database answers, and is the one that Synapse wants.

use crate::{
    frame::{Check, Database, Group, RoomCheck, RoomView, Seen, database_state},
    size::Bytes,
    stack::Data,
};

pub(super) const CHECKS: &[RoomCheck] = &[
    RoomCheck::new(Group::Data, "data/database", database),
    RoomCheck::new(Group::Data, "data/locale", locale),
];

fn database(view: &dyn RoomView) -> Seen<Check> {
    let id = "data/database";
    Ok(match view.database()? {
        Database::Answers(state) => Check::pass(
            id,
            format!("PostgreSQL {} answers; {} of data", state.server_version, Bytes(state.size).rounded()),
        ),
        Database::Refuses(why) => {
            Check::fail(id, format!("the database does not answer: {why}"), Data::Cluster.log_hint())
        }
    })
}

fn locale(view: &dyn RoomView) -> Seen<Check> {
    let id = "data/locale";
    Ok(match database_state(id, view)? {
        Err(check) => check,
        Ok(s) if s.encoding == "UTF8" && s.collate == "C" && s.ctype == "C" => {
            Check::pass(id, "UTF-8, sorted by bytes (locale C)")
        }
        Ok(s) => Check::fail(
            id,
            format!("it has the encoding {} and the locales {} and {}", s.encoding, s.collate, s.ctype),
            "dump it and restore it into a database made with --encoding=UTF8 --locale=C --template=template0: an \
             update of the C library can make the indexes of any other wrong",
        ),
    })
}
