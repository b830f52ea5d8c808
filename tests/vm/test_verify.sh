#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
#
# Four jobs on four queues write mixed sizes in random order, and read back what they wrote: at
# once, and after a restart. Small clusters make many of the mapping's edges.
# vm: on backport

. "$(dirname "$0")/lib.sh"

requires fio
fast_disk "$work/disk"
image=$work/disk/image
areas=(--size=12M --offset_increment=12M --numjobs=4 --thread)
# A header in every 4 KiB, so that blocks of any size can be verified after blocks of any other.
check=(--verify=crc32c --verify_interval=4k --verify_fatal=1)
io=(--name=verify --ioengine=io_uring --iodepth=16 --direct=1 --bsrange=4k-64k --group_reporting)

for cluster_size in 64k 4k 512; do
	note "clusters of $cluster_size"
	image_create -o "cluster_size=$cluster_size" "$image" 48M
	serve "$image" --queues 4
	fio_run "${io[@]}" "${areas[@]}" "${check[@]}" --filename="$device" --rw=randwrite
	fio_run "${io[@]}" "${areas[@]}" "${check[@]}" --filename="$device" --rw=randrw \
		--verify_backlog=256 --io_size=6M
	unserve
	check_image "$image"

	serve "$image" --queues 4
	fio_run "${io[@]}" "${areas[@]}" "${check[@]}" --filename="$device" --rw=read
	unserve
	rm "$image"
done
