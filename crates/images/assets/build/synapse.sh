#!/bin/sh
# Finishes the Synapse image in the root file system ($1): bytecode, and a proof that it works.
set -eu
install -d -o 991 -g 991 -m 755 "$1/data"
ln -sf /usr/bin/python3 "$1/usr/local/bin/python"
ln -sf /usr/bin/python3 "$1/usr/local/bin/python3"
export PYTHONHASHSEED=0
PYTHON=$(chroot "$1" /usr/local/bin/python -c 'import sys; print("%d.%d" % sys.version_info[:2])')
find "$1/usr/lib/python3" "$1"/usr/lib/python3.* "$1"/usr/local/lib/python3.* -name __pycache__ -prune -exec rm -rf {} +
# Bytecode that is never compared with its source: valid whatever the times of the files say.
chroot "$1" /usr/local/bin/python -m compileall -q -j 2 --invalidation-mode unchecked-hash \
    -x '/(test|tests|idlelib|lib2to3|ensurepip|pydoc_data)/' \
    /usr/lib/python3 "/usr/lib/python$PYTHON" "/usr/local/lib/python$PYTHON"
cp "$(dirname "$0")/check-python.py" "$1/tmp/check-python.py"
chroot "$1" /usr/local/bin/python -B /tmp/check-python.py "$EXTRAS"
rm "$1/tmp/check-python.py"
