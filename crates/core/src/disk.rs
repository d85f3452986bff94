//! A full disk: how those say it who meet one, and when there is too little room.
//! This is the one place that knows.

pub use crate::frame::says_full;
use crate::{fact::Room, layout, name::AbsPath, size::Bytes, stack};

/// Below this, services fail to write.
const FULL: u64 = 256 << 20;
/// So many more files must be possible.
const FILES: u64 = 1000;

/// Whether there is too little room to write. A small file system of its own is full
/// when a tenth of that is left.
pub fn is_full(room: Room) -> bool {
    room.free < FULL.min(room.total / 10) || lacks_files(room)
}

/// Whether it is names of files that there is no room for.
pub fn lacks_files(room: Room) -> bool {
    room.files_free.is_some_and(|files| files < FILES)
}

/// How much is left, for people.
pub fn left(room: Room) -> String {
    match room.files_free {
        Some(files) if lacks_files(room) => format!("{files} more files can be made there"),
        _ => format!("{} of {} are free there", Bytes(room.free).rounded(), Bytes(room.total).rounded()),
    }
}

/// The places in the guest that something is written to, and that may be file
/// systems of their own.
pub fn places_in_guest() -> Vec<AbsPath> {
    let data = stack::ALL.into_iter().flat_map(|room| room.folders()).map(|folder| folder.path);
    let more = ["/var/lib/containers", "/var/log", "/usr"].map(AbsPath::known);
    [AbsPath::known(layout::ROOT)].into_iter().chain(data).chain(more).collect()
}

/// The same on the machine.
pub fn places_on_machine() -> Vec<AbsPath> {
    ["/var/lib/lxc", "/var/cache/matrix-podman", layout::STATE, "/var/tmp", "/tmp", "/usr"]
        .map(AbsPath::known)
        .to_vec()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_full_disk_is_known_by_what_everybody_says_of_it() {
        for line in [
            "cp: error writing 'a': No space left on device",
            "write /var/lib/containers/storage/tmp/x: no space left on device",
            "could not write /opt/matrix/x: No space left on device (os error 28)",
            "OSError: [Errno 28] No space left on device: '/data/media_store/x'",
            "Error: beginning transaction: database or disk is full",
            "sqlite3.OperationalError: database or disk is full",
            "ERROR:  could not extend file \"base/16384/16502\": wrote only 4096 of 8192 bytes at block 3",
            "HINT:  Check free disk space.",
            "PANIC:  could not write to file \"pg_wal/xlogtemp.29\": No space left on device",
            "E: You don't have enough free space in /var/cache/apt/archives/.",
            "dpkg-deb: error: failed to write (No space left on device)",
            "write /data/packs/ab: disk quota exceeded",
            "lvcreate: Insufficient free space: 100 extents needed, but only 3 available",
            "507 Insufficient Storage",
        ] {
            assert!(says_full(line), "{line}");
        }
        for line in
            ["the archive is damaged", "no such file or directory", "could not extend the deadline", ""]
        {
            assert!(!says_full(line), "{line}");
        }
    }

    #[test]
    fn places_are_paths_that_can_be_sent() {
        for place in places_in_guest().into_iter().chain(places_on_machine()) {
            let sent = serde_json::to_string(&place).unwrap();
            assert_eq!(serde_json::from_str::<AbsPath>(&sent).unwrap(), place);
        }
    }

    #[test]
    fn what_little_room_is_depends_on_the_disk() {
        let room =
            |free: u64, total: u64, files_free| Room { free: free << 20, total: total << 20, files_free };
        assert!(is_full(room(200, 8000, None)));
        assert!(!is_full(room(200, 1000, None)), "a fifth of a small disk");
        assert!(is_full(room(60, 1000, None)));
        assert!(is_full(room(5000, 8000, Some(12))));
        assert_eq!(left(room(5000, 8000, Some(12))), "12 more files can be made there");
        assert_eq!(left(room(60, 2048, Some(9000))), "60 MiB of 2.0 GiB are free there");
    }
}
