#!/bin/sh
# Builds kube-proxy 1.20.2, which the tests run beside Tartan, from Debian 12's own source package and with Debian's Go:
# Debian ships no binary of it. One to two minutes on two cores and 1 GB of scratch, once; the binary (35 MB) stays in the
# cache (TARTAN_CACHE, else XDG_CACHE_HOME/tartan, else ~/.cache/tartan). Prints the path of the binary; progress and errors go to stderr.
set -eu

version=1.20.2
cache=${TARTAN_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/tartan}/kube-proxy-$version
go=/usr/lib/go-1.19/bin

say() { printf '%s\n' "kube-proxy: $*" >&2; }
die() { printf '%s\n' "kube-proxy: ERROR: $1" "            $2" >&2; exit 1; }

if [ -x "$cache/kube-proxy" ]; then
  printf '%s\n' "$cache/kube-proxy"
  exit 0
fi

[ "$(id -u)" = 0 ] || die 'not built yet, and apt-get needs root' 'run scripts/kube-proxy.sh once as root'
mirror=$(apt-get indextargets --format '$(REPO_URI)|$(CODENAME)' 'Created-By: Packages' 2>/dev/null |
  sed -n 's/|bookworm$//p' | head -1)
[ -n "$mirror" ] || die 'no package source of Debian 12 (bookworm) here' 'later releases of Debian have no source of kube-proxy'

mkdir -p "$cache"
exec 9>"$cache/lock"
flock 9
[ ! -x "$cache/kube-proxy" ] || exec "$0"
work=$(mktemp -d "$cache/build.XXXXXX")
trap 'rm -rf "$work"' EXIT
trap 'exit 130' INT TERM
log=$work/log
quietly() { "$@" >"$log" 2>&1 || { tail -5 "$log" >&2; return 1; }; }

if [ ! -x "$go/go" ]; then
  say 'installing golang-1.19-go'
  DEBIAN_FRONTEND=noninteractive quietly apt-get install -y --no-install-recommends golang-1.19-go ||
    { quietly apt-get update && quietly apt-get install -y --no-install-recommends golang-1.19-go; } ||
    die 'cannot install golang-1.19-go' 'apt-get says why, above'
fi

# A list of sources of its own: the machine's may name binary packages only.
say 'fetching the source package kubernetes (34 MB)'
mkdir -p "$work/lists/partial" "$work/cache/archives/partial" "$work/source"
printf 'deb-src [signed-by=/usr/share/keyrings/debian-archive-keyring.gpg] %s bookworm main\n' "$mirror" >"$work/sources.list"
apt_source() {
  quietly apt-get -o Dir::Etc::sourcelist="$work/sources.list" -o Dir::Etc::sourceparts=- -o Dir::State::lists="$work/lists" \
    -o Dir::Cache="$work/cache" -o APT::Sandbox::User=root "$@"
}
cd "$work"
{ apt_source update && apt_source source --download-only kubernetes; } ||
  die 'cannot fetch the source package kubernetes' 'apt-get says why, above'
tar -xzf kubernetes_*.orig.tar.gz -C source --strip-components=1

# What code generation makes for kube-proxy is in the tarball, so go build is enough.
say "compiling kube-proxy $version with $("$go/go" version | cut -d' ' -f3): one to two minutes"
mkdir -p "$work/gopath/src/k8s.io"
ln -s "$work/source" "$work/gopath/src/k8s.io/kubernetes"
cd "$work/gopath/src/k8s.io/kubernetes"
export GOPATH="$work/gopath" GOCACHE="$work/gocache" CGO_ENABLED=0 GOPROXY=off GO111MODULE=off GOFLAGS=
quietly "$go/go" build -o "$work/kube-proxy" \
  -ldflags "-s -w -X k8s.io/kubernetes/vendor/k8s.io/component-base/version.gitVersion=v$version" \
  k8s.io/kubernetes/cmd/kube-proxy || die 'kube-proxy does not compile' 'the compiler says why, above'
mv "$work/kube-proxy" "$cache/kube-proxy"
say "built $cache/kube-proxy"
printf '%s\n' "$cache/kube-proxy"
