#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
#
# A start that repairs an image for long ends in order when it is told to stop.

. "$(dirname "$0")/lib.sh"

requires python3
# Marked dirty, with a million L2 tables in a hole.
image_create -o cluster_size=2M "$work/long" 8P
python3 - "$work/long" <<'END'
import struct, sys
tables, cluster = 1 << 20, 2 << 20
with open(sys.argv[1], "r+b") as image:
    image.seek(79)
    image.write(b"\1")
    image.seek(36)
    image.write(struct.pack(">IQ", tables, 32 * cluster))
    image.seek(32 * cluster)
    image.write(b"".join(struct.pack(">Q", 1 << 63 | cluster * (64 + i)) for i in range(tables)))
    image.truncate(cluster * (64 + tables))
END
# Has process $long read $1 GB?
has_read()
{
	[ "$(sed -n 's/^rchar: //p' "/proc/$long/io")" -gt "$1"000000000 ]
}
devices=$(ublk_devices)
# With a signal: what it ends with, and options.
while read -r signal expected options; do
	# shellcheck disable=SC2086
	"$QCOW2_UBLKD" --image "$work/long" --name long $options </dev/null >"$work/stdout" 2>"$work/stderr" &
	long=$!
	cleanup_add "kill -KILL $long 2>/dev/null"
	within 60 has_read 1 || fail "it reads nothing: $(cat "$work/stderr")"
	# This is no reason to give up.
	kill -USR1 "$long"
	within 60 has_read 2 || fail "it has ended by itself: $(cat "$work/stderr")"
	kill "-$signal" "$long"
	within 20 eval "! kill -0 $long 2>/dev/null" || fail "it goes on after SIG$signal"
	status=0
	wait "$long" || status=$?
	[ "$status" -eq "$expected" ] || fail "SIG$signal: status $status: $(cat "$work/stderr")"
	[ "$(grep -c "told to stop while it was repaired" "$work/stderr")" -eq "$(wc -l <"$work/stderr")" ] ||
		fail "$(cat "$work/stderr")"
	[ ! -s "$work/stdout" ] || fail "it has named a device: $(cat "$work/stdout")"
	[ "$(ublk_devices)" -eq "$devices" ] || fail "a device is left"
	expect_unlocked "$work/long"
done <<'END'
TERM 0
INT 0
USR2 0
TERM 1 --run true
END
