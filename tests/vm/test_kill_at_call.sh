#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
#
# SIGKILL just before each system call that changes what outlives the daemon: during starts, take-overs, stops, and when it
# leaves its device to another process. The next start works, with the same device if it is left, and what was
# written is there. TEST_EVERY=N: before every Nth call only, from one by lot on. TEST_PHASES: which of the four.
# vm: on 6.12
# vm: timeout 600

. "$(dirname "$0")/lib.sh"

requires_native kill_at_call
killer=$native
every=${TEST_EVERY:-32}
options="--queues 2 --depth 8"
image=$work/image
image_create "$image" 64M
head -c 1M /dev/urandom >"$work/pattern"

# The daemon, to be killed at call $2 of phase $1 ("start", "stop", "leave"). Sets $killed to 1 if it was during its
# start, else $device is there.
start_to_be_killed()
{
	local line="" ready=$work/ready stdout

	rm -f "$ready"
	mkfifo "$ready"
	# shellcheck disable=SC2086
	"$killer" "$2" "$1" "$work/calls" "$QCOW2_UBLKD" --image "$image" $options \
		>"$ready" 2>"$work/said" &
	killer_pid=$!
	cleanup_add "kill -KILL $killer_pid 2>/dev/null"
	exec {stdout}<"$ready"
	read -r -t 60 line <&"$stdout" || :
	exec {stdout}<&-
	killed=0
	if [ -n "$line" ]; then
		device=$line
	else
		expect_killed
	fi
}

expect_killed()
{
	local status=0

	wait "$killer_pid" || status=$?
	[ "$status" -eq 137 ] || fail "status $status: $(<"$work/said")"
	killed=1
}

# The second line of $work/calls, when it is there.
calls()
{
	sed -n 2p "$work/calls"
}

expect_pattern()
{
	dd if="$device" of="$work/back" bs=1M count=1 iflag=direct status=none
	same "$work/pattern" "$work/back"
}

write_pattern()
{
	dd if="$work/pattern" of="$device" bs=1M oflag=direct status=none
}

serve_it()
{
	# shellcheck disable=SC2086
	serve "$image" $options
}

# The next process has device $1 again, and nothing is lost.
expect_taken_over()
{
	serve_it
	[ "$device" = "$1" ] || fail "$device instead of $1"
	expect_pattern
	expect_devices 1
}

expect_devices()
{
	[ "$(ublk_devices)" -eq "$1" ] || fail "devices: $(ls /sys/class/ublk-char)"
}

first()
{
	echo $((RANDOM % every + 1))
}

kills_in_starts()
{
	local nth

	serve_it
	write_pattern
	unserve
	for ((nth = $(first); ; nth += every)); do
		start_to_be_killed start "$nth"
		[ "$killed" -eq 1 ] || break
		serve_it
		expect_pattern
		expect_devices 1
		unserve
		expect_devices 0
	done
	expect_pattern
	"$QCOW2_UBLKD" stop "$device"
	wait "$killer_pid"
}

kills_in_take_overs()
{
	local before nth

	serve_it
	write_pattern
	before=$device
	for ((nth = $(first); ; nth += every)); do
		kill_hard
		start_to_be_killed start "$nth"
		[ "$killed" -eq 1 ] || break
		expect_taken_over "$before"
	done
	expect_pattern
	"$QCOW2_UBLKD" stop "$device"
	wait "$killer_pid"
}

kills_in_stops()
{
	local nth status

	for ((nth = $(first); ; nth += every)); do
		start_to_be_killed stop "$nth"
		write_pattern
		kill -TERM "$killer_pid"
		status=0
		wait "$killer_pid" || status=$?
		[ "$status" -eq 137 ] || break
		serve_it
		expect_pattern
		expect_devices 1
		unserve
	done
	[ "$status" -eq 0 ] || fail "a stop has failed, status $status: $(<"$work/said")"
}

# A process that leaves its device to another one ends with 75.
kills_of_who_leaves()
{
	local before nth status

	for ((nth = $(first); ; nth += every)); do
		start_to_be_killed leave "$nth"
		before=$device
		write_pattern
		kill -USR1 "$killer_pid"
		"$QCOW2_UBLKD" upgrade "$before" >"$work/upgraded" 2>&1 || :
		status=0
		wait "$killer_pid" || status=$?
		# Who was killed before the command had found it has nobody who goes on.
		if [ "$status" -eq 137 ] && ! "$QCOW2_UBLKD" status "$before" >/dev/null 2>&1; then
			expect_taken_over "$before"
			unserve
			continue
		fi
		expect_pattern
		"$QCOW2_UBLKD" stop "$before"
		[ "$status" -eq 137 ] || break
	done
	[ "$status" -eq 75 ] ||
		fail "who left has failed, status $status: $(<"$work/said") $(<"$work/upgraded")"
}

# A service manager kills all at once; nobody is left who could remove what was begun.
remains()
{
	serve "$image" --no-recovery
	write_pattern
	# shellcheck disable=SC2046
	kill -KILL "$daemon_pid" $(pgrep -P "$daemon_pid" -x ublk-control)
	wait "$daemon_pid" 2>/dev/null || :
	forget_daemon "$daemon_pid"
	serve_it
	expect_devices 1
	unserve
}

note "remains of a device that nobody can take over"
remains
expect_devices 0

for phase in ${TEST_PHASES:-starts take_overs stops who_leaves}; do
	case $phase in
	who_leaves) kills_of_who_leaves ;;
	*) "kills_in_$phase" ;;
	esac
	note "$phase: $(calls) calls"
	[ "$(calls)" -ge 5 ] || fail "the calls are not seen"
	expect_devices 0
done
check_image "$image"
