#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
#
# Each allocation of a start fails once, in all of the daemon's processes. A start that fails ends with
# a sentence and a status, and leaves no device, no process and no file. TEST_EVERY=N fails every Nth
# only. The same for the kernel, which cannot take what it is given.
# vm: on 6.12
# vm: timeout 600

. "$(dirname "$0")/lib.sh"

requires_native libno_memory.so
library=$native
requires_native libshort_submit.so
short=$native
every=${TEST_EVERY:-37}
struck="no_memory.c: an allocation has failed"
image=$work/image
image_create "$image" 64M

processes()
{
	local found=1 name

	for name in qcow2-ublkd ublk-control ublk-helper ublk-janitor; do
		pgrep -x "$name" && found=0
	done
	return $found
}

none_left()
{
	! processes >/dev/null
}

# A start with allocation $1 failing, and the options $2...; to $work/said. Sets $status, or leaves it
# empty when the device is there.
start()
{
	local line="" nth=$1 ready stdout

	shift
	ready=$work/ready
	rm -f "$ready"
	mkfifo "$ready"
	LD_PRELOAD=$library NO_MEMORY=$nth "$QCOW2_UBLKD" --image "$image" --queues 2 --depth 8 "$@" \
		>"$ready" 2>"$work/said" &
	pid=$!
	cleanup_add "kill -KILL $pid 2>/dev/null"
	exec {stdout}<"$ready"
	read -r -t 60 line <&"$stdout" || :
	device=$line
	status=
	[ -n "$line" ] || {
		status=0
		wait "$pid" || status=$?
	}
	exec {stdout}<&-
}

# All of them with the options $*.
fail_each()
{
	local failed=0 nth served=0

	for ((nth = 1; nth < 1000; nth += every)); do
		echo "allocation $nth"
		start "$nth" "$@"
		if [ -z "$status" ]; then
			none_left && fail "this test does not see the processes of a device"
			dd if="$device" of=/dev/null bs=4k count=1 iflag=direct status=none ||
				fail "allocation $nth: $device cannot be read"
			kill -TERM "$pid"
			wait "$pid" || fail "allocation $nth: the end of a device that is served:" \
				"status $?: $(<"$work/said")"
			served=$((served + 1))
		else
			failed=$((failed + 1))
			grep -v "^$struck" "$work/said" || :
			[ "$status" -eq 1 ] || [ "$status" -eq 2 ] ||
				fail "allocation $nth: status $status: $(<"$work/said")"
			grep -v "^$struck" "$work/said" | grep -q memory ||
				fail "allocation $nth: no sentence: $(<"$work/said")"
		fi
		within 10 none_left || fail "allocation $nth: processes are left: $(processes)"
		[ "$(ublk_devices)" -eq 0 ] || fail "allocation $nth: a device is left"
		[ -z "$(find /run/qcow2-ublkd -mindepth 1 -not -name .lock)" ] ||
			fail "allocation $nth: left: $(ls /run/qcow2-ublkd)"
		grep -q "^$struck" "$work/said" || break
	done
	[ "$failed" -gt 0 ] || fail "no start has failed"
	note "up to allocation $nth: $failed starts failed, $served served all the same"
}

note "each allocation of a start fails"
fail_each
check_image "$image"

# Who starts the device for its server reads the partition table, and must have fetched every request by then.
note "the kernel has no memory for a while for the commands of a first start"
export SHORT_SUBMITS=20
LD_PRELOAD=$short serve "$image" --queues 2 --depth 8
[ "$(grep -c "^short_submit.c" "$stderr_file")" -eq 40 ] || fail "$(sort "$stderr_file" | uniq -c)"
dd if="$device" of=/dev/null bs=4k count=1 iflag=direct status=none || fail "$device cannot be read"
unserve

note "and for ever"
export SHORT_SUBMITS=1000000
LD_PRELOAD=$short refused timeout 120 "$QCOW2_UBLKD" --image "$image" --queues 2 --depth 8
grep -v '^short_submit.c' "$work/refused" | grep -q memory || fail "$(sort "$work/refused" | uniq -c)"
within 10 none_left || fail "processes are left: $(processes)"
[ "$(ublk_devices)" -eq 0 ] || fail "a device is left"
check_image "$image"
