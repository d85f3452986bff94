//! Inputs that come of a corpus by chance: the same ones for the same number.

/// More is never made.
const LONGEST: usize = 64 << 10;

/// What often stands where a parser decides.
const WORDS: [&[u8]; 24] = [
    b"\0",
    b"\xff",
    b"\n",
    b"\r\n",
    b"{",
    b"}",
    b"[",
    b"]",
    b"\"",
    b"\\u0000",
    b"\\ud800",
    b"null",
    b"true",
    b"-1",
    b"1e999",
    b"18446744073709551616",
    b"9223372036854775807",
    b"-9223372036854775809",
    b"0.1",
    b"..",
    b"/",
    b"%2f",
    b"\x1b]0;",
    "\u{202e}".as_bytes(),
];

/// Makes one input after the other.
pub struct Mutator<'a> {
    corpus: &'a [Vec<u8>],
    state: u64,
    input: Vec<u8>,
}

impl<'a> Mutator<'a> {
    /// One that begins with `corpus`; the same `seed` makes the same inputs.
    pub fn new(corpus: &'a [Vec<u8>], seed: u64) -> Self {
        // A state of 0 would stay so.
        Self { corpus, state: seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1, input: Vec::new() }
    }

    /// A number below `end`; 0 where that is 0. (xorshift64*, Vigna 2016.)
    fn below(&mut self, end: usize) -> usize {
        self.state ^= self.state >> 12;
        self.state ^= self.state << 25;
        self.state ^= self.state >> 27;
        let number = self.state.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 16;
        usize::try_from(number).unwrap_or_default().checked_rem(end).unwrap_or_default()
    }

    fn seed(&mut self) -> &'a [u8] {
        let chosen = self.below(self.corpus.len());
        self.corpus.get(chosen).map_or(&[], Vec::as_slice)
    }

    /// A part of the input: where it begins and ends.
    fn part(&mut self, length: usize) -> (usize, usize) {
        let begin = self.below(length + 1);
        let longest = if self.below(4) == 0 { length - begin } else { 16.min(length - begin) };
        (begin, begin + self.below(longest + 1))
    }

    /// The next input.
    #[allow(clippy::should_implement_trait, reason = "it lends what it makes")]
    pub fn next(&mut self) -> &[u8] {
        self.input = self.seed().to_vec();
        for _ in 0..=self.below(6) {
            self.once();
        }
        self.input.truncate(LONGEST);
        &self.input
    }

    fn once(&mut self) {
        let length = self.input.len();
        let (begin, end) = self.part(length);
        match self.below(9) {
            0 if length > 0 => {
                let (at, bit) = (self.below(length), self.below(8));
                self.input[at] ^= 1 << bit;
            }
            1 if length > 0 => {
                let (at, byte) = (self.below(length), self.below(256));
                self.input[at] = u8::try_from(byte).unwrap_or_default();
            }
            2 => drop(self.input.drain(begin..end)),
            3 => {
                let copied = self.input[begin..end].to_vec();
                let at = self.below(length + 1);
                self.input.splice(at..at, copied);
            }
            4 => {
                let word = WORDS[self.below(WORDS.len())];
                self.input.splice(begin..end, word.iter().copied());
            }
            5 => {
                let other = self.seed();
                let (from, to) = self.part(other.len());
                self.input.splice(begin..end, other[from..to].iter().copied());
            }
            6 => self.input.truncate(begin),
            // Deep nesting, long runs.
            7 if length > 0 => {
                let (at, often) = (self.below(length), self.below(2000));
                let byte = self.input[at];
                self.input.splice(at..at, std::iter::repeat_n(byte, often));
            }
            _ => {
                let number = self.below(1 << 20).to_string();
                self.input.splice(begin..end, number.into_bytes());
            }
        }
    }
}
