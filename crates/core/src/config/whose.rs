//! Whether a config that merely lies in the current folder may be acted on.
//!
//! Whoever runs the program as root in a folder of somebody else would otherwise do what
//! that somebody wrote there. sudo and git have the same rule.

/// Whose a file or a folder is, and who may write to it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Whose {
    /// Its owner.
    pub uid: u32,
    /// Its group.
    pub gid: u32,
    /// Its permission bits, the sticky one included.
    pub mode: u32,
}

/// May write: the group.
const GROUP: u32 = 0o020;
/// May write: everybody.
const OTHERS: u32 = 0o002;
/// In such a folder, nobody moves or removes what is somebody else's.
const STICKY: u32 = 0o1000;

/// Why a config in the current folder is not acted on, if it is not; `me` are the user
/// ids that may own it besides root: who runs the program, and who called sudo.
pub fn distrust(file: Whose, folder: Whose, me: &[u32]) -> Option<String> {
    let mine = |whose: Whose| whose.uid == 0 || me.contains(&whose.uid);
    let writable = |whose: Whose| {
        if whose.mode & OTHERS != 0 {
            Some("everybody")
        } else if whose.mode & GROUP != 0 && whose.gid != 0 {
            Some("its group")
        } else {
            None
        }
    };
    if !mine(file) {
        return Some(format!("it belongs to somebody else (user id {})", file.uid));
    }
    if let Some(who) = writable(file) {
        return Some(format!("{who} can write to it"));
    }
    if !mine(folder) {
        return Some(format!("its folder belongs to somebody else (user id {})", folder.uid));
    }
    match writable(folder) {
        Some(who) if folder.mode & STICKY == 0 => Some(format!("{who} can write to its folder")),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn whose(uid: u32, gid: u32, mode: u32) -> Whose {
        Whose { uid, gid, mode }
    }

    #[test]
    fn what_only_root_and_oneself_can_write_is_trusted() {
        for (file, folder, me) in [
            (whose(0, 0, 0o644), whose(0, 0, 0o755), &[0][..]),
            // In a home folder, under sudo.
            (whose(1000, 1000, 0o644), whose(1000, 1000, 0o755), &[0, 1000]),
            (whose(1000, 1000, 0o600), whose(1000, 1000, 0o700), &[1000]),
            // One's own file in /tmp: nobody else moves it.
            (whose(0, 0, 0o600), whose(0, 0, 0o1777), &[0]),
            (whose(0, 0, 0o664), whose(0, 0, 0o775), &[0]),
        ] {
            assert_eq!(distrust(file, folder, me), None, "{file:?} {folder:?}");
        }
    }

    #[test]
    fn what_others_wrote_or_can_write_is_not() {
        let root = whose(0, 0, 0o755);
        for (file, folder, me, why) in [
            (whose(1000, 1000, 0o644), root, &[0][..], "belongs to somebody else (user id 1000)"),
            (whose(1000, 1000, 0o644), whose(0, 0, 0o1777), &[0], "belongs to somebody else"),
            (whose(0, 0, 0o666), root, &[0], "everybody can write to it"),
            (whose(0, 50, 0o664), root, &[0], "its group can write to it"),
            (whose(0, 0, 0o644), whose(1000, 1000, 0o755), &[0], "folder belongs to somebody else"),
            (whose(0, 0, 0o644), whose(0, 0, 0o777), &[0], "everybody can write to its folder"),
            (whose(0, 0, 0o644), whose(0, 50, 0o775), &[0], "its group can write to its folder"),
            (whose(1001, 1001, 0o644), whose(1000, 1000, 0o755), &[0, 1000], "user id 1001"),
        ] {
            let said = distrust(file, folder, me).unwrap_or_default();
            assert!(said.contains(why), "{file:?} {folder:?}: {said}");
        }
    }
}
