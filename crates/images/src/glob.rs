//! Patterns for paths.

/// Whether `text` is what `pattern` describes; `*` stands for any run of characters, `/` too.
pub(crate) fn matches(pattern: &str, text: &str) -> bool {
    let Some((head, rest)) = pattern.split_once('*') else {
        return pattern == text;
    };
    let Some(text) = text.strip_prefix(head) else {
        return false;
    };
    if rest.is_empty() {
        return true;
    }
    (0..=text.len()).filter(|&at| text.is_char_boundary(at)).any(|at| matches(rest, &text[at..]))
}

#[cfg(test)]
mod tests {
    #[test]
    fn a_star_is_any_run_of_characters() {
        for (pattern, text, want) in [
            ("a/b", "a/b", true),
            ("a/b", "a/bc", false),
            ("a/*", "a/b/c", true),
            ("a/*", "a", false),
            ("usr/lib/*/perl/*", "usr/lib/x86_64-linux-gnu/perl/5.40/x.so", true),
            ("usr/lib/*/perl/*", "usr/lib/x86_64-linux-gnu/perl-base/x", false),
            ("*-old", "status-old", true),
            ("*/é", "a/é", true),
        ] {
            assert_eq!(super::matches(pattern, text), want, "{pattern} {text}");
        }
    }
}
