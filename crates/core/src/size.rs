//! Sizes and durations as the config writes them: `200M`, `16G`, `90d`.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::name::Invalid;

/// A number of bytes. Written with binary units: `K`, `M`, `G`, `T` are powers
/// of 1024, as in Synapse's and systemd's configuration.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Bytes(pub u64);

const UNITS: [(char, u64); 4] = [('T', 1 << 40), ('G', 1 << 30), ('M', 1 << 20), ('K', 1 << 10)];

impl Bytes {
    /// `n` mebibytes.
    pub const fn mib(n: u64) -> Self {
        Self(n << 20)
    }

    /// `n` gibibytes.
    pub const fn gib(n: u64) -> Self {
        Self(n << 30)
    }

    /// Whole mebibytes in this size, rounded down.
    pub const fn as_mib(self) -> u64 {
        self.0 >> 20
    }

    /// Checks `text`; the error says what is wrong with it.
    pub fn parse(text: &str) -> Result<Self, Invalid> {
        let form = || Invalid::new("a size looks like 200M or 16G (K, M, G and T are powers of 1024)");
        let text = text.strip_suffix('B').unwrap_or(text);
        let (digits, factor) = match UNITS.iter().find(|(unit, _)| text.ends_with(*unit)) {
            Some((unit, factor)) => (text.strip_suffix(*unit).unwrap_or_default(), *factor),
            None => (text, 1),
        };
        if digits.is_empty() || !digits.chars().all(|c| c.is_ascii_digit()) {
            return Err(form());
        }
        let number: u64 = digits.parse().map_err(|_| form())?;
        number.checked_mul(factor).map(Self).ok_or_else(form)
    }
}

impl fmt::Display for Bytes {
    /// The shortest exact form: `200M`, `1536M`, `17`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match UNITS.iter().find(|(_, factor)| self.0 != 0 && self.0.is_multiple_of(*factor)) {
            Some((unit, factor)) => write!(f, "{}{unit}", self.0 / factor),
            None => write!(f, "{}", self.0),
        }
    }
}

impl TryFrom<String> for Bytes {
    type Error = Invalid;
    fn try_from(text: String) -> Result<Self, Invalid> {
        Self::parse(&text)
    }
}

impl From<Bytes> for String {
    fn from(size: Bytes) -> String {
        size.to_string()
    }
}

/// So many bytes in each second, written `10M/s`; units are those of [`Bytes`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Rate(Bytes);

impl Rate {
    /// The least that makes sense: with less, files of a repository that are
    /// written as a whole would take longer than any connection lasts.
    pub const LEAST: Self = Self(Bytes(64 << 10));

    /// So many bytes in a second.
    pub const fn bytes(self) -> u64 {
        self.0.0
    }

    /// Checks `text`; the error says what is wrong with it.
    pub fn parse(text: &str) -> Result<Self, Invalid> {
        let form = || Invalid::new("a rate looks like 10M/s or 500K/s (K, M and G are powers of 1024 bytes)");
        let size = text.strip_suffix("/s").ok_or_else(form)?;
        let size: String = size.split_whitespace().collect();
        let rate = Bytes::parse(&size).map(Self).map_err(|_| form())?;
        if rate < Self::LEAST {
            return Err(Invalid::new(format!("the least is {}", Self::LEAST)));
        }
        Ok(rate)
    }
}

impl fmt::Display for Rate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/s", self.0)
    }
}

/// A span of time in whole seconds, written `30s`, `5m`, `12h`, `7d` or `2w`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Seconds(pub u64);

const SPANS: [(char, u64); 5] = [('w', 604_800), ('d', 86_400), ('h', 3600), ('m', 60), ('s', 1)];

impl Seconds {
    /// `n` days.
    pub const fn days(n: u64) -> Self {
        Self(n * 86_400)
    }

    /// Checks `text`; the error says what is wrong with it.
    pub fn parse(text: &str) -> Result<Self, Invalid> {
        let form = || Invalid::new("a span of time looks like 90d, 12h, 5m or 30s");
        let (unit, factor) = SPANS.iter().find(|(unit, _)| text.ends_with(*unit)).ok_or_else(form)?;
        let digits = text.strip_suffix(*unit).unwrap_or_default();
        if !digits.chars().all(|c| c.is_ascii_digit()) {
            return Err(form());
        }
        let number: u64 = digits.parse().map_err(|_| form())?;
        number.checked_mul(*factor).map(Self).ok_or_else(form)
    }
}

impl fmt::Display for Seconds {
    /// The largest unit that is exact, weeks excepted: `90d`, `36h`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match SPANS[1..].iter().find(|(_, factor)| self.0 != 0 && self.0.is_multiple_of(*factor)) {
            Some((unit, factor)) => write!(f, "{}{unit}", self.0 / factor),
            None => write!(f, "{}s", self.0),
        }
    }
}

impl TryFrom<String> for Seconds {
    type Error = Invalid;
    fn try_from(text: String) -> Result<Self, Invalid> {
        Self::parse(&text)
    }
}

impl From<Seconds> for String {
    fn from(span: Seconds) -> String {
        span.to_string()
    }
}

/// How long ago something was, for a person.
pub fn ago(seconds: u64) -> String {
    if seconds < 60 { "just now".to_owned() } else { format!("{} ago", span(seconds)) }
}

/// So many seconds, for a person.
pub fn span(seconds: u64) -> String {
    match seconds {
        0..60 => "less than a minute".to_owned(),
        60..7200 => format!("{} min", seconds / 60),
        7200..172_800 => format!("{} hours", seconds / 3600),
        _ => format!("{} days", seconds / 86_400),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rates() {
        for (text, bytes, shown) in [
            ("10M/s", 10 << 20, "10M/s"),
            ("10 MB/s", 10 << 20, "10M/s"),
            ("64K/s", 64 << 10, "64K/s"),
            ("1G/s", 1 << 30, "1G/s"),
            ("100000 /s", 100_000, "100000/s"),
        ] {
            let rate = Rate::parse(text).unwrap();
            assert_eq!((rate.bytes(), rate.to_string().as_str()), (bytes, shown), "{text}");
            assert_eq!(Rate::parse(shown), Ok(rate));
        }
        for text in ["", "10M", "M/s", "10Mbit/s", "10M/h", "-1M/s", "0/s", "63K/s"] {
            assert!(Rate::parse(text).is_err(), "{text}");
        }
    }

    #[test]
    fn sizes() {
        for (text, bytes, shown) in [
            ("200M", 200 << 20, "200M"),
            ("16G", 16 << 30, "16G"),
            ("1024M", 1 << 30, "1G"),
            ("17", 17, "17"),
            ("4GB", 4 << 30, "4G"),
        ] {
            let size = Bytes::parse(text).unwrap();
            assert_eq!((size.0, size.to_string().as_str()), (bytes, shown), "{text}");
        }
        for bad in ["", "M", "-1M", "1.5G", "1 G", "1X", "99999999999T", "MM", "4GG", "4BB"] {
            assert!(Bytes::parse(bad).is_err(), "{bad:?} was accepted");
        }
    }

    #[test]
    fn spans() {
        for (text, seconds, shown) in
            [("90d", 7_776_000, "90d"), ("2w", 1_209_600, "14d"), ("90s", 90, "90s")]
        {
            let span = Seconds::parse(text).unwrap();
            assert_eq!((span.0, span.to_string().as_str()), (seconds, shown), "{text}");
        }
        for bad in ["", "90", "d", "-1d", "1y", "1.5h", "+1d"] {
            assert!(Seconds::parse(bad).is_err(), "{bad:?} was accepted");
        }
    }
}
