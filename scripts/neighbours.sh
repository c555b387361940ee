#!/bin/sh
# Fetches the programs that the tests run beside Tartan (Docker, ufw, firewalld, NetworkManager, systemd-networkd, udev)
# as Debian packages and unpacks them, 49 MB and 3 seconds, once. They are not installed: that would start firewalls and
# daemons on this machine; tests see the files in mount namespaces of their own. The files stay in the cache
# (TARTAN_CACHE, else XDG_CACHE_HOME/tartan, else ~/.cache/tartan). Prints their directory; progress and errors go to stderr.
set -eu

packages='docker.io ufw firewalld network-manager systemd udev dbus'
cache=${TARTAN_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/tartan}/neighbours-1

say() { printf '%s\n' "neighbours: $*" >&2; }
die() { printf '%s\n' "neighbours: ERROR: $1" "            $2" >&2; exit 1; }

if [ -e "$cache/usr" ]; then
  printf '%s\n' "$cache"
  exit 0
fi
command -v apt-get >/dev/null || die 'not a Debian system' 'these tests need apt-get'

mkdir -p "$(dirname "$cache")"
exec 9>"$cache.lock"
flock 9
[ ! -e "$cache/usr" ] || exec "$0"
work=$(mktemp -d "$cache.XXXXXX")
trap 'rm -rf "$work"' EXIT
trap 'exit 130' INT TERM
mkdir -p "$work/apt/archives/partial" "$work/root/etc" "$work/root/usr"

# What is installed already is seen anyway; what is not comes with all that it depends on.
fetch() {
  # shellcheck disable=SC2086 # one word per package
  apt-get -o Dir::Cache="$work/apt" -o Debug::NoLocking=1 -o APT::Sandbox::User="$(id -un)" \
    --download-only --no-install-recommends -y install $packages >"$work/log" 2>&1
}
say 'fetching Docker, ufw, firewalld, NetworkManager, systemd-networkd and udev (49 MB)'
fetch || { [ "$(id -u)" = 0 ] && say 'refreshing the package lists first' && apt-get update >&2 && fetch; } || {
  tail -5 "$work/log" >&2
  die 'cannot fetch the packages' 'apt-get says why, above'
}
for package in "$work"/apt/archives/*.deb; do
  [ ! -e "$package" ] || dpkg-deb --extract "$package" "$work/root"
done
# Debian's /lib, /bin and /sbin are links into /usr, which packages of Debian 12 do not all know.
for name in lib bin sbin; do
  [ ! -d "$work/root/$name" ] || cp -a "$work/root/$name" "$work/root/usr/"
done
rm -rf "$cache" "$work/root/usr/share/doc" "$work/root/usr/share/man" "$work/root/usr/share/locale"
mkdir "$cache"
mv "$work/root/etc" "$cache/etc"
mv "$work/root/usr" "$cache/usr"
printf '%s\n' "$cache"
