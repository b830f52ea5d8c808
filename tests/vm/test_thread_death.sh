#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
#
# A thread ends by itself: what it had to answer would never be answered, with the device as live as
# ever. The process ends at once instead, and the next one goes on with the device.
# vm: on backport

. "$(dirname "$0")/lib.sh"

requires_native libend_thread.so
library=$native
ulimit -c 0
image=$work/image
head -c 4M /dev/urandom >"$work/pattern"

ended()
{
	! kill -0 "$daemon_pid" 2>/dev/null
}

for thread in queue-1 service; do
	note "the end of $thread"
	image_create "$image" 64M
	printf '\0' >"$work/when"
	LD_PRELOAD=$library END_THREAD=$thread END_THREAD_WHEN=$work/when serve "$image" --queues 2
	before=$device
	dd if="$work/pattern" of="$device" bs=64k oflag=direct status=none
	printf 1 | dd of="$work/when" conv=notrunc status=none
	dd if="$work/pattern" of="$device" bs=64k seek=256 oflag=direct status=none &
	writer=$!
	# Has all threads turn; the service's alone does nothing for that write.
	kill -USR1 "$daemon_pid"
	within 20 ended || fail "it goes on without its thread: $(cat "$stderr_file")"
	status=0
	wait "$daemon_pid" 2>/dev/null || status=$?
	[ "$status" -eq 134 ] || fail "status $status instead of 128 + SIGABRT"
	grep -q 'a thread has been ended' "$stderr_file" || fail "$(cat "$stderr_file")"
	forget_daemon "$daemon_pid"
	serve "$image"
	[ "$device" = "$before" ] || fail "$device instead of $before"
	wait "$writer" || fail "a write fails over the end of a thread"
	for seek in 0 256; do
		dd if="$device" of="$work/back" bs=64k skip=$seek count=64 iflag=direct status=none
		same "$work/pattern" "$work/back"
	done
	unserve
	check_image "$image"
done
