#!/bin/sh
# Finishes the Redis image in the root file system ($1).
set -eu
install -d -o 999 -g 1000 -m 755 "$1/data"
