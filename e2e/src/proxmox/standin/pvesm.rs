//! `pvesm path` and `pvesm free`.

use super::{Arguments, Outcome, lxc};
use crate::proxmox::state::Folder;

pub(super) fn run(folder: &Folder, words: &[String]) -> Outcome {
    let [verb, rest @ ..] = words else { return Err("ERROR: no command specified".to_owned()) };
    let arguments = Arguments::read(rest, &[])?;
    let [volume] = arguments.words.as_slice() else { return Err("400 not enough arguments".to_owned()) };
    let id = lxc::id_of(volume).ok_or(format!("unable to parse volume ID '{volume}'"))?;
    match verb.as_str() {
        "path" => {
            let name = folder.state(|state| state.lxc(id));
            println!("{}", lxc::image_of(&name, volume).display());
            Ok(0)
        }
        "free" => folder.state(|state| {
            let at = state.volumes.iter().position(|known| known == volume);
            let at = at.ok_or(format!("volume '{volume}' does not exist"))?;
            if lxc::is_left_mounted(id) {
                return Err(format!("lvremove '{volume}' error: logical volume is in use"));
            }
            state.volumes.remove(at);
            println!("Removed volume '{volume}'");
            Ok(0)
        }),
        other => Err(format!("ERROR: unknown command 'pvesm {other}'")),
    }
}
