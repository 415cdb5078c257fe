#!/bin/sh
# Installs stmount @VERSION@ from the directory that this script is in.
#
# usage: ./install.sh [--uninstall]
#   PREFIX=DIRECTORY     where to; /usr/local for root, ~/.local for others
#   DESTDIR=DIRECTORY    a root to put PREFIX into, for packagers
#   HELPERDIR=DIRECTORY  where mount(8) looks for helpers: /usr/sbin
#   ZSHDIR=DIRECTORY     zsh's completions: PREFIX/share/zsh/site-functions
set -eu
umask 022
version=@VERSION@ machine=@MACHINE@ glibc=@GLIBC@
here=$(cd "$(dirname "$0")" && pwd)
fail() { echo "install.sh: $*" >&2; exit 1; }

action=install
case ${1-} in
  '') ;;
  --uninstall) action=uninstall ;;
  *) sed -n '/^# usage/,/^set/ s/^# \{0,1\}//p' "$0"; exit 64 ;;
esac
if [ "$(id -u)" = 0 ]; then default=/usr/local; else default=$HOME/.local; fi
prefix=${PREFIX:-$default}
case $prefix in /*) ;; *) fail "PREFIX=$prefix is not an absolute path" ;; esac
root=${DESTDIR-}
helpers=${HELPERDIR:-/usr/sbin}
case "$prefix $helpers" in "/usr /usr/sbin") helper=../bin/stmount ;; *) helper=$prefix/bin/stmount ;; esac
zsh=${ZSHDIR:-$prefix/share/zsh/site-functions}
# A user's own systemd and shells look below ~/.local/share; the machine's systemd and mount(8) do not look there at all.
units=$prefix/lib/systemd is_home=
case $prefix in "${HOME:-/nowhere}"/*) units=$prefix/share/systemd is_home=yes ;; esac

# Where a file of this directory belongs.
place() {
  case $1 in
    lib/systemd/*) echo "$units/${1#lib/systemd/}" ;;
    share/zsh/site-functions/*) echo "$zsh/${1#share/zsh/site-functions/}" ;;
    *) echo "$prefix/$1" ;;
  esac
}
files=$(cd "$here" && find bin lib share ! -type d | LC_ALL=C sort)
[ -z "$is_home" ] || files=$(echo "$files" | grep -v '^lib/systemd/system/')

if [ "$action" = uninstall ]; then
  for file in $files; do rm -f "$root$(place "$file")"; done
  for type in stmount fuse.stmount; do
    [ "$(readlink "$root$helpers/mount.$type")" != "$helper" ] || rm -f "$root$helpers/mount.$type"
  done
  rmdir "$root$prefix/share/doc/stmount/examples" "$root$prefix/share/doc/stmount" 2>/dev/null || :
  [ -n "$root" ] || echo "Removed stmount $version from $prefix."
  exit
fi

# A message that says more than the loader's "not found".
musl="this system has musl in place of glibc, as Alpine has: use a container with Debian or Ubuntu"
if ! "$here/bin/stmount" --version >/dev/null 2>&1; then
  [ "$(uname -m)" = "$machine" ] ||
    fail "this package is for $machine, and this machine is $(uname -m): get the package for it, or build from source"
  problem=$("$here/bin/stmount" --version 2>&1 || :)
  case $problem in
    *"version \`GLIBC_"*) fail "stmount needs glibc $glibc or newer: a newer system (Debian 12, Ubuntu 22.04, Fedora 36), or build from source here" ;;
    # So says musl's loader where a package such as gcompat calls it by glibc's name.
    *"Error loading shared library"*|*"Error relocating"*) fail "$musl" ;;
  esac
  case $machine in x86_64) loader=/lib64/ld-linux-x86-64.so.2 ;; *) loader=/lib/ld-linux-$machine.so.1 ;; esac
  if [ ! -e "$loader" ]; then
    for file in /lib/ld-musl-*; do [ ! -e "$file" ] || fail "$musl"; done
    for file in /lib/ld-linux.so.2 /lib/ld-linux-armhf.so.3; do
      [ ! -e "$file" ] || fail "this system has 32-bit programs on a 64-bit kernel, and stmount is a 64-bit program: use a container with a 64-bit Debian or Ubuntu"
    done
    fail "this system has no $loader, the loader of glibc: use a container with Debian or Ubuntu"
  fi
  fail "bin/stmount does not run: $problem"
fi

mkdir -p "$root$prefix" 2>/dev/null || :
[ -w "$root$prefix" ] || fail "$root$prefix cannot be written to: use sudo, or PREFIX=\$HOME/.local"
for file in $files; do
  target=$root$(place "$file")
  mkdir -p "$(dirname "$target")"
  rm -f "$target"
  case $file in
    bin/stmount) cp "$here/$file" "$target"; chmod 755 "$target" ;;
    bin/*) ln -s stmount "$target" ;;
    *)
      # Units name the command, and manual pages the documents.
      sed -e "s|@PREFIX@|$prefix|g" -e "s|/usr/share/doc/stmount|$prefix/share/doc/stmount|g" "$here/$file" >"$target"
      chmod 644 "$target" ;;
  esac
done
also=
if [ -z "$is_home" ]; then
  if mkdir -p "$root$helpers" 2>/dev/null && [ -w "$root$helpers" ]; then
    for type in stmount fuse.stmount; do ln -sf "$helper" "$root$helpers/mount.$type"; done
    also=", the helper of mount(8) in $helpers"
  else
    also="; without $helpers/mount.stmount, which only root can put there, fstab does not know stmount"
  fi
fi
if [ -z "$root" ]; then
  case :${PATH-}: in *":$prefix/bin:"*) next="stmount --doctor" ;; *) next="$prefix/bin/stmount --doctor" ;; esac
  echo "Installed stmount $version: commands in $prefix/bin, manual and completions in $prefix/share, units in $units$also. Next: $next"
fi
