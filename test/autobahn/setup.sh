#!/bin/sh
# setup.sh DEST: make DEST/bin/wstest, the Autobahn test suite, in a virtual environment.
#
# wstest runs on CPython 2.7 only; the one used is pyenv's or the PATH's. Where there is none the exit status
# is 3. Needs a Python 3 with venv as well, and a C compiler with the headers of Python 2.7.
set -eu

[ $# -eq 1 ] || { echo "usage: setup.sh DEST" >&2; exit 2; }
dest=$1
here=$(cd "$(dirname "$0")" && pwd)
boot=$dest/boot

# These are meant for the Python under test; they would break or flood Python 2.7.
unset PYTHONPATH PYTHONHOME PYTHONDEVMODE PYTHONWARNINGS

wstest_works() { "$dest/bin/wstest" -a >/dev/null 2>&1; }

# pyenv's shim for python2.7 exists even where no 2.7 is chosen, so a candidate is run.
is_python2() { "$1" -c 'import ssl, sys; sys.exit(sys.version_info[:2] != (2, 7))' 2>/dev/null; }

find_python2() {
    for candidate in "${PYENV_ROOT:-${HOME:-}/.pyenv}"/versions/2.7*/bin/python2.7 python2.7 python2; do
        if is_python2 "$candidate"; then
            command -v "$candidate"
            return
        fi
    done
    echo "no Python 2.7 was found, and the Autobahn test suite runs on nothing newer" >&2
    exit 3
}

if wstest_works; then exit 0; fi
python2=$(find_python2)

# virtualenv 20.21.1 is the last that makes environments for Python 2.7.
trap 'rm -rf "$boot"' EXIT
"${PYTHON:-python3}" -m venv --clear "$boot"
"$boot/bin/pip" install -q 'virtualenv==20.21.1'
"$boot/bin/virtualenv" -q -p "$python2" "$dest"
"$dest/bin/pip" install -q --no-python-version-warning -c "$here/constraints.txt" autobahntestsuite

wstest_works || { echo "$dest/bin/wstest was installed but does not run" >&2; exit 1; }
