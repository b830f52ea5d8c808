#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
#
# A stop loses nothing that was written to the device: the page cache is written back, and as long
# as the device is mounted or held there is no stop, unless it is forced, after a write-back too.

. "$(dirname "$0")/lib.sh"

requires mkfs.btrfs mkfs.ext4 e2fsck dmsetup losetup unshare swapon python3
image=$work/image
image_create "$image" 256M
head -c 6M /dev/urandom >"$work/pattern"

# The daemon says something like $1.
says()
{
	within 20 grep -q -e "$1" "$stderr_file" || fail "no word of '$1': $(cat "$stderr_file")"
}

expect_serving()
{
	kill -0 "$daemon_pid" 2>/dev/null || fail "the daemon has ended: $(cat "$stderr_file")"
	dd if="$device" of=/dev/null bs=4k count=1 iflag=direct status=none || fail "no reads"
}

no_device()
{
	[ ! -e "/sys/class/ublk-char/ublkc${device#/dev/ublkb}" ]
}

for options in "" --no-recovery; do
	note "the page cache $options"
	# shellcheck disable=SC2086
	serve "$image" --queues 2 $options
	exec {open}<>"$device"
	dd if="$work/pattern" of="/dev/fd/$open" bs=64k seek=16 conv=notrunc status=none
	unserve || fail "not stopped"
	exec {open}<&-
	serve "$image" --queues 2
	dd if="$device" of="$work/back" bs=64k skip=16 count=96 status=none
	same "$work/pattern" "$work/back"
	dd if=/dev/zero of="$device" bs=1M count=8 oflag=direct status=none
	unserve

	note "mounted $options"
	# shellcheck disable=SC2086
	serve "$image" --queues 2 $options
	mkfs.ext4 -q "$device"
	mount_on "$device" "$work/mnt"
	cp "$work/pattern" "$work/mnt/file"
	refused "$QCOW2_UBLKD" stop "$device"
	grep -q "is in use: mounted on $work/mnt" "$work/refused" || fail "$(cat "$work/refused")"
	kill -TERM "$daemon_pid"
	says "is in use: mounted on $work/mnt"
	kill -TERM "$daemon_pid"
	expect_serving
	same "$work/pattern" "$work/mnt/file"
	cp "$work/pattern" "$work/mnt/more"
	umount "$work/mnt"
	# Now it may, and does by itself.
	expect_stopped
	serve "$image" --queues 2
	mount "$device" "$work/mnt"
	same "$work/pattern" "$work/mnt/more"
	umount "$work/mnt"
	unserve
done

note "no process can be made that looks for users: a signal is not forgotten"
image_create "$work/other" 64M
few=/sys/fs/cgroup/few
echo +pids >/sys/fs/cgroup/cgroup.subtree_control
mkdir "$few"
serve "$work/other" --queues 2
for pid in "$daemon_pid" $(pgrep -P "$daemon_pid"); do
	echo "$pid" >"$few/cgroup.procs"
done
dd if="$work/pattern" of="$device" bs=64k seek=64 conv=notrunc status=none
echo 0 >"$few/pids.max"
kill -TERM "$daemon_pid"
says "whether it is in use: helper process: fork: Resource temporarily unavailable"
refused "$QCOW2_UBLKD" stop "$device"
grep -q "fork: Resource temporarily unavailable" "$work/refused" || fail "$(cat "$work/refused")"
sleep 2
expect_serving
[ "$(grep -c "whether it is in use" "$stderr_file")" -le 2 ] || fail "too many words: $(cat "$stderr_file")"
echo max >"$few/pids.max"
within 20 eval "! kill -0 $daemon_pid 2>/dev/null" || fail "not stopped"
expect_stopped
within 10 rmdir "$few" || fail "somebody is left in $few"
serve "$work/other" --queues 2
dd if="$device" of="$work/back" bs=64k skip=64 count=96 status=none
same "$work/pattern" "$work/back"

note "the helper process has ended: what to do is said, and works"
pkill -KILL -P "$daemon_pid" -x ublk-helper
says "its helper process has ended"
kill -TERM "$daemon_pid"
refused "$QCOW2_UBLKD" stop "$device"
grep -q "qcow2-ublkd upgrade $device" "$work/refused" || fail "$(cat "$work/refused")"
expect_serving
"$QCOW2_UBLKD" upgrade "$device" || fail "no upgrade"
wait "$daemon_pid" && fail "it has not left"
forget_daemon "$daemon_pid"
"$QCOW2_UBLKD" stop "$device" || fail "not stopped"
within 20 no_device || fail "$device is still there"

note "held by another device"
serve "$image" --queues 2
dmsetup create above --noudevsync --table "0 $(blockdev --getsz "$device") linear $device 0"
cleanup_add "! dmsetup info above >/dev/null 2>&1 || dmsetup remove above"
refused "$QCOW2_UBLKD" stop "$device"
grep -q "part of /dev/mapper/above" "$work/refused" || fail "$(cat "$work/refused")"
expect_serving
dmsetup remove above

note "mounted where only others see it"
unshare -m --propagation private sh -c "mount '$device' '$work/mnt' && echo x >'$work/mounted' &&
	exec sleep 1000" &
other=$!
cleanup_add "kill $other 2>/dev/null"
within 20 test -e "$work/mounted" || fail "not mounted"
refused "$QCOW2_UBLKD" stop "$device"
grep -q "mounted on $work/mnt in the mount namespace of sleep ($other)" "$work/refused" ||
	fail "$(cat "$work/refused")"
kill "$other"
wait "$other" || :
"$QCOW2_UBLKD" stop "$device"
expect_stopped

note "by force"
serve "$image" --queues 2
mount "$device" "$work/mnt"
cp "$work/pattern" "$work/mnt/forced"
"$QCOW2_UBLKD" stop --force "$device" || fail "not stopped by force"
says "stopped by force while it was mounted on $work/mnt"
umount "$work/mnt"
within 20 no_device || fail "$device is still there"
expect_stopped
serve "$image" --queues 2 --force-stop
mount "$device" "$work/mnt"
same "$work/pattern" "$work/mnt/forced"
cp "$work/pattern" "$work/mnt/again"
kill -TERM "$daemon_pid"
within 30 eval "! kill -0 $daemon_pid 2>/dev/null" || fail "not stopped by force"
umount "$work/mnt"
within 20 no_device || fail "$device is still there"
expect_stopped
# A file system that hears nothing of a flush of its device.
image_create "$work/btrfs" 256M
serve "$work/btrfs"
mkfs.btrfs -q "$device"
mount "$device" "$work/mnt"
cp "$work/pattern" "$work/mnt/forced"
"$QCOW2_UBLKD" stop --force "$device" || fail "not stopped by force"
umount "$work/mnt"
expect_stopped
serve "$work/btrfs"
mount "$device" "$work/mnt"
same "$work/pattern" "$work/mnt/forced"
umount "$work/mnt"
unserve
serve "$image" --queues 2
mount "$device" "$work/mnt"
same "$work/pattern" "$work/mnt/again"
umount "$work/mnt"
e2fsck -fn "$device" >"$work/fsck" 2>&1 || { cat "$work/fsck" >&2; fail "e2fsck finds faults"; }

note "below a loop device, which does not hold it"
modprobe loop
loop=$(losetup --find --show "$device")
cleanup_add "! losetup '$loop' >/dev/null 2>&1 || losetup --detach '$loop'"
mount "$loop" "$work/mnt"
cp "$work/pattern" "$work/mnt/looped"
refused timeout 10 "$QCOW2_UBLKD" stop "$device"
grep -q "mounted on $work/mnt; below $loop" "$work/refused" || fail "$(cat "$work/refused")"
expect_serving
"$QCOW2_UBLKD" stop --force "$device" || fail "not stopped by force"
umount "$work/mnt"
losetup --detach "$loop"
within 20 no_device || fail "$device is still there"
expect_stopped
serve "$image" --queues 2
mount "$device" "$work/mnt"
same "$work/pattern" "$work/mnt/looped"
umount "$work/mnt"

note "a file that is nothing to us, of a server that does not answer, keeps nobody"
modprobe fuse
mkdir "$work/silent"
"$vm_folder/silent_files.py" "$work/silent" &
silent=$!
cleanup_add "kill -KILL $silent 2>/dev/null; umount -l '$work/silent'"
within 20 mountpoint -q "$work/silent" || fail "not mounted"
sleep 1000 <"$work/silent/file" &
other=$!
cleanup_add "kill -KILL $other 2>/dev/null"
# Their nodes may lie anywhere.
# shellcheck disable=SC2046
mknod "$work/node" b $(tr : ' ' <"/sys/block/${device#/dev/}/dev")
sleep 1000 <"$work/node" &
user=$!
cleanup_add "kill -KILL $user 2>/dev/null"
mount "$device" "$work/mnt"
refused timeout 20 "$QCOW2_UBLKD" stop "$device"
grep -q "mounted on $work/mnt; opened by sleep ($user);" "$work/refused" || fail "$(cat "$work/refused")"
timeout 20 "$QCOW2_UBLKD" stop --force "$device" || fail "not stopped by force"
says "stopped by force while it was mounted on $work/mnt; opened by sleep ($user)"
umount "$work/mnt"
kill "$user"
wait "$user" || :
expect_stopped
serve "$image" --queues 2
kill_hard
timeout 20 "$QCOW2_UBLKD" stop "$device" || fail "a dead daemon's device cannot be removed"
serve "$image" --queues 2
kill -TERM "$daemon_pid"
within 20 eval "! kill -0 $daemon_pid 2>/dev/null" || fail "not stopped"
expect_stopped
kill "$other" "$silent"
wait "$other" "$silent" || :

note "who stops it by a service manager has that give more time to write back, and none to wait for users"
python3 - "$work/manager" >"$work/told" <<-'END' &
	import socket, sys
	manager = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
	manager.bind(sys.argv[1])
	while True:
	    print(manager.recv(4096).decode(), flush=True)
END
manager=$!
cleanup_add "kill -KILL $manager 2>/dev/null"
within 20 test -S "$work/manager" || fail "nobody listens"
NOTIFY_SOCKET=$work/manager serve "$image" --queues 2
dmsetup create above --noudevsync --table "0 $(blockdev --getsz "$device") linear $device 0"
kill -TERM "$daemon_pid"
says 'is in use'
dd if="$work/pattern" of="$device" bs=64k conv=notrunc status=none
sleep 2
grep -q READY=1 "$work/told" || fail "not even ready"
! grep EXTEND_TIMEOUT "$work/told" || fail "it has been given more time"
dmsetup remove above
within 20 no_device || fail "$device is still there"
expect_stopped
grep -q '^EXTEND_TIMEOUT_USEC=300000000$' "$work/told" || fail "no more time: $(cat "$work/told")"
kill -KILL "$manager"
wait "$manager" 2>/dev/null || :
serve "$image" --queues 2

note "swap is never taken away: on the disk, in a file on it, on what is mapped from it"
# On file or device $1.
expect_swap_kept()
{
	mkswap "$1" >/dev/null 2>&1
	swapon "$1"
	cleanup_add "! grep -q '^$1 ' /proc/swaps || swapoff '$1'"
	refused timeout 10 "$QCOW2_UBLKD" stop --force "$device"
	grep -q "used as swap" "$work/refused" || fail "$(cat "$work/refused")"
	expect_serving
	swapoff "$1"
}
expect_swap_kept "$device"
mkfs.ext4 -q "$device"
mount "$device" "$work/mnt"
dd if=/dev/zero of="$work/mnt/swap" bs=1M count=4 status=none
chmod 600 "$work/mnt/swap"
expect_swap_kept "$work/mnt/swap"
umount "$work/mnt"
dmsetup create above --noudevsync --table "0 $(blockdev --getsz "$device") linear $device 0"
expect_swap_kept "/dev/$(dmsetup info -c --noheadings -o blkdevname above)"
dmsetup remove above
unserve
check_image "$image"
