#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
#
# Some kinds of images of tests/native/matrix.py through a real device: we write and qemu-io writes
# by turns, and after each turn qemu-img check is content and both read what must be there.
# TEST_ROWS names other rows, or is "all"; TEST_ROUNDS more rounds.
# vm: timeout 300
# vm: on backport

. "$(dirname "$0")/lib.sh"

requires python3 qemu-io
rows=${TEST_ROWS:-packed-zstd,extended-64k-over-raw}
fast_disk "$work/disk"
[ "$rows" != all ] || rows=
TMPDIR=$work/disk QCOW2_UBLKD=$QCOW2_UBLKD python3 "$vm_folder/../native/matrix.py" \
	--qio "$vm_folder/device_qio.py" --program "$QCOW2_UBLKD" --rounds "${TEST_ROUNDS:-1}" \
	${rows:+--rows "$rows"} ||
	fail "see above"
