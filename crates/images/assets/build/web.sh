#!/bin/sh
# Finishes the web client's image in the root file system ($1).
set -eu
rm -rf "$1/usr/share/nginx/html" "$1/var/lib/nginx" "$1/var/log/nginx"
ln -s /app "$1/usr/share/nginx/html"
ln -sf /usr/bin/busybox "$1/usr/local/bin/wget"
install -d "$1/docker-entrypoint.d" "$1/modules"
# A tmpfs in its place takes over its mode, not its owner.
chown -R 101:101 "$1/etc/nginx/conf.d"
chmod 1777 "$1/etc/nginx/conf.d"
grep -q application/wasm "$1/etc/nginx/mime.types"
