#!/bin/sh
# Install what the tests with real clients need: npm and Python packages in the folder $1, and a browser, nginx, PostgreSQL and Java from Debian.
# Never fails: a machine that lacks something, or where we may not install it, skips those tests and says so.
set -u
folder=$1

note() { printf 'setup: %s\n' "$1" >&2; }
found() { command -v "$1" >/dev/null 2>&1 || [ -x "/usr/sbin/$1" ]; }

npm_packages() {
  lock="$folder/package-lock.json"
  stamp="$folder/node_modules/.opportune-lock"
  cmp -s "$lock" "$stamp" && return 0
  found node && found npm || { note "node and npm (20 or later) are missing; the tests with JavaScript clients will be skipped."; return; }
  echo "setup: installing the npm packages of $folder"
  if (cd "$folder" && npm ci --silent --no-progress); then
    cp "$lock" "$stamp"
  else
    note "npm ci in $folder failed; the tests with JavaScript clients will be skipped."
  fi
}

python_packages() {
  lock="$folder/requirements.txt"
  stamp="$folder/.venv/.opportune-lock"
  python=${PYTHON:-python3}
  cmp -s "$lock" "$stamp" && return 0
  found "$python" || { note "$python is missing; the tests with Python clients of their own will be skipped."; return; }
  echo "setup: installing the Python packages of $folder"
  # They have an environment of their own: they want older libraries than the service stands on.
  if "$python" -m venv "$folder/.venv" && "$folder/.venv/bin/python" -m pip install --quiet --disable-pip-version-check \
    --require-hashes --no-deps -r "$lock"; then
    cp "$lock" "$stamp"
  else
    note "installing $lock failed; the tests with Python clients of their own will be skipped."
  fi
}

debian_packages() {
  missing=""
  found chromium || found chromium-browser || found google-chrome || missing="chromium"
  found nginx || missing="$missing nginx-light"
  # Debian keeps the programs of the server out of the way, one folder a version.
  found initdb || ls /usr/lib/postgresql/*/bin/initdb >/dev/null 2>&1 || missing="$missing postgresql"
  # PySpark is among the Python packages; Spark itself is Java.
  found java || missing="$missing openjdk-17-jre-headless"
  [ -n "$missing" ] || return 0
  if [ "$(id -u)" != 0 ] || ! found apt-get; then
    note "missing: $missing; the tests that need them will be skipped. On Debian: apt-get install $missing"
    return
  fi
  echo "setup: installing $missing with apt-get"
  log=$(mktemp)
  # Run level 1 keeps Debian from starting the server it installs.
  install="env DEBIAN_FRONTEND=noninteractive RUNLEVEL=1 apt-get install -y -qq --no-install-recommends $missing"
  if $install >"$log" 2>&1 || { apt-get update -qq >>"$log" 2>&1 && $install >>"$log" 2>&1; }; then
    rm -f "$log"
  else
    note "apt-get could not install $missing; the tests that need them will be skipped. Its words are in $log"
  fi
}

npm_packages
python_packages
debian_packages
