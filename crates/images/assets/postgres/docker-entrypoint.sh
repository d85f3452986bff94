#!/usr/bin/env bash
# Starts PostgreSQL. The first time it makes the cluster that the POSTGRES_* variables describe.
set -Eeuo pipefail
shopt -s nullglob

DEFAULT_PGDATA="/var/lib/postgresql/$PG_MAJOR/docker"
PGDATA=${PGDATA:-$DEFAULT_PGDATA}

say() { printf 'docker-entrypoint: %s\n' "$*"; }
die() { say "$*" >&2; exit 1; }

# setting NAME [DEFAULT]: gives NAME the content of the file that NAME_FILE names, or the default.
setting() {
    local name=$1 default=${2-} file_name="${1}_FILE"
    local value=${!name-} file=${!file_name-}
    [[ -z $value || -z $file ]] || die "both $name and $file_name are set; set one of them"
    if [[ -n $file ]]; then
        value=$(<"$file") || die "cannot read $file, which $file_name names"
    fi
    export "$name=${value:-$default}"
    unset "$file_name"
}

is_mount() { grep -q "^[^ ]* [^ ]* [^ ]* [^ ]* $1 " /proc/self/mountinfo; }

# A cluster of another layout must not be passed over in silence: the server would look empty.
refuse_old_layouts() {
    [[ $PGDATA == "$DEFAULT_PGDATA" && ! -s $PGDATA/PG_VERSION ]] || return 0
    local version
    for version in /var/lib/postgresql/PG_VERSION /var/lib/postgresql/data/PG_VERSION \
        /var/lib/postgresql/*/docker/PG_VERSION; do
        [[ ! -s $version ]] || die "there is a cluster of version $(<"$version") in ${version%/*}, but this image" \
            "(version $PG_MAJOR) keeps its own in $PGDATA; move or upgrade the old one (pg_upgrade, or dump and" \
            "restore), and mount one volume at /var/lib/postgresql"
    done
    ! is_mount /var/lib/postgresql/data || die "a volume is mounted at /var/lib/postgresql/data, which this image" \
        "does not use; mount it at /var/lib/postgresql"
}

# As root: hands the directories to `postgres` and goes on as that user.
drop_root() {
    mkdir -p "$PGDATA" /var/run/postgresql
    # The directory above too: a new cluster is made beside its place.
    if [[ ${PGDATA%/*} == /var/lib/postgresql/* ]]; then chown postgres:postgres "${PGDATA%/*}"; fi
    find "$PGDATA" /var/run/postgresql \! -user postgres -exec chown postgres:postgres {} +
    chmod 700 "$PGDATA"
    chmod 3777 /var/run/postgresql
    exec setpriv --reuid postgres --regid postgres --init-groups "$BASH_SOURCE" "$@"
}

run_init_files() {
    local file
    for file in /docker-entrypoint-initdb.d/*; do
        say "running $file"
        case $file in
            *.sh) if [[ -x $file ]]; then "$file"; else . "$file"; fi ;;
            *.sql) sql --dbname "$POSTGRES_DB" --file "$file" ;;
            *.sql.gz) gzip -dc "$file" | sql --dbname "$POSTGRES_DB" ;;
            *.sql.xz) xz -dc "$file" | sql --dbname "$POSTGRES_DB" ;;
            *.sql.zst) zstd -dc "$file" | sql --dbname "$POSTGRES_DB" ;;
            *) say "skipping $file: not .sh, .sql, .sql.gz, .sql.xz or .sql.zst" ;;
        esac
    done
}

sql() { PGHOST='' PGHOSTADDR='' psql --no-psqlrc -v ON_ERROR_STOP=1 --no-password --username "$POSTGRES_USER" "$@"; }

# Makes the cluster in $1. Runs in a shell of its own, so that the settings do not outlive it.
make_cluster() {
    export PGDATA=$1
    shift
    setting POSTGRES_PASSWORD
    setting POSTGRES_USER postgres
    setting POSTGRES_DB "$POSTGRES_USER"
    setting POSTGRES_INITDB_ARGS
    local method=${POSTGRES_HOST_AUTH_METHOD:-}
    [[ -n $POSTGRES_PASSWORD || $method == trust ]] ||
        die 'no password for the superuser; set POSTGRES_PASSWORD_FILE (or POSTGRES_PASSWORD)'
    local args=()
    if [[ -n ${POSTGRES_INITDB_WALDIR:-} ]]; then args+=(--waldir "$POSTGRES_INITDB_WALDIR"); fi
    # As a command line: options apart, quotes honoured.
    eval "args+=($POSTGRES_INITDB_ARGS)"
    initdb --username "$POSTGRES_USER" --pwfile <(printf '%s\n' "$POSTGRES_PASSWORD") "${args[@]}"
    [[ $1 == postgres ]] && shift
    method=${method:-$(postgres -C password_encryption "$@")}
    printf '\nhost all all all %s\n' "$method" >>"$PGDATA/pg_hba.conf"
    # No TCP: nobody outside can take the half-made server for the real one.
    pg_ctl --wait --options "$(printf '%q ' "$@" -c "listen_addresses=" -p "${PGPORT:-5432}")" start
    if [[ $POSTGRES_DB != postgres ]]; then
        sql --dbname postgres --set db="$POSTGRES_DB" <<<'CREATE DATABASE :"db";'
    fi
    run_init_files
    pg_ctl --wait --mode fast stop
}

first_start() {
    # Made beside its place and moved there when it is whole: a kill in between leaves no cluster
    # that looks finished and is not.
    local making=$PGDATA
    if ! is_mount "$PGDATA" && mkdir -p "${PGDATA%/*}" && [[ -w ${PGDATA%/*} ]]; then
        making=$PGDATA.making
        rm -rf "$making"
    fi
    mkdir -p "$making"
    chmod 700 "$making"
    (make_cluster "$making" "$@")
    if [[ $making != "$PGDATA" ]]; then
        if [[ -d $PGDATA ]]; then rmdir "$PGDATA"; fi
        sync -f "$making"
        mv -T "$making" "$PGDATA"
    fi
    say 'the cluster is made'
}

if [[ ${1:-} == -* ]]; then set -- postgres "$@"; fi
if [[ ${1:-} == postgres && " $* " != *' --help '* && " $* " != *' --version '* ]]; then
    refuse_old_layouts
    if ((EUID == 0)); then drop_root "$@"; fi
    if [[ ! -s $PGDATA/PG_VERSION ]]; then first_start "$@"; fi
fi
exec "$@"
