#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
#
# Discarding and zeroing, on and off the clusters' borders: the content is that of a raw file
# treated the same way.
# vm: on 6.12

. "$(dirname "$0")/lib.sh"

requires blkdiscard fallocate
fast_disk "$work/disk"
image=$work/disk/image
model=$work/model

# The device as it is behind the page cache.
expect_model()
{
	dd if="$device" of="$work/content" bs=1M iflag=direct status=none
	same "$work/content" "$model"
}

# Zeros in the model from byte $1, $2 bytes.
model_zero()
{
	fallocate -p -o "$1" -l "$2" "$model"
}

for cluster_size in ${TEST_CLUSTER_SIZES:-4k}; do
	note "clusters of $cluster_size"
	rm -f "$image"
	image_create -o "cluster_size=$cluster_size" "$image" 32M
	head -c 32M /dev/urandom >"$model"
	serve "$image" --queues 4
	dd if="$model" of="$device" bs=1M oflag=direct conv=fsync status=none
	full=$(host_blocks "$image")

	# Whole clusters: one, some, and many at once.
	for range in "65536 65536" "1048576 196608" "4194304 4194304"; do
		read -r from length <<<"$range"
		blkdiscard -o "$from" -l "$length" "$device"
		model_zero "$from" "$length"
	done
	expect_model

	# Explicit zeros have to be exact to the sector.
	for range in "512 512" "2097152 65536" "2162176 1024" "3145216 132096" "9000448 3000320"; do
		read -r from length <<<"$range"
		blkdiscard -z -o "$from" -l "$length" "$device"
		model_zero "$from" "$length"
	done
	expect_model

	fallocate -p -o $((16 << 20)) -l 1500160 "$device"
	model_zero $((16 << 20)) 1500160
	fallocate -z -o $(((20 << 20) + 4096)) -l 700416 "$device"
	model_zero $(((20 << 20) + 4096)) 700416
	expect_model

	# New data where something was dropped, then everything after a restart.
	dd if=/dev/urandom of="$work/new" bs=4k count=40 status=none
	for at in 15 1040 2200; do
		dd if="$work/new" of="$device" bs=4k seek="$at" oflag=direct status=none
		dd if="$work/new" of="$model" bs=4k seek="$at" conv=notrunc status=none
	done
	expect_model
	unserve
	check_image "$image"
	image_same "$image" "$model"
	serve "$image" --queues 4
	expect_model

	blkdiscard "$device"
	model_zero 0 $((32 << 20))
	expect_model
	unserve
	check_image "$image"
	image_same "$image" "$model"
	[ "$(host_blocks "$image")" -lt $((full / 4)) ] ||
		fail "a discard of everything leaves $(host_blocks "$image") of $full blocks"
done
