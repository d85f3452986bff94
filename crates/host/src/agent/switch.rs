//! One server's data in the place of another's, in the guest.
//!
//! Both lie on one disk, and the place may be that disk itself (a volume that
//! Proxmox mounts there), which nothing can be renamed over. So everything in it
//! changes its place one by one, and a marker says how far that is: cut off, it
//! is gone on with, and until it is done Synapse does not start ([`layout::HOLD`]).
//! Nothing is deleted: what stood there before gets a folder of its own.

use std::{
    fs::{self, DirEntry},
    io,
    path::{Path, PathBuf},
};

use matrix_podman_core::{
    layout,
    name::{Mode, Owner},
};

use crate::{
    apply,
    failure::{Doing, Failure},
    file,
    guest::calls::{Incoming, Switch},
};

/// Begins names that only the program uses, which are never data of a server.
const OWN: &str = ".matrix-podman-";

/// Does it, or goes on with the one that was cut off.
pub(super) fn carry_out(wanted: &Switch) -> Result<(), Failure> {
    in_place(Path::new(layout::ROOT), wanted, &apply::stop_all)
}

fn in_place(root: &Path, wanted: &Switch, stop: &dyn Fn() -> Result<(), Failure>) -> Result<(), Failure> {
    let doing = || format!("give what comes its place in {}", root.display());
    let below = |path: &str| root.join(path.trim_start_matches(layout::ROOT).trim_start_matches('/'));
    let marker = below(layout::SWITCH);
    let mut switch = match fs::read(&marker) {
        Ok(text) => serde_json::from_slice(&text).doing(doing)?,
        Err(e) if e.kind() == io::ErrorKind::NotFound => wanted.clone(),
        Err(e) => return Err(e).doing(doing),
    };
    let from = match &switch.incoming {
        Incoming::Restored => below(layout::RESTORING),
        Incoming::SetAside(name) => below(layout::SET_ASIDE).join(named(name)?),
    };
    let aside = below(layout::SET_ASIDE).join(named(&switch.aside)?);
    if !marker.exists() {
        if !from.is_dir() {
            return Err(Failure::new(doing(), format!("there is no {}", from.display())));
        }
        let server = ["matrix.lock", "postgresdata"].iter().any(|name| root.join(name).exists());
        if server && !switch.replace {
            return Err(Failure::new(doing(), "there is a server already")
                .hint("`matrix-podman backup restore` sets it aside, after asking"));
        }
        file::write(&below(layout::HOLD), b"a restore\n", Mode(0o600), Owner::ROOT)?;
        note(&marker, &switch)?;
    }
    // Always: the guest may have been started anew since it was cut off.
    stop()?;
    if !switch.inwards {
        for entry in data(root)? {
            file::make_dir(&below(layout::SET_ASIDE), Mode(0o700), Owner::ROOT)?;
            file::make_dir(&aside, Mode(0o700), Owner::ROOT)?;
            fs::rename(entry.path(), aside.join(entry.file_name())).doing(doing)?;
        }
        switch.inwards = true;
        if aside.exists() {
            file::sync_folder(&aside).doing(doing)?;
        }
        file::sync_folder(root).doing(doing)?;
        note(&marker, &switch)?;
    }
    match fs::read_dir(&from) {
        Ok(entries) => {
            for entry in entries {
                let entry = entry.doing(doing)?;
                fs::rename(entry.path(), root.join(entry.file_name())).doing(doing)?;
            }
            file::sync_folder(root).doing(doing)?;
            fs::remove_dir(&from).doing(doing)?;
        }
        // Cut off just behind the end.
        Err(e) if e.kind() == io::ErrorKind::NotFound => {}
        Err(e) => return Err(e).doing(doing),
    }
    file::remove(&marker)?;
    file::sync_folder(root).doing(doing)
}

/// A name of what is set aside, which is no way out of its folder.
fn named(name: &str) -> Result<PathBuf, Failure> {
    let sound = !name.is_empty() && name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-');
    if sound {
        Ok(PathBuf::from(name))
    } else {
        Err(Failure::new("set data aside", format!("{name:?} is no name for them")))
    }
}

fn note(marker: &Path, switch: &Switch) -> Result<(), Failure> {
    let text = serde_json::to_vec(switch).doing(|| "note how far the switch is")?;
    file::write(marker, &text, Mode(0o600), Owner::ROOT)
}

/// What is a server's in the place.
fn data(root: &Path) -> Result<Vec<DirEntry>, Failure> {
    let doing = || format!("look into {}", root.display());
    let set_aside = Path::new(layout::SET_ASIDE).file_name().unwrap_or_default();
    let mut all = Vec::new();
    for entry in fs::read_dir(root).doing(doing)? {
        let entry = entry.doing(doing)?;
        let name = entry.file_name();
        if name != set_aside && name != "lost+found" && !name.to_string_lossy().starts_with(OWN) {
            all.push(entry);
        }
    }
    Ok(all)
}

/// The names of what is set aside in the guest, oldest first.
pub(super) fn set_aside() -> Result<Vec<String>, Failure> {
    let mut names = Vec::new();
    match fs::read_dir(layout::SET_ASIDE) {
        Ok(entries) => {
            for entry in entries {
                let entry = entry.doing(|| "list what is set aside")?;
                names.push(entry.file_name().to_string_lossy().into_owned());
            }
        }
        Err(e) if e.kind() == io::ErrorKind::NotFound => {}
        Err(e) => return Err(e).doing(|| format!("list {}", layout::SET_ASIDE)),
    }
    names.sort();
    Ok(names)
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use super::*;

    const OLD: [&str; 3] = ["matrix.lock", "postgresdata/PG_VERSION", "secrets/signing.key"];

    fn put(root: &Path, folder: &str, who: &str) {
        for path in OLD {
            let path = root.join(folder).join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, who).unwrap();
        }
    }

    fn has(root: &Path, folder: &str) -> Option<String> {
        let texts: Vec<_> = OLD.iter().map(|path| fs::read_to_string(root.join(folder).join(path))).collect();
        let first = texts.first()?.as_ref().ok()?.clone();
        texts.iter().all(|text| text.as_ref().is_ok_and(|text| *text == first)).then_some(first)
    }

    fn switch(incoming: Incoming, replace: bool) -> Switch {
        Switch { incoming, aside: "20260102T030405Z".to_owned(), replace, inwards: false }
    }

    #[test]
    fn what_was_there_is_set_aside_and_comes_back() {
        let folder = tempfile::tempdir().unwrap();
        let root = folder.path();
        put(root, ".", "old");
        put(root, ".matrix-podman-restoring", "new");
        let stopped = Cell::new(0);
        let stop = || {
            stopped.set(stopped.get() + 1);
            Ok(())
        };
        let refused = in_place(root, &switch(Incoming::Restored, false), &stop).unwrap_err();
        assert!(refused.to_string().contains("a server already"), "{refused}");
        assert_eq!((has(root, ".").as_deref(), stopped.get()), (Some("old"), 0));
        in_place(root, &switch(Incoming::Restored, true), &stop).unwrap();
        assert_eq!(has(root, ".").as_deref(), Some("new"));
        assert_eq!(has(root, "set-aside/20260102T030405Z").as_deref(), Some("old"));
        assert!(root.join(".matrix-podman-hold").exists());
        assert!(!root.join(".matrix-podman-switch").exists());
        let mut back = switch(Incoming::SetAside("20260102T030405Z".to_owned()), true);
        back.aside = "20260203T040506Z".to_owned();
        in_place(root, &back, &stop).unwrap();
        assert_eq!(has(root, ".").as_deref(), Some("old"));
        assert_eq!(has(root, "set-aside/20260203T040506Z").as_deref(), Some("new"));
        assert!(!root.join("set-aside/20260102T030405Z").exists());
    }

    #[test]
    fn cut_off_anywhere_it_is_gone_on_with_and_nothing_is_lost() {
        // Every state that a cut can leave: so many of the old and of the new moved.
        for (out, inside) in [(0, 0), (1, 0), (2, 0), (3, 0), (3, 1), (3, 2), (3, 3)] {
            let folder = tempfile::tempdir().unwrap();
            let root = folder.path();
            put(root, ".", "old");
            put(root, ".matrix-podman-restoring", "new");
            let mut half = switch(Incoming::Restored, true);
            half.inwards = inside > 0;
            let aside = root.join("set-aside/20260102T030405Z");
            fs::create_dir_all(&aside).unwrap();
            let names = ["matrix.lock", "postgresdata", "secrets"];
            for name in &names[..out] {
                fs::rename(root.join(name), aside.join(name)).unwrap();
            }
            for name in &names[..inside] {
                fs::rename(root.join(".matrix-podman-restoring").join(name), root.join(name)).unwrap();
            }
            note(&root.join(".matrix-podman-switch"), &half).unwrap();
            // Another one may be asked for meanwhile; that which has begun is finished.
            let other = Switch { aside: "other".to_owned(), ..switch(Incoming::Restored, false) };
            in_place(root, &other, &|| Ok(())).unwrap();
            assert_eq!(has(root, ".").as_deref(), Some("new"), "{out} {inside}");
            assert_eq!(has(root, "set-aside/20260102T030405Z").as_deref(), Some("old"), "{out} {inside}");
        }
    }

    #[test]
    fn no_name_leads_out_of_the_folder() {
        for name in ["", "..", "a/b", "/etc", "."] {
            assert!(named(name).is_err(), "{name}");
        }
        assert!(named("20260102T030405Z").is_ok());
    }
}
