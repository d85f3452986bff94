//! Reading what others send, within bounds: they may never stop.

use std::io::{self, BufRead, Read};

/// The longest line that is read of what others send, in bytes.
pub(crate) const LINE: usize = 64 << 10;
/// How much of a list is read, in bytes: the names of a few million files.
pub(crate) const LIST: u64 = 256 << 20;
/// How much of a text is read, in bytes.
pub(crate) const TEXT: u64 = 1 << 20;

/// The next line, without its end; `None` behind the last one.
pub(crate) fn line(from: &mut dyn BufRead, longest: usize) -> io::Result<Option<String>> {
    let mut bytes = Vec::new();
    let most = u64::try_from(longest).unwrap_or(u64::MAX).saturating_add(1);
    if from.take(most).read_until(b'\n', &mut bytes)? == 0 {
        return Ok(None);
    }
    if bytes.last() == Some(&b'\n') {
        bytes.pop();
    } else if bytes.len() > longest {
        return Err(too_much(format!("a line is longer than {longest} bytes")));
    }
    String::from_utf8(bytes).map(Some).map_err(|e| io::Error::new(io::ErrorKind::InvalidData, e))
}

/// All lines, as long as they are not more than `most` bytes together.
pub(crate) fn lines<R: BufRead>(mut from: R, most: u64) -> impl Iterator<Item = io::Result<String>> {
    let mut left = most;
    let mut over = false;
    std::iter::from_fn(move || {
        if over {
            return None;
        }
        let next = line(&mut from, LINE).and_then(|line| match line {
            Some(line) => {
                let length = u64::try_from(line.len()).unwrap_or(u64::MAX).saturating_add(1);
                left = left
                    .checked_sub(length)
                    .ok_or_else(|| too_much(format!("there are more than {} MiB of it", most >> 20)))?;
                Ok(Some(line))
            }
            None => Ok(None),
        });
        // Nothing more comes out of what failed once.
        over = next.is_err();
        next.transpose()
    })
}

/// All of it as text, if that is not more than `most` bytes.
pub(crate) fn text(from: &mut dyn Read, most: u64) -> io::Result<String> {
    let mut text = String::new();
    let read = from.take(most.saturating_add(1)).read_to_string(&mut text)?;
    match u64::try_from(read).is_ok_and(|read| read <= most) {
        true => Ok(text),
        false => Err(too_much(format!("it is longer than {} KiB", most >> 10))),
    }
}

fn too_much(why: String) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, why)
}

#[cfg(test)]
mod tests {
    use std::io::BufReader;

    use super::*;

    #[test]
    fn lines_are_read_and_bounded() {
        let read = |text: &str, most| lines(text.as_bytes(), most).collect::<io::Result<Vec<_>>>();
        assert_eq!(read("a\n\nb", 10).unwrap(), ["a", "", "b"]);
        assert!(read("", 10).unwrap().is_empty());
        assert!(read("aaaa\nbbbb\n", 8).unwrap_err().to_string().contains("more than"));
        let endless = BufReader::new(io::repeat(b'x'));
        let mut endless = lines(endless, LIST);
        assert!(endless.next().unwrap().unwrap_err().to_string().contains("longer than 65536 bytes"));
        assert!(endless.next().is_none());
    }

    #[test]
    fn a_text_is_bounded() {
        assert_eq!(text(&mut "abc".as_bytes(), 3).unwrap(), "abc");
        assert!(text(&mut "abcd".as_bytes(), 3).is_err());
        assert!(text(&mut io::repeat(b'x'), TEXT).is_err());
    }
}
