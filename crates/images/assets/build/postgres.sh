#!/bin/sh
# Finishes the PostgreSQL image in the root file system ($1).
set -eu
rm -rf "$1/var/lib/postgresql" "$1/etc/postgresql" "$1/etc/postgresql-common"
# The machine-made certificate of the package ssl-cert: nothing uses it, and it is never the same.
find "$1/etc/ssl/certs" -lname '*ssl-cert-snakeoil*' -delete
install -d -o 70 -g 70 -m 1777 "$1/var/lib/postgresql"
# A directory, not a link to /run: with a read-only root Podman puts a copy of /run in place, whose
# modes some runtimes get wrong, and a tmpfs on the sockets' directory inherits them.
rm "$1/var/run"
install -d "$1/var/run"
install -d -o 70 -g 70 -m 3777 "$1/var/run/postgresql"
ln -s ../var/run/postgresql "$1/run/postgresql"
install -d "$1/docker-entrypoint-initdb.d"
for bin in "$1"/usr/lib/postgresql/*/bin/*; do
    ln -sf "${bin#"$1"}" "$1/usr/local/bin/$(basename "$bin")"
done
for sample in "$1"/usr/share/postgresql/*/postgresql.conf.sample; do
    sed -i "s/^#listen_addresses = 'localhost'/listen_addresses = '*'/" "$sample"
    grep -q "^listen_addresses = '\*'" "$sample"
done
