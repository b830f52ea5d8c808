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

note "killed before it could end: what was acknowledged is in memory, and the image stays marked"
printf '\0' | dd of="$image" bs=1 seek=79 conv=notrunc status=none
serve "$image" --name corrupt
head -c 1M /dev/urandom >"$work/pattern"
dd if="$work/pattern" of="$device" bs=1M seek=3 oflag=direct status=none
refused dd if=/dev/zero of="$device" bs=4k count=1 oflag=direct
expect_read
old=$device
note "killed, and taken over: who uses the device goes on to read, and hears that nothing is written"
kill_hard
dd if="$old" of="$work/read" bs=1M skip=3 iflag=direct count=1 status=none 2>"$work/reader" &
reader=$!
cleanup_add "kill -KILL $reader 2>/dev/null"
serve "$image" --name corrupt
[ "$device" = "$old" ] || fail "it is $device now, and was $old"
wait "$reader" || fail "a reader did not go on: $(cat "$work/reader")"
cmp "$work/read" "$work/pattern" || fail "what was acknowledged has changed"
expect_read
refused dd if=/dev/zero of="$device" bs=4k count=1 oflag=direct
"$QCOW2_UBLKD" list | grep -q '^corrupt .* corrupt ' || fail "list does not say so"

note "upgraded"
"$QCOW2_UBLKD" upgrade corrupt >"$work/upgraded" || fail "no upgrade"
wait "$daemon_pid" || [ $? -eq 75 ] || fail "the old process has not left"
forget_daemon "$daemon_pid"
expect_read
refused dd if=/dev/zero of="$device" bs=4k count=1 oflag=direct
"$QCOW2_UBLKD" list | grep -q '^corrupt .* corrupt ' || fail "list does not say so"
kill -KILL "$("$QCOW2_UBLKD" status --json corrupt | sed -n 's/^ *"pid": \([0-9]*\),\?$/\1/p')"
serve "$image"

note "killed, and given up"
kill_hard
# Whoever uses the device waits.
[ -b "$old" ] || fail "the device is gone"
dd if="$old" of="$work/read" bs=4k count=1 iflag=direct status=none 2>"$work/reader" &
reader=$!
cleanup_add "kill -KILL $reader 2>/dev/null"
for command in "--image $image --read-only" "check --repair all $image" "check --repair leaks $image"; do
	# shellcheck disable=SC2086
	refused timeout 30 "$QCOW2_UBLKD" $command
	grep -q -e '--abandon' "$work/refused" || fail "$command: $(cat "$work/refused")"
done
serve "$image" --read-only --abandon
[ "$(grep -c 'given up, as --abandon says' "$stderr_file")" -eq 2 ] || fail "$(cat "$stderr_file")"
expect_read
if wait "$reader"; then
	fail "a reader of the abandoned device has heard of no error"
fi
[ "$(ublk_devices)" -eq 1 ] || fail "the abandoned device is still there"
unserve

note "repaired"
"$QCOW2_UBLKD" check --repair all "$image" 2>"$work/findings" || fail "not repaired"
check_image "$image"
serve "$image"
expect_read
dd if=/dev/zero of="$device" bs=4k count=1 oflag=direct status=none
unserve
check_image "$image"

note "refcounts made anew on a device, which cannot grow"
null_disk_make 16
disk=/dev/$null_disk
image_create -o cluster_size=512 "$disk" 8M
qemu-io -f qcow2 -c 'write -q -P 3 0 4M' -c 'discard -q 1M 1M' "$disk"
dd if=/dev/zero of="$disk" bs=1 seek=48 count=12 conv=notrunc,fsync status=none
refused timeout 30 "$QCOW2_UBLKD" --image "$disk"
"$QCOW2_UBLKD" check --repair all "$disk" 2>"$work/findings" || fail "not repaired"
check_image "$disk"
serve "$disk"
[ "$(dd if="$device" bs=1M count=1 skip=2 iflag=direct status=none | tr -d '\003' | wc -c)" -eq 0 ] ||
	fail "the data has changed"
dd if=/dev/zero of="$device" bs=64k count=8 oflag=direct status=none
unserve
check_image "$disk"
