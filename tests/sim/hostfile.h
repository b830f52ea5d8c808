/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Simulated files to real ones and back, for other judges to look at. */
#ifndef HOSTFILE_H
#define HOSTFILE_H

#include "sparse.h"

/* False, with a message, when that cannot be. */
bool hostfile_load(struct sparse *file, const char *path);
bool hostfile_store(const struct sparse *file, const char *path);

/*
 * What qemu-img check says about a file and, if not NULL, its external data file: 0 sound, 2 corrupt,
 * 3 leaks only; -1 when there is no qemu-img.
 */
int hostfile_qemu_check(const struct sparse *file, const struct sparse *data);

/* What our own checker says: an exit status of qcow2-ublkd check, and its first finding. */
int hostfile_own_check(const struct sparse *file, struct why *first);

#endif
