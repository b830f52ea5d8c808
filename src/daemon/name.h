/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Names of devices: by which commands, units and /dev/disk/by-id know them. */
#ifndef NAME_H
#define NAME_H

#include "base.h"

#define NAME_LENGTH 64 /* without the final NUL */

/* Letters, digits and `.`, `_`, `-`, not at the beginning; no more than NAME_LENGTH. */
bool name_valid(const char *name);

/*
 * Does it end in -partN?  Then /dev/disk/by-id could have a link of a partition that is called the same, and
 * no new device is to have it.
 */
bool name_is_partitions(const char *name);

/*
 * A valid name from the file name of an image, without the endings .qcow2 and .img, that is no
 * partition's.
 */
void name_of_image(char name[NAME_LENGTH + 1], const char *path);

/* The @nth (from 2) alternative to a name that is taken: NAME-2 and so on. */
void name_alternative(char name[NAME_LENGTH + 1], const char *base, unsigned nth);

#endif
