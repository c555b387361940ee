#!/bin/sh
# Builds the server of Kubernetes that evaluates the rules (CEL) of custom resources, which the API server of the tests is too old
# for: apiextensions-apiserver 0.26, as Go modules, with Debian 12's Go. Checksums are those of Go's own database.
#   scripts/apiextensions.sh
# On two cores some three minutes, once, with 2 GB of scratch. The binary stays in the cache, as scripts/kubernetes.sh has it.
# Prints its path; progress and errors go to stderr.
set -eu

version=0.26.15
cache=${TARTAN_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/tartan}/apiextensions-$version
go=/usr/lib/go-1.19/bin/go
program=$cache/apiextensions-apiserver

say() { printf '%s\n' "apiextensions: $*" >&2; }
die() { printf '%s\n' "apiextensions: ERROR: $1" "               $2" >&2; exit 1; }

if [ -x "$program" ]; then
  printf '%s\n' "$program"
  exit 0
fi
mkdir -p "$cache"
if [ "${TARTAN_APIEXTENSIONS_LOCKED:-}" = '' ]; then
  TARTAN_APIEXTENSIONS_LOCKED=1 exec flock "$cache/lock" "$0"
fi
if [ ! -x "$go" ]; then
  [ "$(id -u)" = 0 ] || die 'golang-1.19-go is not installed' 'apt-get install golang-1.19-go'
  say 'installing golang-1.19-go'
  DEBIAN_FRONTEND=noninteractive apt-get install -y --no-install-recommends golang-1.19-go ca-certificates >/dev/null 2>&1 ||
    die 'cannot install golang-1.19-go' 'apt-get says why'
fi
work=$(mktemp -d "$cache/build.XXXXXX")
# Modules are read-only.
trap 'chmod -R u+w "$work" && rm -rf "$work"' EXIT
trap 'exit 130' INT TERM
cd "$work"
export GOPATH="$work/gopath" GOCACHE="$work/gocache" CGO_ENABLED=0 GOFLAGS=-mod=mod
quietly() { "$@" >"$work/log" 2>&1 || { tail -5 "$work/log" >&2; return 1; }; }
say "fetching modules of Kubernetes $version"
printf 'module definitions\n\ngo 1.19\n' >go.mod
quietly "$go" get "k8s.io/apiextensions-apiserver@v$version" || die 'the modules cannot be fetched' 'go says why, above'
say 'compiling: some minutes'
quietly "$go" build -trimpath -ldflags '-s -w' -o program k8s.io/apiextensions-apiserver ||
  die 'it does not compile' 'the compiler says why, above'
mv program "$program"
say "built $program"
printf '%s\n' "$program"
