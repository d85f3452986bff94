use std::{
    io::{BufRead as _, BufReader, Write as _},
    net::TcpListener,
    sync::mpsc,
};

use matrix_podman_core::fact::Distrust;
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair, date_time_ymd};
use rustls::{ServerConfig, ServerConnection, StreamOwned, crypto::ring};

use super::*;

/// A CA of the test's own.
struct Ca(CertifiedIssuer<'static, KeyPair>);

impl Ca {
    fn new() -> Self {
        Self::called("CA of the test")
    }

    fn called(name: &str) -> Self {
        let mut params = CertificateParams::default();
        params.distinguished_name.push(rcgen::DnType::CommonName, name);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        Self(CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap())
    }

    fn pem(&self) -> String {
        self.0.pem()
    }

    /// TLS of a server with a certificate for `name`, valid in these years.
    fn server(&self, name: &str, years: (i32, i32)) -> Arc<ServerConfig> {
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::new([name.to_owned()]).unwrap();
        params.not_before = date_time_ymd(years.0, 1, 1);
        params.not_after = date_time_ymd(years.1, 1, 1);
        let certificate = params.signed_by(&key, &self.0).unwrap();
        let config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(vec![certificate.der().clone()], key.serialize_der().try_into().unwrap())
            .unwrap();
        Arc::new(config)
    }
}

/// A server for one connection, which answers with `answer` to whatever comes,
/// and hands over the head that it read and the name that TLS began with.
fn serve(
    tls: Option<Arc<ServerConfig>>,
    answer: &'static str,
) -> (SocketAddr, mpsc::Receiver<(String, Option<String>)>) {
    fn exchange(stream: &mut (impl Read + io::Write), answer: &str) -> String {
        let mut reader = BufReader::new(stream);
        let mut head = String::new();
        while reader.read_line(&mut head).is_ok_and(|n| n > 2) {}
        let _ = reader.into_inner().write_all(answer.as_bytes());
        head
    }
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let (to, heads) = mpsc::channel();
    std::thread::spawn(move || {
        let Ok((mut tcp, _)) = listener.accept() else { return };
        match tls {
            None => {
                let head = exchange(&mut tcp, answer);
                let _ = to.send((head, None));
            }
            Some(config) => {
                let mut stream = StreamOwned::new(ServerConnection::new(config).unwrap(), tcp);
                let head = exchange(&mut stream, answer);
                let name = stream.conn.server_name().map(str::to_owned);
                stream.conn.send_close_notify();
                let _ = stream.flush();
                let _ = to.send((head, name));
            }
        }
    });
    (address, heads)
}

const OK: &str = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\nX-One: 1\r\nx-one: 2\r\n\r\n{}";

fn question(url: &str, at: SocketAddr, ca: Option<&Ca>) -> HttpQuestion {
    HttpQuestion { at: Some(at), ca: ca.map(Ca::pem), patience: 5, ..HttpQuestion::get(url) }
}

fn answered(question: &HttpQuestion) -> HttpReply {
    match ask(question).unwrap() {
        HttpAnswer::Answered(reply) => *reply,
        HttpAnswer::Silent(silence) => panic!("{silence:?}"),
    }
}

fn silent(question: &HttpQuestion) -> Silence {
    match ask(question).unwrap() {
        HttpAnswer::Silent(silence) => silence,
        HttpAnswer::Answered(reply) => panic!("{reply:?}"),
    }
}

#[test]
fn a_server_is_asked_at_an_address_under_a_name() {
    let ca = Ca::new();
    let (at, heads) = serve(Some(ca.server("a.example", (2020, 2090))), OK);
    let mut question = question("https://a.example:8448/_matrix/key/v2/server", at, Some(&ca));
    question.host = Some("a.example".to_owned());
    let reply = answered(&question);
    assert_eq!((reply.status, reply.body.as_deref(), reply.address), (200, Some("{}"), at));
    assert_eq!(reply.headers["x-one"], "1, 2");
    let tls = reply.tls.unwrap();
    assert_eq!((tls.distrust, tls.version.as_str()), (None, "TLS 1.3"));
    let certificate = tls.certificate.unwrap();
    assert_eq!(
        (certificate.names, certificate.issuer.as_str()),
        (vec!["a.example".to_owned()], "CA of the test")
    );
    assert_eq!(certificate.not_after, 3_786_912_000);
    let (head, name) = heads.recv().unwrap();
    assert!(head.starts_with("GET /_matrix/key/v2/server HTTP/1.1\r\n"), "{head}");
    assert_eq!(head.to_ascii_lowercase().matches("host: a.example\r\n").count(), 1, "{head}");
    assert_eq!(name.as_deref(), Some("a.example"), "the name that TLS begins with");
}

#[test]
fn flaws_of_certificates_are_told_and_the_answer_is_read_all_the_same() {
    let (ca, stranger) = (Ca::new(), Ca::called("another CA"));
    for (server, trusted, wanted) in [
        (ca.server("a.example", (2020, 2021)), &ca, Distrust::Expired),
        (ca.server("a.example", (2088, 2090)), &ca, Distrust::NotYetValid),
        (ca.server("b.example", (2020, 2090)), &ca, Distrust::WrongName),
        (ca.server("a.example", (2020, 2090)), &stranger, Distrust::UnknownIssuer),
    ] {
        let (at, _heads) = serve(Some(server), OK);
        let reply = answered(&question("https://a.example/", at, Some(trusted)));
        assert_eq!(reply.tls.unwrap().distrust, Some(wanted));
    }
}

#[test]
fn a_token_is_sent_only_where_the_certificate_holds() {
    let ca = Ca::new();
    for (name, sent) in [("a.example", true), ("b.example", false)] {
        let (at, heads) = serve(Some(ca.server(name, (2020, 2090))), OK);
        let answer = ask_as(&question("https://a.example/", at, Some(&ca)), Some("token")).unwrap();
        assert_eq!(matches!(answer, HttpAnswer::Answered(_)), sent, "{answer:?}");
        assert_eq!(heads.recv().unwrap().0.contains("Bearer token"), sent);
    }
}

#[test]
fn an_address_is_certified_as_an_address() {
    let ca = Ca::new();
    let (at, heads) = serve(Some(ca.server("127.0.0.1", (2020, 2090))), OK);
    let reply = answered(&question("https://127.0.0.1/", at, Some(&ca)));
    assert_eq!(reply.tls.unwrap().distrust, None);
    assert_eq!(heads.recv().unwrap().1, None, "an address is no name to begin TLS with");
}

#[test]
fn whoever_does_not_answer_is_told_of_in_a_sentence() {
    let nobody = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let silence = silent(&question("https://a.example/", nobody, None));
    assert_eq!(
        (silence.stage, silence.why.as_str()),
        (Stage::Connect, "no connection: nothing listens there")
    );
    let (plain, _heads) = serve(None, "HTTP/1.1 400 Bad Request\r\n\r\n");
    let silence = self::silent(&question("https://a.example/", plain, None));
    assert_eq!(silence.stage, Stage::Tls);
    let (mute, _heads) = serve(None, "");
    let silence = self::silent(&question("http://a.example/", mute, None));
    assert_eq!(silence.stage, Stage::Cut);
    let listening = TcpListener::bind("127.0.0.1:0").unwrap();
    let mut question = question("https://a.example/", listening.local_addr().unwrap(), None);
    question.patience = 1;
    let silence = self::silent(&question);
    assert_eq!((silence.stage, silence.why.as_str()), (Stage::Tls, "connected, but nobody begins TLS there"));
}

#[test]
fn redirections_are_told_not_followed() {
    let (at, _heads) = serve(None, "HTTP/1.1 302 Found\r\nLocation: /there\r\nContent-Length: 0\r\n\r\n");
    let reply = answered(&question("http://a.example/", at, None));
    assert_eq!((reply.status, reply.headers["location"].as_str()), (302, "/there"));
}

#[test]
fn an_announced_body_is_refused_or_not() {
    let post = |at, body| HttpQuestion {
        method: HttpMethod::Post,
        body,
        ..question("http://a.example/upload", at, None)
    };
    let (refusing, heads) =
        serve(None, "HTTP/1.1 413 Too Large\r\nContent-Length: 0\r\nConnection: close\r\n\r\n");
    assert_eq!(answered(&post(refusing, HttpBody::Announced(1 << 30))).status, 413);
    let (head, _) = heads.recv().unwrap();
    assert!(head.to_ascii_lowercase().contains("content-length: 1073741824\r\n"), "{head}");
    assert!(head.to_ascii_lowercase().contains("expect: 100-continue\r\n"), "{head}");
    let (willing, _heads) = serve(None, "HTTP/1.1 100 Continue\r\n\r\n");
    assert_eq!(answered(&post(willing, HttpBody::Announced(1 << 30))).status, 100);
}

#[test]
fn certificates_given_are_looked_at() {
    assert_eq!(certificates_in(&Ca::new().pem()), Ok(1));
    for bad in ["", "nothing", "-----BEGIN CERTIFICATE-----\nMIIB\n-----END CERTIFICATE-----\n"] {
        assert!(certificates_in(bad).is_err(), "{bad}");
    }
}
