//! `[edge]`, `[edge.cloudflare]` and `[edge.npm]`: the way in.

use super::{Fixed, Follows, Key};
use crate::config::{
    CertificateChoice, ZoneChoice, ZoneSetting,
    types::{Email, EnvName, List, NetworkCidr, NetworkCidr4, SecretPath, ServiceUrl, Words},
};

super::keys! {
    PROXIES: Key<List<NetworkCidr4>, Follows> = Key {
        path: "edge.proxies",
        fallback: Follows("the host of edge.npm.address where that is an address, and nobody otherwise"),
        of: |c| Some(List(c.edge.proxies.iter().copied().map(NetworkCidr4).collect())),
        example: r#"["192.168.1.5/32"]"#,
        doc: "Where reverse proxies speak to the guest from. They and the guest's machine alone reach ports.synapse and \
              ports.web, and what they say about people's addresses is believed. A proxy in a container on the \
              machine has the address of that container's network, such as 172.17.0.0/16.",
        init: true,
    };
    TUNNEL: Key<Words, Follows> = Key {
        path: "edge.cloudflare.tunnel",
        fallback: Follows("Cloudflare is left alone"),
        of: |c| c.edge.cloudflare.as_ref().map(|cf| Words(cf.tunnel.clone())),
        example: r#""home""#,
        doc: "Name or id of the Cloudflare tunnel that leads here. With it, routes, DNS records and a cache rule at \
              Cloudflare belong to the plan.",
        init: true,
    };
    CREATE_TUNNEL: Key<bool> = Key {
        path: "edge.cloudflare.create_tunnel",
        fallback: Fixed(|| false),
        of: |c| c.edge.cloudflare.as_ref().map(|cf| cf.create_tunnel),
        example: "true",
        doc: "Whether the tunnel is made when there is none of that name. The token for cloudflared is then written \
              to a file that only root reads, and never shown.",
        init: false,
    };
    ZONE: Key<ZoneChoice, Follows> = Key {
        path: "edge.cloudflare.zone",
        fallback: Follows("the domain"),
        of: |c| c.edge.cloudflare.as_ref().map(|cf| cf.zone.clone()),
        example: r#""home.arpa""#,
        doc: "The zone at Cloudflare that the public names are in, by name or id. It is named where the domain is a part of \
              a zone, or where several accounts have a zone of that name.",
        init: false,
    };
    CLOUDFLARE_TOKEN_FILE: Key<SecretPath, Follows> = Key {
        path: "edge.cloudflare.token_file",
        fallback: Follows("none; the token is then taken from the environment"),
        of: |c| c.edge.cloudflare.as_ref().and_then(|cf| cf.token.file.clone().map(SecretPath)),
        example: r#""/root/cloudflare-token""#,
        doc: "File on the machine that holds an API token for Cloudflare, readable by its owner alone. The token \
              itself never stands in this file.",
        init: true,
    };
    CLOUDFLARE_TOKEN_VARIABLE: Key<EnvName> = Key {
        path: "edge.cloudflare.token_variable",
        fallback: Fixed(|| EnvName("CLOUDFLARE_API_TOKEN".to_owned())),
        of: |c| c.edge.cloudflare.as_ref().map(|cf| EnvName(cf.token.variable.clone())),
        example: r#""CF_TOKEN_MATRIX""#,
        doc: "Environment variable that holds the token where no token_file is named.",
        init: false,
    };
    SERVICE: Key<ServiceUrl, Follows> = Key {
        path: "edge.cloudflare.service",
        fallback: Follows("port 443 of the machine in edge.npm.address, port 80 where NPM has no certificate"),
        of: |c| c.edge.service().map(|service| ServiceUrl(service.to_owned())),
        example: r#""https://192.168.1.5""#,
        doc: "Where the tunnel delivers: the reverse proxy, as cloudflared reaches it. With connectors and without \
              tunnel, it says where a tunnel delivers that is set up by hand.",
        init: false,
    };
    VERIFY_ORIGIN: Key<bool> = Key {
        path: "edge.cloudflare.verify_origin",
        fallback: Fixed(|| true),
        of: |c| c.edge.cloudflare.as_ref().map(|cf| cf.verify_origin),
        example: "false",
        doc: "Whether cloudflared checks the reverse proxy's certificate. It has to be false where the certificate \
              is self-signed.",
        init: false,
    };
    CONNECTORS: Key<List<NetworkCidr>> = Key {
        path: "edge.cloudflare.connectors",
        fallback: Fixed(|| List(NetworkCidr::private())),
        of: |c| c.edge.connectors.as_ref().map(|all| List(all.iter().copied().map(NetworkCidr).collect())),
        example: r#"["192.168.1.7/32"]"#,
        doc: "Networks that cloudflared connects to the reverse proxy from. Only what comes from there is believed \
              about people's addresses. Name cloudflared's own address where people share a network with the proxy. \
              Written without tunnel, it says that a tunnel which is set up by hand leads to the proxy.",
        init: false,
    };
    CACHE_RULE: Key<bool> = Key {
        path: "edge.cloudflare.cache_rule",
        fallback: Fixed(|| true),
        of: |c| c.edge.cloudflare.as_ref().map(|cf| cf.cache_rule),
        example: "false",
        doc: "Whether a rule keeps Cloudflare from storing what the Matrix server sends. Other rules stay as they are.",
        init: false,
    };
    ZONE_SETTINGS: Key<List<ZoneSetting>> = Key {
        path: "edge.cloudflare.zone_settings",
        fallback: Fixed(|| List(Vec::new())),
        of: |c| c.edge.cloudflare.as_ref().map(|cf| List(cf.zone_settings.clone())),
        example: r#"["ssl", "always_use_https", "min_tls_version"]"#,
        doc: "Settings of the whole zone that may be changed: ssl to full, always_use_https to on, min_tls_version to \
              1.2. They concern every name in the zone, so none is touched unless it is named here.",
        init: false,
    };
    NPM_ADDRESS: Key<ServiceUrl, Follows> = Key {
        path: "edge.npm.address",
        fallback: Follows("Nginx Proxy Manager is left alone"),
        of: |c| c.edge.npm.as_ref().map(|npm| ServiceUrl(npm.address.clone())),
        example: r#""http://192.168.1.5:81""#,
        doc: "Where Nginx Proxy Manager (NPM) is administered, as this machine reaches it. With it, both proxy hosts \
              there belong to the plan.",
        init: true,
    };
    NPM_IDENTITY: Key<Email, Follows> = Key {
        path: "edge.npm.identity",
        fallback: Follows("none; needed with address"),
        of: |c| c.edge.npm.as_ref().map(|npm| Email(npm.identity.clone())),
        example: r#""admin@chat.home.arpa""#,
        doc: "The e-mail address that one logs in to NPM with. A user of its own for this program can be taken away \
              again.",
        init: true,
    };
    NPM_SECRET_FILE: Key<SecretPath, Follows> = Key {
        path: "edge.npm.secret_file",
        fallback: Follows("none; the password is then taken from the environment"),
        of: |c| c.edge.npm.as_ref().and_then(|npm| npm.secret.file.clone().map(SecretPath)),
        example: r#""/root/npm-password""#,
        doc: "File on the machine that holds NPM's password, readable by its owner alone. The password itself never \
              stands in this file.",
        init: true,
    };
    NPM_SECRET_VARIABLE: Key<EnvName> = Key {
        path: "edge.npm.secret_variable",
        fallback: Fixed(|| EnvName("NPM_PASSWORD".to_owned())),
        of: |c| c.edge.npm.as_ref().map(|npm| EnvName(npm.secret.variable.clone())),
        example: r#""NPM_SECRET""#,
        doc: "Environment variable that holds the password where no secret_file is named.",
        init: false,
    };
    NPM_CERTIFICATE: Key<CertificateChoice> = Key {
        path: "edge.npm.certificate",
        fallback: Fixed(|| CertificateChoice::Request),
        of: |c| c.edge.npm.as_ref().map(|npm| npm.certificate),
        example: r#""existing""#,
        doc: "Where the proxy hosts' certificate comes from: existing takes one that NPM has, request takes one that \
              NPM has or has it ask Let's Encrypt through Cloudflare's DNS, none leaves the hosts without one.",
        init: false,
    };
    NPM_CERTIFICATE_NAME: Key<Words, Follows> = Key {
        path: "edge.npm.certificate_name",
        fallback: Follows("the one that names the host and is valid longest"),
        of: |c| c.edge.npm.as_ref().and_then(|npm| npm.certificate_name.clone().map(Words)),
        example: r#""Cloudflare Origin""#,
        doc: "Name or number of the certificate in NPM that the proxy hosts get, whatever names NPM shows for it. Of an \
              uploaded certificate, such as one of Cloudflare's Origin CA, NPM knows the common name alone.",
        init: false,
    };
    NPM_DNS_TOKEN_FILE: Key<SecretPath, Follows> = Key {
        path: "edge.npm.dns_token_file",
        fallback: Follows("none; the token is then taken from the environment"),
        of: |c| c.edge.npm.as_ref().and_then(|npm| npm.dns_token.file.clone().map(SecretPath)),
        example: r#""/root/cloudflare-dns-token""#,
        doc: "File on the machine with a Cloudflare token that may edit the zone's DNS and nothing else, for \
              certificate = \"request\". NPM keeps it, to renew the certificate; the token itself never stands in \
              this file.",
        init: false,
    };
    NPM_DNS_TOKEN_VARIABLE: Key<EnvName> = Key {
        path: "edge.npm.dns_token_variable",
        fallback: Fixed(|| EnvName("CLOUDFLARE_DNS_TOKEN".to_owned())),
        of: |c| c.edge.npm.as_ref().map(|npm| EnvName(npm.dns_token.variable.clone())),
        example: r#""CF_DNS_TOKEN""#,
        doc: "Environment variable that holds that token where no dns_token_file is named.",
        init: false,
    };
    NPM_FORWARD_HOST: Key<Words, Follows> = Key {
        path: "edge.npm.forward_host",
        fallback: Follows("the guest's address"),
        of: |c| c.edge.npm.as_ref().and_then(|npm| npm.forward_host.clone().map(Words)),
        example: r#""192.168.1.20""#,
        doc: "Name or address of the guest as NPM reaches it, where that is another than this machine sees.",
        init: false,
    };
    NPM_SERVES_AT: Key<ServiceUrl, Follows> = Key {
        path: "edge.npm.serves_at",
        fallback: Follows("where the tunnel delivers, else port 443 of the machine in address"),
        of: |c| c.edge.npm.as_ref().and_then(|npm| npm.serves_at.clone().map(ServiceUrl)),
        example: r#""https://192.168.1.5:8443""#,
        doc: "Where NPM takes people in, as this machine reaches it. Whether a host is really served is looked at there.",
        init: false,
    };
    NPM_HSTS: Key<bool> = Key {
        path: "edge.npm.hsts",
        fallback: Fixed(|| false),
        of: |c| c.edge.npm.as_ref().map(|npm| npm.hsts),
        example: "true",
        doc: "Whether browsers are told never to come without HTTPS again. They remember it for two years.",
        init: false,
    };
}
