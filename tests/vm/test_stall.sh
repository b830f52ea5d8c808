#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
#
# How long do clients stand still when the daemon is killed under load and started again at once?
# Each figure is from SIGKILL to the end of a read that was asked for right after it.
# vm: timeout 900
# vm: by name

. "$(dirname "$0")/lib.sh"

requires fio
kills=${TEST_KILLS:-5}
fast_disk "$work/disk"
image=$work/disk/image
image_create "$image" 256M
serve "$image" --queues 4
fio --name=load --filename="$device" --ioengine=io_uring --iodepth=8 --direct=1 --thread \
	--numjobs=4 --size=64M --offset_increment=64M --rw=randrw --bs=4k --time_based \
	--runtime=3600 --output="$work/fio" >"$work/fio.stderr" 2>&1 &
load=$!
cleanup_add "kill -KILL $load 2>/dev/null"

milliseconds()
{
	echo $(($(date +%s%N) / 1000000))
}

for ((kill = 0; kill < kills; kill++)); do
	pause $((500 + RANDOM % 500))
	begin=$(milliseconds)
	kill_hard
	{
		dd if="$device" of=/dev/null bs=4k count=1 iflag=direct status=none
		echo $(($(milliseconds) - begin)) >>"$work/stalls"
	} &
	read=$!
	serve "$image" --queues 4
	wait "$read" || fail "a read fails"
	kill -0 "$load" 2>/dev/null || {
		cat "$work/fio.stderr" "$work/fio" >&2
		fail "fio has ended after kill $((kill + 1))"
	}
done
kill -INT "$load"
# 128 is what fio makes of the signal; each error counts one more.
wait "$load" || [ $? -eq 128 ] || {
	cat "$work/fio.stderr" "$work/fio" >&2
	fail "fio reports an error"
}
unserve
check_image "$image"
sort -n "$work/stalls" >"$work/sorted"
# The value that so many percent do not exceed.
percentile()
{
	sed -n "$(((kills * $1 + 99) / 100))p" "$work/sorted"
}
note "$(uname -r): $kills kills, stall p50 $(percentile 50) ms, p99 $(percentile 99) ms"
