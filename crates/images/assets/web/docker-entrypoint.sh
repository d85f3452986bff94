#!/bin/sh
# Copies the web client's configuration, fills in nginx's templates, and starts nginx.
set -e

say() { echo "docker-entrypoint: $*"; }

config_dir=/tmp/element-web-config
templates=${NGINX_ENVSUBST_TEMPLATE_DIR:-/etc/nginx/templates}
suffix=${NGINX_ENVSUBST_TEMPLATE_SUFFIX:-.template}
output=${NGINX_ENVSUBST_OUTPUT_DIR:-/etc/nginx/conf.d}

copy_config() {
    mkdir -p "$config_dir"
    for file in /app/config*.json; do
        if [ -r "$file" ]; then
            cp "$file" "$config_dir/"
        else
            say "cannot read $file; it must be readable by uid $(id -u)" >&2
        fi
    done
}

# Replaces only variables that are set: nginx has its own that look alike.
fill_templates() {
    [ -d "$templates" ] || return 0
    if [ ! -w "$output" ]; then
        say "error: $output is not writable; $templates is ignored" >&2
        return 0
    fi
    names=$(env | sed -n 's/^\([A-Za-z_][A-Za-z0-9_]*\)=.*/${\1} /p' | tr -d '\n')
    find "$templates" -follow -type f -name "*$suffix" | while read -r template; do
        relative=${template#"$templates/"}
        target=$output/${relative%"$suffix"}
        mkdir -p "$(dirname "$target")"
        envsubst "$names" <"$template" >"$target"
        say "$template is now $target"
    done
}

if [ "${1:-}" = nginx ]; then
    ELEMENT_WEB_PORT=${ELEMENT_WEB_PORT:-80}
    ELEMENT_WEB_LISTEN_IPV6=
    if [ -s /proc/net/if_inet6 ]; then ELEMENT_WEB_LISTEN_IPV6="listen [::]:$ELEMENT_WEB_PORT;"; fi
    export ELEMENT_WEB_PORT ELEMENT_WEB_LISTEN_IPV6
    copy_config
    for script in /docker-entrypoint.d/*.sh; do
        if [ -x "$script" ]; then "$script"; fi
    done
    fill_templates
fi
exec "$@"
