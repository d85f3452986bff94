#!/bin/sh
# Finishes the Redis image in the root file system ($1).
set -eu
# A tmpfs in its place takes over its mode, not its owner.
install -d -o 999 -g 1000 -m 1777 "$1/data"
