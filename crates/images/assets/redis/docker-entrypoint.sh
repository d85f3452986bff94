#!/bin/sh
# Starts Redis, as its own user, reachable from other containers.
set -e

# `-x`, `--option` or a configuration file: arguments of redis-server.
case ${1:-} in
-* | *.conf) set -- redis-server "$@" ;;
esac

if [ "${1:-}" = redis-server ]; then
    if [ "$(id -u)" = 0 ] && [ -z "${SKIP_DROP_PRIVS:-}" ]; then
        if [ -z "${SKIP_FIX_PERMS:-}" ]; then
            find . \! -user redis -exec chown redis:redis {} +
        fi
        exec setpriv --reuid redis --regid redis --clear-groups --no-new-privs "$0" "$@"
    fi
    # In a container the network decides who may connect: no "protected mode", unless it is asked for.
    case "$*" in
    *protected-mode*) ;;
    *) set -- "$@" --protected-mode no ;;
    esac
    umask 0077
fi
exec "$@"
