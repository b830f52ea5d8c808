#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
#
# SIGKILL during a start, during a take-over, during an upgrade and during a stop, at instants by lot:
# the next start works, what was written is there, and in the end the device can be removed.
# vm: on backport
# vm: timeout 900

. "$(dirname "$0")/lib.sh"

kills=${TEST_KILLS:-3}
image=$work/image
image_create "$image" 64M
head -c 4M /dev/urandom >"$work/pattern"

milliseconds()
{
	echo $(($(date +%s%N) / 1000000))
}

# A start that is killed after $1 milliseconds. It may have come to its end.
killed_start()
{
	"$QCOW2_UBLKD" --image "$image" --queues 4 --depth 16 >"$work/stdout" 2>"$work/stderr" &
	pause "$1"
	kill -KILL $! 2>/dev/null || fail "the start has failed: $(cat "$work/stderr")"
	wait $! 2>/dev/null || :
}

expect_pattern()
{
	dd if="$device" of="$work/back" bs=1M count=4 iflag=direct status=none
	same "$work/pattern" "$work/back"
}

begin=$(milliseconds)
serve "$image" --queues 4 --depth 16
takes=$(($(milliseconds) - begin + 1))
dd if="$work/pattern" of="$device" bs=1M oflag=direct conv=fsync status=none
unserve

note "during a start, which takes $takes ms"
for ((kill = 0; kill < kills; kill++)); do
	killed_start $((RANDOM % takes))
	[ $((kill % 4)) -eq 3 ] || continue
	serve "$image" --queues 4 --depth 16
	expect_pattern
	unserve
done
serve "$image" --queues 4 --depth 16

note "during a take-over"
begin=$(milliseconds)
kill_hard
serve "$image"
takes=$(($(milliseconds) - begin + 1))
for ((kill = 0; kill < kills; kill++)); do
	before=$device
	dd if="$work/pattern" of="$device" bs=1M oflag=direct status=none
	kill_hard
	killed_start $((RANDOM % takes))
	serve "$image"
	[ "$device" = "$before" ] || fail "$device instead of $before"
	expect_pattern
done

note "during an upgrade: of the new process, of the old one, or of the command"
cleanup_add "remove_device $device"
forget_daemon "$daemon_pid"
before=$device
server()
{
	"$QCOW2_UBLKD" status --json "$before" 2>/dev/null |
		sed -n 's/^ *"pid": \([0-9]*\),\?$/\1/p' | grep .
}
served_or_ended()
{
	server >/dev/null || [ -z "$1" ] || ! kill -0 "$1" 2>/dev/null
}
begin=$(milliseconds)
"$QCOW2_UBLKD" upgrade "$device" >"$work/upgraded"
takes=$(($(milliseconds) - begin + 1))
for ((kill = 0; kill < kills; kill++)); do
	old=$(server) || fail "nobody serves"
	dd if="$work/pattern" of="$device" bs=1M oflag=direct status=none
	"$QCOW2_UBLKD" upgrade "$device" >"$work/upgraded" 2>&1 &
	command=$!
	pause $((RANDOM % takes))
	new=$(pgrep -P "$command" || :)
	case $((kill % 3)) in
	0) kill -KILL ${new:-$old} 2>/dev/null || : ;;
	1) kill -KILL "$old" 2>/dev/null || : ;;
	2) kill -KILL "$command" 2>/dev/null || : ;;
	esac
	wait "$command" 2>/dev/null || :
	within 60 served_or_ended "$new" || fail "it hangs: $(cat "$work/upgraded")"
	# Who was killed before the command had found it has nobody who goes on.
	server >/dev/null || {
		serve "$image"
		forget_daemon "$daemon_pid"
		[ "$device" = "$before" ] || fail "$device instead of $before"
	}
	expect_pattern
done
"$QCOW2_UBLKD" stop "$device"
serve "$image"

note "during a stop"
begin=$(milliseconds)
unserve
takes=$(($(milliseconds) - begin + 1))
for ((kill = 0; kill < kills; kill++)); do
	serve "$image" --queues 4 --depth 16
	expect_pattern
	dd if="$work/pattern" of="$device" bs=1M oflag=direct status=none
	kill -TERM "$daemon_pid"
	pause $((RANDOM % takes))
	kill -KILL "$daemon_pid" 2>/dev/null || :
	wait "$daemon_pid" 2>/dev/null || :
	forget_daemon "$daemon_pid"
done
serve "$image"
expect_pattern
unserve
expect_no_device "${device#/dev/ublkb}"
[ "$(ublk_devices)" -eq 0 ] || fail "devices are left: $(ls /sys/class/ublk-char)"
check_image "$image"
