#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
#
# SIGTERM while four jobs write at full speed: the daemon ends in order, the image is sound, and
# what had been synced is there.

. "$(dirname "$0")/lib.sh"

requires fio
fast_disk "$work/disk"
image=$work/disk/image
image_create "$image" 512M
head -c 16M /dev/urandom >"$work/synced"

written()
{
	[ "$(awk '{ print $5 }' "/sys/block/${device##*/}/stat")" -ge "$1" ]
}

for round in 1 2 3; do
	serve "$image" --queues 4
	dd if="$work/synced" of="$device" bs=1M oflag=direct conv=fsync status=none
	before=$(awk '{ print $5 }' "/sys/block/${device##*/}/stat")
	fio --name=load --filename="$device" --rw=randwrite --bs=4k-64k --offset=64M --size=448M \
		--ioengine=io_uring --iodepth=32 --direct=1 --numjobs=4 --thread \
		--time_based --runtime=50 --output="$work/load" >"$work/load.stderr" 2>&1 &
	load=$!
	within 30 written $((before + 500)) || fail "fio does not write"
	kill -TERM "$daemon_pid"
	# Errors are what it has to expect, but it must not hang.
	wait "$load" || :
	expect_stopped
	check_image "$image"
	note "round $round: $(du -k "$image" | cut -f 1) KiB"
done

serve "$image" --read-only
same "$work/synced" "$device" $((16 << 20))
unserve
