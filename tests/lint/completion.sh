#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
#
# What bash completes is what the program says of itself: completion.sh PROGRAM COMPLETION

set -u
program=$(readlink -f "$1")
# shellcheck source=/dev/null
. "$2"
failed=0

# The words after the program's name, the last of them unfinished, and what may come of it.
expect()
{
	local wanted=$1

	shift
	COMP_WORDS=("$program" "$@")
	COMP_CWORD=$#
	COMPREPLY=()
	_qcow2_ublkd
	[ "${COMPREPLY[*]}" = "$wanted" ] || {
		echo "'$*' becomes '${COMPREPLY[*]}', not '$wanted'"
		failed=1
	}
}

expect "list" l
expect "check" ch
expect "--image" --im
expect "none writeback" --cache ""
expect "writeback" --image x --cache w
expect "--no-recovery" --image x --no-
expect "leaks all" check --repair ""
expect "--repair" check --r
expect "--prometheus" status --p
expect "" --queues ""
cd "$(dirname "$0")" || exit 1
expect "completion.sh" --image compl
expect "completion.sh" check compl
exit "$failed"
