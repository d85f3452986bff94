//! The lines of a service's log that show why it failed.

/// How much of a line is kept.
const WIDTH: usize = 300;

/// The last `count` lines that the service itself wrote. What Podman and systemd
/// say around it is the same for every service that ends.
pub fn telling(lines: &[String], count: usize) -> Vec<String> {
    let own: Vec<&String> = lines.iter().filter(|line| !is_around(line)).collect();
    // A service that said nothing: what was said about it is all there is.
    let shown = if own.is_empty() { lines.iter().collect() } else { own };
    shown[shown.len().saturating_sub(count)..].iter().map(|line| line.chars().take(WIDTH).collect()).collect()
}

fn is_around(line: &str) -> bool {
    let line = line.trim();
    let is_id = line.len() == 64 && line.chars().all(|c| c.is_ascii_hexdigit());
    let podman =
        [" container ", " image "].iter().any(|word| line.contains(word)) && line.contains(" UTC m=+");
    let systemd = ["Failed to start ", "Starting ", "Started ", "Stopping ", "Stopped "]
        .iter()
        .any(|word| line.starts_with(word))
        || line.split_once(": ").is_some_and(|(unit, _)| unit.ends_with(".service") && !unit.contains(' '));
    line.is_empty() || is_id || podman || systemd || line.starts_with("conmon ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_stands_around_is_left_out() {
        let log = "Traceback (most recent call last):\n\
            AttributeError: 'super' object has no attribute 'startedConnecting'\n\
            \n\
            conmon 40a1a7e552ef52d70c06 <nwarn>: Failed to open cgroups file: /sys/fs/cgroup/memory.events\n\
            2026-11-23 14:16:59.312729709 +0000 UTC m=+0.044496026 container died 40a1a7e5 (image=localhost/x)\n\
            40a1a7e552ef52d70c0624f4d08cbdf63d2cc2d5fee5318518c6c64f169b07a8\n\
            synapse.service: Main process exited, code=exited, status=1/FAILURE\n\
            Failed to start synapse.service - Matrix: Synapse.\n\
            synapse.service: Consumed 2.314s CPU time.";
        let lines: Vec<String> = log.lines().map(|line| line.trim().to_owned()).collect();
        assert_eq!(telling(&lines, 12), lines[..2]);
        assert_eq!(telling(&lines, 1), lines[1..2]);
        assert_eq!(telling(&lines[6..], 2), lines[7..], "better than nothing");
        assert_eq!(telling(&["x".repeat(1000)], 12)[0].len(), WIDTH);
    }
}
