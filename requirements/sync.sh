#!/bin/sh
# sync.sh base|run|dev: makes an environment that holds at least the packages locked in requirements/NAME.txt, and prints
# its folder. Everything else that it says goes to standard error.
#
# Each lock contains the one before it (base, run, dev). An environment that holds a larger one is left as it is, so that
# starting the site never takes a tool away from the tests, or a file from a server that runs.
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

# Finds uv on PATH, or puts it into .uv, and sets $uv.
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
  [ -n "$python" ] || fail "Neither uv nor Python 3 was found. Install Python 3.11 or newer, then try again."
  rm -rf .uv
  export PIP_ROOT_USER_ACTION=ignore
  # pip leaves a Python alone that belongs to the operating system (PEP 668), but it may fill a folder of ours. Where Python
  # has no pip, it may still be able to make an environment that has one.
  if works "$python" -m pip --version; then
    "$python" -m pip install --quiet --disable-pip-version-check --no-deps --require-hashes \
      --target .uv -r requirements/uv.txt >&2 || fail "uv could not be installed: see above."
  elif works "$python" -m venv .uv; then
    .uv/bin/python -m pip install --quiet --disable-pip-version-check --no-deps --require-hashes \
      -r requirements/uv.txt >&2 || fail "uv could not be installed: see above."
  else
    rm -rf .uv
    fail "uv is not installed, and this Python has neither pip nor what it takes to make an environment." \
      "On Debian and Ubuntu: apt install python3-venv. Then try again."
  fi
  works "$uv" --version || fail "uv was installed into .uv, but does not run here."
}

# Sets $venv, and where it does not work yet, makes it from an interpreter that is there.
make_venv() {
  asked=${PYTHON:-${UV_PYTHON:-}}
  venv=$root/.venv${asked:+-$(basename -- "$asked" | tr -cd '0-9A-Za-z.')}
  works "$venv/bin/python" -c 'import sys; sys.exit(sys.version_info < (3, 11))' && return
  find_uv
  python=$(UV_PYTHON_DOWNLOADS=never "$uv" python find --no-project --system "${asked:->=3.11}" 2>/dev/null) ||
    fail "${asked:+"$asked is not here. "}Python 3.11 or newer is needed. Install one, or let uv do it:" \
      "  $uv python install ${asked:-3.13}" "Then try again."
  works "$python" -c 'import sys; sys.exit(sys.version_info < (3, 11))' ||
    fail "$python is too old: Python 3.11 or newer is needed."
  "$uv" venv --quiet --clear --no-project --python "$python" "$venv" >&2 || fail "No environment could be made in $venv."
}

checksum() {
  cksum <"requirements/$1.txt"
}

# Succeeds where the environment holds exactly what some lock says that contains the wanted one.
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

# Two commands that start at once on a fresh checkout take turns, where the system has a tool for that.
if works command -v flock; then
  exec 9>.venv.lock
  flock 9
fi

make_venv
if ! is_current; then
  find_uv
  echo "Installing requirements/$wanted.txt into $(basename "$venv") …" >&2
  # uv trusts its own list of authorities and does not read pip's settings. An organisation's authority is in the system's
  # list, and its mirror is often known to pip only.
  if [ -f /etc/ssl/certs/ca-certificates.crt ]; then
    export UV_SYSTEM_CERTS="${UV_SYSTEM_CERTS:-true}"
  fi
  if [ -z "${UV_DEFAULT_INDEX:-}${UV_INDEX_URL:-}" ] && [ -n "${PIP_INDEX_URL:-}" ]; then
    export UV_DEFAULT_INDEX="$PIP_INDEX_URL"
  fi
  "$uv" pip sync --quiet --require-hashes --python "$venv/bin/python" "requirements/$wanted.txt" >&2 ||
    fail "The packages could not be installed: see above. Is the package registry reachable?"
  echo "$wanted $(checksum "$wanted")" >"$venv/installed"
fi
printf '%s\n' "$venv"
