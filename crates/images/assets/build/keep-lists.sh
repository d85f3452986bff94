#!/bin/sh
# Keeps apt's sources and package lists of a root file system ($1) in $STATE.
set -eu
mkdir -p "$STATE/etc" "$STATE/var/lib/apt"
rm -rf "$STATE/etc/apt" "$STATE/var/lib/apt/lists"
cp -R "$1/etc/apt" "$STATE/etc/apt"
cp -R "$1/var/lib/apt/lists" "$STATE/var/lib/apt/lists"
