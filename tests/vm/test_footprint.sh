#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
#
# What is resident before anything was asked, with 4 queues of depth 128 and an image of 1 TiB: memory
# of our own, without what the kernel was asked to keep (see tests/bench/README.md), at most 1.5 MiB.

. "$(dirname "$0")/lib.sh"

most_kib=1536

# Field $1 of the daemon, in KiB.
status_kib()
{
	awk -v field="$1:" '$1 == field { print $2 }' "/proc/$daemon_pid/status"
}

image_create "$work/image" 1T
serve "$work/image" --queues 4 --depth 128
own=$(($(status_kib RssAnon) - $(status_kib VmPin)))
note "$(uname -r): $own KiB are our own, $(status_kib VmPin) are kept by the kernel," \
	"$(status_kib RssFile) programs and rings, $(status_kib VmRSS) together"
[ "$own" -le "$most_kib" ] || fail "$own KiB, and not $most_kib at most: $(cat "/proc/$daemon_pid/smaps")"
unserve
