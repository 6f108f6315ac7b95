#!/bin/sh
# Create the virtual environment at $1 and install the pinned packages of $2 and this project into it.
# Called by the Makefile, which passes PYTHON and the CFLAGS that LightFM is compiled with.
set -eu
venv=$1
requirements=$2
python=${PYTHON:-python3}

fail() { printf 'setup: %s\n' "$1" >&2; exit 1; }

command -v "$python" >/dev/null 2>&1 || fail "'$python' is not installed. Opportune needs Python 3.11 or later (set PYTHON=/path/to/python)."
"$python" -c 'import sys; sys.exit(sys.version_info < (3, 11))' || fail "$("$python" --version) is too old. Opportune needs Python 3.11 or later (set PYTHON=/path/to/python)."
"$python" -c 'import venv, ensurepip' 2>/dev/null || fail "this Python has no venv module. On Debian and Ubuntu: apt-get install python3-venv."
compiler=${CC:-gcc}
command -v "$compiler" >/dev/null 2>&1 || fail "no C compiler ('$compiler'). LightFM is compiled once here: install gcc (Debian and Ubuntu: apt-get install gcc python3-dev)."
"$python" -c 'import os, sys, sysconfig; sys.exit(not os.path.exists(os.path.join(sysconfig.get_paths()["include"], "Python.h")))' \
  || fail "Python.h is missing. LightFM is compiled once here: install the Python headers (Debian and Ubuntu: apt-get install python3-dev)."

[ -x "$venv/bin/python" ] || { echo "setup: creating $venv"; "$python" -m venv "$venv"; }
total=$(grep -c '==' "$requirements")
echo "setup: installing $total pinned packages (LightFM is compiled: about a minute the first time)"
log="$venv/setup.log"
if [ -t 1 ]; then show() { awk '/^(Collecting|Downloading|Building|Installing|Successfully)/ { n++; printf "\r\033[Ksetup: %s", substr($0, 1, 70); fflush() } END { print "" }'; }
else show() { awk '/^(Building|Installing|Successfully built)/ { print "setup: " substr($0, 1, 70); fflush() }'; }; fi
pip() { "$venv/bin/python" -m pip --disable-pip-version-check "$@"; }
install_all() {
  # LightFM comes apart and past pip's cache: a wheel found there was built with other flags, or on another machine.
  awk -v own=1 '/^[a-z]/ { own = !/^rectools-lightfm==/ } own' "$requirements" >"$venv/others.txt"
  awk '/^[a-z]/ { own = /^rectools-lightfm==/ } own' "$requirements" >"$venv/lightfm.txt"
  pip install --require-hashes --no-deps -r "$venv/others.txt" \
    && LIGHTFM_NO_CFLAGS=1 CFLAGS="${CFLAGS:-}" pip install --require-hashes --no-deps --no-cache-dir -r "$venv/lightfm.txt" \
    && pip install --no-deps -e .
}
{ install_all 2>&1 || echo "setup-failed"; } | tee "$log" | show
if grep -q '^setup-failed$' "$log"; then
  tail -n 15 "$log" >&2
  fail "the packages could not be installed; the whole log is $log"
fi
