# SPDX-License-Identifier: GPL-2.0-or-later
# shellcheck shell=bash disable=SC2154
#
# The disk, the contenders and the cases of the benchmark. Sourced by guest, in the VM.
#
# A case is a function case_NAME: it starts the contender, and puts a load on it by load(), which
# the sourcing script defines, as well as $contender, $runtime (seconds), and $pin: the processors of
# fio and of the server as FIO/SERVER, or nothing.

. "$(dirname "$(readlink -f "${BASH_SOURCE[0]}")")/../vm/lib.sh"

disk=$work/disk

# --- the disk and what lies on it --------------------------------------------------------------

# XFS on a disk in RAM: as near to a fast disk as it gets, and the same for everybody.
make_disk()
{
	modprobe null_blk memory_backed=1 irqmode=0 queue_mode=2 gb=5 bs=512
	within 10 test -b /dev/nullb0
	cleanup_add "rmmod null_blk"
	# The disk finds memory for a block when it is first written. Nobody shall pay for that.
	if [ "$1" = populate ]; then
		dd if=/dev/zero of=/dev/nullb0 bs=1M count=5120 oflag=direct status=none
	fi
	mkfs.xfs -q -K /dev/nullb0
	mount_on /dev/nullb0 "$disk"
}

# A raw file and an image with the same content, both written from end to end: else it is the
# conversion of unwritten extents that gets measured.
make_mapped()
{
	fio_run --name=fill --filename="$disk/raw" --size=1g --rw=write --bs=1M --direct=1 \
		--ioengine=io_uring --iodepth=4
	qemu-img convert -q -f raw -O qcow2 -t none -T none "$disk/raw" "$disk/mapped.qcow2"
	sync
}

# At the start of a shell of its own, whose end stops what it has started; $1 is a new name.
# shellcheck disable=SC2034
begin_apart()
{
	cleanups=()
	trap cleanup_run EXIT
	set -e
	work=$work/$1
	mkdir "$work"
	cleanup_add "rm -rf '$work'"
}

# --- contenders --------------------------------------------------------------------------------

# start_NAME IMAGE [QUEUES] sets $target, what the load is put on, and $server, the process that
# serves it if there is one. stop_NAME ends it all, and fails when that does not go well.
# A case may set these for who serves an image: the size of the L2 cache, and what lies below it.
l2_cache=
base=

wait_for_end()
{
	local status=0

	wait "$1" || status=$?
	[ "$status" -eq 0 ] || {
		sed "s/^/$contender: /" "$work/server" >&2
		fail "$contender ended with status $status"
	}
}

start_ours()
{
	serve "$1" ${2:+--queues "$2"} ${l2_cache:+--l2-cache "$l2_cache"}
	target=$device
	server=$daemon_pid
}

stop_ours()
{
	unserve "$server"
}

nbd_serves()
{
	[ -e /sys/block/nbd0/pid ] && [ "$(</sys/block/nbd0/size)" -gt 0 ]
}

# An image for QEMU; the base through the page cache, as with us.
image_options()
{
	printf %s "driver=qcow2,file.driver=file,file.aio=io_uring,file.filename=$1"
	printf %s "${l2_cache:+,l2-cache-size=$l2_cache}"
	if [ -n "$base" ]; then
		printf %s ",backing.driver=qcow2,backing.file.driver=file,backing.file.aio=io_uring"
		printf %s ",backing.file.filename=$base,backing.file.cache.direct=off"
		printf %s ",backing.file.cache.no-flush=off,backing.file.read-only=on"
	fi
}

start_qemu-nbd()
{
	local image=(-f qcow2 "$1")

	if [ -n "$base$l2_cache" ]; then
		image=(--image-opts "$(image_options "$1")")
	fi
	modprobe nbd nbds_max=1
	within 10 test -b /dev/nbd0
	qemu-nbd -c /dev/nbd0 -n --aio=io_uring "${image[@]}" >"$work/server" 2>&1 &
	server=$!
	cleanup_add "! nbd_serves || qemu-nbd -d /dev/nbd0 >/dev/null"
	within 30 nbd_serves || fail "qemu-nbd does not serve: $(<"$work/server")"
	target=/dev/nbd0
}

stop_qemu-nbd()
{
	qemu-nbd -d /dev/nbd0 >/dev/null
	wait_for_end "$server"
	within 10 test ! -e /sys/block/nbd0/pid || fail "/dev/nbd0 is still connected"
}

start_qsd()
{
	modprobe -a vduse virtio_vdpa virtio_blk
	qemu-storage-daemon \
		--blockdev "driver=file,node-name=file,filename=$1,cache.direct=on,aio=io_uring" \
		--blockdev driver=qcow2,node-name=image,file=file,cache.direct=on \
		--export type=vduse-blk,id=export,node-name=image,name=bench,writable=on \
		>"$work/server" 2>&1 &
	server=$!
	cleanup_add "kill -TERM $server 2>/dev/null && wait $server"
	cleanup_add "vdpa dev del bench 2>/dev/null"
	within 30 test -e /dev/vduse/bench || fail "no vduse device: $(<"$work/server")"
	vdpa dev add name bench mgmtdev vduse
	within 10 test -b /dev/vda || fail "no /dev/vda"
	target=/dev/vda
}

stop_qsd()
{
	vdpa dev del bench
	within 10 test ! -b /dev/vda || fail "/dev/vda is still there"
	kill -TERM "$server"
	wait_for_end "$server"
}

start_loop()
{
	modprobe loop
	target=$(losetup --direct-io=on --find --show "$disk/raw")
	server=
	cleanup_add "losetup -d $target 2>/dev/null"
}

stop_loop()
{
	losetup -d "$target"
}

start_raw()
{
	target=$disk/raw
	server=
}

stop_raw()
{
	:
}

# --- cases -------------------------------------------------------------------------------------

# What keeps a disk busy, with few system calls.
deep=(--iodepth=64 --iodepth_batch_submit=16 --iodepth_batch_complete_min=1
	--iodepth_batch_complete_max=64)
# For a while, after a second that is not counted: caches fill, and an emulator translates.
steady=(--time_based --ramp_time=1)
# A whole cluster each at worst, these fit on the disk, also when a second of them goes before; the run
# may end early.
few_4k=(--ramp_time=1 --number_ios=11000)
few_512k=(--ramp_time=1 --number_ios=1400)

on_mapped()
{
	"start_$contender" "$disk/mapped.qcow2" "${1-}"
}

# Large, so that random writes meet a new cluster nearly always.
on_empty()
{
	cleanup_add "rm -f '$disk/empty.qcow2'; sync"
	image_create "$disk/empty.qcow2" 8G
	"start_$contender" "$disk/empty.qcow2"
}

case_randread-4k()
{
	on_mapped
	load --rw=randread --bs=4k "${deep[@]}" "${steady[@]}"
}

case_randwrite-4k()
{
	on_mapped
	load --rw=randwrite --bs=4k "${deep[@]}" "${steady[@]}"
}

case_randrw-4k()
{
	on_mapped
	load --rw=randrw --bs=4k "${deep[@]}" "${steady[@]}"
}

case_mixed-512k()
{
	on_mapped
	load --rw=randrw --bs=512k "${deep[@]}" "${steady[@]}"
}

case_jobs4-randread-4k()
{
	on_mapped 4
	load --rw=randread --bs=4k --numjobs=4 "${deep[@]}" "${steady[@]}"
}

case_jobs4-randwrite-4k()
{
	on_mapped 4
	load --rw=randwrite --bs=4k --numjobs=4 "${deep[@]}" "${steady[@]}"
}

case_latency-4k()
{
	on_mapped
	load --rw=randread --bs=4k --iodepth=1 "${steady[@]}"
}

case_fsync-4k()
{
	on_mapped
	load --rw=randwrite --bs=4k --iodepth=1 --fsync=1 "${steady[@]}"
}

case_write-512k()
{
	on_mapped
	load --rw=write --bs=512k "${deep[@]}" "${steady[@]}"
}

case_empty-randwrite-4k()
{
	on_empty
	load --rw=randwrite --bs=4k "${deep[@]}" "${few_4k[@]}"
}

case_empty-write-512k()
{
	on_empty
	load --rw=write --bs=512k "${deep[@]}" "${few_512k[@]}"
}

case_empty-fsync-4k()
{
	on_empty
	load --rw=randwrite --bs=4k --iodepth=1 --fsync=1 "${few_4k[@]}"
}

# Over the mapped image, whose bytes are in the page cache after the first round.
on_overlay()
{
	base=$disk/mapped.qcow2
	cleanup_add "rm -f '$disk/overlay.qcow2'; sync"
	qemu-img create -q -f qcow2 -b "$base" -F qcow2 "$disk/overlay.qcow2"
	cat "$base" >/dev/null
	"start_$contender" "$disk/overlay.qcow2"
}

case_overlay-randread-4k()
{
	on_overlay
	load --rw=randread --bs=4k "${deep[@]}" "${steady[@]}"
}

case_overlay-randwrite-4k()
{
	on_overlay
	load --rw=randwrite --bs=4k "${deep[@]}" "${few_4k[@]}"
}

# Images of 128 MiB, whose bytes shrink to the half; made outside, since that takes long.
on_compressed()
{
	[ -e "$disk/$1.qcow2" ] || cp "/out/$1.qcow2" "$disk"
	"start_$contender" "$disk/$1.qcow2"
}

case_zlib-randread-64k()
{
	on_compressed zlib
	load --rw=randread --bs=64k "${deep[@]}" "${steady[@]}"
}

case_zstd-randread-64k()
{
	on_compressed zstd
	load --rw=randread --bs=64k "${deep[@]}" "${steady[@]}"
}

# 1 TiB of mapped clusters, which are holes of the file; 128 MiB of L2 tables. On XFS qemu-img asks for
# extents of 1 MiB, of which there would be one for each of 2048 tables.
on_huge()
{
	l2_cache=$1
	[ -e "$disk/huge.qcow2" ] ||
		qemu-img create -q -f qcow2 -o preallocation=metadata,extent_size_hint=0 \
			"$disk/huge.qcow2" 1T
	"start_$contender" "$disk/huge.qcow2"
	load --rw=randread --bs=4k "${deep[@]}" "${steady[@]}"
}

case_huge-randread-4k-1m()
{
	on_huge 1M
}

case_huge-randread-4k-32m()
{
	on_huge 32M
}

# On a disk that takes 20 ms for an I/O, and any number of them at a time.
on_slow()
{
	null_disk_make 512 20000000
	mkfs.xfs -q -K -f "/dev/$null_disk"
	disk=$work/slow
	mount_on "/dev/$null_disk" "$disk"
	head -c 64M /dev/urandom >"$disk/raw"
	qemu-img convert -q -f raw -O qcow2 "$disk/raw" "$disk/mapped.qcow2"
	sync
	on_mapped
}

case_slow-randwrite-4k()
{
	on_slow
	load --rw=randwrite --bs=4k "${deep[@]}" "${steady[@]}"
}

# A raw file has no clusters to allocate, and whatever else an image has.
suits()
{
	case $1 in
	empty-*)
		[[ $2 = ours || $2 = qemu-nbd || $2 = qsd ]]
		;;
	overlay-*|zlib-*|zstd-*|huge-*)
		[[ $2 = ours || $2 = qemu-nbd ]]
		;;
	esac
}

wants_populated_disk()
{
	[[ " $* " = *" empty-"* || " $* " = *" overlay-randwrite"* ]]
}

# The load's options that all cases have in common.
fio_options()
{
	echo --name=load --filename="$target" --ioengine=io_uring --direct=1 --norandommap \
		--randrepeat=0 --group_reporting --runtime="$runtime"
}

# All threads that it has; those that it gets later begin where these are.
pin_server()
{
	[ -z "$pin" ] || [ -z "$server" ] || taskset -a -p -c "${pin#*/}" "$server" >/dev/null
}

# What goes before a command line of fio.
fio_pinned()
{
	[ -z "$pin" ] || echo taskset -c "${pin%/*}"
}
