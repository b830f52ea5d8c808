#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
#
# What the daemon and its processes have given away when they serve; and that they do all that they
# are there for without it.

. "$(dirname "$0")/lib.sh"

requires mkfs.ext4
image=$work/image
image_create "$image" 128M

# Fail unless each thread of process $1 has field $2 of /proc/PID/status as $3, an extended regular
# expression, has it.  Not so the kernel's own workers, which run no code of ours, and do each I/O
# with the credentials of who asks for it.
expect_status()
{
	local task

	for task in "/proc/$1"/task/*; do
		[[ $(<"$task/comm") != iou-wrk-* ]] || continue
		grep -qE "^$2:[[:space:]]*($3)\$" "$task/status" ||
			fail "$(<"$task/comm") of process $1: $(grep "^$2:" "$task/status"), not $3"
	done
}

# The process of the daemon with name $1.
child_of_daemon()
{
	pgrep -P "$daemon_pid" -x "$1"
}

# What children of the daemon have of the device would keep it alive. The controller's ring is its own.
expect_nothing_inherited()
{
	local child name

	for child in $(pgrep -P "$daemon_pid"); do
		name=$(<"/proc/$child/comm")
		find "/proc/$child/fd" "/proc/$child/map_files" -type l -printf '%l\n' >"$work/has"
		! grep -E "ublkc|ublkb|$image|eventfd|signalfd|pipe:" "$work/has" || fail "$name has it"
		[ "$(find "/proc/$child/fd" -lname 'anon_inode:*io_uring*' | wc -l)" -eq \
			"$([ "$name" = ublk-control ] && echo 1 || echo 0)" ] || fail "rings of $name"
		[ "$(find "/proc/$child/fd" -lname 'socket:*' | wc -l)" -eq 1 ] || fail "sockets of $name"
	done
}

note "no capability, no way to regain one, no call that is not needed"
serve "$image" --queues 3
[ "$(find "/proc/$daemon_pid/task" -mindepth 1 -maxdepth 1 | wc -l)" -ge 5 ] || fail "threads"
for process in "$daemon_pid" "$(child_of_daemon ublk-control)"; do
	for set in CapInh CapPrm CapEff CapBnd CapAmb; do
		expect_status "$process" "$set" '0+'
	done
	expect_status "$process" NoNewPrivs 1
	expect_status "$process" Seccomp 2
done
helper=$(child_of_daemon ublk-helper)
# CAP_DAC_READ_SEARCH, CAP_SYS_PTRACE, CAP_SYS_ADMIN
expect_status "$helper" CapEff 0000000000280004
expect_status "$helper" CapBnd '0+'
expect_status "$helper" NoNewPrivs 1
expect_status "$helper" Seccomp 2
expect_nothing_inherited
[ "$(find "/proc/$daemon_pid/root/" -maxdepth 2 -mindepth 1 | sort | tr '\n' ' ')" = \
	"/proc/$daemon_pid/root/run /proc/$daemon_pid/root/run/qcow2-ublkd " ] ||
	fail "more than a folder: $(find "/proc/$daemon_pid/root/" -maxdepth 2)"

note "tried from inside"
confine=$(dirname "$QCOW2_UBLKD")/tests/unit/test_confine
if [ -x "$confine" ]; then
	"$confine" >"$work/confine" || fail "$(grep -v '^ok' "$work/confine")"
	grep -q '^# Landlock: yes' "$work/confine" || fail "no Landlock here"
fi

note "all operations, questions, and a stop"
mkfs.ext4 -q "$device"
mount_on "$device" "$work/mnt" discard
cp -r /usr/include/linux "$work/mnt/many"
sync -f "$work/mnt"
rm -r "$work/mnt/many"
fstrim "$work/mnt"
kill -USR1 "$daemon_pid"
shown()
{
	grep -q 'under way' "$stderr_file"
}
within 20 shown || fail "nothing shown"
"$QCOW2_UBLKD" status "$device" >"$work/status" || fail "no status"
"$QCOW2_UBLKD" list | grep -q serving || fail "no list"
refused "$QCOW2_UBLKD" stop "$device"
umount "$work/mnt"
"$QCOW2_UBLKD" stop "$device"
expect_stopped
! grep -qE 'Operation not permitted|Permission denied' "$stderr_file" || fail "$(cat "$stderr_file")"

note "as another user: served, taken over, and nothing left"
chmod 600 "$image"
serve "$image" --queues 2 --user nobody
nobody=$(id -u nobody) group=$(id -g nobody)
expect_status "$daemon_pid" Uid "$nobody[[:space:]]+$nobody[[:space:]]+$nobody[[:space:]]+$nobody"
expect_status "$daemon_pid" Gid "$group[[:space:]]+$group[[:space:]]+$group[[:space:]]+$group"
expect_status "$daemon_pid" Groups ' *'
for set in CapPrm CapEff CapBnd; do
	expect_status "$daemon_pid" "$set" '0+'
done
for process in "$daemon_pid" "$(child_of_daemon ublk-control)" "$(child_of_daemon ublk-janitor)"; do
	expect_status "$process" NoNewPrivs 1
	expect_status "$process" Seccomp 2
done
expect_nothing_inherited
head -c 4M /dev/urandom >"$work/pattern"
dd if="$work/pattern" of="$device" bs=1M oflag=direct status=none
"$QCOW2_UBLKD" status "$device" >/dev/null || fail "no status"
kill_hard
serve "$image" --queues 2 --user nobody
grep -q 'taken over' "$stderr_file" || fail "$(cat "$stderr_file")"
dd if="$device" of="$work/back" bs=1M count=4 iflag=direct status=none
same "$work/pattern" "$work/back"
"$QCOW2_UBLKD" stop "$device"
expect_stopped
! grep -qE 'Operation not permitted|Permission denied' "$stderr_file" || fail "$(cat "$stderr_file")"
refused "$QCOW2_UBLKD" --image "$image" --user nobody-of-that-name
grep -q 'there is no such user' "$work/refused" || fail "$(cat "$work/refused")"

note "what knows a key leaves no core dump, whoever it becomes"
suid_dumpable=$(</proc/sys/fs/suid_dumpable)
cleanup_add "echo $suid_dumpable >/proc/sys/fs/suid_dumpable"
echo 1 >/proc/sys/fs/suid_dumpable
printf secret >"$work/key"
image_create --object "secret,id=key,file=$work/key" \
	-o encrypt.format=luks,encrypt.key-secret=key,encrypt.iter-time=10 "$work/encrypted" 64M
# The files in /proc of who can be dumped are its own, all others root's.
serve "$image" --user nobody
[ "$(stat -c %U "/proc/$daemon_pid/status")" = nobody ] || fail "no key, and yet no core dump"
unserve
serve "$work/encrypted" --user nobody --key-file "$work/key"
[ "$(stat -c %U "/proc/$daemon_pid/status")" = root ] || fail "a core dump of what knows a key"
unserve
[ "$(ls /run/qcow2-ublkd)" = "" ] || fail "left: $(ls -la /run/qcow2-ublkd)"
check_image "$image"
