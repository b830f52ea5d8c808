#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
#
# --run COMMAND: the command sees the device and the caller's mounts, its status is the daemon's,
# and the device is gone with it.

. "$(dirname "$0")/lib.sh"

requires mkfs.ext4
image=$work/image
image_create "$image" 128M
devices=$(ublk_devices)
mkfifo "$work/mounted" "$work/go"
mkdir "$work/mnt"

note "a command that mounts"
# The command's own shell expands what is in single quotes.
# shellcheck disable=SC2016
"$QCOW2_UBLKD" --image "$image" --run '
	set -e
	test -b "$device"
	mkfs.ext4 -q "$device"
	mount "$device" '"$work"'/mnt
	echo "$device" >'"$work"'/mounted
	read go <'"$work"'/go
	echo "from the command" >'"$work"'/mnt/file
	umount '"$work"'/mnt
	exit 7' >"$work/stdout" 2>"$work/stderr" &
daemon=$!
cleanup_add "kill -KILL $daemon 2>/dev/null"
read -r device <"$work/mounted" || fail "no mount: $(cat "$work/stderr")"
mountpoint -q "$work/mnt" || fail "the command's mount is not seen outside"
echo "from outside" >"$work/mnt/other"
echo go >"$work/go"
status=0
wait "$daemon" || status=$?
[ "$status" -eq 7 ] || fail "status $status instead of the command's 7: $(cat "$work/stderr")"
expect_no_device "${device#/dev/ublkb}"
check_image "$image"

note "what it wrote is there, and status 0 comes through"
mount_and_look="mount -o ro \"\$device\" '$work/mnt' && cat '$work/mnt/file' '$work/mnt/other' \
	>'$work/seen'; umount '$work/mnt'"
"$QCOW2_UBLKD" --image "$image" --run "$mount_and_look" >/dev/null || fail "status $?"
printf 'from the command\nfrom outside\n' | cmp - "$work/seen" || fail "the files are lost"

note "a command that is killed, and one that cannot start"
status=0
# shellcheck disable=SC2016
"$QCOW2_UBLKD" --image "$image" --run 'kill -KILL $$' >/dev/null 2>&1 || status=$?
[ "$status" -eq 137 ] || fail "status $status instead of 128 + SIGKILL"
status=0
"$QCOW2_UBLKD" --image "$work/nothing" --run "touch '$work/ran'" >/dev/null 2>&1 || status=$?
[ "$status" -eq 1 ] || fail "status $status without an image"
[ ! -e "$work/ran" ] || fail "the command ran without a device"

note "no device that a killed process has left, whose users would lose what they have written"
# Says $1.
run_refused()
{
	refused "$QCOW2_UBLKD" --image "$image" --run "touch '$work/ran'"
	grep -qF "$1" "$work/refused" || fail "$(cat "$work/refused")"
	[ ! -e "$work/ran" ] || fail "the command ran"
}
head -c 8M /dev/urandom >"$work/pattern"
serve "$image"
mount_on "$device" "$work/mnt"
cp "$work/pattern" "$work/mnt/dirty"
before=$device
kill_hard
run_refused "qcow2-ublkd stop $device"
refused "$QCOW2_UBLKD" stop "$device"
serve "$image"
[ "$device" = "$before" ] || fail "$device instead of $before"
umount "$work/mnt"
mount "$device" "$work/mnt"
same "$work/pattern" "$work/mnt/dirty"
umount "$work/mnt"
kill_hard
run_refused "qcow2-ublkd stop $device"
"$QCOW2_UBLKD" stop "$device"
"$QCOW2_UBLKD" --image "$image" --run true >/dev/null || fail "status $?"

note "as another user: a start that fails ends, and signals reach the command"
status=0
timeout -s KILL 60 "$QCOW2_UBLKD" --image "$work/nothing" --user nobody --run true >/dev/null 2>&1 ||
	status=$?
[ "$status" -eq 1 ] || fail "status $status without an image"
# shellcheck disable=SC2016
"$QCOW2_UBLKD" --image "$image" --user nobody --run 'sleep 100 &
	trap "kill $!; exit 9" TERM; echo "$device" >'"$work"'/mounted; wait' >/dev/null 2>"$work/stderr" &
daemon=$!
cleanup_add "kill -KILL $daemon 2>/dev/null"
read -r device <"$work/mounted"
kill -TERM "$daemon"
status=0
wait "$daemon" || status=$?
[ "$status" -eq 9 ] || fail "status $status instead of the command's 9: $(cat "$work/stderr")"
[ "$(ublk_devices)" -eq "$devices" ] || fail "a device is left"

note "a command that is killed while the start waits for who serves the image already"
serve "$image" --read-only
reader=$daemon_pid
"$QCOW2_UBLKD" --image "$image" --read-only --run "touch '$work/ran'" >"$work/stdout" 2>"$work/stderr" &
daemon=$!
cleanup_add "kill -KILL $daemon 2>/dev/null"
# It waits for 3 seconds.  The process for the command is the first of its children, and sooner there.
has_begun()
{
	local parent

	for ((command = daemon + 1; command < daemon + 10; command++)); do
		parent=
		read -r _ _ _ parent _ <"/proc/$command/stat" || :
		[ "$parent" != "$daemon" ] || return 0
	done 2>/dev/null
	return 1
}
within 20 has_begun || fail "it has no child: $(cat "$work/stderr")"
kill -KILL "$command"
# Between two looks, and so it takes the signal of its child in the next one.
waits()
{
	grep -q '^State:.Z' "/proc/$command/status" && grep -qx hrtimer_nanosleep "/proc/$daemon/wchan"
} 2>/dev/null
within 10 waits || fail "it does not wait: $(cat "/proc/$daemon/wchan" "$work/stderr")"
[ "$(ublk_devices)" -eq $((devices + 1)) ] || fail "the wait was over before its command was killed"
ends()
{
	! kill -0 "$daemon" 2>/dev/null
}
within 20 ends || fail "it goes on without its command: $(cat "$work/stdout" "$work/stderr")"
status=0
wait "$daemon" || status=$?
[ "$status" -eq 137 ] || fail "status $status instead of 128 + SIGKILL: $(cat "$work/stderr")"
[ ! -e "$work/ran" ] || fail "the command ran"
unserve "$reader"

note "killed as the last of the mount namespace in which its device is mounted"
for option in --verbose --no-recovery; do
	# shellcheck disable=SC2016
	unshare -m --propagation slave bash -c '
		mkfifo "$0.ready"
		"$1" --image "$2" "$4" >"$0.ready" 2>"$0.stderr" &
		read -r device <"$0.ready"
		rm "$0.ready"
		mkfs.ext4 -q "$device" && mount "$device" "$3" && echo dirty >"$3/file" && echo "$! $device"
		' "$work/last" "$QCOW2_UBLKD" "$image" "$work/mnt" "$option" >"$work/last"
	read -r daemon device <"$work/last" || fail "$(cat "$work/last.stderr")"
	kill -KILL "$daemon"
	if [ "$option" = --verbose ]; then
		before=$device
		serve "$image"
		[ "$device" = "$before" ] || fail "$device instead of $before"
		unserve
	fi
	# They have had their namespace, and with it the mount, until they ended.
	is_gone()
	{
		[ "$(ublk_devices)" -eq "$devices" ] && ! pgrep -x ublk-control >/dev/null && ! pgrep -x ublk-helper >/dev/null
	}
	within 20 is_gone || fail "left: $(ps -o pid,stat,wchan:24,args -C ublk-control,ublk-helper)"
done
# What a killed one has left in the register goes with the next one.
serve "$image"
unserve
check_image "$image"
