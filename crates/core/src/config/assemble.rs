//! From single values to the [`Config`]: what the values mean together.

use super::{
    Config, Gateway, Guest, ImageChoice, Images, Notify, Ports, Postgres, Proxmox, SourceChoice, Synapse,
    Updates, Web, WellKnown, edge,
    keys::{
        AnyKey, backup as backup_keys, images as image_keys,
        images::ImageKeys,
        site::{CHAT_URL, DOMAIN, HOST, MATRIX_URL, SERVER_NAME, TIMEZONE},
    },
    read::{Got, Reader},
    turn,
    types::{BuildVersion, Flaw, PublicUrl, SigningKey},
};
use crate::{
    backup::{Backup, Keep, Limits, Repository, RepositoryName, Terms},
    name::{Domain, ServerName, Timezone},
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
    let gateway = Gateway::read(r);
    let guest = Guest::read(r);
    let proxmox = Proxmox::checked(r, &guest);
    let images = images(r);
    let synapse = Synapse::read(r);
    let postgres = Postgres::checked(r, &guest);
    let turn = turn::turn(r, &guest.network);
    let web = Web::read(r);
    let update = Updates::read(r);
    let edge = edge::edge(r, domain.as_ref(), urls.as_ref());
    let well_known = WellKnown::checked(r, domain.as_ref(), server_name.as_ref());
    let backup = backup(r);
    let notify = Notify::read(r);
    let (matrix_url, chat_url) = urls?;
    Some(Config {
        domain: domain?,
        server_name: server_name?,
        timezone,
        host,
        matrix_url,
        chat_url,
        ports,
        gateway,
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
