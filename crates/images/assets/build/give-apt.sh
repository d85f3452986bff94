#!/bin/sh
# Gives the root file system ($1) the package lists and packages in $APT_COPY.
set -eu
mkdir -p "$1/var/lib/apt/lists" "$1/var/cache/apt/archives"
cp -R "$APT_COPY/lists/." "$1/var/lib/apt/lists/"
cp -R --link "$APT_COPY/archives/." "$1/var/cache/apt/archives/"
