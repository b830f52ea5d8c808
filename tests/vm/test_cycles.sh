#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
#
# Starting and stopping many times, some at the same time, or failing to start, leaves nothing behind.
# TEST_CYCLES=5000 TEST_PARALLEL=8 is the campaign.
# vm: timeout 7200

. "$(dirname "$0")/lib.sh"

cycles=${TEST_CYCLES:-40}
parallel=${TEST_PARALLEL:-4}
image=$work/image
image_create "$image" 16M
devices=$(ublk_devices)
nodes=$(find /dev -name 'ublk*' | sort)

# $1: the daemon, with its options
expect_no_start()
{
	local status=0

	timeout 30 "$@" >"$work/stdout" 2>"$work/stderr" || status=$?
	[ "$status" -eq 1 ] || fail "status $status, not 1: $* $(cat "$work/stderr")"
	[ -s "$work/stderr" ] || fail "no word of why: $*"
	[ ! -s "$work/stdout" ] || fail "names a device all the same: $*"
}

# In a process of its own. Number $1 of those that run at the same time has its own image, and its own
# device number, so that nobody else can have it just after. Without other programs, which take
# longer than the daemon where the machine is emulated.
attach_and_detach()
{
	local cycle line number=$1 pid ready work=$work/$1

	mkdir "$work"
	mkfifo "$work/ready"
	exec {ready}<>"$work/ready"
	image_create "$work/image" 16M
	for ((cycle = number; cycle < cycles; cycle += parallel)); do
		"$QCOW2_UBLKD" --image "$work/image" --queues 2 --depth 16 \
			--device-id $((100 + number)) >"$work/ready" 2>"$work/stderr" &
		pid=$!
		read -r -t 60 line <&"$ready" || fail "no start: $(cat "$work/stderr")"
		[ "$line" = "/dev/ublkb$((100 + number))" ] && [ -b "$line" ] || fail "'$line'"
		kill -TERM "$pid"
		wait "$pid" || fail "status $?: $(cat "$work/stderr")"
		expect_no_device $((100 + number))
	done
	expect_unlocked "$work/image"
	check_image "$work/image"
}

workers=()
for ((worker = 0; worker < parallel; worker++)); do
	attach_and_detach "$worker" &
	workers+=($!)
done
for worker in "${workers[@]}"; do
	wait "$worker" || fail "attaching and detaching"
done
note "$cycles cycles, $parallel at the same time, in $SECONDS seconds"

note "starts that fail"
head -c 1M /dev/urandom >"$work/noise"
truncate -s 100 "$work/short"
expect_no_start "$QCOW2_UBLKD" --image "$work/noise"
expect_no_start "$QCOW2_UBLKD" --image "$work/short"
expect_no_start "$QCOW2_UBLKD" --image "$work/nothing-here"
expect_unlocked "$work/noise"
[ "$(ublk_devices)" -eq "$devices" ] || fail "a start that failed has left a device"

serve "$image" --device-id 77
[ "$device" = /dev/ublkb77 ] || fail "--device-id 77 made $device"
image_create "$work/other" 16M
expect_no_start "$QCOW2_UBLKD" --image "$image"
expect_no_start "$QCOW2_UBLKD" --image "$work/other" --device-id 77
expect_unlocked "$work/other"
[ "$(ublk_devices)" -eq $((devices + 1)) ] || fail "a start that failed has left a device"
unserve

note "after SIGKILL the next one waits until the kernel has let go of the image"
for ((cycle = 0; cycle < 5; cycle++)); do
	serve "$image" --queues 2 --depth 16
	kill -KILL "$daemon_pid"
	wait "$daemon_pid" 2>/dev/null || :
	forget_daemon "$daemon_pid"
done
serve "$image"
unserve

[ "$(ublk_devices)" -eq "$devices" ] || fail "devices are left: $(ls /sys/class/ublk-char)"
[ "$(find /dev -name 'ublk*' | sort)" = "$nodes" ] || fail "nodes are left: $(ls /dev/ublk*)"
! pgrep -x "$(basename "$QCOW2_UBLKD")" || fail "a process is left"
check_image "$image"
