//! `pveam`.

use super::{Arguments, Outcome};
use crate::proxmox::state::Folder;

pub(super) fn run(folder: &Folder, words: &[String]) -> Outcome {
    let [verb, rest @ ..] = words else { return Err("ERROR: no command specified".to_owned()) };
    match verb.as_str() {
        "update" => {
            folder.state(|state| state.offered.extend(std::mem::take(&mut state.offered_after_update)));
            println!("update successful");
            Ok(0)
        }
        "available" => {
            let arguments = Arguments::read(rest, &["section"])?;
            if arguments.get("section").is_none_or(|section| section == "system") {
                folder.state(|state| {
                    for file in &state.offered {
                        println!("{:<15} {file:<60}", "system");
                    }
                });
            }
            Ok(0)
        }
        "list" => {
            let arguments = Arguments::read(rest, &[])?;
            let storage = arguments.words.first().cloned().unwrap_or_default();
            folder.state(|state| {
                if !state.storages.iter().any(|s| s.name == storage) {
                    return Err(format!("storage '{storage}' does not exist"));
                }
                println!("{:<60} {:<6}", "NAME", "SIZE");
                for volume in state.templates.iter().filter(|v| v.starts_with(&format!("{storage}:"))) {
                    println!("{volume:<60} 123.81MB");
                }
                Ok(0)
            })
        }
        "download" => {
            let arguments = Arguments::read(rest, &[])?;
            let [storage, file] = arguments.words.as_slice() else {
                return Err("400 not enough arguments".to_owned());
            };
            // Whatever becomes of it, it ends with 0.
            folder.state(|state| {
                let offered = state.offered.contains(file);
                let volume = format!("{storage}:vztmpl/{file}");
                if !offered {
                    return Err(format!("template '{file}' does not exist"));
                }
                println!("downloading http://download.proxmox.com/images/system/{file} to {volume}");
                println!("--2026-01-01 00:00:00--  http://download.proxmox.com/images/system/{file}");
                println!("calculating checksum...OK, checksum verified");
                println!("download of '{file}' finished");
                if !state.templates.contains(&volume) {
                    state.templates.push(volume);
                }
                Ok(0)
            })
        }
        other => Err(format!("ERROR: unknown command 'pveam {other}'")),
    }
}
