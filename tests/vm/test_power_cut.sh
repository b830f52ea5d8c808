#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
#
# The power of the host's disk is cut: the image lies on a device that records all writes
# (dm-log-writes), a file system on /dev/ublkbN syncs files, and afterwards the record is played up
# to many places. There, the image has no corruption, and all files that had been synced by then
# are intact after the file system's own recovery.

. "$(dirname "$0")/lib.sh"

requires fio dmsetup mkfs.ext4
modprobe -a dm-log-writes loop
null_disk_make 160
below=/dev/$null_disk
null_disk_make 2048
record=/dev/$null_disk
files=${TEST_FILES:-4}

# $recorded, a disk with an empty image on it, made with options $1.
recorded_image()
{
	blkdiscard "$below" "$record" 2>/dev/null || :
	dmsetup create cut --noudevsync --table "0 $(blockdev --getsz "$below") log-writes $below $record"
	cleanup_add "! dmsetup info cut >/dev/null 2>&1 || dmsetup remove cut"
	# Without udev there is no /dev/mapper/cut.
	recorded=/dev/$(dmsetup info -c --noheadings -o blkdevname cut)
	qemu-img create -q -f qcow2 -o "$1" "$recorded" 64M
}

# Files that are synced one by one while fio writes and syncs, so that flushes meet allocations.
# The mark says which of them are durable; their sums are in $work/sums.
load()
{
	local i

	mkfs.ext4 -q -E lazy_itable_init=0 "$device"
	mount_on "$device" "$work/mnt"
	dmsetup message cut 0 mark 0
	fio --name=load --directory="$work/mnt" --size=24M --rw=randwrite --bsrange=4k-64k --fsync=7 \
		--ioengine=io_uring --iodepth=8 --direct=1 --time_based --runtime=200 \
		--output="$work/load" >/dev/null 2>&1 &
	loader=$!
	for ((i = 1; i <= files; i++)); do
		head -c $((RANDOM * 20 + 1)) /dev/urandom >"$work/mnt/file.$i"
		if [ $((i % 4)) -eq 0 ]; then
			rm "$work/mnt/file.$((i - 2))"
			touch "$work/sums/$((i - 2)).gone"
		fi
		sync -f "$work/mnt"
		md5sum <"$work/mnt/file.$i" >"$work/sums/$i"
		dmsetup message cut 0 mark "$i"
	done
	kill -INT "$loader"
	wait "$loader" || :
	umount "$work/mnt"
}

# Judge one state of the disk, in a file, with the mark that it has reached: run by replay.py. Each
# image is checked; at a new mark, and else every third time, what lies on the file system too.
cat >"$work/judge" <<-'EOF'
	#!/bin/bash
	set -eu
	work=$1 disk=$2 mark=$3
	status=0
	qemu-img check -q -f qcow2 "$disk" >"$work/check" 2>&1 || status=$?
	if [ "$status" -ne 0 ] && [ "$status" -ne 3 ]; then
		cat "$work/check" >&2
		exit 1
	fi
	# Before the file system, and behind the mark that the recorder sets at its end.
	[[ $mark =~ ^[0-9]+$ ]] || exit 0
	echo >>"$work/judged.$mark"
	[ $(($(wc -l <"$work/judged.$mark") % 3)) -eq 1 ] || exit 0
	qemu-img convert -f qcow2 -O raw "$disk" "$work/raw"
	status=0
	e2fsck -f -p "$work/raw" >"$work/fsck" 2>&1 || status=$?
	[ "$status" -le 1 ] || { cat "$work/fsck" >&2; exit 1; }
	mkdir -p "$work/judge.mnt"
	mount -o loop,ro "$work/raw" "$work/judge.mnt"
	trap 'umount "$work/judge.mnt"' EXIT
	for ((i = 1; i <= mark; i++)); do
		[ ! -e "$work/sums/$i.gone" ] || continue
		md5sum <"$work/judge.mnt/file.$i" | cmp -s - "$work/sums/$i" || {
			echo "file $i is lost at mark $mark" >&2
			exit 1
		}
	done
EOF
chmod +x "$work/judge"

# Here it is about the disk and the kernel: one geometry for each of these.
if [[ $(uname -r) = 6.12.* ]]; then
	geometry=cluster_size=64k
else
	geometry=cluster_size=4k,refcount_bits=1
fi
for options in ${TEST_OPTIONS:-$geometry}; do
	note "$options"
	rm -rf "$work/sums" "$work"/judged.*
	mkdir "$work/sums"
	recorded_image "$options"
	serve "$recorded" --queues 4
	load
	unserve
	dmsetup remove cut
	"$(dirname "$0")/replay.py" "$record" "$work/replayed" "${TEST_SEED:-1}" "${TEST_CUTS:-3}" -- \
		"$work/judge" "$work" || fail "after a power cut"
	rm "$work/replayed"
done
