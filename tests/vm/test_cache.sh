#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
#
# --cache none bypasses the host's page cache, writeback uses it, and where a file system knows no
# O_DIRECT, none falls back and says so. And writes that are durable by themselves are relied on only where
# they are known to be.
# vm: on 6.12

. "$(dirname "$0")/lib.sh"

requires mkfs.ext4

head -c 8M /dev/urandom >"$work/pattern"
fast_disk "$work/xfs"
# Not tmpfs: since Linux 6.6 it takes O_DIRECT.
mkdir "$work/ramfs"
mount -t ramfs ramfs "$work/ramfs"
cleanup_add "umount '$work/ramfs'"

# How many of the daemon's files are the image, opened with O_DIRECT (040000).
direct_files()
{
	local count=0 file name value

	while read -r file; do
		while read -r name value; do
			if [ "$name" = flags: ] && [ $((value & 040000)) -ne 0 ]; then
				count=$((count + 1))
			fi
		done <"/proc/$daemon_pid/fdinfo/${file##*/}"
	done < <(find "/proc/$daemon_pid/fd" -lname "$image")
	echo "$count"
}

# Folder, mode, whether the image is to be open with O_DIRECT.
try()
{
	note "$1, --cache $2"
	image=$1/image
	image_create "$image" 32M
	serve "$image" --cache "$2"
	case $3 in
	direct)
		[ "$(direct_files)" -gt 0 ] || fail "the image is not open with O_DIRECT"
		;;
	buffered)
		[ "$(direct_files)" -eq 0 ] || fail "the image is open with O_DIRECT"
		;;
	esac
	dd if="$work/pattern" of="$device" bs=64k seek=100 oflag=direct conv=fsync status=none
	dd if="$work/pattern" of="$device" bs=4k seek=5000 conv=fsync status=none
	# From the device, not from the page cache above it.
	dd if="$device" of="$work/back" bs=64k skip=100 count=128 iflag=direct status=none
	same "$work/pattern" "$work/back"
	dd if="$device" of="$work/model" bs=1M iflag=direct status=none
	unserve
	check_image "$image"
	image_same "$image" "$work/model"
	rm "$image" "$work/model"
}

try "$work/xfs" none direct
try "$work/xfs" writeback buffered
[ ! -s "$stderr_file" ] || note "writeback says: $(cat "$stderr_file")"
try "$work" none either
try "$work/ramfs" none buffered
grep -qiE 'O_DIRECT|direct|writeback|page cache' "$stderr_file" ||
	fail "--cache none fell back without a word: $(cat "$stderr_file")"

syncs()
{
	"$QCOW2_UBLKD" status "$device" | sed -n 's/^flushes .* \([0-9]*\) syncs of the host.s files$/\1/p'
}

# Folder, and how many writes and flushes one after the other sync at least, and at most.
try_alone()
{
	local before i more

	note "writes that come alone, on $(stat -f -c %T "$1")"
	image=$1/image
	image_create "$image" 32M
	serve "$image"
	dd if="$work/pattern" of="$device" bs=64k count=1 oflag=direct conv=fsync status=none
	before=$(syncs)
	for ((i = 0; i < 20; i++)); do
		dd if="$work/pattern" of="$device" bs=4k count=1 oflag=direct conv=fsync status=none
	done
	more=$(($(syncs) - before))
	[ "$more" -ge "$2" ] && [ "$more" -le "$3" ] || fail "$more syncs, not $2 to $3"
	unserve
	rm "$image"
}

try_alone "$work/xfs" 0 5
try_alone "$work" 20 25

# With options of mkfs.ext4.
ext4_disk()
{
	local folder=$1

	shift
	null_disk_make 256
	mkfs.ext4 -q "$@" "/dev/$null_disk"
	mount_on "/dev/$null_disk" "$folder"
}

ext4_disk "$work/journal"
try_alone "$work/journal" 0 5
ext4_disk "$work/no-journal" -O ^has_journal
try_alone "$work/no-journal" 20 25
