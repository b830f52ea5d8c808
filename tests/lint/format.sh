#!/bin/sh
# SPDX-License-Identifier: GPL-2.0-or-later
# All C is formatted as .clang-format says.  Other versions of clang-format see some lines otherwise.
root=${LINT_ROOT:-$(dirname "$0")/../..}
for tool in clang-format-14 clang-format; do
	"$tool" --version 2>/dev/null | grep -q 'version 14\.' && break
	tool=
done
if [ -z "$tool" ]; then
	echo "skipped: there is no clang-format 14"
	exit 77
fi
cd "$root" || exit 1
find src include tests -path include/uapi -prune -o -name '*.[ch]' -print0 |
	sort -z | xargs -0 -r "$tool" --dry-run -Werror
