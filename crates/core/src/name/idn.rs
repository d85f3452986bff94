//! Names with letters beyond ASCII, in the two forms that are in use: as people
//! write them, and as DNS carries them (RFC 5891, UTS 46).

use super::Invalid;

/// The form that DNS carries: `xn--bcher-kva.ch`.
pub fn ascii(name: &str) -> Result<String, Invalid> {
    if name.is_ascii() {
        return Ok(name.to_owned());
    }
    idna::domain_to_ascii_strict(name)
        .map_err(|_| Invalid::new(format!("{name:?} holds letters that no domain can have")))
}

/// The form that people write: `bücher.ch`.
pub fn unicode(name: &str) -> String {
    match idna::domain_to_unicode(name) {
        (name, Ok(())) => name,
        (_, Err(_)) => name.to_owned(),
    }
}

/// Both forms, where they differ: `xn--bcher-kva.ch (bücher.ch)`.
pub fn both(name: &str) -> String {
    let written = unicode(name);
    if written == name { written } else { format!("{name} ({written})") }
}

/// Whether two names are the same, whichever form each is in.
pub fn same(a: &str, b: &str) -> bool {
    match (ascii(a), ascii(b)) {
        (Ok(a), Ok(b)) => a.eq_ignore_ascii_case(&b),
        _ => a == b,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_forms_are_one_name() {
        assert_eq!(ascii("Bücher.ch").unwrap(), "xn--bcher-kva.ch");
        assert_eq!(ascii("faß.de").unwrap(), "xn--fa-hia.de");
        assert_eq!(unicode("xn--bcher-kva.ch"), "bücher.ch");
        assert_eq!(unicode("xn--.ch"), "xn--.ch", "what is no name stays as it is");
        assert!(same("bücher.ch", "xn--bcher-kva.ch") && same("a.de", "A.de") && !same("a.de", "b.de"));
        assert_eq!(
            (both("a.de"), both("xn--bcher-kva.ch")),
            ("a.de".into(), "xn--bcher-kva.ch (bücher.ch)".into())
        );
        for bad in ["a ü.de", "ü..de", "\u{202e}a.de", "-ü.de"] {
            assert!(ascii(bad).is_err(), "{bad:?}");
        }
    }
}
