#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
#
# The storage below the image hangs: that is reported, and shown on demand; the device can be stopped
# by force; a killed daemon's successor waits for it; and nothing acknowledged is lost, nor does
# anything of the dead reach the image afterwards.
# vm: timeout 300

. "$(dirname "$0")/lib.sh"

requires dmsetup mkfs.xfs prlimit setpriv unshare
hanging_disk "$work/disk"
image=$work/disk/image
image_create "$image" 128M
head -c 4M /dev/urandom >"$work/a"
head -c 4M /dev/urandom >"$work/b"
head -c 4M /dev/urandom >"$work/c"

# The daemon says something like $1.
says()
{
	within 20 grep -qE -e "$1" "$stderr_file" || fail "no word of '$1': $(cat "$stderr_file")"
}

# File $1 to the disk at MiB $2.
write_at()
{
	dd if="$1" of="$device" bs=256k seek=$(($2 * 4)) oflag=direct conv=notrunc status=none
}

expect_at()
{
	dd if="$device" of="$work/back" bs=256k skip=$(($2 * 4)) count=16 iflag=direct status=none
	same "$1" "$work/back"
}

ended()
{
	! kill -0 "$1" 2>/dev/null
}

note "what is under way is shown, and what hangs is reported"
serve "$image" --queues 2 --io-timeout 1
write_at "$work/a" 0
kill -USR1 "$daemon_pid"
says ': 0 under way'
suspend_storage
write_at "$work/b" 0 &
writer=$!
says 'the storage below the image does not answer: [1-9][0-9]* requests'
says "queue [01] tag [0-9]+ write of .* waits for the host: write of .* of $image"
kill -USR1 "$daemon_pid"
says ': [1-9][0-9]* under way'
"$QCOW2_UBLKD" status "$device" >/dev/null || fail "no status while the storage hangs"
resume_storage
wait "$writer" || fail "the write fails"
says 'what hung has been answered'
expect_at "$work/b" 0

note "told to leave it while it hangs, or just before: it does when the storage answers, and its users meet no error"
write_at "$work/c" 32
for when in before after; do
	suspend_storage
	write_at "$work/a" 32 &
	writer=$!
	[ "$when" = before ] || says 'does not answer.*'
	pid=$daemon_pid before=$device
	kill -USR2 "$pid"
	says 'is left to the next process when that answers'
	# Long enough for who stops it instead.
	sleep 3
	"$QCOW2_UBLKD" status "$device" >/dev/null || fail "it is not served any more: $(cat "$stderr_file")"
	resume_storage
	status=0
	wait "$pid" || status=$?
	[ "$status" -eq 75 ] || fail "status $status: $(cat "$stderr_file")"
	forget_daemon "$pid"
	serve "$image" --queues 2 --io-timeout 1
	[ "$device" = "$before" ] || fail "$device instead of $before"
	wait "$writer" || fail "the write fails"
	expect_at "$work/a" 32
done

note "stopped by force"
write_at "$work/a" 8
suspend_storage
write_at "$work/c" 16 2>/dev/null &
writer=$!
says 'does not answer.*'
pid=$daemon_pid
refused timeout 30 "$QCOW2_UBLKD" stop --force "$device"
grep -q 'stopped by force, with the storage' "$work/refused" || fail "$(cat "$work/refused")"
says 'what was acknowledged is kept'
resume_storage
wait "$writer" && fail "a write to a device that was stopped by force succeeds"
within 30 ended "$pid" || fail "process $pid goes on"
expect_gone()
{
	[ ! -e "/sys/class/ublk-char/ublkc${device#/dev/ublkb}" ]
}
within 30 expect_gone || fail "$device is left"
wait "$pid" && fail "no error"
forget_daemon "$pid"
serve "$image" --queues 2 --io-timeout 1
expect_at "$work/a" 8
expect_at "$work/b" 0
unserve

note "stopped by force with all memory locked: no more is taken, or could be"
{
	echo '#!/bin/sh'
	echo 'ulimit -l 64'
	echo "exec setpriv --bounding-set -sys_resource --inh-caps -sys_resource '$QCOW2_UBLKD' \"\$@\""
} >"$work/limited"
chmod +x "$work/limited"
for program in "$QCOW2_UBLKD" "$work/limited"; do
	QCOW2_UBLKD=$program serve "$image" --queues 2 --depth 32 --max-io 256k --io-timeout 1 --lock-memory
	pid=$daemon_pid
	locked=$(awk '$1 == "VmLck:" { print $2 }' "/proc/$pid/status")
	[ "$locked" -ge $((2 * 32 * 256)) ] || fail "only $locked KiB are locked"
	[ "$program" != "$QCOW2_UBLKD" ] || prlimit --pid "$pid" --memlock=$(((locked + 64) * 1024))
	suspend_storage
	write_at "$work/c" 16 2>/dev/null &
	writer=$!
	says 'does not answer.*'
	refused timeout 30 "$QCOW2_UBLKD" stop --force "$device"
	within 10 ended "$writer" || fail "its users get no errors: $(cat "$stderr_file")"
	! grep -E 'cannot be aborted|go on hanging' "$stderr_file" || fail "there are requests left"
	resume_storage
	wait "$writer" && fail "a write to a device that was stopped by force succeeds"
	within 30 ended "$pid" || fail "process $pid goes on"
	within 30 expect_gone || fail "$device is left"
	wait "$pid" && fail "no error"
	forget_daemon "$pid"
done

note "stopped by force while the command of --run hangs in its own I/O, and cannot end"
mkfifo "$work/go"
for how in "" --force-stop; do
	# The command's own shell expands what is in single quotes.
	# shellcheck disable=SC2016,SC2086
	serve "$image" --queues 2 --io-timeout 1 $how --run 'read go <'"$work"'/go
		exec dd if='"$work"'/c of="$device" bs=256k seek=64 oflag=direct conv=notrunc status=none'
	pid=$daemon_pid
	suspend_storage
	echo go >"$work/go"
	says 'does not answer.*'
	if [ -n "$how" ]; then
		kill -TERM "$pid"
	else
		refused timeout 30 "$QCOW2_UBLKD" stop --force "$device"
		grep -q 'stopped by force, with the storage' "$work/refused" || fail "$(cat "$work/refused")"
	fi
	says 'what was acknowledged is kept'
	resume_storage
	within 30 ended "$pid" || fail "process $pid goes on"
	within 30 expect_gone || fail "$device is left"
	wait "$pid" && fail "no error"
	forget_daemon "$pid"
done
serve "$image" --queues 2 --io-timeout 1
expect_at "$work/a" 8

note "stopped by force, and the storage answers just then: what had not begun is no failure of the image"
write_at "$work/b" 40
unserve
serve "$image" --queues 2 --io-timeout 1
write_at "$work/c" 0
suspend_storage
# 4 KiB at MiB $1
write_durably_at()
{
	dd if="$work/c" of="$device" bs=4k count=1 seek=$(($1 * 256)) oflag=direct,dsync conv=notrunc \
		status=none 2>/dev/null
}
# The one is under way, and so the kernel waits a while before the device goes; the other waits for its
# piece of the tables, and would be written as soon as that is there.
write_durably_at 8 &
writers=($!)
says 'waits for the host: write'
write_durably_at 40 &
writers+=($!)
says 'does not answer: 2 requests'
pid=$daemon_pid
"$QCOW2_UBLKD" stop --force "$device" >"$work/stopped" 2>&1 &
stopper=$!
says 'stopped by force after its storage'
resume_storage
wait "${writers[@]}" || :
! wait "$stopper" || fail "a stop in order: $(cat "$work/stopped")"
within 30 ended "$pid" || fail "process $pid goes on"
within 30 expect_gone || fail "$device is left"
wait "$pid" && fail "no error"
forget_daemon "$pid"
serve "$image" --queues 2 --io-timeout 1
expect_at "$work/c" 0
write_at "$work/a" 24
expect_at "$work/a" 24

note "killed while it hangs: the next one waits, and nothing of the dead comes after"
write_at "$work/c" 8
suspend_storage
write_at "$work/a" 0 &
writer=$!
says 'does not answer.*'
pid=$daemon_pid before=$device
kill -KILL "$pid"
# It ends when the storage lets it.
waits()
{
	grep -q 'waiting for the' "$work/waiting"
}
# The next one, with the options $*, is process $next, and waits.
start_waiting()
{
	: >"$work/waiting"
	"$QCOW2_UBLKD" --image "$image" --io-timeout 1 "$@" >"$work/waiting.out" 2>"$work/waiting" &
	next=$!
	cleanup_add "kill -KILL $next 2>/dev/null && remove_device '$device'"
	within 20 waits || fail "the next one does not wait: $(cat "$work/waiting" "$work/waiting.out")"
	[ ! -s "$work/waiting.out" ] || fail "the next one serves before the storage is back"
}
# Process $next is told to stop: that is no failure, and the last thing it says.
give_up_waiting()
{
	kill "-$1" "$next"
	within 20 ended "$next" || fail "it goes on waiting: $(cat "$work/waiting")"
	status=0
	wait "$next" || status=$?
	[ "$status" -eq "$2" ] || fail "status $status: $(cat "$work/waiting")"
	tail -n 1 "$work/waiting" | grep -q 'told to stop while waiting for it; it is left as it was' ||
		fail "$(cat "$work/waiting")"
}
for signal in TERM INT USR2; do
	start_waiting
	give_up_waiting "$signal" 0
done
start_waiting
resume_storage
wait "$pid" 2>/dev/null || :
forget_daemon "$pid"
wait "$writer" || fail "a write fails over the kill"
serves()
{
	[ -s "$work/waiting.out" ]
}
within 60 serves || fail "not taken over: $(cat "$work/waiting")"
device=$(head -n 1 "$work/waiting.out")
[ "$device" = "$before" ] || fail "$device instead of $before"
expect_at "$work/a" 0
write_at "$work/b" 0
expect_at "$work/b" 0
expect_at "$work/c" 8
"$QCOW2_UBLKD" stop "$device"
wait "$next" || fail "the next one fails: $(cat "$work/waiting")"
check_image "$image"
serve "$image" --read-only
expect_at "$work/b" 0
expect_at "$work/c" 8
unserve

note "killed while it hangs, and given up: that is waited for, too, and until then nothing is given up"
serve "$image" --queues 2 --io-timeout 1
suspend_storage
write_at "$work/a" 0 2>/dev/null &
writer=$!
says 'does not answer.*'
pid=$daemon_pid
kill -KILL "$pid"
start_waiting --abandon
give_up_waiting TERM 0
start_waiting --abandon --run "touch '$work/ran'"
give_up_waiting TERM 1
[ ! -e "$work/ran" ] || fail "the command ran"
start_waiting --abandon
kill -0 "$writer" || fail "its users get errors while the dead may write"
resume_storage
wait "$pid" 2>/dev/null || :
forget_daemon "$pid"
wait "$writer" && fail "a write to a device that was given up succeeds"
within 60 serves || fail "does not serve: $(cat "$work/waiting")"
[ "$(ublk_devices)" -eq 1 ] || fail "there are $(ls /sys/class/ublk-char)"
device=$(head -n 1 "$work/waiting.out")
write_at "$work/c" 0
expect_at "$work/c" 0
"$QCOW2_UBLKD" stop "$device"
wait "$next" || fail "the next one fails: $(cat "$work/waiting")"
check_image "$image"

note "... and what its number means then is a stranger's: that is not waited for, nor does it go with a start that fails"
image_create "$work/stranger" 64M
# What follows is done by somebody who does not know whose the devices are.
apart=(unshare -m --propagation private sh -c
	'mount -t tmpfs -o mode=755 none /run/qcow2-ublkd && exec "$0" "$@"')
stands_still()
{
	grep -q '^State:.T' "/proc/$next/status"
}
has_ended()
{
	ended "$next"
}
# Nobody has the other end of the device open.
is_free()
{
	(exec 3<>"/dev/ublkc${before#/dev/ublkb}") 2>/dev/null
}
for stranger in lives "was killed"; do
	serve "$image" --queues 2 --io-timeout 1
	suspend_storage
	write_at "$work/a" 0 2>/dev/null &
	writer=$!
	says 'does not answer.*'
	pid=$daemon_pid before=$device
	kill -KILL "$pid"
	fails=()
	[ "$stranger" = lives ] || fails=(--key-file "$work/no-key")
	start_waiting --abandon "${fails[@]}"
	kill -STOP "$next"
	within 20 stands_still || fail "$(cat "/proc/$next/status")"
	resume_storage
	wait "$pid" 2>/dev/null || :
	forget_daemon "$pid"
	"${apart[@]}" "$QCOW2_UBLKD" stop --force "$before"
	wait "$writer" && fail "a write to a device that was stopped succeeds"
	"${apart[@]}" "$QCOW2_UBLKD" --image "$work/stranger" --device-id "${before#/dev/ublkb}" >"$work/stranger.out" 2>&1 &
	other=$!
	cleanup_add "kill -KILL $other 2>/dev/null; remove_device '$before'"
	within 20 grep -qx "$before" "$work/stranger.out" || fail "no stranger: $(cat "$work/stranger.out")"
	if [ "$stranger" = lives ]; then
		kill -CONT "$next"
		within 60 serves || fail "does not serve: $(cat "$work/waiting")"
		"$QCOW2_UBLKD" stop "$(cat "$work/waiting.out")"
		wait "$next" || fail "the next one fails: $(cat "$work/waiting")"
		dd if="$before" of=/dev/null bs=4k count=1 iflag=direct status=none
		kill -TERM "$other"
		wait "$other" || fail "the stranger fails: $(cat "$work/stranger.out")"
	else
		kill -KILL "$other"
		wait "$other" 2>/dev/null || :
		within 20 is_free || fail "somebody has the other end of $before"
		kill -CONT "$next"
		within 60 has_ended || fail "it goes on: $(cat "$work/waiting")"
		wait "$next" && fail "no error"
		grep -q 'no-key' "$work/waiting" || fail "$(cat "$work/waiting")"
		[ -b "$before" ] || fail "the stranger's device is gone: $(cat "$work/waiting")"
		"$QCOW2_UBLKD" stop "$before"
	fi
done
check_image "$image"

note "a repair before the start, which reads what anybody may have written, has only what opens files"
printf '\1' | dd of="$image" bs=1 seek=79 conv=notrunc status=none
sync "$image"
suspend_storage
"$QCOW2_UBLKD" --image "$image" >"$work/repair.out" 2>"$work/repair" &
repairs=$!
cleanup_add "kill -KILL $repairs 2>/dev/null && remove_device '$device'"
# CAP_DAC_OVERRIDE, CAP_DAC_READ_SEARCH, CAP_IPC_LOCK; it may be held up before for other reasons.
hangs()
{
	grep -q '^State:[[:space:]]*D' "/proc/$repairs/status" &&
		grep -q '^CapEff:[[:space:]]*0000000000004006$' "/proc/$repairs/status"
}
within 20 hangs || fail "it does not hang so: $(grep -E 'State|CapEff' "/proc/$repairs/status") $(cat "$work/repair")"
resume_storage
repaired()
{
	[ -s "$work/repair.out" ]
}
within 20 repaired || fail "not served: $(cat "$work/repair")"
grep -q 'its refcounts are repaired' "$work/repair" || fail "no repair: $(cat "$work/repair")"
"$QCOW2_UBLKD" stop "$(cat "$work/repair.out")"
wait "$repairs" || fail "$(cat "$work/repair")"
check_image "$image"

note "two stops while it is written back: both wait for that"
# Those that wait for an answer of the daemon, and it that listens.
peers()
{
	[ "$(grep -c 'image.socket$' /proc/net/unix)" -ge "$1" ]
}
is_held()
{
	find /proc/[0-9]*/fd -lname "$device" 2>/dev/null | grep -q .
}
serve "$image" --queues 2
dd if="$work/a" of="$device" bs=256k seek=64 conv=notrunc status=none
suspend_storage
pid=$daemon_pid
stoppers=()
for ((n = 1; n <= 2; n++)); do
	"$QCOW2_UBLKD" stop "$device" >"$work/stopped.$n" 2>&1 &
	stoppers+=($!)
	within 20 peers $((n + 1)) || fail "stop $n: $(cat "$work/stopped.$n")"
	within 20 is_held || fail "nobody writes it back"
	"$QCOW2_UBLKD" status "$device" >/dev/null || fail "no status"
done
resume_storage
for ((n = 1; n <= 2; n++)); do
	wait "${stoppers[n - 1]}" || fail "stop $n: $(cat "$work/stopped.$n")"
done
wait "$pid" || fail "status $?"
forget_daemon "$pid"
check_image "$image"
serve "$image" --read-only
expect_at "$work/a" 16
unserve
