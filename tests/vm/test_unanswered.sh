#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
#
# Commands to the driver that get no answer for long: STOP_DEV while the storage below the image hangs,
# DEL_DEV while that of another device does, START_DEV that waits for the partition table, as it does up to
# 6.18, while who waits for it is killed, and with TEST_LATE=1 END_USER_RECOVERY that comes too late. Other
# devices come and go meanwhile, if they can, and in the end the device is the next one's, or is gone.
# vm: on 6.12

. "$(dirname "$0")/lib.sh"

requires dmsetup mkfs.xfs python3
requires_native delete_device
delete_device=$native
hanging_disk "$work/disk"
head -c 4M /dev/urandom >"$work/pattern"
image=$work/image
below=$work/disk/below

# An image of which nothing but the bytes below it is on the storage that hangs, and not in memory.
over_create()
{
	cp "$work/pattern" "$below"
	sync -f "$work/disk"
	echo 1 >/proc/sys/vm/drop_caches
	image_create -b "$below" -F raw "$image"
}

expect_image()
{
	local got=$work/got

	dd if="$device" of="$got" bs=1M count=4 iflag=direct status=none
	same "$work/pattern" "$got"
}

# While something waits: ADD_DEV, START_DEV, STOP_DEV and DEL_DEV of another device.
expect_others()
{
	image_create "$work/other" 1M
	serve "$work/other" --queues 1 --depth 4
	dd if="$device" of=/dev/null bs=4k count=1 iflag=direct status=none
	unserve
}

# After the end of whoever served it device $1 is another's, or gone.
serve_again()
{
	serve "$image" --queues 2
	[ "$device" = "$1" ] || fail "$device instead of $1: $(cat "$stderr_file")"
	expect_image
	unserve
	check_image "$image"
}

ended()
{
	! kill -0 "$1" 2>/dev/null
}

note "a stop that waits for the storage: other devices come and go, and force ends it"
over_create
serve "$image" --queues 2 --io-timeout 1
pid=$daemon_pid waiting=$device said=$stderr_file
suspend_storage
dd if="$waiting" of=/dev/null bs=4k skip=512 count=1 iflag=direct status=none 2>/dev/null &
reader=$!
within 20 grep -q 'does not answer' "$said" || fail "$(cat "$said")"
"$QCOW2_UBLKD" stop "$waiting" >"$work/stopping" 2>&1 &
stopper=$!
is_stopping()
{
	"$QCOW2_UBLKD" list | grep -q "$waiting.*stopping"
}
within 20 is_stopping || fail "$("$QCOW2_UBLKD" list)"
expect_others
! ended "$stopper" || fail "the stop has ended: $(cat "$work/stopping")"
refused timeout 30 "$QCOW2_UBLKD" stop --force "$waiting"
grep -q 'stopped by force, with the storage' "$work/refused" || fail "$(cat "$work/refused")"
wait "$stopper" && fail "the stop succeeds"
wait "$reader" && fail "a read of a device that was stopped by force succeeds"
expect_others
resume_storage
wait "$pid" && fail "no error"
forget_daemon "$pid"
within 20 test ! -e "/sys/class/ublk-char/ublkc${waiting#/dev/ublkb}" || fail "$waiting is left"
serve_again "$waiting"

note "a device that cannot be deleted before another one is: it goes then, though nobody waits for that"
silent_image=$work/silent
image_create "$silent_image" 64M
is_gone()
{
	[ ! -e "/sys/class/ublk-char/ublkc${1#/dev/ublkb}" ]
}
is_read()
{
	[ "$(awk '{ print $1 }' "/sys/block/${1#/dev/}/inflight")" -gt 0 ]
}
is_deleting()
{
	grep -q del_gendisk "/proc/$1/task"/*/stack
}
for how in dead alive; do
	serve "$silent_image" --queues 1 --no-recovery
	silent=$device silent_pid=$daemon_pid
	serve "$image" --queues 2
	waiting=$device pid=$daemon_pid said=$stderr_file
	[ "$how" = alive ] || kill_hard
	kill -STOP "$silent_pid"
	dd if="$silent" of=/dev/null bs=4k count=1 iflag=direct status=none 2>/dev/null &
	reader=$!
	within 20 is_read "$silent" || fail "nothing is read from $silent"
	"$delete_device" "${silent#/dev/ublkb}" &
	deleter=$!
	within 20 is_deleting "$deleter" || fail "it is in $(cat "/proc/$deleter/task"/*/stack)"
	if [ "$how" = alive ]; then
		kill -TERM "$pid"
		wait "$pid" || fail "status $?: $(cat "$said")"
		forget_daemon "$pid"
	else
		said=$work/said
		"$QCOW2_UBLKD" stop "$waiting" 2>"$said" || fail "$(cat "$said")"
	fi
	! is_gone "$waiting" || fail "it was not held up: $(cat "$said")"
	kill -KILL "$silent_pid"
	wait "$silent_pid" 2>/dev/null || :
	forget_daemon "$silent_pid"
	wait "$reader" && fail "a read of a device that was deleted succeeds"
	wait "$deleter" || fail "$silent cannot be deleted"
	within 20 is_gone "$waiting" || fail "$waiting is left: $(cat "$said")"
	grep -q 'another ublk device hangs' "$said" || fail "no word of it: $(cat "$said")"
done
check_image "$image"
serve "$silent_image"
unserve

[[ $(uname -r) = 6.12.* ]] || exit 0

for victim in qcow2-ublkd ublk-control; do
	note "killed while the first start waits for the partition table: $victim"
	over_create
	suspend_storage
	"$QCOW2_UBLKD" --image "$image" --queues 2 >"$work/waiting.out" 2>"$work/waiting" &
	pid=$!
	within 20 test -e /sys/block/ublkb0 || fail "no start: $(cat "$work/waiting")"
	if [ "$victim" = ublk-control ]; then
		kill -KILL "$(pgrep -P "$pid" -x "$victim")"
	else
		kill -KILL "$pid"
	fi
	[ ! -s "$work/waiting.out" ] || fail "it was served before"
	expect_others
	[ -e /sys/block/ublkb0 ] || fail "the start has not waited: $(cat "$work/waiting")"
	resume_storage
	within 20 ended "$pid" || fail "it waits without $victim: $(cat "$work/waiting")"
	wait "$pid" 2>/dev/null && fail "the start succeeds without $victim"
	serve_again /dev/ublkb0
done

[ -n "${TEST_LATE-}" ] || exit 0

note "a take-over that the kernel is not asked for in time"
over_create
# Many tags take long to fetch: that is the time to stop who is to ask.
serve "$image" --queues 1 --depth 4096 --max-io 4k
before=$device
dd if="$work/pattern" of="$device" bs=1M oflag=direct status=none
kill_hard
aimed=
for ((try = 0; try < 5 && ! ${#aimed}; try++)); do
	controller=$("$vm_folder/late_end.py" "$QCOW2_UBLKD" --image "$image" 2>"$work/late") ||
		fail "no controller: $(cat "$work/late")"
	! grep -q 'END_USER_RECOVERY.*no answer' "$work/late" || aimed=1
	[ -z "$aimed" ] || compgen -G '/run/qcow2-ublkd/*.writes' >/dev/null ||
		fail "the image was closed, although the device may be served"
	kill -CONT "$controller"
	within 20 ended "$controller" || fail "the controller goes on"
done
[ -n "$aimed" ] || fail "missed the moment each time: $(cat "$work/late")"
serve_again "$before"
