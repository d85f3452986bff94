//! What is new, from CHANGELOG.md.

use super::source::Source;

/// The notes of a release: its own section, or what is unreleased for a commit
/// between two releases.
///
/// # Errors
///
/// CHANGELOG.md has no such section.
pub fn of(source: &Source) -> Result<String, String> {
    let changelog = source.read("CHANGELOG.md")?;
    let heading = if source.version.contains('~') { "Unreleased" } else { &source.version };
    let text = section(&changelog, heading)
        .ok_or_else(|| format!("CHANGELOG.md has no section [{heading}]: write it before the release"))?;
    Ok(format!("# matrix-podman {}\n\n{text}\n", source.version))
}

/// What stands below `## [heading]`.
fn section<'a>(changelog: &'a str, heading: &str) -> Option<&'a str> {
    let start = changelog.find(&format!("\n## [{heading}]"))? + 1;
    let body = &changelog[start..];
    let body = &body[body.find('\n')? + 1..];
    let end = body.find("\n## [").unwrap_or(body.len());
    Some(body[..end].trim()).filter(|text| !text.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_section_ends_where_the_next_begins() {
        let changelog = "# X\n\n## [Unreleased]\n\n## [1.1.0] - 2026-01-01\n\n- b\n\n## [1.0.0]\n\n- a\n";
        assert_eq!(section(changelog, "1.1.0"), Some("- b"));
        assert_eq!(section(changelog, "1.0.0"), Some("- a"));
        assert_eq!(section(changelog, "Unreleased"), None);
        assert_eq!(section(changelog, "2.0.0"), None);
    }
}
