//! `user`: people with an account.

use std::{
    fs,
    io::{BufRead as _, stdin},
    path::Path,
};

use matrix_podman_host::{failure::Failure, guest::wire::NewUser};
use serde_json::json;

use crate::{
    args::{User, UserAdd},
    error::Error,
    output::{self, GREEN, styled},
};

/// Shorter passwords are refused here; Synapse would take any.
const MIN_PASSWORD: usize = 8;
/// Synapse's own limit.
const MAX_PASSWORD: usize = 512;

pub fn run(config: Option<&Path>, user: &User) -> Result<u8, Error> {
    match user {
        User::Add(add) => run_add(config, add),
    }
}

fn run_add(config: Option<&Path>, add: &UserAdd) -> Result<u8, Error> {
    let (world, _) = super::world(config)?;
    let password = password(add)?;
    let user = NewUser {
        localpart: add.name.clone(),
        password,
        admin: add.admin,
        display_name: add.display_name.clone(),
    };
    world.add_user(&user)?;
    let id = world.site().config.user_id(add.name.as_str());
    if add.output.json {
        output::data(&json!({"user_id": id, "admin": add.admin}).to_string());
    } else {
        let role = if add.admin { "an administrator" } else { "a user" };
        output::say(&format!("{} {id} is {role} now and can log in.", styled(GREEN, "✓")));
    }
    super::OK
}

/// The password: from a file, from standard input, or asked twice.
fn password(add: &UserAdd) -> Result<String, Error> {
    let password = match &add.password_file {
        Some(file) if file != Path::new("-") => {
            let text = fs::read_to_string(file).map_err(|e| {
                Error::usage(format!("cannot read {}: {e}", file.display()), "name another file")
            })?;
            text.lines().next().unwrap_or_default().to_owned()
        }
        None if output::can_ask() => {
            let failed = |e: std::io::Error| Failure::new("read the password", e);
            let first = rpassword::prompt_password("Password: ").map_err(failed)?;
            let second = rpassword::prompt_password("Once more: ").map_err(failed)?;
            if first != second {
                return Err(Error::usage("the two passwords differ", "try again; nothing was changed"));
            }
            first
        }
        _ => {
            let mut line = String::new();
            stdin().lock().read_line(&mut line).map_err(|e| Failure::new("read the password", e))?;
            line.trim_end_matches(['\n', '\r']).to_owned()
        }
    };
    let length = password.chars().count();
    if length < MIN_PASSWORD {
        return Err(Error::usage(
            format!("the password has {length} characters"),
            format!("choose one with at least {MIN_PASSWORD}; nothing was changed"),
        ));
    }
    if password.len() > MAX_PASSWORD || password.contains('\0') {
        return Err(Error::usage(
            "Synapse does not take this password",
            format!("choose one of at most {MAX_PASSWORD} characters, without zero bytes"),
        ));
    }
    Ok(password)
}
