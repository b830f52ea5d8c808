#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
#
# The kernel sees the partitions of a served image: when they are made, and at the next start.

. "$(dirname "$0")/lib.sh"

requires dmsetup mkfs.xfs sfdisk mkfs.ext4
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

note "killed while the kernel reads the table for the first time: the next one has it read"
mkdir "$work/disk"
hanging_disk "$work/disk"
truncate -s 128M "$work/disk/raw"
sfdisk -q "$work/disk/raw" <<-END
	label: gpt
	size=32MiB
END
image_create -b "$work/disk/raw" -F raw "$image"
sync -f "$work/disk"
# It is read through the page cache.
echo 1 >/proc/sys/vm/drop_caches
suspend_storage
"$QCOW2_UBLKD" --image "$image" >"$work/first.out" 2>"$work/first" &
first=$!
cleanup_add "kill -KILL $first 2>/dev/null"
has_disk()
{
	compgen -G "/sys/class/block/ublkb*" >/dev/null
}
within 20 has_disk || fail "no device: $(cat "$work/first")"
kill -KILL "$first"
resume_storage
wait "$first" 2>/dev/null || :
serve "$image"
grep -q "taken over" "$stderr_file" || fail "another device: $(cat "$stderr_file")"
within 10 test -b "${device}p1" || fail "no ${device}p1"
unserve
