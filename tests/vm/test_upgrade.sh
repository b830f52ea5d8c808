#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
#
# upgrade: another process goes on with the device under load, and nothing is lost; with a service
# manager and without; one that cannot go on changes nothing, or is replaced by the old program; and
# what cannot be upgraded is served as before.  On both kernels, upgrades are killed in kill_anywhere.
# vm: on 6.12

. "$(dirname "$0")/lib.sh"

requires fio python3
upgrades=${TEST_UPGRADES:-1}
load=
fast_disk "$work/disk"
mkdir "$work/disk/folder"
# Small clusters: most writes allocate, and so need what is handed over.
image_create -o cluster_size=4k "$work/disk/image" 128M

# The number $1 in the JSON that comes in.
number()
{
	sed -n "s/^ *\"$1\": \([0-9]\+\),\?\$/\1/p" | grep .
}

# The process that serves $device.
server()
{
	"$QCOW2_UBLKD" status --json "$device" | number pid
}

# The load has met no error yet.
expect_load()
{
	kill -0 "$load" 2>/dev/null || {
		cat "$work/fio.stderr" "$work/fio" >&2
		fail "fio has ended"
	}
}

# Upgrade $1, and expect another process.
upgrade()
{
	local before now stall
	before=$(server)
	"$QCOW2_UBLKD" upgrade --json "$1" >"$work/json" || fail "no upgrade of $1"
	now=$(server)
	grep -qF "\"device\": \"$device\"" "$work/json" &&
		[ "$(number old-pid <"$work/json")" -eq "$before" ] && [ "$now" -ne "$before" ] &&
		[ "$(number pid <"$work/json")" -eq "$now" ] || fail "$now: $(cat "$work/json")"
	stall=$(number stall-nanoseconds <"$work/json")
	[ "$stall" -gt 0 ] || fail "$(cat "$work/json")"
	echo "stall of $((stall / 1000)) us"
	[ -z "$load" ] || expect_load
}

# An upgrade of $1 that fails, says $2, and leaves the process that serves it.
no_upgrade()
{
	local before
	before=$(server)
	refused "$QCOW2_UBLKD" upgrade "$1"
	grep -q "$2" "$work/refused" || fail "$(cat "$work/refused")"
	[ "$(server)" -eq "$before" ] || fail "another process all the same"
}

# Device vm is listed as $1.
is_listed()
{
	"$QCOW2_UBLKD" list | grep -qE "^vm .* $1 "
}

has_ended()
{
	local stat

	stat=$(cat "/proc/$1/stat" 2>/dev/null) || return 0
	[[ $stat = *') Z '* ]]
}

# The process that serves no more has left the device, in order.
expect_left()
{
	local status=0

	wait "$1" || status=$?
	[ "$status" -eq 75 ] || fail "status $status of a process that has left"
	forget_daemon "$1"
}

# --abandon was about what there was before this process.
note "under load, started with a relative path"
cd "$work/disk/folder"
options=(--queues 4 --name vm --user nobody --lock-memory --abandon)
serve ../image "${options[@]}"
first=$daemon_pid log=$stderr_file
echo -500 >"/proc/$first/oom_score_adj"
cd /
cleanup_add "remove_device $device"
fio --name=verify --filename="$device" --ioengine=io_uring --iodepth=4 --direct=1 --thread \
	--numjobs=2 --size=64M --offset_increment=64M --rw=randrw --rwmixread=30 --bsrange=4k-64k \
	--verify=crc32c --verify_interval=4k --verify_fatal=1 --verify_backlog=64 --fsync=100 \
	--thinktime=50ms --thinktime_blocks=16 \
	--time_based --runtime=3600 --randrepeat=0 --output="$work/fio" >"$work/fio.stderr" 2>&1 &
load=$!
cleanup_add "kill -KILL $load 2>/dev/null"
for ((i = 0; i < upgrades; i++)); do
	pause $((RANDOM % 300))
	upgrade vm
done
expect_left "$first"
[ "$("$QCOW2_UBLKD" list | grep -c serving)" -eq 1 ] || fail "$("$QCOW2_UBLKD" list)"
now=$(server)
[ "$(tr '\0' ' ' <"/proc/$now/cmdline")" = "$QCOW2_UBLKD --image ../image ${options[*]} " ] ||
	fail "it runs as $(tr '\0' ' ' <"/proc/$now/cmdline")"
[ "$(readlink "/proc/$now/fd/2")" = "$log" ] || fail "its messages go to $(readlink "/proc/$now/fd/2")"
[ "$(ps -o sid= -p "$now")" -eq "$now" ] || fail "it is in somebody else's session"
[ "$(<"/proc/$now/oom_score_adj")" -eq -500 ] || fail "it is less protected than the old one"
grep -q '^Uid:.*\b65534$' "/proc/$now/status" || fail "it is another user"

note "two at the same time"
"$QCOW2_UBLKD" upgrade vm >"$work/one" 2>&1 &
one=$!
"$QCOW2_UBLKD" upgrade vm >"$work/other" 2>&1 && other=0 || other=$?
wait "$one" && one=0 || one=$?
[ $((one * other)) -eq 0 ] || fail "$(cat "$work/one" "$work/other")"
[ "$(ublk_devices)" -eq 1 ] && server >/dev/null || fail "$("$QCOW2_UBLKD" list)"

end_load "$load"
load=

note "the next cannot start: nothing changes"
mv "$work/disk/folder" "$work/disk/other"
no_upgrade vm "folder: .*; process $(server) goes on serving it"
mv "$work/disk/other" "$work/disk/folder"

note "others can look into the folder, or write to it, or it was emptied"
chmod 755 /run/qcow2-ublkd
upgrade vm
chmod 775 /run/qcow2-ublkd
no_upgrade vm 'others can write to it'
now=$(server)
chmod 700 /run/qcow2-ublkd
owner=/run/qcow2-ublkd/${device#/dev/}.owner
cp -p "$owner" "$work/owner"
rm "$owner"
no_upgrade vm 'was emptied'
# For the next one: this process still has the one that was removed.
mv "$work/owner" "$owner"
chmod 755 /run/qcow2-ublkd

note "killed, and left by a signal"
now=$(server)
kill -KILL "$now"
# Its first thread may end before the others do.
within 20 is_listed waiting || fail "$("$QCOW2_UBLKD" list)"
refused "$QCOW2_UBLKD" upgrade vm
grep -q 'nobody serves it' "$work/refused" || fail "$(cat "$work/refused")"
serve "$work/disk/image" --queues 4 --name vm
kill -USR2 "$daemon_pid"
expect_left "$daemon_pid"

note "no room for as much memory again as it has: nothing changes, and it is said how much is missing"
serve "$work/disk/image" --queues 4 --name vm
more='takes [1-9][0-9]* KiB beside what the process before has there, and [0-9]* KiB are free: .*; make room there'
# What the tests need is there, too.
fallocate -l $((($(df --output=avail /run | tail -n 1) - 192) * 1024)) "$work/fill"
no_upgrade vm "$more"
kill_hard
refused "$QCOW2_UBLKD" --image "$work/disk/image" --queues 4 --name vm --l2-cache 64k
grep -q "$more" "$work/refused" || fail "$(cat "$work/refused")"
! grep l2-cache "$work/refused" || fail "advice that does not help"
rm "$work/fill"

note "the next is killed when the old one has left: the old program again"
cp "$QCOW2_UBLKD" "$work/old"
mkfifo "$work/locked"
QCOW2_UBLKD=$work/old serve "$work/disk/image" --queues 4 --name vm
rm "$work/old"
# Nobody enters the register as long as this process has it, and so nobody serves.
python3 -c "import fcntl, time
lock = open('/run/qcow2-ublkd/.lock', 'r+')
fcntl.lockf(lock, fcntl.LOCK_EX)
open('$work/locked', 'w').close()
time.sleep(600)" &
lock=$!
cleanup_add "kill -KILL $lock 2>/dev/null"
read -r _ <"$work/locked" || :
"$QCOW2_UBLKD" upgrade vm >"$work/upgraded" 2>&1 &
upgrade=$!
within 60 has_ended "$daemon_pid" || fail "it does not leave: $(cat "$work/upgraded")"
expect_left "$daemon_pid"
pkill -KILL -P "$upgrade" || fail "no new process"
kill -KILL "$lock"
wait "$lock" 2>/dev/null || :
wait "$upgrade" && fail "upgraded, by a dead process" || :
grep -q 'the old program serves it again, in process' "$work/upgraded" || fail "$(cat "$work/upgraded")"
now=$(server)
[ "$(readlink "/proc/$now/exe")" = "$work/old (deleted)" ] || fail "$(readlink "/proc/$now/exe") serves"

note "during a stop, which waits for who holds the device"
coproc holder { exec python3 -c "import os
os.open('$device', os.O_RDONLY | os.O_EXCL)
print(flush=True)
input()"; }
holder_in=${holder[1]}
cleanup_add "kill -KILL $holder_PID 2>/dev/null"
read -r -t 20 _ <&"${holder[0]}" || fail "nobody holds $device"
now=$(server)
kill -TERM "$now"
no_upgrade vm 'it is being stopped'
echo >&"$holder_in"
within 30 has_ended "$now" || fail "it does not stop"
expect_no_device "${device#/dev/ublkb}"
check_image "$work/disk/image"

note "a service manager starts the next"
manage()
{
	local status=75

	while [ "$status" -eq 75 ]; do
		status=0
		(SYSTEMD_EXEC_PID=$BASHPID exec "$QCOW2_UBLKD" --image "$work/disk/image" --name vm) ||
			status=$?
		echo "$status"
	done
}
manage >"$work/manager.out" 2>"$work/manager.err" &
manager=$!
within 30 is_listed serving || fail "$(cat "$work/manager.err")"
parent()
{
	ps -o ppid= -p "$(server)"
}
upgrade vm
[ "$(parent)" -eq "$manager" ] || fail "the manager has not started it: $(ps -e -o pid,ppid,args)"
"$QCOW2_UBLKD" stop vm
wait "$manager" || fail "$(cat "$work/manager.err")"
grep -v dev "$work/manager.out" | tr '\n' ' ' >"$work/statuses"
[ "$(cat "$work/statuses")" = '75 0 ' ] || fail "$(cat "$work/manager.out")"

note "what is below it is not there any more; and read-only"
image_create "$work/disk/overlay" -b image -F qcow2
serve "$work/disk/overlay" --read-only
mv "$work/disk/image" "$work/disk/moved"
no_upgrade overlay "image: No such file or directory; process $daemon_pid goes on serving it"
mv "$work/disk/moved" "$work/disk/image"
upgrade "$device"
expect_left "$daemon_pid"
[ "$(ublk_devices)" -eq 1 ] || fail "$("$QCOW2_UBLKD" list)"
"$QCOW2_UBLKD" stop overlay

note "where another file lies by now, and what is nowhere else any more"
serve "$work/disk/image"
mv "$work/disk/image" "$work/disk/moved"
cp "$work/disk/moved" "$work/disk/image"
no_upgrade image "image is another file by now than the one that is served"
rm "$work/disk/moved"
no_upgrade image 'a file of its image has been deleted or replaced'
"$QCOW2_UBLKD" stop image
wait "$daemon_pid" || fail "status $?"
forget_daemon "$daemon_pid"

note "whose configuration asks for another disk by now, or has no key any more"
: >"$work/conf"
serve "$work/disk/image" --config "$work/conf"
for changed in 'read-only = yes' 'snapshot = one'; do
	echo "$changed" >"$work/conf"
	no_upgrade image 'would be another disk than the one that is in use'
done
"$QCOW2_UBLKD" stop image
expect_stopped
printf secret >"$work/key"
image_create --object "secret,id=key,file=$work/key" \
	-o encrypt.format=luks,encrypt.key-secret=key,encrypt.iter-time=10 "$work/disk/encrypted" 16M
echo "key-file = $work/key" >"$work/conf"
serve "$work/disk/encrypted" --config "$work/conf"
: >"$work/conf"
no_upgrade encrypted 'is encrypted; name its key with --key-file'
echo "key-file = $work/key" >"$work/conf"
upgrade encrypted
expect_left "$daemon_pid"
"$QCOW2_UBLKD" stop encrypted

note "the longest chain that is served, and one that was made longer meanwhile"
image_create -u -b 63 -F qcow2 "$work/disk/64" 4M
# 64 over 63, and so on down to 01, which has a name too, but does not say so.
python3 - "$work/disk" <<'EOF'
import sys

with open(f"{sys.argv[1]}/64", "rb") as file:
    top = file.read()
at = int.from_bytes(top[8:16], "big")
assert top[at:at + 2] == b"63"
for number in range(1, 64):
    place = top[8:20] if number > 1 else bytes(12)
    name = b"%02d" % (number - 1)
    with open(f"{sys.argv[1]}/{number:02d}", "wb") as file:
        file.write(top[:8] + place + top[20:at] + name + top[at + 2:])
EOF
serve "$work/disk/64"
upgrade "$device"
expect_left "$daemon_pid"
dd if="$work/disk/02" of="$work/disk/01" bs=1 skip=8 seek=8 count=12 conv=notrunc status=none
no_upgrade "$device" 'its chain is too long'
"$QCOW2_UBLKD" stop "$device"
rm "$work/disk"/[0-9][0-9]

note "what ends with its process cannot be left; by a signal, it is stopped"
serve "$work/disk/image" --no-recovery
no_upgrade image 'because of --no-recovery'
kill -USR2 "$daemon_pid"
expect_stopped
check_image "$work/disk/image"
