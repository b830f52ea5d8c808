#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
#
# list, status, stop and what resize refuses: by name and by device, of devices that live, that are left behind and that
# are somebody else's; and a control socket that answers nobody but root.
# vm: on 6.12

. "$(dirname "$0")/lib.sh"

requires python3 setpriv unshare

# An expression in Python about what the rest of the command line prints as JSON: d.
expect_json()
{
	local expression=$1

	shift
	"$@" >"$work/json" || fail "status $?: $*"
	python3 -c "import json, sys; d = json.load(sys.stdin); sys.exit(not ($expression))" \
		<"$work/json" || fail "not $expression: $(cat "$work/json")"
}

mkdir "$work/a" "$work/b"
image_create "$work/a/vm.qcow2" 64M
image_create "$work/b/vm.qcow2" 32M

note "two of the same name"
expect_json 'd == []' "$QCOW2_UBLKD" list --json
serve "$work/a/vm.qcow2" --queues 2 --depth 16
first=$device first_pid=$daemon_pid
serve "$work/b/vm.qcow2" --read-only
second=$device second_pid=$daemon_pid
grep -q 'the name vm is taken; this is vm-2' "$stderr_file" || fail "no word of the name"
refused "$QCOW2_UBLKD" --image "$work/b/vm.qcow2" --read-only --name vm
grep -q 'the name vm is in use by process' "$work/refused" || fail "$(cat "$work/refused")"
refused "$QCOW2_UBLKD" --image "$work/b/vm.qcow2" --read-only --name vm-part1
grep -q 'vm-part1 is what a partition of another disk may be called' "$work/refused" || fail "$(cat "$work/refused")"
[ "$(stat -c %a /run/qcow2-ublkd /run/qcow2-ublkd/vm.socket | tr '\n' ' ')" = '700 600 ' ] ||
	fail "modes: $(ls -la /run/qcow2-ublkd)"

note "list and status"
expect_json "[(e['name'], e['device'], e['state'], e['virtual-size'], e['read-only'], e['pid'])
	for e in d] == [('vm', '$first', 'serving', 64 << 20, False, $first_pid),
	('vm-2', '$second', 'serving', 32 << 20, True, $second_pid)]" "$QCOW2_UBLKD" list --json
"$QCOW2_UBLKD" list >"$work/list"
[ "$(wc -l <"$work/list")" -eq 3 ] || fail "$(cat "$work/list")"
dd if=/dev/zero of="$first" bs=1M count=4 oflag=direct status=none
for which in vm "$first" "/dev/../$first"; do
	expect_json "d['image'] == '$work/a/vm.qcow2' and d['queue-count'] == 2 and d['depth'] == 16
		and d['requests']['write'] >= 4 and d['bytes']['write'] >= 4 << 20
		and sum(d['latency']['write']['allocate']['buckets']) >= 4 and d['host']['write']['bytes'] >= 4 << 20
		and d['clusters']['allocated'] == 64 and len(d['queues']) == 2 and d['state'] == 'serving' and d['pid'] == $first_pid" \
		"$QCOW2_UBLKD" status --json "$which"
done
expect_json "[e['name'] for e in d] == ['vm', 'vm-2']" "$QCOW2_UBLKD" status --json
"$QCOW2_UBLKD" status vm-2 | grep -q '^disk  *32.0 MiB, .*, read-only$' || fail "status"
"$QCOW2_UBLKD" status --prometheus >"$work/metrics"
[ "$(grep -c '^qcow2_ublkd_clusters_allocated_total{' "$work/metrics")" -eq 2 ] &&
	grep -q "^qcow2_ublkd_clusters_allocated_total{name=\"vm\",device=\"$first\"} 64\$" "$work/metrics" ||
	fail "$(cat "$work/metrics")"
[ -z "$(grep -v '^#' "$work/metrics" | sed 's/ [^ ]*$//' | sort | uniq -d)" ] ||
	fail "a sample twice: $(cat "$work/metrics")"
expect_json "[(e['name'], e['state'], e['writes']) for e in d] == [('vm', 'serving', 0), ('vm-2', 'serving', 0)]" \
	"$QCOW2_UBLKD" top --interval 1 --count 1 --json
"$QCOW2_UBLKD" top --interval 1 --count 1 vm-2 >"$work/top"
[ "$(wc -l <"$work/top")" -eq 2 ] || fail "$(cat "$work/top")"
refused "$QCOW2_UBLKD" top vm-3
refused "$QCOW2_UBLKD" status vm-3
refused "$QCOW2_UBLKD" status /dev/zero

note "a resize: refused by drivers that cannot do it, and then nothing has changed"
refused "$QCOW2_UBLKD" resize vm 32M
if [[ $(uname -r) = 6.12.* ]]; then
	refused "$QCOW2_UBLKD" resize vm +64M
	grep -q 'the kernel.s driver cannot resize a device, Linux 6.16' "$work/refused" ||
		fail "$(cat "$work/refused")"
fi
refused "$QCOW2_UBLKD" resize vm-2 +64M
expect_json "[e['virtual-size'] for e in d] == [64 << 20, 32 << 20]" "$QCOW2_UBLKD" list --json

note "who is not root gets no answer"
chmod 755 /run/qcow2-ublkd
chmod 666 /run/qcow2-ublkd/vm.socket
ask='import socket, sys
s = socket.socket(socket.AF_UNIX)
s.connect("/run/qcow2-ublkd/vm.socket")
s.settimeout(20)
s.sendall(b"status\n")
sys.exit(not s.recv(1))'
python3 -c "$ask" || fail "root gets no answer"
refused setpriv --reuid 65534 --regid 65534 --clear-groups python3 -c "$ask"
grep -qE 'Reset|Broken pipe' "$work/refused" || [ ! -s "$work/refused" ] ||
	fail "$(cat "$work/refused")"
chmod 700 /run/qcow2-ublkd
expect_json "d['state'] == 'serving'" "$QCOW2_UBLKD" status --json vm

note "a daemon that stands still is not waited for"
kill -STOP "$second_pid"
expect_json "[e['state'] for e in d] == ['serving', 'silent']" "$QCOW2_UBLKD" list --json
refused "$QCOW2_UBLKD" status vm-2
kill -CONT "$second_pid"

note "stop"
expect_json "d['stopped'] and d['name'] == 'vm-2'" "$QCOW2_UBLKD" stop --json "$second"
expect_stopped "$second_pid"
[ ! -e /run/qcow2-ublkd/vm-2.lock ] || fail "its entry is left"

note "what is left of daemons that were killed, and a device of somebody else's"
cp "$QCOW2_UBLKD" "$work/another"
mkfifo "$work/ready"
unshare -m --propagation private sh -c "mkdir -p /run/qcow2-ublkd && \
	mount -t tmpfs -o mode=700 none /run/qcow2-ublkd && \
	exec '$work/another' --image '$work/b/vm.qcow2' >'$work/ready'" &
another=$!
cleanup_add "kill -KILL $another 2>/dev/null"
read -r foreign <"$work/ready"
kill_hard "$first_pid"
# The kernel takes the device from a process that is gone in its own time.
is_waiting()
{
	"$QCOW2_UBLKD" list | grep -qE "^vm +$first +waiting "
}
within 20 is_waiting || fail "$("$QCOW2_UBLKD" list)"
"$QCOW2_UBLKD" status --prometheus |
	grep -qF "qcow2_ublkd_state{name=\"vm\",device=\"$first\",state=\"waiting\"} 1" || fail "no metric of it"
expect_json "[e['name'] for e in d if e['state'] == 'waiting'] == ['vm']" "$QCOW2_UBLKD" status --json
"$QCOW2_UBLKD" status | grep -q '^state  *waiting$' || fail "no word of it"
for which in vm "$first"; do
	expect_json "d['state'] == 'waiting' and d['name'] == 'vm' and d['device'] == '$first'" \
		"$QCOW2_UBLKD" status --json "$which"
done
expect_json "{e['state']: (e.get('name'), e['device'], e.get('program')) for e in d} ==
	{'waiting': ('vm', '$first', None), 'foreign': (None, '$foreign', 'another')}" \
	"$QCOW2_UBLKD" list --json
# Its server lives, though nothing is known of it here, and would have written back what its users have.
refused "$QCOW2_UBLKD" stop "$foreign"
grep -q 'is served, by a process that is not to be seen from here' "$work/refused" ||
	fail "$(cat "$work/refused")"
"$QCOW2_UBLKD" stop vm
expect_no_device "${first#/dev/ublkb}"
expect_json "[e['state'] for e in d] == ['foreign']" "$QCOW2_UBLKD" list --json

serve "$work/a/vm.qcow2" --no-recovery
expect_json "d['name'] == 'vm' and not d['recoverable']" "$QCOW2_UBLKD" status --json "$device"
kill_hard
is_gone()
{
	"$QCOW2_UBLKD" list | grep -qE "^vm +- +gone "
}
within 20 is_gone || fail "$("$QCOW2_UBLKD" list)"
refused "$QCOW2_UBLKD" stop vm
grep -qE 'its daemon is gone|no such device' "$work/refused" || fail "$(cat "$work/refused")"
kill -TERM "$another"
wait "$another" || fail "the other one failed"

note "an image on a block device, by nodes of two containers: one of them has it"
null_disk_make 64
disk=/dev/$null_disk
image_create "$disk" 128M
mknod "$work/node" b "0x$(stat -c %t "$disk")" "0x$(stat -c %T "$disk")"
serve "$disk" --name disk
refused unshare -m --propagation private sh -c "mount -t tmpfs -o mode=700 none /run/qcow2-ublkd && \
	exec '$QCOW2_UBLKD' --image '$work/node'"
grep -q "is shown as $device already, and /run/qcow2-ublkd knows nothing of it" "$work/refused" ||
	fail "$(cat "$work/refused")"
# Locks of another node say nothing.
refused "$QCOW2_UBLKD" check --repair all "$work/node"
grep -q 'somebody else has this block device for himself' "$work/refused" ||
	fail "$(cat "$work/refused")"
disk_device=$device
kill_hard
serve "$work/node" --name disk
[ "$device" = "$disk_device" ] || fail "$device instead of $disk_device"
unserve
"$QCOW2_UBLKD" check "$disk" >/dev/null || fail "check: $?"

note "the next one has the name again, and nothing is left in the end"
serve "$work/a/vm.qcow2"
expect_json "d['name'] == 'vm'" "$QCOW2_UBLKD" status --json "$device"
"$QCOW2_UBLKD" stop vm
expect_stopped
expect_json 'd == []' "$QCOW2_UBLKD" list --json
[ "$(ls /run/qcow2-ublkd)" = "" ] || fail "left: $(ls -la /run/qcow2-ublkd)"
