//! Names that Proxmox VE gives things.

use std::{fmt, str::FromStr};

use serde::{Deserialize, Serialize};

use super::Invalid;

/// The number of a container, unique in its cluster (`VMID`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct ContainerId(pub u32);

impl fmt::Display for ContainerId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

fn begins_with_letter_or_digit(text: &str) -> bool {
    text.starts_with(|c: char| c.is_ascii_alphanumeric())
}

checked_string!(
    /// The name of a storage, as in `local-lvm`.
    StorageName,
    |text| {
        let ok = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
        if text.len() < 2
            || !text.chars().all(ok)
            || !text.starts_with(|c: char| c.is_ascii_alphabetic())
            || !text.ends_with(|c: char| c.is_ascii_alphanumeric())
        {
            Err(Invalid::new("a storage's name holds letters, digits, - _ and ., as in local-lvm"))
        } else {
            Ok(text.to_owned())
        }
    }
);

checked_string!(
    /// A tag of a guest.
    Tag,
    |text| {
        let ok = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || matches!(c, '-' | '_' | '+' | '.');
        if text.is_empty() || text.len() > 120 || !text.chars().all(ok) || text.starts_with(['-', '+', '.']) {
            Err(Invalid::new("a tag holds a-z, 0-9, _ - + and ., and begins with a letter or digit"))
        } else {
            Ok(text.to_owned())
        }
    }
);

checked_string!(
    /// The file name of a Debian 13 template.
    TemplateName,
    |text| {
        let ok = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.' | '+' | '~');
        let packed = [".tar.zst", ".tar.xz", ".tar.gz"].iter().any(|end| text.ends_with(end));
        if !text.chars().all(ok) || !begins_with_letter_or_digit(text) || !packed {
            Err(Invalid::new("a template's file name looks like debian-13-standard_13.1-2_amd64.tar.zst"))
        } else if !text.starts_with("debian-13-") {
            Err(Invalid::new("the guest is a Debian 13, and this is the template of something else"))
        } else {
            Ok(text.to_owned())
        }
    }
);

checked_string!(
    /// The name of a pool.
    PoolName,
    |text| {
        let ok = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.' | '/');
        if text.is_empty() || !text.chars().all(ok) || !begins_with_letter_or_digit(text) {
            Err(Invalid::new("a pool's name holds letters, digits, - _ and ."))
        } else {
            Ok(text.to_owned())
        }
    }
);

checked_string!(
    /// The name of a snapshot of a container.
    SnapshotName,
    |text| {
        let ok = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_');
        let begins = text.starts_with(|c: char| c.is_ascii_alphabetic());
        if !(2..=40).contains(&text.len()) || !text.chars().all(ok) || !begins {
            Err(Invalid::new(
                "a snapshot's name has 2 to 40 letters, digits, - and _, and begins with a letter",
            ))
        } else if ["current", "vzdump"].contains(&text) {
            Err(Invalid::new("Proxmox keeps this name for itself"))
        } else {
            Ok(text.to_owned())
        }
    }
);

checked_string!(
    /// The hardware address of a network interface, in capitals.
    MacAddress,
    |text| {
        let form = || Invalid::new("a hardware address looks like BC:24:11:01:02:03");
        let parts: Vec<&str> = text.split(':').collect();
        let hex = |part: &&str| part.len() == 2 && part.chars().all(|c| c.is_ascii_hexdigit());
        if parts.len() != 6 || !parts.iter().all(hex) {
            return Err(form());
        }
        let first = u8::from_str_radix(parts[0], 16).map_err(|_| form())?;
        if first & 1 == 1 {
            return Err(Invalid::new(
                "this is the address of a group of machines; the second digit of one machine's is even",
            ));
        }
        Ok(text.to_ascii_uppercase())
    }
);

known!(StorageName, Tag, SnapshotName);

impl SnapshotName {
    /// The name of the one that an update makes before the generation `number`;
    /// `time` counts from 1, for a number that comes again.
    pub fn before_update(number: u32, time: u32) -> Self {
        Self(match time {
            0 | 1 => format!("before-update-{number}"),
            time => format!("before-update-{number}-{time}"),
        })
    }
}

impl Tag {
    /// The tag by which a site's container is found: its name behind a word of
    /// the program's own.
    pub fn of_site(site: &str) -> Self {
        Self(format!("matrix-podman-{}", site.to_ascii_lowercase()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names() {
        for good in ["local", "local-lvm", "zfs_1.a"] {
            StorageName::parse(good).unwrap();
        }
        for bad in ["", "a", "-x", "1a", "a-", "a b", "a;b"] {
            StorageName::parse(bad).unwrap_err();
        }
        for bad in ["", "A", "-a", "a b", "a;b", "ä"] {
            Tag::parse(bad).unwrap_err();
        }
        for good in ["ab", "before-update_3", "A23456789012345678901234567890123456789"] {
            SnapshotName::parse(good).unwrap();
        }
        for bad in ["", "a", "1a", "-a", "a.b", "a b", "--force", "current", "vzdump", &"a".repeat(41)] {
            SnapshotName::parse(bad).unwrap_err();
        }
        TemplateName::parse("debian-13-standard_13.1-2_amd64.tar.zst").unwrap();
        for bad in ["debian-12-standard_12.7-1_amd64.tar.zst", "debian-13", "../debian-13-x.tar.zst", ""] {
            TemplateName::parse(bad).unwrap_err();
        }
        assert_eq!(MacAddress::parse("bc:24:11:0a:0b:0c").unwrap().as_str(), "BC:24:11:0A:0B:0C");
        for bad in ["", "bc:24:11:0a:0b", "01:24:11:0a:0b:0c", "bc-24-11-0a-0b-0c", "+c:24:11:0a:0b:0c"] {
            MacAddress::parse(bad).unwrap_err();
        }
    }

    #[test]
    fn the_name_of_an_updates_snapshot_is_one() {
        for (number, time, text) in
            [(3, 1, "before-update-3"), (3, 2, "before-update-3-2"), (u32::MAX, u32::MAX, "")]
        {
            let name = SnapshotName::before_update(number, time);
            assert_eq!(SnapshotName::parse(name.as_str()).unwrap(), name);
            assert!(text.is_empty() || name.as_str() == text);
        }
    }

    #[test]
    fn the_tag_of_a_site_is_a_tag() {
        let tag = Tag::of_site("chat.home.arpa");
        assert_eq!(Tag::parse(tag.as_str()).unwrap(), tag);
    }
}
