//! Whose work the state of a site is, on the side that this runs on.

use std::{fs, io, path::Path};

use matrix_podman_core::{
    name::{Mode, Owner},
    state::{self, WrittenBy},
};

use crate::{
    failure::{Doing, Failure},
    file,
};

/// The version of this program.
pub const VERSION: &str = env!("CARGO_PKG_VERSION");

/// Who worked on `site` last; a failure where that was a program whose state this one does
/// not understand. Nobody is known where nobody did, or where only root can look.
pub fn written_by(site: &str) -> Result<Option<WrittenBy>, Failure> {
    written_in(Path::new(state::file(site).as_str()))
}

fn written_in(path: &Path) -> Result<Option<WrittenBy>, Failure> {
    let doing = || "read what matrix-podman keeps of this server".to_owned();
    let text = match fs::read_to_string(path) {
        Ok(text) => text,
        Err(e) if matches!(e.kind(), io::ErrorKind::NotFound | io::ErrorKind::PermissionDenied) => {
            return Ok(None);
        }
        Err(e) => return Err(e).doing(|| format!("read {}", path.display())),
    };
    WrittenBy::parse(&text).map(Some).map_err(|why| {
        let failure = Failure::new(doing(), format!("{}: {why}", path.display()));
        let hint =
            why.hint().unwrap_or("if no newer matrix-podman ever worked on this server, remove that file");
        failure.hint(hint)
    })
}

/// Notes that this program works on `site` from now on; what to tell about that, when another
/// version did before. The run lock is held.
pub fn take_over(site: &str) -> Result<Option<String>, Failure> {
    take_over_in(Path::new(state::file(site).as_str()), VERSION)
}

pub(crate) fn take_over_in(path: &Path, program: &str) -> Result<Option<String>, Failure> {
    let (now, before) = (WrittenBy::this(program), written_in(path)?);
    if before.as_ref() != Some(&now) {
        let text = now.render().doing(|| format!("write {}", path.display()))?;
        let me = Owner { uid: rustix::process::geteuid().as_raw(), gid: rustix::process::getegid().as_raw() };
        file::write(path, text.as_bytes(), Mode(0o600), me)?;
    }
    Ok(before.and_then(|before| before.handover(program)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn another_version_is_told_of_once_and_a_newer_format_is_left_as_it_is() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("written-by.json");
        assert_eq!(take_over_in(&path, "0.1.0").unwrap(), None, "nobody was here before");
        assert_eq!(take_over_in(&path, "0.1.0").unwrap(), None);
        assert!(take_over_in(&path, "0.2.0").unwrap().unwrap().contains("0.1.0"));
        assert_eq!(take_over_in(&path, "0.2.0").unwrap(), None);

        let newer = format!("{{\"format\":{},\"program\":\"9.0.0\"}}", state::FORMAT + 1);
        fs::write(&path, &newer).unwrap();
        let refused = take_over_in(&path, "0.2.0").unwrap_err();
        assert!(refused.why.contains("newer matrix-podman") && refused.hint.is_some(), "{refused:?}");
        assert_eq!(fs::read_to_string(&path).unwrap(), newer);
        // What a power cut emptied is no newer program's.
        fs::write(&path, "").unwrap();
        assert!(written_in(&path).unwrap_err().hint.unwrap().contains("remove that file"));
    }
}
