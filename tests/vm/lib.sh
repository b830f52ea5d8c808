# SPDX-License-Identifier: GPL-2.0-or-later
# shellcheck shell=bash
#
# What the test scripts of this folder have in common. They source it, and run in the VM:
#
#	. "$(dirname "$0")/lib.sh"
#
# $work is a folder of the script's own in RAM (tmpfs), gone afterwards. $QCOW2_UBLKD is the
# daemon under test, by default the one that was built in build/ or $BUILD_DIR.

set -euo pipefail

vm_folder=$(dirname "$(readlink -f "${BASH_SOURCE[0]}")")
QCOW2_UBLKD=${QCOW2_UBLKD:-${BUILD_DIR:-$(readlink -f "$vm_folder/../..")/build}/qcow2-ublkd}

# --- messages and the end ----------------------------------------------------------------------

fail()
{
	echo "FAIL: $*" >&2
	exit 1
}

note()
{
	echo "# $*"
}

# Exit status 77 says: skipped.
requires()
{
	local program

	for program; do
		if ! command -v "$program" >/dev/null; then
			echo "SKIP: no $program here"
			exit 77
		fi
	done
}

# Set $native to the path of $1, which was built from tests/native, or skip.
requires_native()
{
	native=$(dirname "$QCOW2_UBLKD")/tests/native/$1
	[ -e "$native" ] || {
		echo "SKIP: no $native"
		exit 77
	}
}

cleanups=()

# Commands (for eval) that are run when the script ends, last in, first out.
cleanup_add()
{
	cleanups+=("$*")
}

cleanup_run()
{
	local i status=$?

	trap - EXIT
	set +e
	for ((i = ${#cleanups[@]} - 1; i >= 0; i--)); do
		eval "${cleanups[i]}"
	done
	exit "$status"
}

trap cleanup_run EXIT
trap 'exit 143' TERM
work=$(mktemp -d /run/test.XXXXXX)
cleanup_add "rm -rf '$work'"

# Fail unless the command fails; its output is in $work/refused then.
refused()
{
	if "$@" >"$work/refused" 2>&1; then
		cat "$work/refused"
		fail "succeeded, but should not have: $*"
	fi
}

# Try for $1 seconds until the command succeeds. Only for what the other side does in its own time
# and reports nowhere.
within()
{
	local end=$((SECONDS + $1))

	shift
	until "$@"; do
		[ "$SECONDS" -lt "$end" ] || return 1
		sleep 0.1
	done
}

# --- disks and file systems --------------------------------------------------------------------

# Mount device $1 on folder $2, with options $3.
mount_on()
{
	mkdir -p "$2"
	mount ${3:+-o "$3"} "$1" "$2"
	cleanup_add "! mountpoint -q '$2' || umount '$2'"
}

null_disks=0

# Make the disk /dev/$null_disk of $1 MiB; it takes RAM for what is written. Each I/O takes $2 ns, or no
# time at all.
null_disk_make()
{
	local folder

	modprobe null_blk nr_devices=0
	null_disk=fast$$_$((null_disks++))
	folder=/sys/kernel/config/nullb/$null_disk
	mkdir "$folder"
	cleanup_add "echo 0 >'$folder/power'; rmdir '$folder'"
	echo "$1" >"$folder/size"
	echo 512 >"$folder/blocksize"
	echo 1 >"$folder/memory_backed"
	# Completion in the submitter's context and real queues: as near to a fast disk as it gets.
	echo 0 >"$folder/irqmode"
	echo 2 >"$folder/queue_mode"
	if [ -n "${2-}" ]; then
		echo 2 >"$folder/irqmode"
		echo "$2" >"$folder/completion_nsec"
		echo 256 >"$folder/hw_queue_depth"
	fi
	echo 1 >"$folder/power"
}

# End process $1, a fio with --output=$work/fio, which must have met no error.
end_load()
{
	kill -INT "$1"
	# 128 is what fio makes of the signal; each error counts one more.
	wait "$1" || [ $? -eq 128 ] || {
		cat "$work/fio.stderr" "$work/fio" >&2
		fail "fio reports an error"
	}
}

# XFS on a fast disk of $2 (3) GiB, mounted on $1.
fast_disk()
{
	null_disk_make $((${2:-3} * 1024))
	mkfs.xfs -q -K "/dev/$null_disk"
	mount_on "/dev/$null_disk" "$1"
}

# XFS on a disk of 1 GiB, mounted on $1, that does not answer between suspend_storage and resume_storage.
hanging_disk()
{
	local disk

	null_disk_make 1024
	dmsetup create below --noudevsync \
		--table "0 $(blockdev --getsz "/dev/$null_disk") linear /dev/$null_disk 0"
	cleanup_add "dmsetup remove --retry below"
	disk=/dev/$(dmsetup info -c --noheadings -o blkdevname below)
	mkfs.xfs -q -K "$disk"
	mount_on "$disk" "$1"
	cleanup_add resume_storage
}

suspend_storage()
{
	dmsetup suspend --noflush --nolockfs below
}

resume_storage()
{
	dmsetup resume below
}

# --- the daemon --------------------------------------------------------------------------------

# By process id, as long as nobody has waited for the process.
declare -A daemon_stderr=()
declare -A daemon_stdout=()
declare -A daemon_device=()
daemons=0

# Start the daemon for image $1 with the options $2... and wait until it serves.
# Sets $device and $daemon_pid; what it says goes to $stderr_file.
serve()
{
	local image=$1 ready=$work/stdout.$daemons line stdout

	shift
	stderr_file=$work/stderr.$daemons
	daemons=$((daemons + 1))
	[ -x "$QCOW2_UBLKD" ] || fail "no daemon $QCOW2_UBLKD: build it, or set QCOW2_UBLKD"
	mkfifo "$ready"
	"$QCOW2_UBLKD" --image "$image" "$@" >"$ready" 2>"$stderr_file" &
	daemon_pid=$!
	daemon_stderr[$daemon_pid]=$stderr_file
	cleanup_add "kill_daemon $daemon_pid"
	# The end of the process is the end of this file. It stays open, for whatever follows.
	exec {stdout}<"$ready"
	daemon_stdout[$daemon_pid]=$stdout
	if ! read -r -t 60 line <&"$stdout"; then
		show_stderr "$daemon_pid"
		fail "qcow2-ublkd --image $image $* does not serve"
	fi
	[[ $line =~ ^/dev/ublkb[0-9]+$ ]] || fail "the daemon's first line is '$line'"
	[ -b "$line" ] || fail "there is no block device $line"
	device=$line
	daemon_device[$daemon_pid]=$device
}

# Daemon $1 ($daemon_pid) ends, or has ended, with status $2 (0), and its device is gone.
expect_stopped()
{
	local number pid=${1:-$daemon_pid} status=0

	wait "$pid" || status=$?
	if [ "$status" -ne "${2:-0}" ]; then
		show_stderr "$pid"
		fail "the daemon ended with status $status"
	fi
	number=${daemon_device[$pid]#/dev/ublkb}
	forget_daemon "$pid"
	expect_no_device "$number"
}

forget_daemon()
{
	local stdout=${daemon_stdout[$1]-}

	[ -z "$stdout" ] || exec {stdout}<&-
	unset "daemon_stderr[$1]" "daemon_stdout[$1]" "daemon_device[$1]"
}

expect_no_device()
{
	local path

	for path in "/dev/ublkb$1" "/dev/ublkc$1" "/sys/class/ublk-char/ublkc$1" \
		"/sys/block/ublkb$1"; do
		[ ! -e "$path" ] || fail "$path is still there"
	done
}

# Kill daemon $1 ($daemon_pid), so that its device waits for the next one.
kill_hard()
{
	local pid=${1:-$daemon_pid}

	kill -KILL "$pid"
	wait "$pid" 2>/dev/null || :
	forget_daemon "$pid"
}

# Wait for $1 milliseconds.
pause()
{
	sleep "$(printf '%d.%03d' $(($1 / 1000)) $(($1 % 1000)))"
}

# Stop daemon $1 ($daemon_pid) as its service manager would.
unserve()
{
	kill -TERM "${1:-$daemon_pid}"
	expect_stopped "${1:-$daemon_pid}"
}

show_stderr()
{
	[ ! -s "${daemon_stderr[$1]}" ] || sed 's/^/daemon: /' "${daemon_stderr[$1]}" >&2
}

# For the end of a script that failed, hence with little patience.
kill_daemon()
{
	local device=${daemon_device[$1]-}

	if [ -n "${daemon_stderr[$1]-}" ]; then
		show_stderr "$1"
		kill -TERM "$1"
		within 10 eval "! kill -0 $1" || kill -KILL "$1"
		wait "$1"
		remove_device "$device"
	fi 2>>"$work/kill"
}

# Remove device $1, if it is there, whoever has left it behind.
remove_device()
{
	[ ! -e "/sys/class/ublk-char/ublkc${1#/dev/ublkb}" ] ||
		timeout -s KILL 20 "$QCOW2_UBLKD" stop --force "$1"
}

# How many ublk devices there are.
ublk_devices()
{
	find /sys/class/ublk-char -mindepth 1 -maxdepth 1 | wc -l
}

# --- images and their content ------------------------------------------------------------------

image_create()
{
	qemu-img create -q -f qcow2 "$@"
}

check_image()
{
	qemu-img check -f qcow2 "$1" >"$work/check" 2>&1 || {
		cat "$work/check" >&2
		fail "qemu-img check finds faults in $1"
	}
}

# Blocks of 512 bytes that the host has allocated for a file.
host_blocks()
{
	stat -c %b "$1"
}

# Fail when anybody has a lock on file $1.
expect_unlocked()
{
	! grep ":$(stat -c %i "$1") " /proc/locks || fail "$1 is still locked"
}

# Fail unless two files or devices have the same content, over $3 bytes if given.
same()
{
	cmp ${3:+-n "$3"} "$1" "$2" || fail "$1 and $2 differ"
}

same_tree()
{
	diff -r --no-dereference "$1" "$2" >"$work/difference" 2>&1 || {
		head -n 20 "$work/difference" >&2
		fail "$1 and $2 differ"
	}
}

# Fail unless the image, as qemu-img reads it, has the content of file or device $2.
image_same()
{
	qemu-img compare -q -f qcow2 -F raw "$1" "$2" || fail "qemu-img reads $1 unlike $2"
}

# fio without its reports, unless it fails.
fio_run()
{
	fio --output="$work/fio" "$@" >"$work/fio.stderr" 2>&1 || {
		cat "$work/fio.stderr" "$work/fio" >&2
		fail "fio reports an error"
	}
}
