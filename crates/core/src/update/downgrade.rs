//! Whether another version is an older one.

/// Whether `to` is older than `from`, as far as the numbers at their beginnings tell.
pub fn is_downgrade(from: &str, to: &str) -> bool {
    let (from, to) = (numbers(from), numbers(to));
    !from.is_empty() && !to.is_empty() && to < from
}

/// The numbers at the beginning of a version: of `v1.163.2-alpine`, 1, 163 and 2.
fn numbers(version: &str) -> Vec<u64> {
    let plain = version.trim_start_matches('v');
    let end = plain.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(plain.len());
    let mut numbers: Vec<u64> = plain[..end].split('.').map_while(|number| number.parse().ok()).collect();
    while numbers.last() == Some(&0) {
        numbers.pop();
    }
    numbers
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_older_version_is_a_downgrade() {
        for (from, to) in
            [("1.163.2", "1.99.0"), ("v1.163.2", "1.163.1"), ("17.6-1", "17.5-3"), ("8.0", "7.4.2")]
        {
            assert!(is_downgrade(from, to), "{from} {to}");
            assert!(!is_downgrade(to, from), "{to} {from}");
        }
        for (from, to) in
            [("1.2", "1.2"), ("1.2", "1.2.0"), ("latest", "1.2"), ("1.2", ""), ("1.2-rc1", "1.2")]
        {
            assert!(!is_downgrade(from, to), "{from} {to}");
        }
    }
}
