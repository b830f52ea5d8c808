#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
#
# --read-only: nothing is written, others may read; and two writers never share an image.

. "$(dirname "$0")/lib.sh"

requires mkfs.ext4 debugfs
fast_disk "$work/disk"
image=$work/disk/image
image_create "$image" 64M
qemu-io -f qcow2 -c 'write -q -P 0x5a 1M 3M' "$image"
before=$(sha256sum <"$image")

serve "$image" --read-only
first=$daemon_pid
[ "$(blockdev --getro "$device")" = 1 ] || fail "$device is not read-only"
refused dd if=/dev/zero of="$device" bs=4k count=1 oflag=direct
refused blkdiscard -f "$device"
refused blkdiscard -f -z "$device"
head -c 3M /dev/zero | tr '\0' '\132' | cmp -n 3145728 - "$device" 0 1048576 ||
	fail "the content is not what qemu-io wrote"

note "other readers"
qemu-img info "$image" >/dev/null || fail "qemu-img info cannot read beside the daemon"
check_image "$image"
serve "$image" --read-only
second=$daemon_pid
cmp "${daemon_device[$first]}" "$device" || fail "two readers differ"

note "no writer beside readers"
# $1: the daemon, with its options; it must end by itself with status 1 and say why
expect_locked()
{
	local status=0

	timeout 30 "$@" >"$work/refused" 2>&1 || status=$?
	[ "$status" -eq 1 ] || fail "status $status, not 1: $(cat "$work/refused")"
	grep -qE 'locked|is served as' "$work/refused" ||
		fail "no word of a lock: $(cat "$work/refused")"
}
expect_locked "$QCOW2_UBLKD" --image "$image"
unserve "$second"
unserve "$first"
[ "$(sha256sum <"$image")" = "$before" ] || fail "the image was changed by readers"

note "no second writer"
serve "$image"
expect_locked "$QCOW2_UBLKD" --image "$image"
expect_locked "$QCOW2_UBLKD" --image "$image" --read-only
refused qemu-io -f qcow2 -c 'write 0 64k' "$image"
unserve
qemu-io -f qcow2 -c 'write -q 0 64k' "$image" || fail "still locked after the daemon's end"
check_image "$image"

note "evidence: no byte changes, and no time but that of the last access"
mkdir "$work/disk/evidence"
base=$work/disk/evidence/base
image=$work/disk/evidence/image
image_create "$base" 64M
serve "$base"
mkfs.ext4 -q "$device"
mount_on "$device" "$work/mnt"
cp "$0" "$work/mnt/file"
umount "$work/mnt"
# As if it had not been unmounted.
debugfs -w -R 'feature needs_recovery' "$device" >"$work/debugfs" 2>&1
unserve
image_create -b "$base" -F qcow2 "$image"
facts()
{
	sha256sum "$base" "$image"
	stat -c '%n %i %h %s %b %a %u %g %y %z %w' "$work/disk/evidence" "$base" "$image"
	ls -a "$work/disk/evidence"
}
before=$(facts)
# Times have to differ if anything touches the files.
sleep 0.02
serve "$image" --read-only
refused mount -o ro "$device" "$work/mnt"
mount -o ro,noload "$device" "$work/mnt"
cmp "$0" "$work/mnt/file"
"$QCOW2_UBLKD" status "$device" >/dev/null
umount "$work/mnt"
unserve
[ "$(facts)" = "$before" ] || fail "something has changed: $(diff <(echo "$before") <(facts))"
