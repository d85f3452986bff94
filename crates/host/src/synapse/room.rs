//! What the program's own account says in a room.

use matrix_podman_core::people::Message;
use serde_json::{Value as Json, json};

use super::{
    Method, Response, segment,
    service::{Admin, random},
};
use crate::failure::Failure;

/// Says `message`. The account enters the room first where it may.
pub(super) fn say(admin: Admin, message: &Message) -> Result<(), Failure> {
    let doing = format!("write to the room {}", message.room);
    let admin = admin.renewed()?;
    // Being forbidden something in a room is no reason for another account.
    let ask = |method, path: &str, body: Option<&Json>| admin.try_send(method, path, body, &doing);
    let room = match message.room.starts_with('#') {
        false => message.room.clone(),
        true => {
            let path = format!("/_matrix/client/v3/directory/room/{}", segment(&message.room));
            let answer = ask(Method::Get, &path, None)?;
            match answer.body.get("room_id").and_then(Json::as_str) {
                Some(id) if answer.ok() => id.to_owned(),
                _ if answer.status == 404 => {
                    return Err(Failure::new(&doing, "there is no room with this address")
                        .hint("notify.room in matrix.toml names it; a client shows a room's addresses in its settings"));
                }
                _ => return Err(answer.failure(&doing)),
            }
        }
    };
    let rooms = format!("/_matrix/client/v3/rooms/{}", segment(&room));
    // The same number for both tries: said twice, it is there once.
    let send = format!("{rooms}/send/m.room.message/{}", random()?);
    let kind = if message.loud { "m.text" } else { "m.notice" };
    let body = json!({"msgtype": kind, "body": message.text});
    let first = ask(Method::Put, &send, Some(&body))?;
    if first.ok() {
        return Ok(());
    }
    if first.status != 403 && first.status != 404 {
        return Err(first.failure(&doing));
    }
    let joined = ask(Method::Post, &format!("{rooms}/join"), None)?;
    if !joined.ok() {
        return Err(outside(&admin, &doing, &joined)?);
    }
    let second = ask(Method::Put, &send, Some(&body))?;
    if second.ok() {
        Ok(())
    } else {
        Err(second.failure(&doing).hint("the room's settings say who may write there"))
    }
}

/// The failure of an account that is not let into a room.
fn outside(admin: &Admin, doing: &str, answer: &Response) -> Result<Failure, Failure> {
    let own = admin.own_account()?.unwrap_or_else(|| "the program's own account".to_owned());
    Ok(match answer.status {
        403 | 404 => Failure::new(doing, format!("{own} is not in it and may not enter"))
            .hint(format!("invite {own} to the room, then `matrix-podman notify test`")),
        _ => answer.failure(doing),
    })
}
