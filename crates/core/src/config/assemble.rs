//! From single values to the [`Config`]: what the values mean together.

use super::{
    BackendChoice, Config, Extra, Guest, ImageChoice, Images, Notify, Ports, Postgres, Registration,
    SourceChoice, Synapse, Turn, Updates, Web, edge,
    keys::{
        AnyKey, Follows, Key, backup as backup_keys, extra as extra_keys, guest as guest_keys,
        images as image_keys,
        images::ImageKeys,
        notify as notify_keys, services as keys,
        site::{CHAT_URL, DOMAIN, HOST, MATRIX_URL, SERVER_NAME, TIMEZONE},
        update::{AUTO, HOLD, REHEARSE},
    },
    network, proxmox,
    read::{Got, Reader},
    types::{BuildVersion, Decides, ExtraSettings, Flaw, PublicUrl, RegistrationChoice, SigningKey},
};
use crate::{
    backup::{Backup, Keep, Limits, Repository, RepositoryName, Terms},
    name::{Domain, ServerName, Timezone},
    size::Bytes,
};

/// Reads everything; `None` only when there is no domain to build on, which
/// then is among the reader's mistakes.
pub(super) fn config(r: &mut Reader<'_>) -> Option<Config> {
    let domain = domain(r);
    let server_name = server_name(r, domain.as_ref());
    let timezone = timezone(r);
    let host = r.optional(&HOST).value;
    let urls = urls(r, domain.as_ref());
    let ports = Ports::checked(r);
    let (guest, memory) = guest(r);
    let proxmox = proxmox::proxmox(r, &guest);
    let images = images(r);
    let synapse = synapse(r);
    let postgres = postgres(r, memory);
    let turn = turn(r);
    let web = web(r);
    let update = Updates {
        auto: r.value(&AUTO).value,
        hold: r.value(&HOLD).value.0,
        rehearse: r.value(&REHEARSE).value,
    };
    let edge = edge::edge(r, domain.as_ref(), urls.as_ref());
    let well_known = edge::well_known(r, domain.as_ref(), server_name.as_ref());
    let backup = backup(r);
    let notify = notify(r);
    let (matrix_url, chat_url) = urls?;
    Some(Config {
        domain: domain?,
        server_name: server_name?,
        timezone,
        host,
        matrix_url,
        chat_url,
        ports,
        guest,
        proxmox,
        images,
        synapse,
        postgres,
        turn,
        web,
        update,
        edge,
        well_known,
        backup,
        notify,
    })
}

fn domain(r: &mut Reader<'_>) -> Option<Domain> {
    let got = r.optional(&DOMAIN);
    if got.value.is_none() && got.sound() {
        r.complain(
            &DOMAIN,
            Flaw::new("this is missing, and it is the one thing that must be written").hint(format!(
                "write the domain that you own at the top of the file, as in domain = {}",
                DOMAIN.example
            )),
        );
    }
    got.value
}

fn server_name(r: &mut Reader<'_>, domain: Option<&Domain>) -> Option<ServerName> {
    let got = r.optional(&SERVER_NAME);
    let domain = domain?;
    let usual = ServerName::from(domain.child("matrix"));
    let Some(name) = got.value else {
        return Some(usual);
    };
    let below =
        name.host().strip_suffix(domain.as_str()).is_some_and(|rest| rest.is_empty() || rest.ends_with('.'));
    if !below {
        r.complain(
            &SERVER_NAME,
            Flaw::new(format!(
                "must be {domain} or a name under it: other servers look for this one at its name, and only under \
                 your domain can it answer"
            ))
            .hint(format!("leave it out for {:?}, or write {:?}", usual.as_str(), domain.as_str())),
        );
    }
    Some(name)
}

fn timezone(r: &mut Reader<'_>) -> Timezone {
    let got = r.optional(&TIMEZONE);
    let machine = r.defaults.timezone.clone();
    got.value.or(machine).unwrap_or_else(TIMEZONE.fallback.0)
}

fn urls(r: &mut Reader<'_>, domain: Option<&Domain>) -> Option<(String, String)> {
    let (matrix, chat) = (r.optional(&MATRIX_URL), r.optional(&CHAT_URL));
    let domain = domain?;
    let sound = matrix.sound() && chat.sound();
    let or = |url: Option<PublicUrl>, label| {
        url.map_or_else(|| format!("https://{}", domain.child(label)), |url| url.0)
    };
    // The one that was written is the one to complain about.
    let (guilty, other): (&dyn AnyKey, _) =
        if chat.written() { (&CHAT_URL, "matrix_url") } else { (&MATRIX_URL, "chat_url") };
    let (matrix, chat) = (or(matrix.value, "matrix"), or(chat.value, "chat"));
    if sound && matrix == chat {
        r.complain(
            guilty,
            Flaw::new(format!(
                "this is {other} too: at one address, a file that somebody sends could act as the web client"
            )),
        );
    }
    Some((matrix, chat))
}

fn guest(r: &mut Reader<'_>) -> (Guest, Got<Bytes>) {
    use guest_keys::{BACKEND, CORES, DISK, EXTRA_PACKAGES, IPV6, MEMORY, NAME, START_AT_BOOT};
    let memory = r.value(&MEMORY);
    let backend = r.value(&BACKEND).value;
    let on_proxmox = match backend {
        BackendChoice::Proxmox => true,
        BackendChoice::Auto => r.defaults.proxmox,
        BackendChoice::Lxc | BackendChoice::ThisMachine => false,
    };
    let guest = Guest {
        backend,
        name: r.value(&NAME).value,
        cores: r.value(&CORES).value.0,
        memory: memory.value.0,
        disk: r.optional(&DISK).value.map(|size| size.0),
        network: network::network(r, on_proxmox),
        extra_packages: r.value(&EXTRA_PACKAGES).value.0,
        ipv6: r.value(&IPV6).value,
        start_at_boot: r.value(&START_AT_BOOT).value,
    };
    (guest, Got { value: memory.value.0, origin: memory.origin })
}

fn images(r: &mut Reader<'_>) -> Images {
    let source = r.value(&image_keys::SOURCE);
    Images {
        source: source.value,
        choices: image_keys::IMAGES.each_ref().map(|image| read_image(r, image.keys, &source)),
    }
}

fn read_image(r: &mut Reader<'_>, keys: &ImageKeys, source: &Got<SourceChoice>) -> ImageChoice {
    let archive = r.optional(&keys.archive).value;
    let version = keys.build_version.as_ref().map(|key| (key, r.optional(key)));
    if let Some((key, version)) = &version
        && version.written()
    {
        if archive.is_some() {
            let archive = keys.archive.path;
            r.complain(
                *key,
                Flaw::new(format!("{archive} is used instead of building, so this would have no effect"))
                    .hint("remove one of the two"),
            );
        } else if source.sound() && source.value == SourceChoice::Registry {
            let reference = keys.reference.path;
            r.complain(
                *key,
                Flaw::new("with images.source = \"registry\" nothing is built, so this would have no effect")
                    .hint(format!("choose the version with {reference}, or write source = \"build\"")),
            );
        }
    }
    ImageChoice {
        reference: r.value(&keys.reference).value,
        archive,
        build_version: version.and_then(|(_, got)| got.value).map(|BuildVersion(version)| version),
        signature_key: r.optional(&keys.signature_key).value.map(|SigningKey(key)| key),
    }
}

fn synapse(r: &mut Reader<'_>) -> Synapse {
    Synapse {
        registration: registration(r),
        max_upload_size: r.value(&keys::MAX_UPLOAD_SIZE).value.0,
        presence: r.value(&keys::PRESENCE).value,
        remote_media_lifetime: r.value(&keys::REMOTE_MEDIA_LIFETIME).value.0,
        forgotten_room_retention: r.value(&keys::FORGOTTEN_ROOM_RETENTION).value.0,
        url_previews: r.value(&keys::URL_PREVIEWS).value,
        cache_factor: r.value(&keys::CACHE_FACTOR).value.0,
        federation_allow: r.optional(&keys::FEDERATION_ALLOW).value.map(|list| list.0),
        federation_ca: r.optional(&keys::FEDERATION_CA).value.map(|pem| pem.0),
        private_networks: r
            .optional(&keys::PRIVATE_NETWORKS)
            .value
            .map(|list| list.0.into_iter().map(|network| network.0).collect()),
        report_stats: r.value(&keys::REPORT_STATS).value,
        password_min_length: r.value(&keys::PASSWORD_MIN_LENGTH).value.0,
        profiles_need_login: r.value(&keys::PROFILES_NEED_LOGIN).value,
        profiles_of_shared_rooms: r.value(&keys::PROFILES_OF_SHARED_ROOMS).value,
        log_level: r.value(&keys::LOG_LEVEL).value,
        extra: extra(r, &extra_keys::SYNAPSE_EXTRA),
    }
}

fn registration(r: &mut Reader<'_>) -> Registration {
    let choice = r.value(&keys::REGISTRATION);
    let reason = r.optional(&keys::OPEN_REGISTRATION_REASON);
    match choice.value {
        RegistrationChoice::Open => {
            if reason.value.is_none() && reason.sound() {
                r.complain(
                    &keys::REGISTRATION,
                    Flaw::new("anybody on the internet could make accounts, and spammers do within days")
                        .hint(
                            "take \"token\"; or, if it must be, write down why in open_registration_reason",
                        ),
                );
            }
            return Registration::Open { reason: reason.value.map(|words| words.0).unwrap_or_default() };
        }
        _ if reason.written() && choice.sound() => r.complain(
            &keys::OPEN_REGISTRATION_REASON,
            Flaw::new(format!("registration is {:?}, so this would have no effect", choice.value.as_str()))
                .hint("remove it, or write registration = \"open\""),
        ),
        _ => {}
    }
    if choice.value == RegistrationChoice::Closed { Registration::Closed } else { Registration::Token }
}

fn postgres(r: &mut Reader<'_>, memory: Got<Bytes>) -> Postgres {
    let buffers = r.optional(&keys::SHARED_BUFFERS);
    if let Some(size) = buffers.value
        && memory.sound()
        && size.0.0 > memory.value.0 / 2
    {
        r.complain(
            &keys::SHARED_BUFFERS,
            Flaw::new(format!(
                "this is more than half of guest.memory ({}), and Synapse could not start beside it",
                memory.value
            ))
            .hint("leave it out: it then follows guest.memory"),
        );
    }
    Postgres {
        shared_buffers: buffers.value.map(|size| size.0),
        max_connections: r.value(&keys::MAX_CONNECTIONS).value.0,
        extra: extra(r, &extra_keys::POSTGRES_EXTRA),
    }
}

fn turn(r: &mut Reader<'_>) -> Option<Turn> {
    let uris = r.optional(&keys::TURN_URIS);
    let secret_file = r.optional(&keys::TURN_SECRET_FILE);
    let user_lifetime = r.value(&keys::TURN_USER_LIFETIME);
    let allow_guests = r.value(&keys::TURN_ALLOW_GUESTS);
    let sound = uris.sound();
    let list: Vec<String> =
        uris.value.map(|list| list.0.into_iter().map(|uri| uri.0).collect()).unwrap_or_default();
    if list.is_empty() {
        let others: [(&dyn AnyKey, bool); 3] = [
            (&keys::TURN_SECRET_FILE, secret_file.written()),
            (&keys::TURN_USER_LIFETIME, user_lifetime.written()),
            (&keys::TURN_ALLOW_GUESTS, allow_guests.written()),
        ];
        for (key, _) in others.into_iter().filter(|(_, written)| *written && sound) {
            r.complain(
                key,
                Flaw::new("no TURN server is named, so this would have no effect")
                    .hint(format!("name it: uris = {}", keys::TURN_URIS.example)),
            );
        }
        return None;
    }
    if secret_file.value.is_none() && secret_file.sound() {
        r.complain(
            &keys::TURN_URIS,
            Flaw::new("a TURN server lets nobody in without the secret that it shares with this server")
                .hint(format!(
                    "put the secret into a file and write secret_file = {}",
                    keys::TURN_SECRET_FILE.example
                )),
        );
    }
    Some(Turn {
        uris: list,
        secret_file: secret_file.value?.0,
        user_lifetime: user_lifetime.value.0,
        allow_guests: allow_guests.value,
    })
}

fn backup(r: &mut Reader<'_>) -> Backup {
    let main = r.optional(&backup_keys::REPOSITORY);
    let terms = Terms {
        schedule: r.value(&backup_keys::SCHEDULE).value,
        drill: r.value(&backup_keys::DRILL).value,
        keep: Keep {
            daily: r.value(&backup_keys::KEEP_DAILY).value.0,
            weekly: r.value(&backup_keys::KEEP_WEEKLY).value.0,
            monthly: r.value(&backup_keys::KEEP_MONTHLY).value.0,
            yearly: r.value(&backup_keys::KEEP_YEARLY).value.0,
        },
        limits: Limits {
            upload: r.value(&backup_keys::UPLOAD_LIMIT).value.0,
            download: r.value(&backup_keys::DOWNLOAD_LIMIT).value.0,
        },
        s3_credentials: r.optional(&backup_keys::S3_CREDENTIALS).value,
        s3_region: r.optional(&backup_keys::S3_REGION).value.map(|region| region.0),
    };
    let more = r.optional(&backup_keys::REPOSITORIES).value.unwrap_or_default();
    if let Some(other) = more.at(main.value.as_ref()) {
        r.complain(
            &backup_keys::REPOSITORY,
            Flaw::new(format!("the repository {other} is there too"))
                .hint("give each repository a folder of its own"),
        );
    }
    let main = main.value.map(|location| Repository {
        name: RepositoryName::main(),
        location,
        terms: terms.clone(),
    });
    let repositories = main.into_iter().chain(more.with(&terms)).collect();
    Backup { terms, repositories }
}

fn notify(r: &mut Reader<'_>) -> Notify {
    Notify {
        on: r.value(&notify_keys::ON).value,
        room: r.optional(&notify_keys::ROOM).value.map(|room| room.0),
        webhook_file: r.optional(&notify_keys::WEBHOOK_FILE).value.map(|file| file.0),
        file: r.optional(&notify_keys::FILE).value,
    }
}

fn web(r: &mut Reader<'_>) -> Web {
    Web {
        brand: r.value(&keys::BRAND).value.0,
        default_country: r.optional(&keys::DEFAULT_COUNTRY).value.map(|country| country.0),
        custom_servers: r.value(&keys::CUSTOM_SERVERS).value,
        extra: extra(r, &extra_keys::WEB_EXTRA),
    }
}

fn extra<D: Decides>(r: &mut Reader<'_>, key: &Key<ExtraSettings<D>, Follows>) -> Extra {
    r.optional(key).value.map(|settings| settings.extra).unwrap_or_default()
}
