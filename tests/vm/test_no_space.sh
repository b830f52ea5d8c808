#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
#
# A full host file system fails the writes that need space, and nothing else: reads and the daemon
# go on, writes work again when there is space, and the image is sound.

. "$(dirname "$0")/lib.sh"

requires mkfs.ext4
null_disk_make 64
mkfs.ext4 -q -O ^has_journal -m 0 "/dev/$null_disk"
mount_on "/dev/$null_disk" "$work/disk"
image=$work/disk/image
image_create "$image" 256M
serve "$image" --queues 4

head -c 8M /dev/urandom >"$work/early"
dd if="$work/early" of="$device" bs=1M oflag=direct conv=fsync status=none
fallocate -l 24M "$work/disk/filler"

note "until it is full"
refused dd if=/dev/urandom of="$device" bs=1M seek=16 count=64 oflag=direct
grep -q 'No space left on device' "$work/refused" || fail "not ENOSPC: $(cat "$work/refused")"
kill -0 "$daemon_pid" || fail "the daemon has ended"
dd if="$device" of="$work/back" bs=1M count=8 iflag=direct status=none
same "$work/early" "$work/back"
# Where clusters are, no space is needed.
head -c 8M /dev/urandom >"$work/early"
dd if="$work/early" of="$device" bs=1M oflag=direct status=none || fail "no writing in place"

note "with space again"
rm "$work/disk/filler"
head -c 16M /dev/urandom >"$work/late"
dd if="$work/late" of="$device" bs=1M seek=128 oflag=direct conv=fsync status=none ||
	fail "writes still fail"
dd if="$device" of="$work/back" bs=1M skip=128 count=16 iflag=direct status=none
same "$work/late" "$work/back"
unserve
check_image "$image"

serve "$image" --read-only
same "$work/early" "$device" $((8 << 20))
dd if="$device" of="$work/back" bs=1M skip=128 count=16 iflag=direct status=none
same "$work/late" "$work/back"
unserve
