#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
#
# How long do clients stand still when the daemon is upgraded under load, and when it is killed and
# started again at once?  Each figure is the longest read of a client that reads all the time.
# vm: timeout 900
# vm: by name

. "$(dirname "$0")/lib.sh"

requires fio python3
kills=${TEST_KILLS:-4}
upgrades=${TEST_UPGRADES:-$kills}
fast_disk "$work/disk"
image=$work/disk/image
image_create "$image" 256M
serve "$image" --queues 4
fio --name=load --filename="$device" --ioengine=io_uring --iodepth=8 --direct=1 --thread \
	--numjobs=4 --size=64M --offset_increment=64M --rw=randrw --bs=4k --time_based \
	--runtime=3600 --output="$work/fio" >"$work/fio.stderr" 2>&1 &
load=$!
cleanup_add "kill -KILL $load 2>/dev/null"
coproc client { exec "$vm_folder/stall.py" "$device"; }
client_in=${client[1]} client_out=${client[0]}
cleanup_add "kill -KILL $client_PID 2>/dev/null"

# The longest read since the last time.
longest_read()
{
	echo >&"$client_in"
	read -r -t 60 longest <&"$client_out" || fail "the client's read fails"
}

kill_and_serve()
{
	kill_hard
	serve "$image" --queues 4
}

upgrade()
{
	"$QCOW2_UBLKD" upgrade image >"$work/upgraded" || fail "no upgrade"
}

# The value that $1 percent do not exceed.
percentile()
{
	sort -n "$work/stalls" | sed -n "$((($(wc -l <"$work/stalls") * $1 + 99) / 100))p"
}

# $2 times $1.
stalls_of()
{
	local i

	: >"$work/stalls"
	for ((i = 0; i < $2; i++)); do
		pause $((200 + RANDOM % 300))
		longest_read
		"$1"
		longest_read
		echo "$longest" >>"$work/stalls"
		kill -0 "$load" 2>/dev/null || {
			cat "$work/fio.stderr" "$work/fio" >&2
			fail "fio has ended after $((i + 1)) times $1"
		}
	done
	note "$(uname -r): $2 times $1: stall p50 $(percentile 50) ms, p99 $(percentile 99) ms"
}

stalls_of kill_and_serve "$kills"
cleanup_add "remove_device $device"
stalls_of upgrade "$upgrades"
end_load "$load"
exec {client_in}>&-
wait "$client_PID" || fail "the client fails"
"$QCOW2_UBLKD" stop image
expect_stopped "$daemon_pid" 75
check_image "$image"
