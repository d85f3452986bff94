//! What a program prints, as lines: none longer than anybody reads.

/// The longest line that is handed on; the rest of a longer one is left out.
const LONGEST: usize = 64 << 10;

/// Bytes as they come, cut into lines. A carriage return ends one too, as in
/// progress displays.
#[derive(Default)]
pub(crate) struct Lines {
    begun: Vec<u8>,
    /// What comes until the next end of a line is left out.
    skips: bool,
}

impl Lines {
    /// Hands each whole line to `line`.
    pub(crate) fn push(&mut self, mut bytes: &[u8], line: &mut dyn FnMut(&str)) {
        while let Some(end) = bytes.iter().position(|byte| matches!(byte, b'\n' | b'\r')) {
            self.keep(&bytes[..end]);
            self.flush(line);
            // Both together are one end.
            let both = bytes[end] == b'\r' && bytes.get(end + 1) == Some(&b'\n');
            bytes = &bytes[end + 1 + usize::from(both)..];
        }
        self.keep(bytes);
    }

    /// The last line may have no end.
    pub(crate) fn finish(mut self, line: &mut dyn FnMut(&str)) {
        if !self.begun.is_empty() {
            self.flush(line);
        }
    }

    fn keep(&mut self, bytes: &[u8]) {
        if self.skips {
            return;
        }
        let room = LONGEST.saturating_sub(self.begun.len());
        self.skips = bytes.len() > room;
        self.begun.extend_from_slice(&bytes[..bytes.len().min(room)]);
    }

    fn flush(&mut self, line: &mut dyn FnMut(&str)) {
        line(&String::from_utf8_lossy(&self.begun));
        self.begun.clear();
        self.skips = false;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines(pieces: &[&[u8]]) -> Vec<String> {
        let (mut lines, mut found) = (Lines::default(), Vec::new());
        for piece in pieces {
            lines.push(piece, &mut |line| found.push(line.to_owned()));
        }
        lines.finish(&mut |line| found.push(line.to_owned()));
        found
    }

    #[test]
    fn lines_are_found_however_they_come() {
        assert_eq!(lines(&[b"a\nb", b"c\n", b"d"]), ["a", "bc", "d"]);
        assert_eq!(lines(&[b"1%\r2%\r\n\nz\n"]), ["1%", "2%", "", "z"]);
        assert!(lines(&[]).is_empty());
    }

    #[test]
    fn a_line_without_an_end_is_cut() {
        let piece = vec![b'x'; LONGEST - 1];
        let found = lines(&[&piece, &piece, &piece, b"\nnext\n"]);
        assert_eq!((found.len(), found[0].len(), found[1].as_str()), (2, LONGEST, "next"));
    }
}
