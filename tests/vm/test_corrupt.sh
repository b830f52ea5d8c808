#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
#
# A table that makes no sense, met while the image is served: writes fail from then on, reads go on,
# the image gets its mark; served for reading only until it is repaired, and then as before.
# vm: on 6.12

. "$(dirname "$0")/lib.sh"

requires qemu-io
image=$work/image
image_create "$image" 64M
qemu-io -f qcow2 -c 'write -q -P 1 0 64k' -c 'write -q -P 2 1M 64k' "$image"
# The first cluster is mapped to the refcount block.
printf '\x80\0\0\0\0\x02\0\0' | dd of="$image" bs=1 seek=$((0x40000)) conv=notrunc status=none

expect_read()
{
	local byte

	byte=$(dd if="$device" bs=4k skip=256 count=1 iflag=direct status=none | od -An -tx1 -N1)
	[ "$byte" = " 02" ] || fail "reads $byte"
}

serve "$image" --name corrupt
refused dd if=/dev/zero of="$device" bs=4k count=1 oflag=direct
refused dd if=/dev/zero of="$device" bs=4k count=1 seek=2000 oflag=direct
expect_read
"$QCOW2_UBLKD" list | grep -q '^corrupt .* corrupt ' || fail "list does not say so"
kill -TERM "$daemon_pid"
expect_stopped "$daemon_pid" 1
grep -q 'is corrupt: guest offset 0 is mapped to metadata at 0x20000' "$stderr_file" ||
	fail "no word of what is wrong"

refused timeout 30 "$QCOW2_UBLKD" --image "$image"
grep -q 'is marked corrupt' "$work/refused" || fail "refused for another reason"
serve "$image" --read-only
expect_read
unserve

note "repaired"
"$QCOW2_UBLKD" check --repair all "$image" 2>"$work/findings" || fail "not repaired"
check_image "$image"
serve "$image"
expect_read
dd if=/dev/zero of="$device" bs=4k count=1 oflag=direct status=none
unserve
check_image "$image"
