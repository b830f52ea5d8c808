#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
#
# The load under which other engines with many queues have lost data: an overlay that was written to
# before it was opened, over a base; 16 jobs of 32 requests, seven writes of ten, 4 to 64 KiB, all of
# them verified. TEST_QUEUES="1 2 4 8" TEST_IO_SIZE=64M is the campaign; there are no more queues than
# processors.
# vm: timeout 3600
# vm: on backport

. "$(dirname "$0")/lib.sh"

requires fio
fast_disk "$work/disk"
base=$work/disk/base
image=$work/disk/image
jobs=16
area=4
area_kib=$((area * 1024))
size=$((jobs * area + 8))

head -c ${size}M /dev/urandom >"$base"
io=(--ioengine=io_uring --iodepth=32 --direct=1 --thread --randrepeat=0 --group_reporting
	"--size=${area}M" "--offset_increment=${area}M" "--numjobs=$jobs" --bsrange=4k-64k
	--verify=crc32c --verify_interval=4k --verify_fatal=1)

# The device, past the page cache.
content()
{
	dd if="$device" of="$1" bs=1M iflag=direct status=none
}

for queues in ${TEST_QUEUES:-4}; do
	note "$queues queues"
	(cd "$work/disk" && image_create -o cluster_size=16k -b base -F raw "$image")
	serve "$image"
	fio_run "${io[@]}" --name=warm --filename="$device" --rw=randwrite --io_size=512k --do_verify=0
	unserve

	serve "$image" --queues "$queues" --l2-cache 64k
	# Verified while it goes on, and all of it in the end.
	fio_run "${io[@]}" --name=load --filename="$device" --rw=randrw --rwmixread=30 \
		--io_size="${TEST_IO_SIZE:-3M}" --verify_backlog=64 --fsync=200
	content "$work/disk/content"
	cmp -i $((jobs * area_kib * 1024)) "$work/disk/content" "$base" ||
		fail "what was never written is not the base's"
	unserve
	check_image "$image"
	image_same "$image" "$work/disk/content"
	rm "$image" "$work/disk/content"
done
