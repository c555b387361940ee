#!/bin/sh
# Builds programs of Kubernetes 1.20.2, which the tests run with and beside Tartan, from Debian 12's own source package and
# with Debian's Go: Debian ships no binaries of them but kubectl, which a machine may have from elsewhere in any version.
#   scripts/kubernetes.sh [PROGRAM ...]   default: all six, below
# On two cores: kube-proxy takes one to two minutes, with kube-apiserver and kubectl four, all five minutes; once, with 3 GB of scratch. The
# binaries stay in the cache (TARTAN_CACHE, else XDG_CACHE_HOME/tartan, else ~/.cache/tartan), each put there when it is
# complete. Prints their directory; progress and errors go to stderr.
set -eu

version=1.20.2
all='kube-apiserver kube-controller-manager kube-scheduler kubelet kube-proxy kubectl'
cache=${TARTAN_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/tartan}/kubernetes-$version
go=/usr/lib/go-1.19/bin

say() { printf '%s\n' "kubernetes: $*" >&2; }
die() { printf '%s\n' "kubernetes: ERROR: $1" "            $2" >&2; exit 1; }

for program in "$@"; do
  case " $all " in *" $program "*) ;; *) die "no such program: $program" "there are: $all" ;; esac
done
[ $# -gt 0 ] || set -- $all
missing=''
for program in "$@"; do [ -x "$cache/$program" ] || missing="$missing $program"; done
if [ -z "$missing" ]; then
  printf '%s\n' "$cache"
  exit 0
fi

[ "$(id -u)" = 0 ] || die "not built yet:$missing, and apt-get needs root" "run scripts/kubernetes.sh$missing once as root"
mirror=$(apt-get indextargets --format '$(REPO_URI)|$(CODENAME)' 'Created-By: Packages' 2>/dev/null |
  sed -n 's/|bookworm$//p' | head -1)
[ -n "$mirror" ] || die 'no package source of Debian 12 (bookworm) here' 'later releases of Debian have no source of Kubernetes'

mkdir -p "$cache"
# Who waited here for another's build finds nothing left to do; the lock is by its file descriptor, which exec would keep.
if [ "${TARTAN_KUBERNETES_LOCKED:-}" = '' ]; then
  TARTAN_KUBERNETES_LOCKED=1 exec flock "$cache/lock" "$0" "$@"
fi
rm -rf "$cache"/build.* # of a build that was killed: we hold the lock
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
mkdir -p "$work/lists/partial" "$work/cache/archives/partial" "$work/source" "$work/bin"
printf 'deb-src [signed-by=/usr/share/keyrings/debian-archive-keyring.gpg] %s bookworm main\n' "$mirror" >"$work/sources.list"
apt_source() {
  quietly apt-get -o Dir::Etc::sourcelist="$work/sources.list" -o Dir::Etc::sourceparts=- -o Dir::State::lists="$work/lists" \
    -o Dir::Cache="$work/cache" -o APT::Sandbox::User=root "$@"
}
cd "$work"
{ apt_source update && apt_source source --download-only kubernetes; } ||
  die 'cannot fetch the source package kubernetes' 'apt-get says why, above'
tar -xzf kubernetes_*.orig.tar.gz -C source --strip-components=1

# With Go 1.18 and later the reflect2 in the tarball writes over memory whenever a map becomes JSON; Debian has a newer one.
say 'replacing reflect2, whose version does not fit this Go'
quietly apt-get -o APT::Sandbox::User=root download golang-github-modern-go-reflect2-dev ||
  die 'cannot fetch golang-github-modern-go-reflect2-dev' 'apt-get says why, above'
dpkg-deb --extract golang-github-modern-go-reflect2-dev_*.deb "$work/reflect2"
rm -rf source/vendor/github.com/modern-go/reflect2
mv "$work/reflect2/usr/share/gocode/src/github.com/modern-go/reflect2" source/vendor/github.com/modern-go/
# Since Go 1.17 all empty strings are in one place, by which the validation of custom resources takes them for null.
sed -i 's/data == nil || reflect.DeepEqual(reflect.Zero(reflect.TypeOf(data)), reflect.ValueOf(data))/data == nil/' \
  source/vendor/github.com/go-openapi/validate/type.go source/vendor/k8s.io/kube-openapi/pkg/validation/validate/type.go

mkdir -p "$work/gopath/src/k8s.io"
ln -s "$work/source" "$work/gopath/src/k8s.io/kubernetes"
cd "$work/gopath/src/k8s.io/kubernetes"
export GOPATH="$work/gopath" GOCACHE="$work/gocache" CGO_ENABLED=0 GOPROXY=off GO111MODULE=off GOFLAGS=
root=k8s.io/kubernetes

# Of what code generation makes, the tarball lacks one file, which only the API server needs. The directories are found as
# build/root/Makefile.generated_files finds them.
case $missing in *kube-apiserver*)
  say 'generating the OpenAPI definitions'
  quietly "$go/go" build -o "$work/openapi-gen" "$root/vendor/k8s.io/kube-openapi/cmd/openapi-gen" ||
    die 'openapi-gen does not compile' 'the compiler says why, above'
  directories=$(find -H vendor/k8s.io/* staging/src/k8s.io pkg cmd plugin -name '*.go' -not -name 'zz_generated*' -exec grep -l '^// +k8s:openapi-gen=' {} + |
    sed 's|staging/src/|vendor/|; s|/[^/]*$||' | grep -Ev '^vendor/k8s.io/(code-generator|sample-apiserver)/' | LC_ALL=C sort -u |
    sed "s|^|$root/|" | paste -sd,)
  quietly "$work/openapi-gen" --logtostderr -i "$directories" -p "$root/pkg/generated/openapi" -O zz_generated.openapi \
    -h vendor/k8s.io/code-generator/hack/boilerplate.go.txt -r "$work/violations" ||
    die 'the OpenAPI definitions cannot be generated' 'openapi-gen says why, above'
  ;;
esac

say "compiling$missing with $("$go/go" version | cut -d' ' -f3): some minutes"
flags='-s -w'
for package in client-go/pkg/version component-base/version; do
  for value in gitVersion=v$version gitMajor=1 gitMinor=20 gitTreeState=clean; do
    flags="$flags -X $root/vendor/k8s.io/$package.$value"
  done
done
set --
for program in $missing; do set -- "$@" "$root/cmd/$program"; done
quietly "$go/go" build -o "$work/bin/" -ldflags "$flags" "$@" ||
  die "these do not compile:$missing" 'the compiler says why, above'
for program in $missing; do mv "$work/bin/$program" "$cache/$program"; done
say "built$missing in $cache"
printf '%s\n' "$cache"
