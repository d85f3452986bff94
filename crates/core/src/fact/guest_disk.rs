//! The disk of a guest that has one of its own: an image with a file system.

use serde::{Deserialize, Serialize};

use crate::size::Bytes;

/// The disk of an LXC container, which is a file beside its config.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct GuestDisk {
    /// How large the file system on it is.
    pub size: Bytes,
    /// Whether it is mounted where the container has its root.
    pub mounted: bool,
}

/// How much of the beginning of an ext4 file system [`ext4_size`] wants to see.
pub const EXT4_HEAD: usize = 2048;

/// The size of the ext4 file system that begins like this; `None` where there is none.
pub fn ext4_size(head: &[u8]) -> Option<Bytes> {
    let superblock = head.get(1024..EXT4_HEAD)?;
    let number = |at: usize| {
        let bytes: [u8; 4] = superblock.get(at..at + 4)?.try_into().ok()?;
        Some(u32::from_le_bytes(bytes))
    };
    if superblock.get(0x38..0x3a)? != [0x53, 0xef] {
        return None;
    }
    /// The file system counts its blocks in 64 bits.
    const WIDE: u32 = 0x80;
    let high = if number(0x60)? & WIDE == 0 { 0 } else { number(0x150)? };
    let blocks = (u64::from(high) << 32) | u64::from(number(0x4)?);
    let shift = number(0x18)?.checked_add(10).filter(|shift| *shift <= 16)?;
    Some(Bytes(blocks.checked_mul(1 << shift)?))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn head(fields: &[(usize, u32)]) -> Vec<u8> {
        let mut head = vec![0; EXT4_HEAD];
        head[1024 + 0x38..1024 + 0x3a].copy_from_slice(&[0x53, 0xef]);
        for (at, value) in fields {
            head[1024 + at..1024 + at + 4].copy_from_slice(&value.to_le_bytes());
        }
        head
    }

    #[test]
    fn the_size_of_a_file_system_is_read_from_its_superblock() {
        let six = head(&[(0x4, 1_572_864), (0x18, 2)]);
        assert_eq!(ext4_size(&six), Some(Bytes::gib(6)));
        // 64-bit numbers count only where the file system says so.
        let wide = head(&[(0x4, 0), (0x18, 2), (0x60, 0x80), (0x150, 1)]);
        assert_eq!(ext4_size(&wide), Some(Bytes::gib(16 * 1024)));
        let narrow = head(&[(0x4, 1024), (0x18, 0), (0x150, 1)]);
        assert_eq!(ext4_size(&narrow), Some(Bytes::mib(1)));
    }

    #[test]
    fn what_is_no_file_system_has_no_size() {
        assert_eq!(ext4_size(&[0; EXT4_HEAD]), None);
        assert_eq!(ext4_size(&head(&[(0x4, 1)])[..1500]), None);
        assert_eq!(ext4_size(&head(&[(0x4, 1), (0x18, u32::MAX)])), None);
        assert_eq!(ext4_size(&head(&[(0x4, u32::MAX), (0x18, 6), (0x60, 0x80), (0x150, u32::MAX)])), None);
    }
}
