#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
#
# The kernel sees the partitions of a served image: when they are made, and at the next start.

. "$(dirname "$0")/lib.sh"

requires sfdisk mkfs.ext4
image=$work/image

for label in dos gpt; do
	note "$label"
	image_create "$image" 128M
	serve "$image"
	sfdisk -q "$device" <<-END || fail "sfdisk cannot write a $label label"
		label: $label
		size=32MiB
		size=64MiB
	END
	within 10 test -b "${device}p2" || fail "no ${device}p2 after sfdisk"
	mkfs.ext4 -q "${device}p2"
	mount_on "${device}p2" "$work/mnt"
	echo "on $label" >"$work/mnt/file"
	umount "$work/mnt"
	first=$device
	unserve
	[ ! -e "${first}p2" ] || fail "${first}p2 is still there"

	serve "$image"
	[ -b "${device}p2" ] || fail "${device} is said to be ready before ${device}p2 is there"
	[ "$(blockdev --getsize64 "${device}p1")" -eq $((32 << 20)) ] || fail "wrong size"
	mount "${device}p2" "$work/mnt"
	[ "$(<"$work/mnt/file")" = "on $label" ] || fail "the file on ${device}p2 is lost"
	umount "$work/mnt"
	unserve
	check_image "$image"
	rm "$image"
done
