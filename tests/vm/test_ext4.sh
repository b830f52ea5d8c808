#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
#
# ext4 on a served image; see filesystem.sh.

. "$(dirname "$0")/lib.sh"
. "$vm_folder/filesystem.sh"

filesystem_test ext4 "e2fsck -fn"
