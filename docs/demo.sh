#!/bin/sh
# The demonstration behind `make demo`: writes a small model, mounts it, looks at it with everyday tools.
# usage: demo.sh STMOUNT, or demo.sh --write FILE to write the model alone
set -eu
if [ "$1" = --write ]; then target=$(realpath "$2"); else stmount=$(realpath "$1"); fi
work=$(mktemp -d)
# Of a path that is no mount, umount(8) asks every mount of the machine, and one of them may not answer.
unmount() { ! mountpoint -q "$work/m" || umount "$work/m" 2>/dev/null || fusermount3 -u "$work/m"; }
trap 'unmount || true; rm -rf "$work"' EXIT
cd "$work"

# A safetensors file is 8 bytes of length, that much JSON, and the data: here a bias of three float32 (1, -2,
# 0.5), a weight of 2 x 2 bfloat16 (0, 1, 2, 3), and a scalar int64 (42).
header='{"__metadata__":{"format":"pt"},"layer.bias":{"dtype":"F32","shape":[3],"data_offsets":[0,12]},'
header=$header'"layer.weight":{"dtype":"BF16","shape":[2,2],"data_offsets":[12,20]},'
header=$header'"step":{"dtype":"I64","shape":[],"data_offsets":[20,28]}}'
length=${#header}
{
  # The length, little-endian.
  printf "\\$(printf %o $((length % 256)))\\$(printf %o $((length / 256)))\0\0\0\0\0\0"
  printf %s "$header"
  printf '\000\000\200\077\000\000\000\300\000\000\000\077'
  printf '\000\000\200\077\000\100\100\100'
  printf '\052\000\000\000\000\000\000\000'
} > model.safetensors
if [ "$1" = --write ]; then
  cp model.safetensors "$target"
  exit
fi

show() {
  echo "\$ $*"
  "$@"
}

mkdir m
echo '$ stmount model.safetensors m'
"$stmount" model.safetensors m
show ls -l m
show cat m/metadata.json
echo '$ od -A d -t f4 m/layer.bias'
od -A d -t f4 m/layer.bias
echo '$ od -A d -t d8 m/step'
od -A d -t d8 m/step
show findmnt -n -o FSTYPE,OPTIONS m
if [ "$(id -u)" = 0 ]; then show umount m; else show fusermount3 -u m; fi
