//! What apt says.

use super::{Output, last_line};
use crate::name::Invalid;

/// Reads what `apt-get --simulate upgrade` printed, a line for each package
/// that would be upgraded: name, version that is there, newer version.
pub(super) fn parse_newer(output: &Output) -> Result<Vec<String>, Invalid> {
    if output.status != Some(0) {
        return Err(Invalid::new(last_line(&output.stderr)));
    }
    // Inst podman [5.4.2+ds1-2] (5.4.2+ds1-3 Debian:13.1/stable [amd64])
    let text = String::from_utf8_lossy(&output.stdout);
    let newer = text.lines().filter_map(|line| {
        let (name, rest) = line.strip_prefix("Inst ")?.split_once(" [")?;
        let (from, rest) = rest.split_once("] (")?;
        Some(format!("{name} {from} {}", rest.split(' ').next()?))
    });
    Ok(newer.collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn apt_says_what_is_newer() {
        let stdout = "Inst libc6 [2.41-12] (2.41-12+deb13u1 Debian:13.2/stable [amd64])\n\
            Inst podman [5.4.2+ds1-2+b1] (5.4.2+ds1-3 Debian:13.2/stable [amd64]) []\n\
            Inst new-one (1.0 Debian:13.2/stable [amd64])\n\
            Conf libc6 (2.41-12+deb13u1 Debian:13.2/stable [amd64])\n";
        let output = Output { status: Some(0), stdout: stdout.as_bytes().to_vec(), ..Output::default() };
        let lines = parse_newer(&output).unwrap();
        assert_eq!(lines, ["libc6 2.41-12 2.41-12+deb13u1", "podman 5.4.2+ds1-2+b1 5.4.2+ds1-3"]);
        assert!(parse_newer(&Output { status: Some(100), ..Output::default() }).is_err());
    }
}
