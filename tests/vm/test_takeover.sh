#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
#
# SIGKILL for the daemon, and the same command again: the device is the same, its users see no
# error, and what was acknowledged is there, flushed or not.
# vm: timeout 900

. "$(dirname "$0")/lib.sh"

requires fio mkfs.ext4 e2fsck
kills=${TEST_KILLS:-3}
fast_disk "$work/disk"
image=$work/disk/image

# Another daemon for $image, by the way $1; it has to be the same device.
take_over()
{
	local before=$device path=$1

	shift
	serve "$path" "$@"
	[ "$device" = "$before" ] || fail "$device instead of $before"
	grep -q 'taken over' "$stderr_file" || fail "no word of it: $(cat "$stderr_file")"
}

note "unflushed writes, by whatever path, with other options"
image_create "$image" 256M
ln "$image" "$work/disk/other name"
head -c 8M /dev/urandom >"$work/pattern"
serve "$image" --queues 4 --depth 16
for ((i = 0; i < 3; i++)); do
	dd if="$work/pattern" of="$device" bs=256k seek=$((i * 100)) oflag=direct status=none
	kill_hard
	[ -b "$device" ] || fail "$device is gone"
	take_over "$work/disk/other name" --queues 1 --depth 99 --device-id 12
	grep -q 'keeps its 4 queues of 16 requests' "$stderr_file" || fail "$(cat "$stderr_file")"
	dd if="$device" of="$work/back" bs=256k skip=$((i * 100)) count=32 iflag=direct status=none
	same "$work/pattern" "$work/back"
done

note "without a device they are in the image all the same"
dd if="$work/pattern" of="$device" bs=1M seek=200 oflag=direct status=none
kill_hard
refused "$QCOW2_UBLKD" --image "$image" --read-only
grep -q 'in memory and not in the image' "$work/refused" || fail "$(cat "$work/refused")"
refused "$QCOW2_UBLKD" check --repair all "$image"
# Who knows nothing of the device makes no second one.
owner=/run/qcow2-ublkd/${device#/dev/}.owner
mv "$owner" "$work/owner"
refused "$QCOW2_UBLKD" --image "$image"
grep -q "is shown as $device already, and /run/qcow2-ublkd knows nothing of it" "$work/refused" ||
	fail "$(cat "$work/refused")"
mv "$work/owner" "$owner"
"$QCOW2_UBLKD" stop "$device"
expect_no_device "${device#/dev/ublkb}"
serve "$image"
dd if="$device" of="$work/back" bs=1M skip=200 count=8 iflag=direct status=none
same "$work/pattern" "$work/back"
unserve
check_image "$image"

note "a folder that others can look into, or write to"
image_create -F qcow2 -b image "$work/disk/overlay"
serve "$image"
dd if="$work/pattern" of="$device" bs=1M seek=216 oflag=direct status=none
chmod 755 /run/qcow2-ublkd
kill_hard
take_over "$image"
kill_hard
# What could be anybody's is not taken over, and nothing is served without.
chmod 777 /run/qcow2-ublkd
refused "$QCOW2_UBLKD" --image "$image"
grep -q "$device already, which cannot be taken over: /run/qcow2-ublkd: .* mode 0700" "$work/refused" ||
	fail "$(cat "$work/refused")"
"$QCOW2_UBLKD" stop "$device"
for options in '' --read-only; do
	# shellcheck disable=SC2086
	refused "$QCOW2_UBLKD" --image "$image" $options
	grep -q 'in memory and not in the image yet, .*: /run/qcow2-ublkd: .* mode 0700' "$work/refused" ||
		fail "$(cat "$work/refused")"
done
refused "$QCOW2_UBLKD" --image "$work/disk/overlay"
grep -q 'image: writes of a process that was killed are in memory' "$work/refused" ||
	fail "$(cat "$work/refused")"
chmod 755 /run/qcow2-ublkd
serve "$image"
dd if="$device" of="$work/back" bs=1M skip=216 count=8 iflag=direct status=none
same "$work/pattern" "$work/back"
unserve
chmod 777 /run/qcow2-ublkd
serve "$image"
grep -q '/run/qcow2-ublkd: .*; should this process be killed, its device ends' "$stderr_file" ||
	fail "$(cat "$stderr_file")"
unserve
chmod 700 /run/qcow2-ublkd
check_image "$image"

note "given up deliberately"
serve "$image"
dd if=/dev/zero of="$device" bs=1M count=4 oflag=direct conv=fsync status=none
dd if="$work/pattern" of="$device" bs=1M seek=240 oflag=direct status=none
kill_hard
serve "$image" --abandon
grep -q 'writes of a killed process are given up' "$stderr_file" || fail "$(cat "$stderr_file")"
cmp -n $((4 << 20)) "$device" /dev/zero || fail "what was flushed is lost too"
unserve
"$QCOW2_UBLKD" check --repair leaks "$image" >/dev/null
check_image "$image"

note "nor do they hinder a new image that gets the number of one that was removed"
# $1 is made anew until it has number $2, as what was removed goes in its own time.
gets_number()
{
	image_create "$1" 64M
	[ "$(stat -c %i "$1")" -ne "$2" ] || return 0
	rm "$1"
	sync -f "$(dirname "$1")"
	return 1
}
# On the file system at $1.
image_is_replaced()
{
	local number second=$1/second writes

	image_create "$second" 64M
	number=$(stat -c %i "$second")
	serve "$second"
	dd if="$work/pattern" of="$device" bs=1M oflag=direct status=none
	kill_hard
	rm "$second"
	within 60 gets_number "$second" "$number" || fail "no file gets number $number again"
	writes=$(echo /run/qcow2-ublkd/*":$number.writes")
	# Its device waits: that is no end.
	refused "$QCOW2_UBLKD" --image "$second"
	grep -q "is another image's" "$work/refused" || fail "$(cat "$work/refused")"
	"$QCOW2_UBLKD" stop "$device"
	[ -e "$writes" ] || fail "no $writes"
	"$QCOW2_UBLKD" check --repair all "$second" >/dev/null || fail "check: $?"
	serve "$second" --read-only
	unserve
	serve "$second"
	grep -q 'was for a file that is gone' "$stderr_file" || fail "$(cat "$stderr_file")"
	cmp -n $((8 << 20)) "$device" /dev/zero || fail "it has another image's bytes"
	dd if="$work/pattern" of="$device" bs=1M oflag=direct status=none
	kill_hard
	take_over "$second"
	same "$work/pattern" "$device" $((8 << 20))
	unserve
	[ ! -e "$writes" ] || fail "$writes is left"
	check_image "$second"
	rm "$second"
}
image_is_replaced "$work/disk"
null_disk_make 256
mkfs.ext4 -q "/dev/$null_disk"
mount_on "/dev/$null_disk" "$work/ext4"
image_is_replaced "$work/ext4"

note "nor is a second device made of a file that has another number when it is looked up anew"
null_disk_make 64
busybox mkdosfs "/dev/$null_disk"
mount_on "/dev/$null_disk" "$work/fat"
image_create "$work/fat/image" 16M
serve "$work/fat/image"
dd if="$work/pattern" of="$device" bs=1M oflag=direct status=none
number=$(stat -c %i "$work/fat/image")
kill_hard
take_over "$work/fat/image"
kill_hard
has_another_number()
{
	sync -f "$work/fat"
	echo 3 >/proc/sys/vm/drop_caches
	[ "$(stat -c %i "$work/fat/image")" -ne "$number" ]
}
if within 10 has_another_number; then
	refused timeout 60 "$QCOW2_UBLKD" --image "$work/fat/image"
	grep -q "$device waits .*another number" "$work/refused" || fail "$(cat "$work/refused")"
	"$QCOW2_UBLKD" stop "$device"
	rm /run/qcow2-ublkd/*":$number.writes"
	serve "$work/fat/image"
else
	# Newer kernels keep it.
	take_over "$work/fat/image"
fi
unserve

note "what fails after a take-over leaves the device to the next one"
serve "$image"
mkfs.ext4 -q "$device"
mount_on "$device" "$work/mnt"
cp "$work/pattern" "$work/mnt/unsynced"
kill_hard
refused setpriv --bounding-set -setuid "$QCOW2_UBLKD" --image "$image" --user nobody
grep -q 'taken over' "$work/refused" && grep -q -e '--user nobody' "$work/refused" &&
	grep -q 'waits for the next process' "$work/refused" || fail "$(cat "$work/refused")"
take_over "$image"
kill_hard
numbers=$(stat -c '0x%t 0x%T' "$device")
rm "$device"
"$QCOW2_UBLKD" --image "$image" >"$work/nameless.out" 2>"$work/nameless" &
nameless=$!
cleanup_add "kill -KILL $nameless 2>/dev/null && remove_device '$device'"
within 60 test -s "$work/nameless.out" || fail "not taken over: $(cat "$work/nameless")"
grep -q 'not there any more' "$work/nameless" || fail "$(cat "$work/nameless")"
# shellcheck disable=SC2086
mknod "$device" b $numbers
umount "$work/mnt"
"$QCOW2_UBLKD" stop "$device"
wait "$nameless" || fail "$(cat "$work/nameless")"
# Nor does the kernel remove what it has not made.
rm "$device"
serve "$image"
mount "$device" "$work/mnt"
same "$work/pattern" "$work/mnt/unsynced"
umount "$work/mnt"
unserve
check_image "$image"

note "killed $kills times under fio"
rm "$image" "$work/disk/other name"
image_create -o cluster_size=4k "$image" 192M
serve "$image" --queues 4
# Sizes and syncs by lot; the image grows all the time, tables and all.
fio --name=verify --filename="$device" --ioengine=io_uring --iodepth=16 --direct=1 --thread \
	--numjobs=4 --size=48M --offset_increment=48M --rw=randrw --rwmixread=30 --bsrange=4k-64k \
	--verify=crc32c --verify_interval=4k --verify_fatal=1 --verify_backlog=64 --fsync=100 \
	--time_based --runtime=3600 --randrepeat=0 --output="$work/fio" >"$work/fio.stderr" 2>&1 &
load=$!
cleanup_add "kill -KILL $load 2>/dev/null"
for ((kill = 0; kill < kills; kill++)); do
	pause $((RANDOM % 500))
	kill_hard
	take_over "$image" --queues 4
	kill -0 "$load" 2>/dev/null || {
		cat "$work/fio.stderr" "$work/fio" >&2
		fail "fio has ended after kill $((kill + 1))"
	}
done
end_load "$load"
unserve
check_image "$image"

note "a mounted file system goes on"
serve "$image" --queues 4
mkfs.ext4 -q "$device"
mount_on "$device" "$work/mnt"
mkdir "$work/tree"
cp -r /usr/include/linux "$work/tree/many"
head -c 32M /dev/urandom >"$work/tree/large"
(cp -a "$work/tree" "$work/mnt/" && sync -f "$work/mnt") &
load=$!
for ((kill = 0; kill < (kills + 3) / 4; kill++)); do
	pause $((RANDOM % 700))
	kill_hard
	take_over "$image" --queues 4
done
wait "$load" || fail "no copy onto the file system"
same_tree "$work/tree" "$work/mnt/tree"
umount "$work/mnt"
e2fsck -fn "$device" >"$work/fsck" 2>&1 || { cat "$work/fsck" >&2; fail "e2fsck finds faults"; }
unserve
check_image "$image"
