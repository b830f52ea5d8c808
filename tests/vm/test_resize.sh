#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
#
# A disk grows while it is mounted and written to, and while its daemon is killed; and it becomes smaller,
# if nothing is behind the new end.  (What a driver that cannot do that says, is in test_control.sh.)
# vm: on backport

. "$(dirname "$0")/lib.sh"

requires mkfs.ext4 resize2fs e2fsck fio
kills=${TEST_KILLS:-1}
fast_disk "$work/disk"
image=$work/disk/image

virtual_size()
{
	sed -n 's/.*"virtual-size": \([0-9]*\).*/\1/p' | head -n 1
}

size_of_image()
{
	qemu-img info -U --output=json "$image" | virtual_size
}

expect_size()
{
	local of_device of_image

	of_device=$(blockdev --getsize64 "$device")
	of_image=$(size_of_image)
	[ "$of_device" = "$1" ] || fail "$device has $of_device bytes, not $1"
	[ "$of_image" = "$1" ] || fail "the image has $of_image bytes, not $1"
}

image_create -o cluster_size=4k "$image" 64M
serve "$image" --queues 2 --name growing

"$QCOW2_UBLKD" resize growing +64M
expect_size $((128 << 20))

note "what is refused"
refused "$QCOW2_UBLKD" resize growing 32M
grep -q 'would become smaller' "$work/refused" || fail "$(cat "$work/refused")"
refused "$QCOW2_UBLKD" resize growing 1000
refused "$QCOW2_UBLKD" resize growing 900000T
grep -q 'more than there is room for' "$work/refused" || fail "$(cat "$work/refused")"
refused "$QCOW2_UBLKD" resize nobody 1G
expect_size $((128 << 20))

note "smaller, if nothing is behind the new end"
"$QCOW2_UBLKD" resize --shrink growing 96M
expect_size $((96 << 20))
head -c 4096 /dev/urandom | dd of="$device" bs=4096 seek=$((90 << 8)) conv=notrunc status=none
refused "$QCOW2_UBLKD" resize --shrink growing 64M
grep -q "has something at byte $((90 << 20))," "$work/refused" || fail "$(cat "$work/refused")"
expect_size $((96 << 20))
blkdiscard --offset $((90 << 20)) "$device"
answer=$("$QCOW2_UBLKD" resize --shrink --json growing 64M)
[ "$(virtual_size <<<"$answer")" = $((64 << 20)) ] || fail "$answer"
expect_size $((64 << 20))
"$QCOW2_UBLKD" resize growing 128M
cmp -n $((64 << 20)) "$device" /dev/zero $((64 << 20)) 0 || fail "the new end is not zeros"
expect_size $((128 << 20))

note "what the kernel still has in its memory does not come back"
exec {held}<"$device"
printf '%04096d' 1 >"$work/page"
dd if="$work/page" of="$device" bs=4096 seek=$((64 << 8)) conv=notrunc,fsync status=none
"$QCOW2_UBLKD" resize --shrink growing $(((64 << 20) + 512))
"$QCOW2_UBLKD" resize growing 128M
cmp -n 512 "$device" "$work/page" $((64 << 20)) 0 || fail "what was before the end is gone"
cmp -n 3584 "$device" /dev/zero $(((64 << 20) + 512)) 0 || fail "what was behind the end is back"
exec {held}<&-

note "a mounted file system under load grows with it"
mkfs.ext4 -q -F "$device"
mount_on "$device" "$work/mnt"
fio --name=verify --directory="$work/mnt" --size=8M --rw=randwrite --bsrange=4k-32k --verify=crc32c \
	--verify_fatal=1 --direct=1 --ioengine=io_uring --iodepth=8 --fsync=50 \
	--output="$work/fio" >"$work/fio.stderr" 2>&1 &
load=$!
cleanup_add "kill -KILL $load 2>/dev/null"
size=$((128 << 20))
for step in 512 $((1 << 20)) $((1200 << 20)); do
	size=$((size + step))
	answer=$("$QCOW2_UBLKD" resize --json "$device" $size)
	[ "$(virtual_size <<<"$answer")" = "$size" ] || fail "$answer"
	expect_size $size
done
resize2fs "$device" >"$work/resize2fs" 2>&1 || fail "$(cat "$work/resize2fs")"
wait "$load" || fail "$(cat "$work/fio" "$work/fio.stderr")"
[ "$(df --output=size -B1M "$work/mnt" | tail -1)" -gt 1000 ] || fail "it is small: $(df "$work/mnt")"
head -c 8M /dev/urandom >"$work/mnt/new"
sync

note "killed $kills times while it grows"
for ((i = 0; i < kills; i++)); do
	# The client has the file system written back first: when the daemon is killed meanwhile, it waits for
	# the next one, and may ask that one then.
	head -c 8M /dev/urandom >"$work/mnt/dirty"
	"$QCOW2_UBLKD" resize growing +256M >/dev/null 2>&1 &
	client=$!
	pause $((RANDOM % 40))
	before=$device
	kill_hard
	serve "$image" --name growing
	wait "$client" || :
	[ "$device" = "$before" ] || fail "$device instead of $before"
	now=$(size_of_image)
	[ "$now" = "$size" ] || [ "$now" = $((size + (256 << 20))) ] || fail "the image has $now bytes"
	size=$now
	expect_size "$size"
	echo "$i" >"$work/mnt/after-kill"
	sync
done
resize2fs "$device" >"$work/resize2fs" 2>&1 || fail "$(cat "$work/resize2fs")"
umount "$work/mnt"
e2fsck -fn "$device" >"$work/e2fsck" 2>&1 || fail "$(cat "$work/e2fsck")"
unserve
check_image "$image"
[ "$(size_of_image)" = "$size" ] || fail "the image has $(size_of_image) bytes"

note "killed $kills times while it becomes smaller, and as often while it grows back over a longer layer"
truncate -s 8G "$work/disk/base"
dd if="$work/page" of="$work/disk/base" bs=1M seek=4096 conv=notrunc status=none
qemu-img create -q -f qcow2 -o cluster_size=4k -b base -F raw "$image.top" 8G
image=$image.top
serve "$image" --name growing
for ((i = 0; i < 2 * kills; i++)); do
	"$QCOW2_UBLKD" resize --shrink growing 8M
	# All of what was hidden in the larger disk is to be hidden anew, in more tables than one of 8 MB has.
	"$QCOW2_UBLKD" resize growing 8G >/dev/null 2>&1 &
	client=$!
	if ((i % 2)); then
		wait "$client" || fail "it does not grow"
		"$QCOW2_UBLKD" resize --shrink growing 8M >/dev/null 2>&1 &
		client=$!
		pause $((RANDOM % 10))
	else
		pause $((50 + RANDOM % 250))
	fi
	kill_hard
	serve "$image" --name growing
	wait "$client" || :
	size=$(size_of_image)
	[ "$size" = $((8 << 20)) ] || [ "$size" = $((8 << 30)) ] || fail "the image has $size bytes"
	expect_size "$size"
done
"$QCOW2_UBLKD" resize growing 8G
cmp -n $((8 << 20)) "$device" /dev/zero $((4 << 30)) 0 || fail "the layer below is back"
unserve
check_image "$image"
