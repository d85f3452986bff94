//! What only a doctor asks.

use std::{
    collections::BTreeSet,
    fs,
    io::{Read as _, Write as _},
    net::{IpAddr, Ipv4Addr, SocketAddr, TcpStream, UdpSocket},
    os::unix::fs::MetadataExt as _,
    path::Path,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use matrix_podman_core::{
    fact::{Newest, Room},
    layout::{self, Secret},
    name::AbsPath,
    stack::Data,
};

use crate::{file, process::Program};

/// How long somebody may take to answer.
const PATIENCE: Duration = Duration::from_secs(5);

pub(super) fn room(path: &AbsPath) -> Result<Option<Room>, String> {
    match rustix::fs::statvfs(path.as_str()) {
        Ok(fs) => Ok(Some(Room {
            free: fs.f_bavail * fs.f_frsize,
            total: fs.f_blocks * fs.f_frsize,
            files_free: (fs.f_files > 0).then_some(fs.f_favail),
        })),
        Err(rustix::io::Errno::NOENT) => Ok(None),
        Err(error) => Err(format!("{path}: {error}")),
    }
}

pub(super) fn newest(files: &BTreeSet<AbsPath>) -> Newest {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |d| d.as_secs());
    let file = files
        .iter()
        .filter_map(|path| {
            let written = u64::try_from(file::meta(Path::new(path.as_str())).ok()?.mtime()).ok()?;
            Some((path.to_string(), written))
        })
        .max_by_key(|(_, written)| *written);
    Newest { now, file }
}

/// How often the kernel ended a process of that container for lack of memory:
/// counted by its control group, whichever version the machine has.
pub(super) fn oom_kills(name: &str) -> Option<u64> {
    [
        format!("/sys/fs/cgroup/lxc.payload.{name}/memory.events"),
        format!("/sys/fs/cgroup/lxc/{name}/memory.events"),
        format!("/sys/fs/cgroup/memory/lxc.payload.{name}/memory.oom_control"),
        format!("/sys/fs/cgroup/memory/lxc/{name}/memory.oom_control"),
    ]
    .into_iter()
    .filter_map(|file| fs::read_to_string(file).ok())
    .find_map(|text| text.lines().find_map(|line| line.strip_prefix("oom_kill ")?.trim().parse().ok()))
}

/// Speaks to Redis as Synapse does, from the guest, with the password that
/// Synapse reads. Its answer never holds that password.
pub(super) fn redis_ping() -> Result<String, String> {
    let format = "{{range .NetworkSettings.Networks}}{{.IPAddress}} {{end}}";
    let name = Data::Copies.keepers().first().map_or("", |service| service.name());
    let inspected = Program::new(["podman", "container", "inspect", "--format", format, name]).output();
    let address: IpAddr = String::from_utf8_lossy(&inspected.stdout)
        .split_whitespace()
        .next()
        .and_then(|text| text.parse().ok())
        .ok_or("Redis has no address")?;
    let path = layout::secret(Secret::REDIS);
    let password = fs::read_to_string(path.as_str()).map_err(|e| format!("{path}: {e}"))?;
    let speak = || -> std::io::Result<String> {
        let mut redis = TcpStream::connect_timeout(&SocketAddr::new(address, 6379), PATIENCE)?;
        redis.set_read_timeout(Some(PATIENCE))?;
        let password = password.trim();
        // RESP: an array of bulk strings (redis.io, "Redis serialization protocol").
        let ask = format!(
            "*2\r\n$4\r\nAUTH\r\n${}\r\n{password}\r\n*1\r\n$4\r\nPING\r\n*1\r\n$4\r\nQUIT\r\n",
            password.len()
        );
        redis.write_all(ask.as_bytes())?;
        let mut answers = String::new();
        redis.read_to_string(&mut answers)?;
        Ok(answers)
    };
    Ok(match speak() {
        // The first answer is to the password, the second to the question.
        Ok(answers) => {
            let mut lines = answers.lines();
            match lines.next() {
                Some("+OK") => lines.next().unwrap_or("nothing").to_owned(),
                Some(refusal) => refusal.to_owned(),
                None => "nothing".to_owned(),
            }
        }
        Err(error) => format!("nothing ({error})"),
    })
}

/// Whether a name server answers anything at all: asked for the root's own
/// servers, which every one knows or refuses in so many words.
pub(super) fn name_server(address: Ipv4Addr) -> bool {
    // Id, recursion wanted, one question; the root's name, type NS, class IN
    // (RFC 1035, 4.1).
    const QUESTION: [u8; 17] = [0x6d, 0x70, 1, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0, 2, 0, 1];
    let ask = || -> std::io::Result<bool> {
        let socket = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0))?;
        socket.connect((address, 53))?;
        socket.set_read_timeout(Some(Duration::from_secs(2)))?;
        socket.send(&QUESTION)?;
        let mut answer = [0; 512];
        Ok(socket.recv(&mut answer)? >= 12 && answer[..2] == QUESTION[..2])
    };
    // One packet may be lost.
    (0..2).any(|_| ask().unwrap_or(false))
}

/// `ed25519:a_XyZ`, as events name it; not the key itself.
pub(super) fn signing_key_id() -> Result<String, String> {
    let path = layout::secret(Secret::SIGNING_KEY);
    let text = fs::read_to_string(Path::new(path.as_str())).map_err(|e| format!("{path}: {e}"))?;
    let mut fields = text.split_whitespace();
    match (fields.next(), fields.next(), fields.next()) {
        (Some(algorithm), Some(version), Some(_)) => Ok(format!("{algorithm}:{version}")),
        _ => Err(format!("{path} does not hold a signing key")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn where_there_is_no_name_server_none_answers() {
        assert!(!name_server(Ipv4Addr::new(127, 0, 0, 253)));
    }

    #[test]
    fn the_clock_is_compared_with_files() {
        let own = AbsPath::parse("/proc/self/stat").unwrap();
        let clock = newest(&BTreeSet::from([own]));
        assert!(clock.now > 1_700_000_000 && clock.file.is_some());
    }
}
