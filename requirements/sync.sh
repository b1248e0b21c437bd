#!/bin/sh
# sync.sh base|run|dev: creates an environment with at least the packages locked in requirements/NAME.txt and prints its
# folder. All other output goes to standard error.
#
# Each lock contains the one before it (base, run, dev). An environment that holds a larger lock is left alone, so starting
# the site never removes tools that the tests need or files that a running server uses.
set -eu

CDPATH='' cd -- "$(dirname -- "$0")/.."
root=$(pwd -P)
wanted=$1

fail() {
  printf '%s\n' "$@" >&2
  exit 1
}

works() {
  "$@" >/dev/null 2>&1
}

# Sets $uv to the uv on PATH, or installs uv into .uv.
find_uv() {
  if works uv --version; then
    uv=uv
    return
  fi
  uv=$root/.uv/bin/uv
  works "$uv" --version && return
  echo "Installing uv into .uv …" >&2
  for python in python3 python python3.14 python3.13 python3.12 python3.11; do
    works "$python" -c 'import sys; sys.exit(sys.version_info < (3, 8))' && break
    python=
  done
  [ -n "$python" ] || fail "uv and Python 3 not found. Install Python 3.11 or newer, then try again."
  rm -rf .uv
  export PIP_ROOT_USER_ACTION=ignore
  # pip must not change a Python that belongs to the operating system (PEP 668), but it can install into our folder. A Python
  # without pip may still be able to create an environment with pip.
  if works "$python" -m pip --version; then
    "$python" -m pip install --quiet --disable-pip-version-check --no-deps --require-hashes \
      --target .uv -r requirements/uv.txt >&2 || fail "Could not install uv: see above."
  elif works "$python" -m venv .uv; then
    .uv/bin/python -m pip install --quiet --disable-pip-version-check --no-deps --require-hashes \
      -r requirements/uv.txt >&2 || fail "Could not install uv: see above."
  else
    rm -rf .uv
    fail "uv could not be installed, because this Python has neither pip nor venv." \
      "On Debian and Ubuntu, run: apt install python3-venv. Then try again."
  fi
  works "$uv" --version || fail "uv was installed into .uv, but does not run on this machine."
}

# Sets $venv and, if it does not work yet, creates it from an installed interpreter.
make_venv() {
  asked=${PYTHON:-${UV_PYTHON:-}}
  venv=$root/.venv${asked:+-$(basename -- "$asked" | tr -cd '0-9A-Za-z.')}
  works "$venv/bin/python" -c 'import sys; sys.exit(sys.version_info < (3, 11))' && return
  find_uv
  python=$(UV_PYTHON_DOWNLOADS=never "$uv" python find --no-project --system "${asked:->=3.11}" 2>/dev/null) ||
    fail "${asked:+"$asked not found. "}Python 3.11 or newer is needed. Install it, or let uv install it:" \
      "  $uv python install ${asked:-3.13}" "Then try again."
  works "$python" -c 'import sys; sys.exit(sys.version_info < (3, 11))' ||
    fail "$python is too old: Python 3.11 or newer is needed."
  "$uv" venv --quiet --clear --no-project --python "$python" "$venv" >&2 || fail "Could not create an environment in $venv."
}

checksum() {
  cksum <"requirements/$1.txt"
}

# Succeeds if the environment matches the wanted lock or a larger one exactly.
is_current() {
  [ -f "$venv/installed" ] || return 1
  read -r installed sum <"$venv/installed" || return 1
  case "$wanted:$installed" in
    base:base | base:run | base:dev | run:run | run:dev | dev:dev) ;;
    *) return 1 ;;
  esac
  wanted=$installed
  [ "$sum" = "$(checksum "$installed")" ]
}

# If flock is available, two commands started at once on a fresh checkout take turns.
if works command -v flock; then
  exec 9>.venv.lock
  flock 9
fi

make_venv
if ! is_current; then
  find_uv
  echo "Installing requirements/$wanted.txt into $(basename "$venv") …" >&2
  # uv uses its own certificate store and ignores pip's settings. An organisation's certificate is in the system store, and
  # its mirror is often configured only for pip.
  if [ -f /etc/ssl/certs/ca-certificates.crt ]; then
    export UV_SYSTEM_CERTS="${UV_SYSTEM_CERTS:-true}"
  fi
  if [ -z "${UV_DEFAULT_INDEX:-}${UV_INDEX_URL:-}" ] && [ -n "${PIP_INDEX_URL:-}" ]; then
    export UV_DEFAULT_INDEX="$PIP_INDEX_URL"
  fi
  "$uv" pip sync --quiet --require-hashes --python "$venv/bin/python" "requirements/$wanted.txt" >&2 ||
    fail "Could not install the packages: see above. Check that the package index can be reached."
  echo "$wanted $(checksum "$wanted")" >"$venv/installed"
fi
printf '%s\n' "$venv"
