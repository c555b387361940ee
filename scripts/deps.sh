#!/bin/sh
# Installs what is missing: Debian packages of scripts/packages.txt, then node_modules by the lockfile. Says what it does
# and what it cannot do. A run with nothing to do takes well under a second.
set -eu
cd "$(dirname "$0")/.."

say() { printf '%s\n' "deps: $*"; }
die() { printf '%s\n' "deps: ERROR: $1" "      $2" >&2; exit 1; }

# One at a time: of two runs of make the second finds nothing left to do. The lock is this directory's own, by file descriptor.
if command -v flock >/dev/null; then
  exec 9<.
  flock -n 9 || { say 'waiting for another run'; flock 9; }
fi

command -v npm >/dev/null || die 'npm is not installed' 'install Node 20 or newer with npm first (Debian: apt-get install nodejs npm)'

missing=''
if command -v dpkg-query >/dev/null; then
  wanted=$(sed 's/#.*//' scripts/packages.txt)
  # shellcheck disable=SC2086 # one word per package
  installed=$(dpkg-query -W -f '${db:Status-Abbrev} ${Package}\n' $wanted 2>/dev/null | sed -n 's/^ii *//p')
  for package in $wanted; do
    printf '%s\n' "$installed" | grep -qx "$package" || missing="$missing $package"
  done
else
  say 'not a Debian system: see scripts/packages.txt for what has to be there'
fi

if [ -n "$missing" ]; then
  [ "$(id -u)" = 0 ] || die "these packages are missing:$missing" "run as root, or: sudo apt-get install$missing"
  say "installing:$missing"
  export DEBIAN_FRONTEND=noninteractive
  # shellcheck disable=SC2086
  apt-get install -y --no-install-recommends $missing >/dev/null 2>&1 || {
    say 'refreshing the package lists first'
    apt-get update || die 'apt-get update failed' 'is the network there, and /etc/apt/sources.list right?'
    # shellcheck disable=SC2086
    apt-get install -y --no-install-recommends $missing || die "cannot install:$missing" 'apt-get says why, above'
  }
fi

# The stamp is inside node_modules, so removing that directory removes the stamp.
hash=$(cat package.json package-lock.json | sha256sum | cut -d' ' -f1)
stamp=node_modules/.stamp-$hash
if [ ! -e "$stamp" ]; then
  say 'npm ci (the lockfile is new here)'
  # npm ci also refuses where a registry lacks the packages of other platforms, which are optional: npm install does not.
  npm ci --ignore-scripts --no-audit --no-fund --loglevel=error >/tmp/tartan-npm-$$.log 2>&1 ||
    npm install --ignore-scripts --no-save --no-audit --no-fund --loglevel=error || {
      head -5 /tmp/tartan-npm-$$.log >&2
      rm -f /tmp/tartan-npm-$$.log
      die 'npm could not install the dependencies' 'is the npm registry reachable? npm says why, above'
    }
  rm -f /tmp/tartan-npm-$$.log
  : >"$stamp"
fi

node_modules/.bin/node -e 'process.exit(Number(process.versions.node.split(".")[0]) === 24 ? 0 : 1)' 2>/dev/null ||
  die 'the pinned Node 24 does not start' 'node_modules may be of another machine: remove it and try again'
say "ready ($(node_modules/.bin/node --version))"
