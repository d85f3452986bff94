//! What programs take of memory, counted process by process: control groups
//! would say it too, but not on every machine, and with the kernel's own cache
//! of files in it.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::Path,
};

use matrix_podman_core::fact::Memory;

/// Where systemd's units have their control groups.
const UNITS: &str = "/sys/fs/cgroup/system.slice";
/// How deep below a unit's its processes may be.
const DEPTH: usize = 4;

pub(super) fn memory(units: &BTreeSet<String>) -> Result<Memory, String> {
    let meminfo = fs::read_to_string("/proc/meminfo").map_err(|e| format!("/proc/meminfo: {e}"))?;
    let mut shares: BTreeMap<u32, Share> = BTreeMap::new();
    for entry in fs::read_dir("/proc").map_err(|e| format!("/proc: {e}"))?.flatten() {
        let Some(pid) = entry.file_name().to_str().and_then(|name| name.parse().ok()) else { continue };
        // It may have ended since.
        let Ok(status) = fs::read_to_string(entry.path().join("status")) else { continue };
        shares.insert(pid, Share::of(&status));
    }
    let of = |pids: &[u32]| sum(pids.iter().filter_map(|pid| shares.get(pid)));
    let units = units
        .iter()
        .filter_map(|unit| {
            let mut pids = Vec::new();
            processes(&Path::new(UNITS).join(unit), DEPTH, &mut pids);
            (!pids.is_empty()).then(|| (unit.clone(), of(&pids)))
        })
        .collect();
    Ok(Memory { total: field(&meminfo, "MemTotal").unwrap_or_default(), used: sum(shares.values()), units })
}

/// What one process holds.
#[derive(Default)]
struct Share {
    /// For itself alone.
    own: u64,
    /// Together with others, such as PostgreSQL's buffers.
    shared: u64,
}

impl Share {
    fn of(status: &str) -> Self {
        Self {
            own: field(status, "RssAnon").unwrap_or_default(),
            shared: field(status, "RssShmem").unwrap_or_default(),
        }
    }
}

/// What is shared is counted once: the one that touched most of it stands for all.
fn sum<'a>(shares: impl Iterator<Item = &'a Share>) -> u64 {
    let (mut own, mut shared) = (0, 0);
    for share in shares {
        own += share.own;
        shared = share.shared.max(shared);
    }
    own + shared
}

/// A field of /proc that is given in kibibytes, in bytes.
fn field(text: &str, key: &str) -> Option<u64> {
    let line = text.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix(':'))?;
    line.split_whitespace().next()?.parse::<u64>().ok().map(|kib| kib << 10)
}

fn processes(group: &Path, depth: usize, found: &mut Vec<u32>) {
    let list = fs::read_to_string(group.join("cgroup.procs")).unwrap_or_default();
    found.extend(list.lines().filter_map(|line| line.parse::<u32>().ok()));
    if depth == 0 {
        return;
    }
    for entry in fs::read_dir(group).into_iter().flatten().flatten() {
        if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            processes(&entry.path(), depth - 1, found);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_shared_is_counted_once() {
        let own = Share::of("Name:\tpostgres\nVmRSS:\t  900 kB\nRssAnon:\t     100 kB\nRssShmem:\t 500 kB\n");
        let other = Share::of("RssAnon:\t     10 kB\nRssShmem:\t 400 kB\n");
        assert_eq!(sum([&own, &other].into_iter()), 610 << 10);
        // A kernel thread holds nothing.
        assert_eq!(Share::of("Name:\tkthreadd\n").own, 0);
    }

    #[test]
    fn this_process_is_part_of_what_is_used() {
        let memory = memory(&BTreeSet::from(["no-such.service".to_owned()])).unwrap();
        assert!(memory.used > 0 && memory.used < memory.total, "{memory:?}");
        assert!(memory.units.is_empty());
    }
}
