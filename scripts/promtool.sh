#!/bin/sh
# Fetches promtool, by which the tests check the alert rules, out of Debian's package prometheus (19 MB, once). That is not
# installed: it would start a Prometheus on this machine. The file stays in the cache, as scripts/kubernetes.sh has it. Prints
# its directory; errors go to stderr.
set -eu

cache=${TARTAN_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/tartan}/promtool-1

die() { printf '%s\n' "promtool: ERROR: $1" "          $2" >&2; exit 1; }

if [ ! -x "$cache/promtool" ]; then
  mkdir -p "$cache"
  work=$(mktemp -d "$cache/fetch.XXXXXX")
  trap 'rm -rf "$work"' EXIT
  trap 'exit 130' INT TERM
  (cd "$work" && apt-get -q -o APT::Sandbox::User="$(id -un)" download prometheus >log 2>&1) ||
    die 'the package prometheus cannot be fetched' "$(tail -1 "$work/log")"
  dpkg-deb --extract "$work"/prometheus_*.deb "$work/root"
  mv "$work/root/usr/bin/promtool" "$cache/promtool"
fi
printf '%s\n' "$cache"
