//! TLS that says what it thinks of a certificate.

use std::{
    io::{self, Read as _, Write as _},
    sync::{Arc, OnceLock},
};

use matrix_podman_core::fact::{Certificate, Distrust, Tls};
use rustls::{
    CertificateError, ClientConfig, ClientConnection, DigitallySignedStruct, RootCertStore, SignatureScheme,
    StreamOwned,
    client::{
        WebPkiServerVerifier,
        danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier},
    },
    crypto::{CryptoProvider, ring, verify_tls12_signature, verify_tls13_signature},
    pki_types::{CertificateDer, ServerName, UnixTime, pem::PemObject as _},
};
use ureq::unversioned::transport::{
    Buffers, ConnectionDetails, Connector, Either, LazyBuffers, NextTimeout, Transport, TransportAdapter,
};

use super::{Noted, note};

/// Wraps connections for `https` in TLS.
#[derive(Debug)]
pub(super) struct Encryption {
    config: Arc<ClientConfig>,
    way: Noted,
}

impl Encryption {
    /// `strict` refuses what it does not trust, as it must before anything
    /// secret is sent; otherwise it is only noted.
    pub(super) fn new(ca: Option<&str>, strict: bool, way: Noted) -> Result<Self, String> {
        let provider = Arc::new(ring::default_provider());
        let mut roots = system_roots().clone();
        if let Some(pem) = ca {
            add(&mut roots, pem)?;
        }
        let judge = match roots.is_empty() {
            true => None,
            false => Some(
                WebPkiServerVerifier::builder_with_provider(Arc::new(roots), Arc::clone(&provider))
                    .build()
                    .map_err(|e| format!("the trusted certificates could not be used: {e}"))?,
            ),
        };
        let verifier =
            Arc::new(Verifier { judge, strict, provider: Arc::clone(&provider), way: Arc::clone(&way) });
        let config = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .map_err(|e| format!("TLS could not be set up: {e}"))?
            .dangerous()
            .with_custom_certificate_verifier(verifier)
            .with_no_client_auth();
        Ok(Self { config: Arc::new(config), way })
    }
}

/// What this system trusts, read once.
fn system_roots() -> &'static RootCertStore {
    static ROOTS: OnceLock<RootCertStore> = OnceLock::new();
    ROOTS.get_or_init(|| {
        let mut roots = RootCertStore::empty();
        roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
        roots
    })
}

/// How many certificates there are in `pem`; an error when it cannot be used.
pub fn certificates_in(pem: &str) -> Result<usize, String> {
    add(&mut RootCertStore::empty(), pem)
}

fn add(roots: &mut RootCertStore, pem: &str) -> Result<usize, String> {
    let mut count = 0;
    for certificate in CertificateDer::pem_slice_iter(pem.as_bytes()) {
        let certificate = certificate.map_err(|e| format!("the certificates given: {e}"))?;
        roots.add(certificate).map_err(|e| format!("the certificates given: {e}"))?;
        count += 1;
    }
    if count == 0 {
        return Err("there is no certificate in PEM form in it".to_owned());
    }
    Ok(count)
}

impl<In: Transport> Connector<In> for Encryption {
    type Out = Either<In, Encrypted<In>>;

    fn connect(
        &self,
        details: &ConnectionDetails<'_>,
        chained: Option<In>,
    ) -> Result<Option<Self::Out>, ureq::Error> {
        let Some(transport) = chained else { return Ok(None) };
        if !details.needs_tls() {
            return Ok(Some(Either::A(transport)));
        }
        let host = details.uri.host().unwrap_or_default();
        let host = host.trim_start_matches('[').trim_end_matches(']').to_owned();
        let name = ServerName::try_from(host).map_err(|_| ureq::Error::BadUri(details.uri.to_string()))?;
        let mut connection = ClientConnection::new(Arc::clone(&self.config), name)
            .map_err(|e| ureq::Error::Io(io::Error::other(e)))?;
        let mut socket = TransportAdapter::new(transport, Arc::clone(&details.current_time));
        socket.set_timeout(details.timeout);
        if let Err(error) = connection.complete_io(&mut socket) {
            note(&self.way, |way| way.why = in_words(&error));
            return Err(ureq::Error::Io(error));
        }
        note(&self.way, |way| {
            way.encrypted = true;
            if let Some(tls) = &mut way.tls {
                tls.version = connection.protocol_version().map(version).unwrap_or_default();
                tls.cipher = connection
                    .negotiated_cipher_suite()
                    .and_then(|suite| suite.suite().as_str())
                    .unwrap_or_default()
                    .to_owned();
            }
        });
        let buffers =
            LazyBuffers::new(details.config.input_buffer_size(), details.config.output_buffer_size());
        Ok(Some(Either::B(Encrypted { buffers, stream: StreamOwned::new(connection, socket) })))
    }
}

fn version(version: rustls::ProtocolVersion) -> String {
    match version {
        rustls::ProtocolVersion::TLSv1_3 => "TLS 1.3".to_owned(),
        rustls::ProtocolVersion::TLSv1_2 => "TLS 1.2".to_owned(),
        other => format!("{other:?}"),
    }
}

/// Why a handshake failed, where that can be said in a sentence.
fn in_words(error: &io::Error) -> Option<String> {
    if error.kind() == io::ErrorKind::UnexpectedEof {
        return Some("connected, but the other end hangs up when TLS begins".to_owned());
    }
    let rustls = error.get_ref()?.downcast_ref::<rustls::Error>()?;
    Some(match rustls {
        rustls::Error::InvalidMessage(_) => "connected, but what answers there does not speak TLS".to_owned(),
        rustls::Error::AlertReceived(rustls::AlertDescription::UnrecognisedName) => {
            "connected, but it has no certificate for that name and refuses it".to_owned()
        }
        rustls::Error::AlertReceived(rustls::AlertDescription::ProtocolVersion)
        | rustls::Error::PeerIncompatible(_) => {
            "connected, but it offers no version of TLS from 1.2 on".to_owned()
        }
        rustls::Error::AlertReceived(alert) => {
            format!("connected, but it refuses TLS for that name ({alert:?})")
        }
        other => format!("connected, but TLS does not come about: {other}"),
    })
}

/// An encrypted connection.
pub(super) struct Encrypted<In: Transport> {
    buffers: LazyBuffers,
    stream: StreamOwned<ClientConnection, TransportAdapter<In>>,
}

impl<In: Transport> std::fmt::Debug for Encrypted<In> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Encrypted")
    }
}

impl<In: Transport> Transport for Encrypted<In> {
    fn buffers(&mut self) -> &mut dyn Buffers {
        &mut self.buffers
    }

    fn transmit_output(&mut self, amount: usize, timeout: NextTimeout) -> Result<(), ureq::Error> {
        self.stream.sock.set_timeout(timeout);
        let output = &self.buffers.output()[..amount];
        Ok(self.stream.write_all(output)?)
    }

    fn await_input(&mut self, timeout: NextTimeout) -> Result<bool, ureq::Error> {
        self.stream.sock.set_timeout(timeout);
        let amount = self.stream.read(self.buffers.input_append_buf())?;
        self.buffers.input_appended(amount);
        Ok(amount > 0)
    }

    fn is_open(&mut self) -> bool {
        self.stream.sock.get_mut().is_open()
    }

    fn is_tls(&self) -> bool {
        true
    }
}

/// Judges certificates as every client would, and notes the judgement.
#[derive(Debug)]
struct Verifier {
    judge: Option<Arc<WebPkiServerVerifier>>,
    strict: bool,
    provider: Arc<CryptoProvider>,
    way: Noted,
}

impl ServerCertVerifier for Verifier {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        let judged = match &self.judge {
            Some(judge) => {
                judge.verify_server_cert(end_entity, intermediates, server_name, ocsp_response, now).map(drop)
            }
            None => Err(rustls::Error::InvalidCertificate(CertificateError::UnknownIssuer)),
        };
        let distrust = judged.as_ref().err().map(distrust);
        let why = distrust
            .as_ref()
            .map(|d| format!("its certificate is not accepted ({d:?}), so nothing secret is sent"));
        note(&self.way, |way| {
            way.tls = Some(Tls {
                version: String::new(),
                cipher: String::new(),
                distrust,
                certificate: certificate(end_entity),
            });
        });
        match (judged, self.strict) {
            (Err(error), true) => {
                note(&self.way, |way| way.why = why);
                Err(error)
            }
            _ => Ok(ServerCertVerified::assertion()),
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls12_signature(message, cert, dss, &self.provider.signature_verification_algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls13_signature(message, cert, dss, &self.provider.signature_verification_algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider.signature_verification_algorithms.supported_schemes()
    }
}

fn distrust(error: &rustls::Error) -> Distrust {
    let rustls::Error::InvalidCertificate(error) = error else {
        return Distrust::Other(error.to_string());
    };
    match error {
        CertificateError::Expired | CertificateError::ExpiredContext { .. } => Distrust::Expired,
        CertificateError::NotValidYet | CertificateError::NotValidYetContext { .. } => Distrust::NotYetValid,
        CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. } => {
            Distrust::WrongName
        }
        CertificateError::UnknownIssuer => Distrust::UnknownIssuer,
        other => Distrust::Other(other.to_string()),
    }
}

fn certificate(der: &CertificateDer<'_>) -> Option<Certificate> {
    use x509_parser::{extensions::GeneralName, prelude::FromDer as _};
    let (_, read) = x509_parser::certificate::X509Certificate::from_der(der.as_ref()).ok()?;
    let issuer = read.issuer();
    let issuer = issuer
        .iter_organization()
        .chain(issuer.iter_common_name())
        .filter_map(|part| part.as_str().ok())
        .collect::<Vec<_>>()
        .join(" ");
    let names = read.subject_alternative_name().ok().flatten();
    let names = names.map(|names| names.value.general_names.iter()).into_iter().flatten();
    let names = names.filter_map(|name| match name {
        GeneralName::DNSName(name) => Some((*name).to_owned()),
        GeneralName::IPAddress(bytes) => match bytes.len() {
            4 => <[u8; 4]>::try_from(*bytes).ok().map(|b| std::net::IpAddr::from(b).to_string()),
            _ => <[u8; 16]>::try_from(*bytes).ok().map(|b| std::net::IpAddr::from(b).to_string()),
        },
        _ => None,
    });
    Some(Certificate {
        issuer,
        names: names.collect(),
        not_before: read.validity().not_before.timestamp(),
        not_after: read.validity().not_after.timestamp(),
    })
}
