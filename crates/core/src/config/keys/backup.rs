//! `[backup]`.

use super::{Fixed, Follows, Key};
use crate::{
    backup::{Keep, Location, Schedule, Terms},
    config::types::{Int, Limit, MoreRepositories, Region},
    name::AbsPath,
};

/// How many snapshots of a kind may be kept.
pub(in crate::config) type Kept = Int<0, 1000>;

super::keys! {
    REPOSITORY: Key<Location, Follows> = Key {
        path: "backup.repository",
        fallback: Follows("no backups"),
        of: |c| c.backup.main().map(|main| main.location.clone()),
        example: r#""/mnt/disk2/matrix-backup""#,
        doc: "Where backups are written to: a folder on the machine, `sftp:HOST:/FOLDER`, `s3:https://HOST/BUCKET/FOLDER` \
              or `rclone:REMOTE:FOLDER`. A folder is best on another disk than the guest's. The guest cannot reach any of \
              them, so whoever breaks into the guest cannot destroy the backups.",
        init: true,
    };
    SCHEDULE: Key<Schedule> = Key {
        path: "backup.schedule",
        fallback: Fixed(|| Terms::default().schedule),
        of: |c| Some(c.backup.terms.schedule.clone()),
        example: r#""Mon,Thu 02:15""#,
        doc: "When the machine makes a backup automatically, by its own clock, and then removes what need not be kept. `up` makes a \
              timer for it; where there is no systemd, a line for cron.",
        init: true,
    };
    DRILL: Key<Schedule> = Key {
        path: "backup.drill",
        fallback: Fixed(|| Terms::default().drill),
        of: |c| Some(c.backup.terms.drill.clone()),
        example: r#""never""#,
        doc: "When the newest snapshot is tried out automatically, beside the server. A drill reads the whole snapshot, which some \
              object stores want to be paid for.",
        init: false,
    };
    KEEP_DAILY: Key<Kept> = Key {
        path: "backup.keep_daily",
        fallback: Fixed(|| Int(Keep::default().daily)),
        of: |c| Some(Int(c.backup.terms.keep.daily)),
        example: "14",
        doc: "For how many days the last snapshot of the day is kept. `backup prune` removes the others; the newest is \
              always kept.",
        init: false,
    };
    KEEP_WEEKLY: Key<Kept> = Key {
        path: "backup.keep_weekly",
        fallback: Fixed(|| Int(Keep::default().weekly)),
        of: |c| Some(Int(c.backup.terms.keep.weekly)),
        example: "8",
        doc: "For how many weeks the last snapshot of the week is kept.",
        init: false,
    };
    KEEP_MONTHLY: Key<Kept> = Key {
        path: "backup.keep_monthly",
        fallback: Fixed(|| Int(Keep::default().monthly)),
        of: |c| Some(Int(c.backup.terms.keep.monthly)),
        example: "24",
        doc: "For how many months the last snapshot of the month is kept.",
        init: false,
    };
    KEEP_YEARLY: Key<Kept> = Key {
        path: "backup.keep_yearly",
        fallback: Fixed(|| Int(Keep::default().yearly)),
        of: |c| Some(Int(c.backup.terms.keep.yearly)),
        example: "10",
        doc: "For how many years the last snapshot of the year is kept.",
        init: false,
    };
    UPLOAD_LIMIT: Key<Limit> = Key {
        path: "backup.upload_limit",
        fallback: Fixed(|| Limit(Terms::default().limits.upload)),
        of: |c| Some(Limit(c.backup.terms.limits.upload)),
        example: r#""2M/s""#,
        doc: "How fast a repository is written to, at most: bytes in a second, as `2M/s` or `500K/s`. A line that people use \
              meanwhile keeps room for them.",
        init: false,
    };
    DOWNLOAD_LIMIT: Key<Limit> = Key {
        path: "backup.download_limit",
        fallback: Fixed(|| Limit(Terms::default().limits.download)),
        of: |c| Some(Limit(c.backup.terms.limits.download)),
        example: r#""10M/s""#,
        doc: "How fast a repository is read from, at most, by backups, `backup verify`, `backup prune` and drills. A restore, for \
              which somebody waits, is never held back.",
        init: false,
    };
    S3_CREDENTIALS: Key<AbsPath, Follows> = Key {
        path: "backup.s3_credentials",
        fallback: Follows("`/root/.aws/credentials`, or what the environment says"),
        of: |c| c.backup.terms.s3_credentials.clone(),
        example: r#""/root/matrix/s3-keys""#,
        doc: "The file on the machine with the keys of an object store, for its owner alone (mode 0400). It has two lines: \
              `aws_access_key_id = …` and `aws_secret_access_key = …`.",
        init: false,
    };
    S3_REGION: Key<Region, Follows> = Key {
        path: "backup.s3_region",
        fallback: Follows("`us-east-1`, or what the environment says"),
        of: |c| c.backup.terms.s3_region.clone().map(Region),
        example: r#""eu-central-1""#,
        doc: "The region of an object store. Many stores that are not Amazon's take any.",
        init: false,
    };
    REPOSITORIES: Key<MoreRepositories, Follows> = Key {
        path: "backup.repositories",
        fallback: Follows("none"),
        of: MoreRepositories::of,
        example: r#"[{ name = "away", repository = "sftp:backup@nas:/srv/matrix", schedule = "Sun 04:00" }]"#,
        doc: "More repositories, each with a name. Below a line `[[backup.repositories]]` stand its `name`, its `repository`, \
              and what differs from `[backup]`: `schedule`, `drill`, `keep_daily`, `keep_weekly`, `keep_monthly`, \
              `keep_yearly`, `upload_limit`, `download_limit`, `s3_credentials`, `s3_region`. Commands name one with `--repository NAME`; that of \
              `backup.repository` is called `main`.",
        init: false,
    };
}
