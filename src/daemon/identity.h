/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Which image is it, whatever it is called?  Hard facts about the file that do not change as long
 * as the machine runs, and which machine's run it is.
 */
#ifndef IDENTITY_H
#define IDENTITY_H

#include "base.h"
#include "image.h"

#include <limits.h>

/* Where a file lies: all of it 0 if that is not known, or if it is a block device. */
struct identity_place {
	uint8_t file_system[16]; /* its UUID */
	uint64_t disk; /* the sequence number of the disk below, which none after it has */
};

struct identity {
	uint8_t bytes[HANDOVER_IDENTITY];
	struct identity_place place;
	char name[64]; /* of files about it: the device and number of the file, or of the device */
};

/*
 * Of the image that is open at @fd: for a file, its device, its number and generation there, when
 * it was made, and its file system; for a block device, which one of this boot it is.  -errno of
 * the calls that tell.
 */
int identity_of(struct identity *identity, int fd);

/*
 * Has the file @now got the number of @left, which therefore is no more?  False also where that cannot be
 * proved: only ext4 and XFS, on the disk on which @left was, tell enough.
 */
bool identity_has_replaced(const struct identity *now, const struct identity *left);

/*
 * What our devices bear as ublksrv_flags: 16 bits that say that they are ours, and 48 of a hash of
 * the image and of @view, how it is shown.  The same for all of them is no proof: see ownership.h.
 */
uint64_t identity_mark(const struct identity *identity, const char *view);

/* Is it the mark of some image? */
bool identity_is_mark(uint64_t mark);

/*
 * Make @sum one of the file below the image that is open at @fd, too.  As identity_of(), but without what
 * becomes another when a file system is mounted, or a disk attached, anew: one disk is as good as another.
 * -errno.
 */
int identity_add(uint64_t *sum, int fd);

#define IDENTITY_TEXT (2 * HANDOVER_IDENTITY + 1)

/* In hexadecimal digits. */
void identity_text(const struct identity *identity, char text[IDENTITY_TEXT]);

#endif
