#!/bin/sh
# Builds the image from this tree, Debian 12's packages and npm's, without a registry of images:
#   deploy/image/build.sh [amd64|arm64]      default: of this machine
# Writes dist/image/tartan-VERSION-ARCH.oci.tar (podman load, ctr import, skopeo) and tartan-VERSION-ARCH.packages (name and
# version of each package in it, of which the SBOM is made). The same sources and packages give the same bytes: times are
# SOURCE_DATE_EPOCH, else that of the last commit. Another architecture than this machine's is put together and not run; its
# executables are cross-compiled. Needs buildah and, for a foreign architecture, gcc-aarch64-linux-gnu. No root but for buildah.
set -eu
cd "$(dirname "$0")/../.."
here=deploy/image

say() { printf '%s\n' "image: $*" >&2; }
die() { printf '%s\n' "image: ERROR: $1" "       $2" >&2; exit 1; }

machine=$(dpkg --print-architecture)
arch=${1:-$machine}
case $arch in
  amd64) npm_arch=x64 libc_triple=x86_64-linux-gnu ;;
  arm64) npm_arch=arm64 libc_triple=aarch64-linux-gnu ;;
  *) die "no such architecture: $arch" 'there are amd64 and arm64' ;;
esac
command -v buildah >/dev/null || die 'buildah is not installed' 'apt-get install buildah'
[ -x dist/tartan ] || die 'dist/tartan is missing' 'make build makes it'
node=node_modules/.bin/node
version=$($node -p 'require("./package.json").version')
epoch=${SOURCE_DATE_EPOCH:-$(git log -1 --format=%ct 2>/dev/null || echo 0)}
out=dist/image
name=tartan-$version-$arch
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
trap 'exit 130' INT TERM
mkdir -p "$out" "$work/base" "$work/node" "$work/tartan"

# --- Debian's files. A state of apt's own: this machine may be of another architecture.
packages=$(sed 's/#.*//' $here/packages.txt | xargs)
mirror=$(apt-get indextargets --format '$(REPO_URI)|$(CODENAME)' 'Created-By: Packages' 2>/dev/null | sed -n 's/|bookworm$//p' | head -1)
[ -n "$mirror" ] || die 'no package source of Debian 12 (bookworm) here' 'see /etc/apt/sources.list'
mkdir -p "$work/apt/lists/partial" "$work/apt/cache/archives/partial" "$work/debs"
for suite in bookworm bookworm-updates; do
  printf 'deb [signed-by=/usr/share/keyrings/debian-archive-keyring.gpg] %s %s main\n' "$mirror" $suite
done >"$work/apt/sources.list"
: >"$work/apt/status"
apt() {
  apt-get -q -o APT::Architecture="$arch" -o APT::Architectures="$arch" -o Dir::Etc::sourcelist="$work/apt/sources.list" \
    -o Dir::Etc::sourceparts=- -o Dir::State::lists="$work/apt/lists" -o Dir::State::status="$work/apt/status" \
    -o Dir::Cache="$work/apt/cache" -o APT::Sandbox::User=root "$@" >"$work/log" 2>&1 || { tail -5 "$work/log" >&2; return 1; }
}
say "fetching $(echo "$packages" | wc -w) packages of Debian for $arch"
apt update || die 'apt-get update failed' 'it says why, above'
# shellcheck disable=SC2086 # one word per package
(cd "$work/debs" && apt download $packages) || die 'packages cannot be fetched' 'apt-get says why, above'
for deb in "$work"/debs/*.deb; do
  dpkg-deb --extract "$deb" "$work/base"
  dpkg-deb --show --showformat='${Package} ${Version} ${Architecture}\n' "$deb"
done | LC_ALL=C sort >"$out/$name.packages"
base=$work/base
# One /usr, as Debian's own systems have it.
for directory in bin sbin lib lib64; do
  mkdir -p "$base/usr/$directory"
  [ ! -d "$base/$directory" ] || { cp -a "$base/$directory/." "$base/usr/$directory/" && rm -rf "${base:?}/$directory"; }
  ln -s "usr/$directory" "$base/$directory"
done
# Libraries, programs and licences; nothing else of Debian's is read by anybody.
find "$base/usr/share/doc" -type f -not -name copyright -delete
find "$base/usr/share" -mindepth 1 -maxdepth 1 -not -name doc -exec rm -rf {} +
rm -rf "$base/etc" "$base/var" "$base/run" "$base/usr/lib/$libc_triple/gconv" "$base/usr/lib/systemd" "$base/usr/lib/$libc_triple/krb5"
# Of iptables its extensions stay, but for one that asks for two libraries more (connlabel).
rm -f "$base"/usr/sbin/*tables* "$base/usr/sbin/nfnl_osf" "$base/usr/bin/iptables-xml" "$base/usr/lib/$libc_triple/xtables/libxt_connlabel.so"
find "$base/usr/share" -type d -empty -delete
for applet in sh mount umount nsenter sleep cat ls ps ip readlink tar env id hostname ping; do
  [ -e "$base/usr/bin/$applet" ] || ln -s busybox "$base/usr/bin/$applet"
done
mkdir -p "$base/etc" "$base/tmp" "$base/proc" "$base/sys" "$base/dev" "$base/run" "$base/var"
chmod 1777 "$base/tmp"
ln -s /run "$base/var/run"
echo 'root:x:0:0:root:/:/bin/sh
nobody:x:65534:65534:nobody:/:/bin/sh' >"$base/etc/passwd"
echo 'root:x:0:
nogroup:x:65534:' >"$base/etc/group"
echo 'hosts: files dns' >"$base/etc/nsswitch.conf"

# --- Node and the one native package, by npm.
tarball() { # NAME VERSION: its files into the directory that is the third word
  (cd "$work" && npm pack --silent "$1@$2" >name) || die "npm cannot fetch $1@$2" 'is the npm registry reachable?'
  mkdir -p "$3" && tar -xzf "$work/$(cat "$work/name")" -C "$3" --strip-components=1
}
versionOf() { $node -p "require('./package-lock.json').packages['node_modules/$1'].version"; }
root=$work/tartan/opt/tartan
modules=$work/node/opt/tartan/node_modules
say "Node $(versionOf node-linux-$npm_arch)"
tarball node-linux-$npm_arch "$(versionOf node-linux-$npm_arch)" "$work/npm-node"
mkdir -p "$modules/.bin"
strip=$libc_triple-strip
command -v "$strip" >/dev/null && "$strip" -o "$modules/.bin/node" "$work/npm-node/bin/node" || cp "$work/npm-node/bin/node" "$modules/.bin/node"
chmod 755 "$modules/.bin/node"
koffi=$(versionOf koffi)
tarball koffi "$koffi" "$work/npm-koffi"
koffi_root=$root/node_modules/koffi
mkdir -p "$koffi_root/src/koffi/src"
cp "$work/npm-koffi/package.json" "$work/npm-koffi/LICENSE.txt" "$work"/npm-koffi/index.*js "$koffi_root/"
cp "$work"/npm-koffi/src/koffi/*.*js "$koffi_root/src/koffi/"
cp "$work"/npm-koffi/src/koffi/src/*.*js "$koffi_root/src/koffi/src/"
tarball "@koromix/koffi-linux-$npm_arch" "$(versionOf koffi)" "$root/node_modules/@koromix/koffi-linux-$npm_arch"
rm -rf "$root/node_modules/@koromix/koffi-linux-$npm_arch/musl_$npm_arch"

# --- Tartan.
mkdir -p "$root/dist" "$work/tartan/usr/local/bin"
cp -r dist/tartan dist/start.cjs dist/tartan.cjs dist/tunnel.cjs dist/pages "$root/dist/"
cp LICENSE "$root/"
if [ "$arch" = "$machine" ]; then
  cp dist/tartan-cni dist/tartan-flow "$root/dist/"
  # V8's code is of one processor; another compiles when it starts.
  cp dist/tartan.cjs.code "$root/dist/"
else
  compiler=$libc_triple-gcc
  command -v "$compiler" >/dev/null || die "$compiler is missing" "apt-get install gcc-$(echo $libc_triple | tr _ -)"
  make -s -C native DIST="$root/dist" CC="$compiler"
fi
install -m 755 $here/tartan-in-container "$work/tartan/usr/local/bin/tartan-in-container"
ln -s /opt/tartan/dist/tartan "$work/tartan/usr/local/bin/tartan"

# --- Whatever a program asks for must be there.
needs() { readelf -d "$1" 2>/dev/null | sed -n 's/.*(NEEDED).*\[\(.*\)\]/\1/p'; }
find "$work/base/usr" "$work/node" "$work/tartan" -type f \( -perm -100 -o -name '*.so*' -o -name '*.node' \) | while read -r file; do
  for library in $(needs "$file"); do
    [ -e "$base/usr/lib/$libc_triple/$library" ] || [ -e "$base/usr/lib/$library" ] || echo "$library (of ${file#"$work"/})"
  done
done | sort -u >"$work/missing"
# bird’s own client reads lines with a library that nobody needs for bird itself.
grep -v 'usr/sbin/birdc' "$work/missing" >"$work/wanted" || true
rm -f "$base/usr/sbin/birdc"
[ ! -s "$work/wanted" ] || die "libraries are missing: $(xargs <"$work/wanted")" 'their packages belong into deploy/image/packages.txt'

find "$work/base" "$work/node" "$work/tartan" -exec touch -h -d "@$epoch" {} +
say 'building the image'
echo '{"default":[{"type":"insecureAcceptAnything"}]}' >"$work/policy.json"
build() { buildah --root "$work/storage" --runroot "$work/run" --storage-driver vfs "$@"; }
build build --signature-policy "$work/policy.json" --isolation chroot --timestamp "$epoch" --arch "$arch" --layers \
  --build-arg version="$version" --tag "localhost/tartan:$version" -f $here/Containerfile "$work" >"$work/log" 2>&1 ||
  { tail -5 "$work/log" >&2; die 'buildah failed' 'it says why, above'; }
build push --quiet --signature-policy "$work/policy.json" "localhost/tartan:$version" "oci:$work/oci:localhost/tartan:$version" >/dev/null
tar -cf "$out/$name.oci.tar" --sort=name --mtime="@$epoch" --owner=0 --group=0 --numeric-owner -C "$work/oci" .
say "$out/$name.oci.tar: $(du -h "$out/$name.oci.tar" | cut -f1), unpacked $(du -shc "$work/base" "$work/node" "$work/tartan" | tail -1 | cut -f1)"
