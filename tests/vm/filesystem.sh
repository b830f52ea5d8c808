# SPDX-License-Identifier: GPL-2.0-or-later
# shellcheck shell=bash disable=SC2154
#
# A file system on a served image keeps a tree of files: over a remount, over a restart, and as
# QEMU reads the image afterwards.

make_tree()
{
	mkdir "$1"
	cp -r /usr/include/linux "$1/many"
	head -c 24M /dev/urandom >"$1/large"
	# Holes, and a tail that ends within a block.
	truncate -s 40M "$1/sparse"
	printf 'the end' >>"$1/sparse"
	ln -s large "$1/link"
}

# $1: file system, $2: its checker
filesystem_test()
{
	local image=$work/disk/image

	requires "mkfs.$1" "${2%% *}"
	fast_disk "$work/disk"
	make_tree "$work/tree"
	image_create "$image" 1G
	serve "$image" --queues 4
	note "queues: $(find "/sys/block/${device##*/}/mq" -mindepth 1 -maxdepth 1 | wc -l)"

	"mkfs.$1" -q "$device"
	mount_on "$device" "$work/mnt"
	cp -a "$work/tree" "$work/mnt/"
	umount "$work/mnt"
	$2 "$device" >"$work/fsck" 2>&1 || {
		cat "$work/fsck" >&2
		fail "$2 finds faults"
	}
	mount "$device" "$work/mnt"
	same_tree "$work/tree" "$work/mnt/tree"
	umount "$work/mnt"

	unserve
	check_image "$image"
	qemu-img convert -f qcow2 -O raw "$image" "$work/disk/raw"
	modprobe loop
	mount_on "$work/disk/raw" "$work/raw" loop,ro
	same_tree "$work/tree" "$work/raw/tree"
	umount "$work/raw"

	serve "$image" --queues 4
	mount "$device" "$work/mnt"
	same_tree "$work/tree" "$work/mnt/tree"
	umount "$work/mnt"
	unserve
	check_image "$image"
}
