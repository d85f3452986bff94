//! Locks of a container: what is being done to it, or was when it was cut off.

use crate::name::ContainerId;

/// Kinds of tasks that are only somebody who looks: an open console changes nothing.
const CONSOLES: [&str; 5] = ["vncproxy", "termproxy", "spiceproxy", "vncshell", "spiceshell"];

/// Those of the kinds of tasks that do something to a container.
pub fn at_work(kinds: &[String]) -> Vec<&str> {
    kinds.iter().map(String::as_str).filter(|kind| !CONSOLES.contains(kind)).collect()
}

/// What a Proxmox lock means.
pub fn lock_reason(lock: &str) -> String {
    match lock {
        "backup" => "a backup of it is being made (backup)".to_owned(),
        "create" => "it is being made (create)".to_owned(),
        "destroyed" => "it is being removed (destroyed)".to_owned(),
        "disk" => "something is done to its disk (disk)".to_owned(),
        "fstrim" => "its disk is being trimmed (fstrim)".to_owned(),
        "migrate" => "it is moving to another node (migrate)".to_owned(),
        "mounted" => "somebody has mounted its disk with `pct mount` (mounted)".to_owned(),
        "rollback" => "it is being set back to a snapshot (rollback)".to_owned(),
        "snapshot" | "snapshot-delete" => format!("a snapshot is being made or removed ({lock})"),
        other => format!("Proxmox says {other:?}"),
    }
}

/// What a lock means that is there while nothing is at work.
pub fn left_lock_reason(lock: &str) -> String {
    match lock {
        "backup" => "a backup of it was cut off (backup)".to_owned(),
        "create" => "its creation was cut off (create)".to_owned(),
        "destroyed" => "its removal was cut off (destroyed)".to_owned(),
        "migrate" => "its move to another node was cut off (migrate)".to_owned(),
        "rollback" => "going back to a snapshot was cut off (rollback)".to_owned(),
        "snapshot" | "snapshot-delete" => {
            format!("the making or removal of a snapshot was cut off ({lock})")
        }
        // Of these, the lock itself says it.
        other => lock_reason(other),
    }
}

/// What to type about a lock that is there while nothing is at work. `part` is a
/// snapshot that is not whole and that the program did not make.
pub fn way_out(id: ContainerId, lock: &str, part: Option<&str>) -> String {
    match (lock, part) {
        ("create", _) => "`matrix-podman up --remove-failed` removes the part that is there".to_owned(),
        ("rollback", _) => format!(
            "its disks may be half of now and half of then: `pct unlock {id}`, then `matrix-podman guest rollback NAME` \
             with the same snapshot again (`matrix-podman guest snapshots` lists them)"
        ),
        ("snapshot" | "snapshot-delete", Some(part)) => {
            format!(
                "`pct unlock {id}`, then `pct delsnapshot {id} {part} --force 1` removes the part that is there"
            )
        }
        ("backup", _) => format!(
            "`pct unlock {id}`; where `pct listsnapshot {id}` names vzdump, `pct delsnapshot {id} vzdump --force 1` \
             removes that"
        ),
        ("mounted", _) => format!("`pct unmount {id}`"),
        _ => format!("`pct unlock {id}`"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_open_console_does_nothing_to_a_container() {
        let kinds = ["vncproxy", "vzdump", "termproxy"].map(str::to_owned);
        assert_eq!(at_work(&kinds), ["vzdump"]);
        assert!(at_work(&kinds[..1]).is_empty());
    }

    #[test]
    fn each_lock_that_is_left_has_a_way_out() {
        let out = |lock: &str| way_out(ContainerId(100), lock, None);
        assert!(out("create").contains("up --remove-failed"));
        assert!(
            out("rollback").contains("pct unlock 100") && out("rollback").contains("guest rollback NAME")
        );
        assert!(out("backup").contains("pct delsnapshot 100 vzdump"));
        assert_eq!(out("snapshot"), "`pct unlock 100`");
        assert_eq!(out("fstrim"), "`pct unlock 100`");
        let part = way_out(ContainerId(100), "snapshot", Some("bob"));
        assert!(part.contains("pct delsnapshot 100 bob --force 1"), "{part}");
        for lock in ["backup", "create", "destroyed", "migrate", "rollback", "snapshot"] {
            assert!(left_lock_reason(lock).contains("cut off"), "{lock}");
        }
    }
}
