#!/bin/sh
# Installs matrix-podman @VERSION@ from the files of its release, which lie
# beside this script. Nothing is installed unless the release's signature and
# the package's digest are right. Read it, then: sudo sh install.sh
set -eu

fingerprint=@FINGERPRINT@
keyring=matrix-podman-archive-keyring.pgp
cd "$(dirname "$0")"

fail() {
    echo "install.sh: $*" >&2
    exit 1
}

[ "$(id -u)" = 0 ] || fail "this installs a package, which needs root: sudo sh install.sh"
architecture=$(dpkg --print-architecture)
package=matrix-podman_@VERSION@_$architecture.deb
for file in SHA256SUMS SHA256SUMS.asc "$keyring"; do
    [ -f "$file" ] || fail "$file is missing: download it into $(pwd)"
done
grep -q "  $package\$" SHA256SUMS || fail "this release has no package for $architecture"
[ -f "$package" ] || fail "$package is missing: download it into $(pwd)"

# apt brings one of the two: gpgv up to Debian 12, sqv from Debian 13 on.
if command -v gpgv >/dev/null; then
    signed=$(gpgv --keyring "./$keyring" --status-fd 1 SHA256SUMS.asc SHA256SUMS 2>/dev/null |
        sed -n 's/^\[GNUPG:\] VALIDSIG .* \([0-9A-F]*\)$/\1/p') || signed=
else
    signed=$(sqv --keyring "./$keyring" SHA256SUMS.asc SHA256SUMS 2>/dev/null) || signed=
fi
[ "$signed" = "$fingerprint" ] || fail "the signature of SHA256SUMS is not that of $fingerprint; nothing was installed"
grep "  $package\$" SHA256SUMS | sha256sum --check --quiet --strict - ||
    fail "$package is not what was signed; nothing was installed"

apt-get install --yes "./$package"
echo
echo "Installed. Next: matrix-podman"
