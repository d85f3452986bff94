//! `[images]` and the sections below it.

use super::{Fixed, Follows, Key};
use crate::{
    config::{
        SourceChoice,
        types::{BuildVersion, SigningKey},
    },
    name::{AbsPath, ImageRef},
};

super::keys! {
    SOURCE: Key<SourceChoice> = Key {
        path: "images.source",
        fallback: Fixed(|| SourceChoice::Auto),
        of: |c| Some(c.images.source),
        example: r#""registry""#,
        doc: "Where images come from that have no archive: registry downloads them, build makes them on the machine \
              from Debian, PyPI and npm packages, auto takes the registry where it can be reached.",
        init: true,
    };
    SYNAPSE_REFERENCE: Key<ImageRef> = Key {
        path: "images.synapse.reference",
        fallback: Fixed(|| ImageRef::known("ghcr.io/element-hq/synapse:v1.157.1")),
        of: |c| Some(c.images.synapse.reference.clone()),
        example: r#""ghcr.io/element-hq/synapse:v1.158.0""#,
        doc: "Image of Synapse in its registry, with a version or a digest.",
        init: false,
    };
    SYNAPSE_ARCHIVE: Key<AbsPath, Follows> = Key {
        path: "images.synapse.archive",
        fallback: Follows("none"),
        of: |c| c.images.synapse.archive.clone(),
        example: r#""/srv/images/synapse.tar""#,
        doc: "An OCI archive on the machine, used instead of a registry. For machines without a way to one.",
        init: false,
    };
    SYNAPSE_SIGNATURE_KEY: Key<SigningKey, Follows> = Key {
        path: "images.synapse.signature_key",
        fallback: Follows("none: signatures are not looked at"),
        of: |c| c.images.synapse.signature_key.clone().map(SigningKey),
        example: r#""-----BEGIN PUBLIC KEY-----\nMFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAE\n-----END PUBLIC KEY-----\n""#,
        doc: "The public key (PEM) that the image in the registry has to be signed with, as `cosign sign --key` and \
              `skopeo copy --sign-by-sigstore-private-key` do it. What is not signed with it is not pulled.",
        init: false,
    };
    SYNAPSE_BUILD_VERSION: Key<BuildVersion, Follows> = Key {
        path: "images.synapse.build_version",
        fallback: Follows("the newest release"),
        of: |c| c.images.synapse.build_version.clone().map(BuildVersion),
        example: r#""1.157.1""#,
        doc: "Version of Synapse to build, where the image is built on the machine.",
        init: false,
    };
    POSTGRES_REFERENCE: Key<ImageRef> = Key {
        path: "images.postgres.reference",
        fallback: Fixed(|| ImageRef::known("docker.io/library/postgres:18-alpine")),
        of: |c| Some(c.images.postgres.reference.clone()),
        example: r#""docker.io/library/postgres:18.1-alpine""#,
        doc: "Image of PostgreSQL in its registry, with a version or a digest. Another major version than the one \
              that made the database cannot open it.",
        init: false,
    };
    POSTGRES_ARCHIVE: Key<AbsPath, Follows> = Key {
        path: "images.postgres.archive",
        fallback: Follows("none"),
        of: |c| c.images.postgres.archive.clone(),
        example: r#""/srv/images/postgres.tar""#,
        doc: "An OCI archive on the machine, used instead of a registry.",
        init: false,
    };
    POSTGRES_SIGNATURE_KEY: Key<SigningKey, Follows> = Key {
        path: "images.postgres.signature_key",
        fallback: Follows("none: signatures are not looked at"),
        of: |c| c.images.postgres.signature_key.clone().map(SigningKey),
        example: r#""-----BEGIN PUBLIC KEY-----\nMFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAE\n-----END PUBLIC KEY-----\n""#,
        doc: "The public key (PEM) that the image in the registry has to be signed with, as `cosign sign --key` and \
              `skopeo copy --sign-by-sigstore-private-key` do it. What is not signed with it is not pulled.",
        init: false,
    };
    REDIS_REFERENCE: Key<ImageRef> = Key {
        path: "images.redis.reference",
        fallback: Fixed(|| ImageRef::known("docker.io/library/redis:8-alpine")),
        of: |c| Some(c.images.redis.reference.clone()),
        example: r#""docker.io/library/redis:8.6-alpine""#,
        doc: "Image of Redis in its registry, with a version or a digest.",
        init: false,
    };
    REDIS_ARCHIVE: Key<AbsPath, Follows> = Key {
        path: "images.redis.archive",
        fallback: Follows("none"),
        of: |c| c.images.redis.archive.clone(),
        example: r#""/srv/images/redis.tar""#,
        doc: "An OCI archive on the machine, used instead of a registry.",
        init: false,
    };
    REDIS_SIGNATURE_KEY: Key<SigningKey, Follows> = Key {
        path: "images.redis.signature_key",
        fallback: Follows("none: signatures are not looked at"),
        of: |c| c.images.redis.signature_key.clone().map(SigningKey),
        example: r#""-----BEGIN PUBLIC KEY-----\nMFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAE\n-----END PUBLIC KEY-----\n""#,
        doc: "The public key (PEM) that the image in the registry has to be signed with, as `cosign sign --key` and \
              `skopeo copy --sign-by-sigstore-private-key` do it. What is not signed with it is not pulled.",
        init: false,
    };
    COTURN_REFERENCE: Key<ImageRef> = Key {
        path: "images.coturn.reference",
        fallback: Fixed(|| ImageRef::known("docker.io/coturn/coturn:4")),
        of: |c| Some(c.images.coturn.reference.clone()),
        example: r#""docker.io/coturn/coturn:4.6.2""#,
        doc: "Image of coturn in its registry, with a version or a digest.",
        init: false,
    };
    COTURN_ARCHIVE: Key<AbsPath, Follows> = Key {
        path: "images.coturn.archive",
        fallback: Follows("none"),
        of: |c| c.images.coturn.archive.clone(),
        example: r#""/srv/images/coturn.tar""#,
        doc: "An OCI archive on the machine, used instead of a registry.",
        init: false,
    };
    COTURN_SIGNATURE_KEY: Key<SigningKey, Follows> = Key {
        path: "images.coturn.signature_key",
        fallback: Follows("none: signatures are not looked at"),
        of: |c| c.images.coturn.signature_key.clone().map(SigningKey),
        example: r#""-----BEGIN PUBLIC KEY-----\nMFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAE\n-----END PUBLIC KEY-----\n""#,
        doc: "The public key (PEM) that the image in the registry has to be signed with, as `cosign sign --key` and \
              `skopeo copy --sign-by-sigstore-private-key` do it. What is not signed with it is not pulled.",
        init: false,
    };
    WEB_REFERENCE: Key<ImageRef> = Key {
        path: "images.web.reference",
        fallback: Fixed(|| ImageRef::known("docker.io/vectorim/element-web:v1.12.6")),
        of: |c| Some(c.images.web.reference.clone()),
        example: r#""docker.io/vectorim/element-web:v1.12.7""#,
        doc: "Image of the web client in its registry, with a version or a digest. Where images are built, the web \
              client is Hydrogen, since Element Web is in no package registry.",
        init: false,
    };
    WEB_ARCHIVE: Key<AbsPath, Follows> = Key {
        path: "images.web.archive",
        fallback: Follows("none"),
        of: |c| c.images.web.archive.clone(),
        example: r#""/srv/images/element-web.tar""#,
        doc: "An OCI archive on the machine, used instead of a registry.",
        init: false,
    };
    WEB_SIGNATURE_KEY: Key<SigningKey, Follows> = Key {
        path: "images.web.signature_key",
        fallback: Follows("none: signatures are not looked at"),
        of: |c| c.images.web.signature_key.clone().map(SigningKey),
        example: r#""-----BEGIN PUBLIC KEY-----\nMFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAE\n-----END PUBLIC KEY-----\n""#,
        doc: "The public key (PEM) that the image in the registry has to be signed with, as `cosign sign --key` and \
              `skopeo copy --sign-by-sigstore-private-key` do it. What is not signed with it is not pulled.",
        init: false,
    };
}
