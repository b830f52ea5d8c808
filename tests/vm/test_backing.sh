#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
#
# Chains: a file system on a base, an overlay over its compressed copy, over a raw file, over
# both; what the base holds is there, what is written stays, and the base is not touched.
# vm: on backport

. "$(dirname "$0")/lib.sh"

requires mkfs.ext4 e2fsck qemu-img
fast_disk "$work/disk"
disk=$work/disk

mkdir -p "$work/tree/many"
cp -r /usr/include/linux/{netfilter,usb,dvb} "$work/tree/many/"
head -c 4M /dev/urandom >"$work/tree/large"

note "a base"
image_create -o cluster_size=4096 "$disk/base" 64M
serve "$disk/base" --queues 2
mkfs.ext4 -q "$device"
mount_on "$device" "$work/mnt"
cp -a "$work/tree/." "$work/mnt/"
umount "$work/mnt"
unserve
check_image "$disk/base"
qemu-img convert -f qcow2 -O raw "$disk/base" "$disk/raw"
qemu-img convert -c -f raw -O qcow2 "$disk/raw" "$disk/zlib"
qemu-img convert -c -f raw -O qcow2 -o compression_type=zstd,cluster_size=1M "$disk/raw" \
	"$disk/zstd"
(cd "$disk" && image_create -b zstd -F qcow2 middle 80M)

# Use the file system in image $1 with more options $2..., which lies over $below.
use_overlay()
{
	local before image=$1

	shift
	before=$(sha256sum <"$disk/$below")
	serve "$image" --queues 4 "$@"
	cmp -n $((64 << 20)) "$device" "$disk/raw" || fail "$image differs from its base"
	mount_on "$device" "$work/mnt"
	same_tree "$work/tree/many" "$work/mnt/many"
	same "$work/tree/large" "$work/mnt/large"
	rm -r "$work/mnt/many/netfilter"
	cp "$work/tree/large" "$work/mnt/copy"
	printf 'new' | dd of="$work/mnt/large" bs=1 seek=1000000 conv=notrunc status=none
	fstrim "$work/mnt"
	umount "$work/mnt"
	e2fsck -fn "$device" >"$work/fsck" 2>&1 || fail "e2fsck finds faults"
	qemu-img convert -f raw -O raw "$device" "$disk/after"
	unserve
	check_image "$image"
	image_same "$image" "$disk/after"
	rm "$disk/after"
	[ "$(sha256sum <"$disk/$below")" = "$before" ] || fail "$below was written to"
}

for over in "raw 1.1" "zlib 0.10" "middle 1.1"; do
	read -r below compat <<<"$over"
	note "over $below, compat $compat"
	format=qcow2
	[ "$below" != raw ] || format=raw
	(cd "$disk" && image_create -o "compat=$compat" -b "$below" -F $format overlay 96M)
	use_overlay "$disk/overlay" --allow-path "$disk"
	rm "$disk/overlay"
done

note "compressed clusters of its own"
cp "$disk/zlib" "$disk/own"
below=raw
use_overlay "$disk/own"

note "what is refused"
# $1: a word of the reason, $2...: options
expect_refused()
{
	local status=0 word=$1

	shift
	timeout 30 "$QCOW2_UBLKD" --image "$disk/overlay" "$@" >"$work/refused" 2>&1 || status=$?
	[ "$status" -eq 1 ] || fail "status $status, not 1: $(cat "$work/refused")"
	grep -q -e "$word" "$work/refused" || fail "no word of '$word': $(cat "$work/refused")"
}
(cd "$disk" && image_create -b raw -F raw overlay)
expect_refused --allow-path --allow-path /usr
(cd "$disk" && qemu-img rebase -u -f qcow2 -b nbd:localhost:1 -F raw overlay)
expect_refused "not the name of a file"
(cd "$disk" && qemu-img rebase -u -f qcow2 -b overlay -F qcow2 overlay)
expect_refused "above it in the same chain"
rm "$disk/overlay"

note "a base that somebody writes to, and one that is served"
(cd "$disk" && image_create -b base -F qcow2 overlay)
serve "$disk/base"
expect_refused locked
unserve
serve "$disk/overlay"
refused qemu-io -f qcow2 -c 'write 0 64k' "$disk/base"
unserve

note "a base whose server was killed, with writes that it does not have yet"
rm "$disk/overlay"
head -c 1M /dev/urandom >"$work/late"
serve "$disk/base"
dd if="$work/late" of="$device" bs=64k oflag=direct status=none
kill_hard
(cd "$disk" && qemu-img create -q -u -f qcow2 -b base -F qcow2 overlay 64M)
expect_refused "base: writes of a process that was killed"
expect_refused "base: writes of a process that was killed" --read-only
serve "$disk/base"
unserve
serve "$disk/overlay"
cmp -n $((1 << 20)) "$device" "$work/late" || fail "what the base was given is not there"
unserve

# What the device has shown must not be mixed with what another file holds.
note "a base that is replaced while nobody serves what lies over it"
serve "$disk/overlay"
dd if="$work/late" of="$device" bs=64k seek=64 oflag=direct status=none
kill_hard
mv "$disk/base" "$disk/first"
cp "$disk/first" "$disk/base"
expect_refused "a backing or data file has been replaced since its daemon was killed, and $device"
mv "$disk/first" "$disk/base"
before=$device
serve "$disk/overlay"
[ "$device" = "$before" ] || fail "$before has become $device"
cmp -n $((1 << 20)) "$device" "$work/late" || fail "the base is not there"
cmp -n $((1 << 20)) -i $((4 << 20)):0 "$device" "$work/late" || fail "what was written is not there"
kill_hard
mv "$disk/base" "$disk/first"
cp "$disk/first" "$disk/base"
serve "$disk/overlay" --abandon
cmp -n $((1 << 20)) "$device" "$work/late" || fail "the new base is not there"
unserve
