//! `[backup]`.

use super::{Fixed, Follows, Key};
use crate::{backup::Keep, config::types::Int, name::AbsPath};

/// How many snapshots of a kind may be kept.
pub(in crate::config) type Kept = Int<0, 1000>;

super::keys! {
    REPOSITORY: Key<AbsPath, Follows> = Key {
        path: "backup.repository",
        fallback: Follows("no backups"),
        of: |c| c.backup.repository.clone(),
        example: r#""/mnt/disk2/matrix-backup""#,
        doc: "The folder on the machine that backups are written to. Put it on another disk than the guest's. The guest \
              cannot reach it, so whoever breaks into the guest cannot destroy the backups.",
        init: false,
    };
    KEEP_DAILY: Key<Kept> = Key {
        path: "backup.keep_daily",
        fallback: Fixed(|| Int(Keep::default().daily)),
        of: |c| Some(Int(c.backup.keep.daily)),
        example: "14",
        doc: "For how many days the last snapshot of the day is kept. `backup prune` removes the others; the newest is \
              always kept.",
        init: false,
    };
    KEEP_WEEKLY: Key<Kept> = Key {
        path: "backup.keep_weekly",
        fallback: Fixed(|| Int(Keep::default().weekly)),
        of: |c| Some(Int(c.backup.keep.weekly)),
        example: "8",
        doc: "For how many weeks the last snapshot of the week is kept.",
        init: false,
    };
    KEEP_MONTHLY: Key<Kept> = Key {
        path: "backup.keep_monthly",
        fallback: Fixed(|| Int(Keep::default().monthly)),
        of: |c| Some(Int(c.backup.keep.monthly)),
        example: "24",
        doc: "For how many months the last snapshot of the month is kept.",
        init: false,
    };
    KEEP_YEARLY: Key<Kept> = Key {
        path: "backup.keep_yearly",
        fallback: Fixed(|| Int(Keep::default().yearly)),
        of: |c| Some(Int(c.backup.keep.yearly)),
        example: "10",
        doc: "For how many years the last snapshot of the year is kept.",
        init: false,
    };
}
