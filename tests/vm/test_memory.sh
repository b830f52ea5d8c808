#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
#
# Short of memory: swap on one device, and a process that uses more memory than there is, while pages
# of a file system on another device get dirty. No small read or write takes more than 10 seconds,
# the daemon of the swap has no page fault meanwhile, and nobody is killed. TEST_SECONDS is for how
# long.
# vm: by name
# vm: timeout 900

. "$(dirname "$0")/lib.sh"

requires python3 mkfs.ext4 mkswap mkfs.xfs
seconds=${TEST_SECONDS:-4}
longest_ms=10000
free_mib=128	# for everybody
swap_mib=256
hog_mib=224

# The storage below takes all of its memory now, and none later.
null_disk_make 768
dd if=/dev/zero of="/dev/$null_disk" bs=1M count=768 oflag=direct status=none
mkfs.xfs -q -K "/dev/$null_disk"
mount_on "/dev/$null_disk" "$work/disk"
image_create "$work/disk/swap" "${swap_mib}M"
image_create "$work/disk/files" 256M

# Field $2 of process $1, in KiB.
status_kib()
{
	awk -v field="$2:" '$1 == field { print $2 }' "/proc/$1/status"
}

# Page faults of process $1, all threads: minor, then major.
faults()
{
	sed 's/.*) //' "/proc/$1/stat" | awk '{ print $8, $10 }'
}

vmstat()
{
	awk -v name="$1" '$1 == name { print $2 }' /proc/vmstat
}

swapped()
{
	[ "$(vmstat pswpout)" -ge $((out + 1000)) ]
}

note "two daemons, one for swap"
serve "$work/disk/files" --queues 2
files=$daemon_pid
mkfs.ext4 -q "$device"
mount_on "$device" "$work/mnt"
serve "$work/disk/swap" --queues 2 --depth 32 --max-io 256k --lock-memory
swap=$daemon_pid
swap_device=$device
# See --lock-memory in the manual: buffers of the queues, which may have some more tags, and 64 MiB
# with the cache of a small disk.
locked=$(status_kib "$swap" VmLck)
most=$((2 * (32 + 8) * 256 + 64 * 1024))
note "$((locked / 1024)) MiB are locked, $(status_kib "$swap" VmRSS) KiB are resident"
[ "$locked" -ge $((2 * 32 * 256)) ] || fail "only $locked KiB are locked"
[ "$locked" -le "$most" ] || fail "$locked KiB are locked, more than $most"
[ "$(status_kib "$swap" VmRSS)" -ge $((locked * 9 / 10)) ] ||
	fail "locked, but not there: $(cat "/proc/$swap/status")"
mkswap "$swap_device" >/dev/null
swapon "$swap_device"
cleanup_add "swapoff '$swap_device' 2>/dev/null"

note "memory becomes short"
# Huge pages take memory away without using it.
cleanup_add "echo 0 >/proc/sys/vm/nr_hugepages"
echo 3 >/proc/sys/vm/drop_caches
available=$(awk '/^MemAvailable/ { print int($2 / 1024) }' /proc/meminfo)
echo $(((available - free_mib) / 2)) >/proc/sys/vm/nr_hugepages
out=$(vmstat pswpout)
python3 "$vm_folder/pressure.py" hog "$hog_mib" >"$work/turns" &
hog=$!
cleanup_add "kill -KILL $hog 2>/dev/null"
python3 "$vm_folder/pressure.py" writer "$work/mnt" &
writer=$!
cleanup_add "kill -KILL $writer 2>/dev/null"
within 60 swapped || fail "$(($(vmstat pswpout) - out)) pages were swapped out"
read -r minor major < <(faults "$swap")
out=$(vmstat pswpout) in=$(vmstat pswpin) began=$SECONDS
python3 "$vm_folder/pressure.py" probe "$seconds" "$swap_device" "$work/mnt" >"$work/longest" ||
	fail "a read or a write fails"
out=$(($(vmstat pswpout) - out)) in=$(($(vmstat pswpin) - in))
read -r minor_after major_after < <(faults "$swap")

read -r read_ms write_ms asked <"$work/longest"
note "$(uname -r): $((SECONDS - began)) s, the hog went round $(wc -l <"$work/turns") times," \
	"$out pages out, $in pages in; of $asked, the longest read took" \
	"$read_ms ms, the longest write $write_ms ms; faults of the daemon:" \
	"$((minor_after - minor)) minor, $((major_after - major)) major"
[ $((out + in)) -ge $((seconds * 50)) ] || fail "only $out pages were swapped out, $in in"
[ "$read_ms" -le "$longest_ms" ] || fail "a read took $read_ms ms"
[ "$write_ms" -le "$longest_ms" ] || fail "a write took $write_ms ms"
[ "$major_after" -eq "$major" ] || fail "the daemon had to read its own memory"
for process in "$hog" "$writer" "$files" "$swap"; do
	kill -0 "$process" 2>/dev/null || fail "process $process has ended: $(busybox dmesg | tail -n 40)"
done
! busybox dmesg | grep -E 'I/O error|on swap-device|Out of memory' || fail "the kernel says so"

note "and is there again"
kill -KILL "$hog" "$writer"
wait "$hog" "$writer" 2>/dev/null || :
echo 0 >/proc/sys/vm/nr_hugepages
swapoff "$swap_device"
unserve "$swap"
umount "$work/mnt"
unserve "$files"
check_image "$work/disk/swap"
check_image "$work/disk/files"

note "refused where it is not allowed"
refused bash -c "ulimit -l 64; exec setpriv --bounding-set -ipc_lock,-sys_resource --inh-caps -ipc_lock,-sys_resource \
	'$QCOW2_UBLKD' --image '$work/disk/swap' --lock-memory"
grep -q -- '--lock-memory: .*it takes CAP_IPC_LOCK' "$work/refused" || fail "$(cat "$work/refused")"
