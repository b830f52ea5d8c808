#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
#
# fstrim in the file system on a served image gives the space back to the host's file system.

. "$(dirname "$0")/lib.sh"

fast_disk "$work/disk"
image=$work/disk/image
image_create "$image" 512M
serve "$image"
mkfs.ext4 -q -E lazy_itable_init=0,lazy_journal_init=0 "$device"
mount_on "$device" "$work/mnt"

head -c 200M /dev/urandom >"$work/mnt/file"
sync "$work/mnt/file"
full=$(host_blocks "$image")
[ "$full" -ge $((200 << 11)) ] || fail "200 MiB take only $full blocks"

rm "$work/mnt/file"
sync -f "$work/mnt"
fstrim "$work/mnt"
sync -f "$work/mnt"

# Freed clusters are given back after the flush that makes the new mapping durable.
given_back()
{
	[ "$(host_blocks "$image")" -le $((full - (190 << 11))) ]
}
within 30 given_back || fail "$full blocks before fstrim, $(host_blocks "$image") after it"
note "blocks: $full before fstrim, $(host_blocks "$image") after it"

# The space can be used again.
head -c 50M /dev/urandom >"$work/model"
cp "$work/model" "$work/mnt/file"
umount "$work/mnt"
mount "$device" "$work/mnt"
same "$work/model" "$work/mnt/file"
umount "$work/mnt"
unserve
check_image "$image"
