//! The words of SFTP, version 3 (draft-ietf-secsh-filexfer-02), which OpenSSH speaks.

use std::io::{self, Read};

/// Kinds of packets.
pub(super) mod kind {
    pub const INIT: u8 = 1;
    pub const VERSION: u8 = 2;
    pub const OPEN: u8 = 3;
    pub const CLOSE: u8 = 4;
    pub const READ: u8 = 5;
    pub const WRITE: u8 = 6;
    pub const OPENDIR: u8 = 11;
    pub const READDIR: u8 = 12;
    pub const REMOVE: u8 = 13;
    pub const MKDIR: u8 = 14;
    pub const STAT: u8 = 17;
    pub const RENAME: u8 = 18;
    pub const EXTENDED: u8 = 200;
    pub const STATUS: u8 = 101;
    pub const HANDLE: u8 = 102;
    pub const DATA: u8 = 103;
    pub const NAME: u8 = 104;
    pub const ATTRS: u8 = 105;
    pub const EXTENDED_REPLY: u8 = 201;
}

/// Codes of a status.
pub(super) mod code {
    pub const OK: u32 = 0;
    pub const END: u32 = 1;
    pub const NOT_THERE: u32 = 2;
}

/// How a file is opened.
pub(super) mod flag {
    pub const READ: u32 = 1;
    pub const WRITE: u32 = 2;
    pub const CREATE: u32 = 8;
    pub const CUT: u32 = 16;
}

/// No packet is larger; whoever sends one speaks something else.
const LARGEST: u32 = 1 << 20;

/// What is sent.
#[derive(Default)]
pub(super) struct Words(Vec<u8>);

impl Words {
    pub(super) fn byte(mut self, value: u8) -> Self {
        self.0.push(value);
        self
    }
    pub(super) fn u32(mut self, value: u32) -> Self {
        self.0.extend_from_slice(&value.to_be_bytes());
        self
    }
    pub(super) fn u64(mut self, value: u64) -> Self {
        self.0.extend_from_slice(&value.to_be_bytes());
        self
    }
    pub(super) fn text(self, value: impl AsRef<[u8]>) -> Self {
        let value = value.as_ref();
        let mut words = self.u32(u32::try_from(value.len()).unwrap_or(u32::MAX));
        words.0.extend_from_slice(value);
        words
    }
    /// Nothing but permission bits.
    pub(super) fn mode(self, mode: u32) -> Self {
        self.u32(4).u32(mode)
    }
    pub(super) fn bytes(mut self, value: &[u8]) -> Self {
        self.0.extend_from_slice(value);
        self
    }
    /// The packet, with its length in front.
    pub(super) fn packet(self) -> Vec<u8> {
        let length = u32::try_from(self.0.len()).unwrap_or(u32::MAX);
        [length.to_be_bytes().as_slice(), &self.0].concat()
    }
    pub(super) fn inner(self) -> Vec<u8> {
        self.0
    }
}

/// A packet that came.
#[derive(Debug)]
pub(super) struct Packet {
    pub kind: u8,
    pub body: Vec<u8>,
}

impl Packet {
    /// The next one.
    pub(super) fn read(from: &mut dyn Read) -> io::Result<Self> {
        let mut head = [0; 5];
        from.read_exact(&mut head)?;
        let length = u32::from_be_bytes([head[0], head[1], head[2], head[3]]);
        if length == 0 || length > LARGEST {
            // A login that prints something comes out here.
            return Err(io::Error::new(io::ErrorKind::InvalidData, "what comes is not SFTP"));
        }
        let mut body = vec![0; usize::try_from(length).unwrap_or_default() - 1];
        from.read_exact(&mut body)?;
        Ok(Self { kind: head[4], body })
    }

    pub(super) fn words(&self) -> Answer<'_> {
        Answer(&self.body)
    }
}

/// What came, word by word; `None` when there is less than should be.
pub(super) struct Answer<'a>(&'a [u8]);

impl<'a> Answer<'a> {
    fn take(&mut self, count: usize) -> Option<&'a [u8]> {
        let (taken, rest) = self.0.split_at_checked(count)?;
        self.0 = rest;
        Some(taken)
    }
    pub(super) fn u32(&mut self) -> Option<u32> {
        Some(u32::from_be_bytes(self.take(4)?.try_into().ok()?))
    }
    pub(super) fn u64(&mut self) -> Option<u64> {
        Some(u64::from_be_bytes(self.take(8)?.try_into().ok()?))
    }
    pub(super) fn bytes(&mut self) -> Option<&'a [u8]> {
        let count = usize::try_from(self.u32()?).ok()?;
        self.take(count)
    }
    pub(super) fn text(&mut self) -> Option<String> {
        Some(String::from_utf8_lossy(self.bytes()?).into_owned())
    }
    pub(super) fn attributes(&mut self) -> Option<Attributes> {
        let flags = self.u32()?;
        let mut found = Attributes::default();
        if flags & 1 != 0 {
            found.size = Some(self.u64()?);
        }
        if flags & 2 != 0 {
            self.take(8)?;
        }
        if flags & 4 != 0 {
            found.mode = Some(self.u32()?);
        }
        if flags & 8 != 0 {
            self.u32()?;
            found.written = Some(self.u32()?);
        }
        if flags & 0x8000_0000 != 0 {
            for _ in 0..self.u32()? {
                self.bytes()?;
                self.bytes()?;
            }
        }
        Some(found)
    }
}

/// What is known of a file.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub(super) struct Attributes {
    pub size: Option<u64>,
    pub mode: Option<u32>,
    /// Seconds since 1970.
    pub written: Option<u32>,
}

impl Attributes {
    pub(super) fn is_folder(&self) -> bool {
        self.mode.is_some_and(|mode| mode & 0o170_000 == 0o040_000)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn packets_read_back() {
        let sent = Words::default().byte(kind::DATA).u32(7).text("abc").u64(9).packet();
        assert_eq!(sent[..4], [0, 0, 0, 20]);
        let packet = Packet::read(&mut sent.as_slice()).unwrap();
        let mut words = packet.words();
        assert_eq!(packet.kind, kind::DATA);
        assert_eq!((words.u32(), words.text().as_deref(), words.u64()), (Some(7), Some("abc"), Some(9)));
        assert_eq!(words.u32(), None);
    }

    #[test]
    fn attributes_of_every_form() {
        let words = Words::default().u32(1 | 2 | 4 | 8 | 0x8000_0000).u64(5).u32(0).u32(0).u32(0o040_700);
        let words = words.u32(1).u32(2).u32(1).text("a").text("b").u32(77).inner();
        let mut answer = Answer(&words);
        let found = answer.attributes().unwrap();
        assert_eq!(found, Attributes { size: Some(5), mode: Some(0o040_700), written: Some(2) });
        assert!(found.is_folder());
        assert_eq!(answer.u32(), Some(77));
    }

    #[test]
    fn what_is_cut_or_no_sftp_is_an_error() {
        let sent = Words::default().byte(kind::DATA).u32(7).text("abc").packet();
        for end in 0..sent.len() {
            Packet::read(&mut &sent[..end]).unwrap_err();
        }
        assert!(
            Packet::read(&mut "Welcome to nas!".as_bytes()).unwrap_err().to_string().contains("not SFTP")
        );
        // A text that says that it is longer than what there is.
        assert_eq!(Answer(&[0, 0, 0, 9, 1]).bytes(), None);
    }
}
