#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
#
# What is resident before anything was asked, with 4 queues of depth 128 and an image of 1 TiB: memory
# of our own, without what the kernel was asked to keep (see tests/bench/README.md), at most 1344 KiB.
# And that a flush of many slices gives back the memory that it copies them to.

. "$(dirname "$0")/lib.sh"

most_kib=1344
slices=384
slice_kib=4

# Field $1 of the daemon, in KiB.
status_kib()
{
	awk -v field="$1:" '$1 == field { print $2 }' "/proc/$daemon_pid/status"
}

# KiB that are our own.
own_kib()
{
	echo $(($(status_kib RssAnon) - $(status_kib VmPin)))
}

# Has the memory that flushes took been given back? All of these slices have a header still.
gives_back()
{
	rested=$(own_kib)
	[ "$rested" -le $((own + slices * slice_kib / 3)) ]
}

image_create "$work/image" 1T
serve "$work/image" --queues 4 --depth 128
own=$(own_kib)
note "$(uname -r): $own KiB are our own, $(status_kib VmPin) are kept by the kernel," \
	"$(status_kib RssFile) programs and rings, $(status_kib VmRSS) together"
[ "$own" -le "$most_kib" ] || fail "$own KiB, and not $most_kib at most: $(cat "/proc/$daemon_pid/smaps")"

# A write in each of so many slices, which one flush has to copy.
fio --name=slices --filename="$device" --rw=write:$((512 * 1024 - 4))k --bs=4k --number_ios=$slices \
	--ioengine=io_uring --iodepth=32 --end_fsync=1 --direct=1 --output="$work/fio" ||
	fail "fio: $(<"$work/fio")"
within 30 gives_back || fail "$rested KiB are our own still, $own before"
note "after flushes of $slices slices $rested KiB are our own"
unserve
