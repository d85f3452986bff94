//! Names: addresses as the system resolves them, SRV records from the name
//! servers of /etc/resolv.conf.

use std::{
    collections::BTreeSet,
    io::{Read as _, Write as _},
    net::{IpAddr, SocketAddr, TcpStream, ToSocketAddrs as _, UdpSocket},
    sync::mpsc,
    time::{Duration, Instant},
};

use hickory_proto::{
    op::{Message, Query, ResponseCode},
    rr::{Name, RData, RecordType},
};
use matrix_podman_core::{
    fact::{NameAddresses, SrvRecord},
    federation::MOST_TARGETS,
};

/// How long looking a name up may take.
const PATIENCE: Duration = Duration::from_secs(8);
/// How long one name server may take.
const ONE_SERVER: Duration = Duration::from_secs(3);

/// How many records of one name are kept, so that a name with too many is seen to
/// have them.
const KEPT_TARGETS: usize = 64;

/// All addresses of `name`, in the order in which they should be tried; none
/// when there is no such name. /etc/hosts counts, as everywhere.
pub(super) fn addresses(name: &str) -> Result<NameAddresses, String> {
    let (to, answer) = mpsc::channel();
    let asked = name.to_owned();
    // The system's resolver takes no deadline; a thread that it keeps is left behind.
    std::thread::spawn(move || {
        let _ = to.send((asked.as_str(), 0).to_socket_addrs().map(Iterator::collect::<Vec<_>>));
    });
    match answer.recv_timeout(PATIENCE) {
        Err(_) => Err(format!("the name servers gave no answer in {} s", PATIENCE.as_secs())),
        Ok(Err(e)) if is_temporary(&e.to_string()) => Err("the name servers gave no answer".to_owned()),
        Ok(Err(_)) => Ok(NameAddresses { addresses: Vec::new() }),
        Ok(Ok(found)) => {
            let mut seen = BTreeSet::new();
            let addresses =
                found.iter().map(SocketAddr::ip).filter(|ip| seen.insert(*ip)).take(KEPT_TARGETS).collect();
            Ok(NameAddresses { addresses })
        }
    }
}

/// `EAI_AGAIN` and `EAI_FAIL`, as glibc words them: nothing is known of the name.
fn is_temporary(error: &str) -> bool {
    error.contains("Temporary failure") || error.contains("Non-recoverable failure")
}

/// The SRV records of `name`; none when it has none.
pub(super) fn srv(name: &str) -> Result<Vec<SrvRecord>, String> {
    let servers = name_servers();
    let answer = query(name, RecordType::SRV, &servers)?;
    let mut records: Vec<SrvRecord> = answer
        .answers
        .iter()
        .filter_map(|record| match &record.data {
            RData::SRV(srv) => Some(SrvRecord {
                priority: srv.priority,
                weight: srv.weight,
                port: srv.port,
                target: srv.target.to_ascii().trim_end_matches('.').to_owned(),
                alias: false,
            }),
            _ => None,
        })
        .collect();
    records.sort();
    let deadline = Instant::now() + PATIENCE;
    // Whoever names thousands wants somebody else to be asked for them.
    for record in records
        .iter_mut()
        .take(MOST_TARGETS)
        .take_while(|_| Instant::now() < deadline)
        .filter(|record| !record.target.is_empty())
    {
        record.alias = query(&record.target, RecordType::CNAME, &servers)
            .is_ok_and(|answer| answer.answers.iter().any(|r| matches!(r.data, RData::CNAME(_))));
    }
    records.truncate(KEPT_TARGETS);
    Ok(records)
}

fn name_servers() -> Vec<SocketAddr> {
    let text = std::fs::read_to_string("/etc/resolv.conf").unwrap_or_default();
    let mut servers: Vec<SocketAddr> = text
        .lines()
        .filter_map(|line| {
            let mut words = line.split_whitespace();
            (words.next() == Some("nameserver")).then(|| words.next()?.parse::<IpAddr>().ok()).flatten()
        })
        .map(|address| SocketAddr::new(address, 53))
        .collect();
    if servers.is_empty() {
        // What the C library does.
        servers.push(SocketAddr::from(([127, 0, 0, 1], 53)));
    }
    servers
}

/// Asks one server after the other, twice, until one knows.
fn query(name: &str, kind: RecordType, servers: &[SocketAddr]) -> Result<Message, String> {
    let name = Name::from_ascii(format!("{}.", name.trim_end_matches('.'))).map_err(|e| e.to_string())?;
    let deadline = Instant::now() + PATIENCE;
    let mut why = String::new();
    for server in servers.iter().chain(servers) {
        if Instant::now() >= deadline {
            break;
        }
        let mut message = Message::query();
        message.metadata.recursion_desired = true;
        message.add_query(Query::query(name.clone(), kind));
        match exchange(&message, *server) {
            Ok(answer) => match answer.metadata.response_code {
                ResponseCode::NoError | ResponseCode::NXDomain => return Ok(answer),
                code => why = format!("the name server {} answers {code}", server.ip()),
            },
            Err(e) => why = format!("the name server {} gave no answer ({e})", server.ip()),
        }
    }
    Err(why)
}

fn exchange(message: &Message, server: SocketAddr) -> std::io::Result<Message> {
    let bytes = message.to_vec().map_err(std::io::Error::other)?;
    let any: SocketAddr = if server.is_ipv4() { ([0, 0, 0, 0], 0).into() } else { ([0u16; 8], 0).into() };
    let socket = UdpSocket::bind(any)?;
    socket.connect(server)?;
    socket.set_read_timeout(Some(ONE_SERVER))?;
    socket.send(&bytes)?;
    let mut buffer = vec![0; 4096];
    let until = Instant::now() + ONE_SERVER;
    loop {
        let count = socket.recv(&mut buffer)?;
        match Message::from_vec(&buffer[..count]) {
            Ok(answer) if answer.metadata.id == message.metadata.id => {
                if answer.metadata.truncation {
                    return exchange_tcp(&bytes, server);
                }
                return Ok(answer);
            }
            // Somebody else's answer, or noise.
            _ if Instant::now() < until => {}
            _ => return Err(std::io::ErrorKind::TimedOut.into()),
        }
    }
}

/// Answers that do not fit into a datagram come over TCP, with their length
/// before them (RFC 1035, 4.2.2).
fn exchange_tcp(bytes: &[u8], server: SocketAddr) -> std::io::Result<Message> {
    let deadline = Instant::now() + ONE_SERVER;
    let mut stream = TcpStream::connect_timeout(&server, ONE_SERVER)?;
    stream.set_write_timeout(Some(ONE_SERVER))?;
    let length = u16::try_from(bytes.len()).map_err(std::io::Error::other)?;
    stream.write_all(&[&length.to_be_bytes(), bytes].concat())?;
    let mut length = [0; 2];
    read_within(&mut stream, &mut length, deadline)?;
    let mut answer = vec![0; usize::from(u16::from_be_bytes(length))];
    read_within(&mut stream, &mut answer, deadline)?;
    Message::from_vec(&answer).map_err(std::io::Error::other)
}

/// Fills `buffer`: one deadline for all of it, however slowly it trickles in.
fn read_within(stream: &mut TcpStream, buffer: &mut [u8], deadline: Instant) -> std::io::Result<()> {
    let mut filled = 0;
    while filled < buffer.len() {
        let left = deadline.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Err(std::io::ErrorKind::TimedOut.into());
        }
        stream.set_read_timeout(Some(left))?;
        match stream.read(&mut buffer[filled..])? {
            0 => return Err(std::io::ErrorKind::UnexpectedEof.into()),
            count => filled += count,
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_this_machine() {
        let found = addresses("localhost").unwrap();
        assert!(found.addresses.iter().all(IpAddr::is_loopback) && !found.addresses.is_empty());
        assert_eq!(addresses("127.0.0.1").unwrap().addresses.len(), 1);
    }

    #[test]
    fn an_answer_that_trickles_in_has_one_deadline() {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let server = listener.local_addr().unwrap();
        std::thread::spawn(move || {
            let mut stream = listener.accept().unwrap().0;
            // As long as any, and one byte each half second.
            let mut byte = [0xff];
            while stream.write_all(&byte).is_ok() {
                std::thread::sleep(Duration::from_millis(500));
                byte = [0];
            }
        });
        let started = Instant::now();
        assert!(exchange_tcp(b"x", server).is_err());
        assert!(started.elapsed() < ONE_SERVER + Duration::from_secs(2), "{:?}", started.elapsed());
    }

    #[test]
    fn errors_of_the_c_library() {
        assert!(is_temporary("failed to lookup address information: Temporary failure in name resolution"));
        assert!(!is_temporary("failed to lookup address information: Name or service not known"));
    }
}
