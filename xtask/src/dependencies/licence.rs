//! Licences in SPDX's words (SPDX specification, annex "SPDX license expressions").

use std::collections::BTreeSet;

/// Whether what `expression` asks for can be met with what is allowed.
pub fn holds(expression: &str, allowed: &BTreeSet<String>) -> Result<bool, String> {
    // Before SPDX's words, a stroke meant that one may choose.
    let spaced = expression.replace('/', " OR ").replace('(', " ( ").replace(')', " ) ");
    let words: Vec<&str> = spaced.split_whitespace().collect();
    let mut rest = words.as_slice();
    let holds = either(&mut rest, allowed)?;
    if rest.is_empty() { Ok(holds) } else { Err(format!("{:?} stands behind its end", rest.join(" "))) }
}

fn either(rest: &mut &[&str], allowed: &BTreeSet<String>) -> Result<bool, String> {
    let mut holds = both(rest, allowed)?;
    while take(rest, "OR") {
        holds |= both(rest, allowed)?;
    }
    Ok(holds)
}

fn both(rest: &mut &[&str], allowed: &BTreeSet<String>) -> Result<bool, String> {
    let mut holds = one(rest, allowed)?;
    while take(rest, "AND") {
        holds &= one(rest, allowed)?;
    }
    Ok(holds)
}

fn one(rest: &mut &[&str], allowed: &BTreeSet<String>) -> Result<bool, String> {
    if take(rest, "(") {
        let holds = either(rest, allowed)?;
        return if take(rest, ")") { Ok(holds) } else { Err("a bracket is not closed".to_owned()) };
    }
    let Some((name, behind)) = rest.split_first() else { return Err("it ends too early".to_owned()) };
    if ["OR", "AND", "WITH", ")"].contains(name) {
        return Err(format!("{name} stands where a licence should"));
    }
    *rest = behind;
    if take(rest, "WITH") {
        let Some((exception, behind)) = rest.split_first() else {
            return Err("it ends too early".to_owned());
        };
        *rest = behind;
        return Ok(allowed.contains(&format!("{name} WITH {exception}")));
    }
    Ok(allowed.contains(*name))
}

fn take(rest: &mut &[&str], word: &str) -> bool {
    match rest.split_first() {
        Some((first, behind)) if *first == word => {
            *rest = behind;
            true
        }
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn expressions_are_read_as_spdx_says() {
        let allowed: BTreeSet<String> =
            ["MIT", "ISC", "Apache-2.0 WITH LLVM-exception"].map(str::to_owned).into();
        for (expression, wanted) in [
            ("MIT", true),
            ("GPL-3.0-only", false),
            ("MIT OR GPL-3.0-only", true),
            ("MIT AND GPL-3.0-only", false),
            ("MIT/Apache-2.0", true),
            ("(MIT OR Apache-2.0) AND ISC", true),
            ("GPL-3.0-only OR MIT AND BSD-2-Clause", false),
            ("Apache-2.0 WITH LLVM-exception", true),
            ("Apache-2.0", false),
        ] {
            assert_eq!(holds(expression, &allowed), Ok(wanted), "{expression}");
        }
        for expression in ["", "MIT OR", "(MIT", "MIT MIT", "AND MIT", "MIT WITH"] {
            assert!(holds(expression, &allowed).is_err(), "{expression}");
        }
    }
}
