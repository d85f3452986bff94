//! The making of a container, and what is left of one that was cut off.

use std::{fs, io::Read as _, path::Path};

use matrix_podman_core::{
    config::RootPassword,
    effect::{Container, NewContainer},
    layout,
    name::{ContainerId, Mode, Owner, StorageName},
    proxmox::{Act, Answer, Question, ssh_keys_in},
    resource::Claim,
};

use super::{
    QUICK, Sink,
    act::{OrHint as _, call, call_with},
    ask, exists, settings, unexpected,
};
use crate::{
    failure::{Doing, Failure},
    file,
    process::Program,
    progress::Saying,
    secret,
};

const LEFT: &str = "a part of it is there; `matrix-podman up --remove-failed` removes that and begins again";

/// Makes a container, after writing down which one it will be. `typed` is root's password, if somebody
/// was asked for it.
pub fn create(new: &NewContainer, typed: Option<String>, sink: &Sink) -> Result<(), Failure> {
    let root_password = root_password(&new.root_password, typed)?;
    let (id, doing) = (new.container.id, format!("create the container {}", new.container.id));
    let claim_file = layout::container_claim(&new.site);
    let claim_file = Path::new(claim_file.as_str());
    file::make_dir(Path::new(layout::machine_state(&new.site).as_str()), Mode(0o700), Owner::ROOT)?;
    // What an earlier container of the site's waited for is nothing to this one.
    file::remove(Path::new(layout::container_restart(&new.site).as_str()))?;
    let storages = storages(&new.options);
    let volumes = volumes(&new.container, &storages)?;
    let claim = Claim { container: new.container.clone(), made: false, storages, volumes };
    write(claim_file, &claim)?;
    sink(Saying::WaitsFor("Proxmox to unpack the template".to_owned()));
    let keys = layout::container_keys(&new.site);
    let options = with_keys(new, keys.as_str())?;
    let twice = root_password.map(|password| format!("{password}\n{password}\n"));
    let act = Act::Create { id, template: new.template.clone(), options, password: twice.is_some() };
    let said = call_with(&act, &doing, twice.as_deref(), sink);
    file::remove(Path::new(keys.as_str()))?;
    if !exists(id)? {
        // What Proxmox could not remove itself goes, and then nothing is claimed.
        sweep(&claim, &doing, sink)?;
        file::remove(claim_file)?;
        return Err(match said {
            Err(failure) => failure,
            Ok(said) => said.nothing_came(&doing, "Proxmox took it, and there is no container"),
        });
    }
    let settings = settings(&new.container)?;
    let whole = settings.site() == Some(new.site.as_str()) && settings.lock().is_none();
    // Its settings are there before password, keys and pool are: only a creation that
    // ended is believed.
    if whole && (said.is_ok() || ended_well(new)?) {
        return write(claim_file, &Claim { made: true, ..claim });
    }
    Err(match said {
        Err(failure) => failure,
        Ok(said) => said.nothing_came(&doing, "Proxmox took it, and the container is not whole"),
    }
    .or_hint(LEFT))
}

fn root_password(from: &RootPassword, typed: Option<String>) -> Result<Option<String>, Failure> {
    match from {
        RootPassword::Locked => Ok(None),
        RootPassword::File(path) => password_from(path.as_str()).map(Some),
        RootPassword::Ask if typed.is_some() => Ok(typed),
        RootPassword::Ask => {
            let why = Failure::new("create the container", "root's password was not asked for");
            Err(why.hint("run `matrix-podman up` on a terminal, or name a file with proxmox.root_password"))
        }
    }
}

fn write(claim_file: &Path, claim: &Claim) -> Result<(), Failure> {
    file::write(claim_file, claim.render().as_bytes(), Mode(0o600), Owner::ROOT)
}

/// Whether the task that made the container ended well, and what comes last is there.
fn ended_well(new: &NewContainer) -> Result<bool, Failure> {
    let Container { id, node } = new.container.clone();
    let well = match ask(Question::Creation { node, id })? {
        Answer::Ended(how) => how.is_some_and(|how| how == "OK" || how.starts_with("WARNINGS")),
        other => return Err(unexpected(&other)),
    };
    let pool = new.options.iter().find(|(key, _)| key == "pool").map(|(_, pool)| pool);
    let pooled = match ask(Question::Guests)? {
        Answer::Guests(guests) => {
            guests.iter().any(|guest| guest.id == id && (pool.is_none() || guest.pool.as_ref() == pool))
        }
        other => return Err(unexpected(&other)),
    };
    Ok(well && pooled)
}

/// The options, with the keys from a file of our own that holds nothing else: Proxmox
/// takes a comment for a key that is wrong.
fn with_keys(new: &NewContainer, file: &str) -> Result<Vec<(String, String)>, Failure> {
    let mut options = new.options.clone();
    if let Some((_, from)) = options.iter_mut().find(|(key, _)| key == "ssh-public-keys") {
        let doing = format!("read ssh keys from {from}");
        let text = fs::read_to_string(&*from).doing(|| doing.clone())?;
        let keys = ssh_keys_in(&text);
        if keys.is_empty() {
            return Err(Failure::new(doing, "there is none in it").hint("write proxmox.ssh_keys anew"));
        }
        let text = keys.join("\n") + "\n";
        file::write(Path::new(file), text.as_bytes(), Mode(0o600), Owner::ROOT)?;
        *from = file.to_owned();
    }
    Ok(options)
}

/// The storages that the disks of a new container come to be on.
fn storages(options: &[(String, String)]) -> Vec<StorageName> {
    let disks = options.iter().filter(|(key, _)| key == "rootfs" || key == "mp0");
    let named = disks.filter_map(|(_, value)| StorageName::parse(value.split(':').next()?).ok());
    let mut all: Vec<StorageName> = named.collect();
    all.sort();
    all.dedup();
    all
}

/// The volumes of a container's number that are on those storages.
fn volumes(container: &Container, storages: &[StorageName]) -> Result<Vec<String>, Failure> {
    let mut all = Vec::new();
    for storage in storages {
        let (node, id) = (container.node.clone(), container.id);
        match ask(Question::Volumes { node, storage: storage.clone(), id })? {
            Answer::Names(volumes) => all.extend(volumes),
            other => return Err(unexpected(&other)),
        }
    }
    Ok(all)
}

/// Removes the volumes that a creation which was cut off has left: those that were not
/// there before it. Nothing is done while the number is a guest's.
pub fn sweep(claim: &Claim, doing: &str, sink: &Sink) -> Result<(), Failure> {
    let container = &claim.container;
    if claim.storages.is_empty() || exists(container.id)? {
        return Ok(());
    }
    let left = || -> Result<Vec<String>, Failure> {
        let mut now = volumes(container, &claim.storages)?;
        now.retain(|volume| !claim.volumes.contains(volume));
        Ok(now)
    };
    let remains = left()?;
    if remains.is_empty() {
        return Ok(());
    }
    unmount(container.id)?;
    let mut said = Vec::new();
    for volume in remains {
        said.push(call(&Act::FreeVolume { volume }, doing, sink));
    }
    let still = left()?;
    if still.is_empty() {
        return Ok(());
    }
    let why = format!("what Proxmox left of it is still there: {}", still.join(", "));
    let hint = format!("nothing uses it; `pvesm free {}` removes it", still.join("`, `pvesm free "));
    let failure = said.into_iter().find_map(Result::err);
    let evidence = failure.map(|failure| failure.evidence).unwrap_or_default();
    Err(Failure::new(doing, why).evidence(evidence).hint(hint))
}

/// Unmounts what a creation that was killed has left mounted.
pub(super) fn unmount(id: ContainerId) -> Result<(), Failure> {
    let root = format!("/var/lib/lxc/{id}/rootfs");
    let doing = format!("unmount {root}");
    let mounts = fs::read_to_string("/proc/self/mounts").doing(|| doing.clone())?;
    if mounts.lines().any(|line| line.split(' ').nth(1) == Some(root.as_str())) {
        Program::new(["umount", "--recursive", "--", &root]).deadline(QUICK).run(&doing, &|_| {})?;
    }
    Ok(())
}

/// Root's password from the first line of a file.
pub fn password_from(path: &str) -> Result<String, Failure> {
    let doing = || format!("read root's password from {path}");
    let mut text = String::new();
    secret::given(Path::new(path), "root's password")?.read_to_string(&mut text).doing(doing)?;
    let password = text.lines().next().unwrap_or_default().to_owned();
    if password.chars().count() < 5 {
        return Err(Failure::new(doing(), "Proxmox takes no password of less than 5 characters"));
    }
    Ok(password)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_storages_of_a_new_container() {
        let options =
            [("rootfs", "tank:16"), ("net0", "name=eth0"), ("mp0", "tank:6,mp=/opt/matrix,backup=1")];
        let options = options.map(|(key, value)| (key.to_owned(), value.to_owned()));
        assert_eq!(storages(&options), [StorageName::parse("tank").unwrap()]);
    }
}
