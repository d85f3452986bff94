//! Passwords that are tried first by whoever guesses.

/// The commonest of at least eight characters, in lower case.
const COMMON: [&str; 56] = [
    "password",
    "password1",
    "password12",
    "password123",
    "password1234",
    "passw0rd",
    "p@ssw0rd",
    "p@ssword",
    "12345678",
    "123456789",
    "1234567890",
    "12345679",
    "123123123",
    "11111111",
    "00000000",
    "87654321",
    "987654321",
    "88888888",
    "12341234",
    "11223344",
    "1q2w3e4r",
    "1q2w3e4r5t",
    "1qaz2wsx",
    "q1w2e3r4",
    "qwertyui",
    "qwertyuiop",
    "qwerty123",
    "qwerty12",
    "qwertzui",
    "asdfghjk",
    "asdfghjkl",
    "zxcvbnm1",
    "abcd1234",
    "abcdefgh",
    "abc12345",
    "abcd12345",
    "iloveyou",
    "sunshine",
    "princess",
    "football",
    "baseball",
    "superman",
    "starwars",
    "trustno1",
    "letmein1",
    "letmein123",
    "welcome1",
    "welcome123",
    "whatever",
    "computer",
    "internet",
    "changeme",
    "changeme123",
    "admin123",
    "administrator",
    "passwort",
];

/// Whether a password is among the first that are tried: one of the commonest, the name, or
/// one character over and over.
pub(super) fn is_guessed_first(password: &str, localpart: &str) -> bool {
    let lower = password.to_lowercase();
    let plain = lower.trim_end_matches(['!', '.', '?']);
    let bare = plain.trim_end_matches(|c: char| c.is_ascii_digit());
    let mut characters = lower.chars();
    let first = characters.next();
    COMMON.contains(&plain)
        || bare == localpart
        || bare == "password"
        || bare == "passwort"
        || (first.is_some() && characters.all(|c| Some(c) == first))
}
