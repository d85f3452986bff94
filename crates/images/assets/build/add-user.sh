#!/bin/sh
# Adds the image's user to the root file system ($1), before a package takes the number for its own.
set -eu
echo "$USER_NAME:x:$GROUP_ID:" >>"$1/etc/group"
echo "$USER_NAME:!::" >>"$1/etc/gshadow"
echo "$USER_NAME:x:$USER_ID:$GROUP_ID::$USER_HOME:/bin/sh" >>"$1/etc/passwd"
echo "$USER_NAME:!:20309:0:99999:7:::" >>"$1/etc/shadow"
# PostgreSQL's packages make a cluster when they are installed; a container makes its own.
mkdir -p "$1/etc/postgresql-common"
echo 'create_main_cluster = false' >"$1/etc/postgresql-common/createcluster.conf"
