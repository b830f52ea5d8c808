#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
#
# What is left of a daemon that was killed while its device was being added or stopped: the process that sends its
# control commands deletes it, however late, and nothing else; and the next daemon does not wait for what is gone,
# nor takes for gone what it cannot see.
# vm: on backport

. "$(dirname "$0")/lib.sh"

requires pgrep unshare
requires_native liblate_answer.so
library=$native

image=$work/image
other=$work/other
image_create "$image" 64M
image_create "$other" 32M
head -c 1M /dev/urandom >"$work/pattern"

has_state()
{
	grep -q "^State:.$2" "/proc/$1/status" 2>/dev/null
}

is_gone()
{
	! kill -0 "$1" 2>/dev/null
}

# The process $controller that sends the control commands of daemon $1 stands still.
stop_controller()
{
	controller=$(pgrep -P "$1" -x ublk-control)
	cleanup_add "kill -KILL $controller 2>/dev/null"
	kill -STOP "$controller"
	within 20 has_state "$controller" T || fail "$(cat "/proc/$controller/status")"
}

continue_controller()
{
	kill -CONT "$controller"
	within 30 is_gone "$controller" || fail "the controller hangs"
}

# Somebody, process $holder, has the other end of device $device open.
hold()
{
	rm -f "$work/held"
	(
		until exec 3<>"/dev/ublkc${device#/dev/ublkb}"; do
			sleep 0.1
		done
		: >"$work/held"
		exec sleep 600
	) 2>>"$work/hold" &
	holder=$!
	cleanup_add "kill -KILL $holder 2>/dev/null"
	within 30 test -e "$work/held" || fail "$(tail -n 1 "$work/hold")"
}

# Stop device $before, by who knows nothing of those who serve or claim it.
stop_blindly()
{
	unshare -m sh -c "mount -t tmpfs none /run/qcow2-ublkd && exec '$QCOW2_UBLKD' stop '$before'"
}

is_free()
{
	! stop_blindly >"$work/free" 2>&1 && grep -q 'there is no such device' "$work/free"
}

# Nobody has the other end of device $before any more, and its number is free.
release()
{
	kill -KILL "$holder"
	wait "$holder" 2>/dev/null || :
	within 30 is_free || fail "$before is not free: $(cat "$work/free")"
}

# Another process than $1 has claimed device $before.
is_claimed()
{
	local owner=/run/qcow2-ublkd/${before#/dev/}.owner

	[ -s "$owner" ] && ! grep -qw "$1" "$owner"
}

expect_pattern()
{
	dd if="$1" of="$work/back" bs=1M count=1 iflag=direct status=none
	same "$work/pattern" "$work/back"
}

note "killed while its device is added"
mkfifo "$work/key"
"$QCOW2_UBLKD" --image "$image" --key-file "$work/key" >/dev/null 2>"$work/stderr" &
pid=$!
cleanup_add "kill -KILL $pid 2>/dev/null"
exec {key}>"$work/key"
stop_controller "$pid"
echo secret >&"$key"
exec {key}>&-
# It asks, and is not answered.
within 30 grep -q poll "/proc/$pid/wchan" || fail "it is in $(cat "/proc/$pid/wchan"): $(cat "$work/stderr")"
kill -KILL "$pid"
wait "$pid" 2>/dev/null || :
continue_controller
[ "$(ublk_devices)" -eq 0 ] || fail "left: $(ls /sys/class/ublk-char)"

note "who deletes too late meets the next device of that number"
serve "$image" --no-recovery
before=$device
stop_controller "$daemon_pid"
kill_hard
"$QCOW2_UBLKD" stop "$device"
serve "$image" --no-recovery
[ "$device" = "$before" ] || fail "$device instead of $before"
continue_controller
[ -b "$device" ] || fail "$device is gone"
dd if="$work/pattern" of="$device" bs=1M oflag=direct status=none
unserve

note "remains that somebody else deletes are not waited for, nor what has their number then deleted"
serve "$image" --no-recovery
stop_controller "$daemon_pid"
old=$daemon_pid
before=$device
kill_hard
hold
"$QCOW2_UBLKD" --image "$image" --device-id 7 >"$work/stdout" 2>"$work/stderr" &
next=$!
cleanup_add "kill -KILL $next 2>/dev/null && remove_device /dev/ublkb7"
within 60 is_claimed "$old" || fail "not claimed: $(cat "$work/stderr")"
continue_controller
release
serve "$other" --no-recovery --read-only
[ "$device" = "$before" ] || fail "$device instead of $before"
stop_controller "$daemon_pid"
kill_hard
within 60 grep -q /dev/ublkb7 "$work/stdout" || fail "does not serve: $(cat "$work/stderr")"
expect_pattern /dev/ublkb7
[ -e "/sys/class/ublk-char/ublkc${before#/dev/ublkb}" ] || fail "$before is gone"
"$QCOW2_UBLKD" stop "$before"
"$QCOW2_UBLKD" stop /dev/ublkb7
wait "$next" || fail "$(cat "$work/stderr")"
continue_controller

note "nor is a device that has been stopped"
serve "$image"
dd if=/dev/zero of="$device" bs=1M count=1 oflag=direct conv=fsync status=none
dd if="$work/pattern" of="$device" bs=1M oflag=direct status=none
old=$daemon_pid
before=$device
kill_hard
hold
(
	trap - EXIT
	within 60 is_claimed "$old" && stop_blindly
) >"$work/meanwhile" 2>&1 &
meanwhile=$!
serve "$image"
wait "$meanwhile" || fail "$(cat "$work/meanwhile")"
[ "$device" != "$before" ] || fail "$device again"
grep -q 'was being stopped when the process that served it died' "$stderr_file" ||
	fail "no word of it: $(cat "$stderr_file")"
expect_pattern "$device"
unserve
release
check_image "$image"

note "a device that cannot be asked whose it is may be ours: no second one is made"
serve "$image"
dd if="$work/pattern" of="$device" bs=1M seek=1 oflag=direct status=none
before=$device
kill_hard
LD_PRELOAD=$library LATE_MS=13000 refused timeout 60 "$QCOW2_UBLKD" --image "$image"
grep -q 'GET_DEV_INFO of device [0-9]*: no answer' "$work/refused" || fail "$(cat "$work/refused")"
[ "$(ublk_devices)" -eq 1 ] || fail "there are $(ls /sys/class/ublk-char)"

note "nor where no devices can be seen"
refused unshare -m sh -c "mount -t tmpfs none /sys && exec timeout 60 '$QCOW2_UBLKD' --image '$image'"
grep -q 'is sysfs mounted on /sys?' "$work/refused" || fail "$(cat "$work/refused")"
[ "$(ublk_devices)" -eq 1 ] || fail "there are $(ls /sys/class/ublk-char)"
serve "$image"
[ "$device" = "$before" ] || fail "$device instead of $before"
expect_pattern "$device"
unserve
check_image "$image"
