/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Resizes: a larger image first, then its device; a smaller device first, then its image.  By the main thread,
 * which goes on meanwhile.
 *
 * Life: resizing_open(); resizing_begin() when somebody asks; resizing_fd() is readable when the image
 * has answered, then resizing_end(); resizing_close() after the service's thread has ended.
 */
#ifndef RESIZE_H
#define RESIZE_H

#include "admin.h"
#include "device.h"
#include "image.h"
#include "service.h"

#include <stdatomic.h>

/* What the disk of an image that is served may grow to, if it is smaller than half of that. */
#define RESIZE_SIZE_MOST (UINT64_C(1) << 44)

/* What the image is asked for. */
enum resizing_stage {
	RESIZING_GROWS,
	RESIZING_LOOKS, /* is nothing behind the new end? */
	RESIZING_SHRINKS, /* the device is smaller already */
};

struct resizing {
	int fd; /* eventfd */
	_Atomic int err; /* of the image, before fd says so */
	enum resizing_stage stage;
	uint64_t bytes;
};

/* -errno with the sentence in @why. */
int resizing_open(struct resizing *resizing, struct why *why);

/* Begin what @admin was asked for, or tell it why not. */
void resizing_begin(struct resizing *resizing, struct admin *admin, struct service *service);

int resizing_fd(const struct resizing *resizing);

/* The image has answered: what follows from that, and in the end @admin is told. */
void resizing_end(struct resizing *resizing, struct admin *admin, struct service *service);

void resizing_close(struct resizing *resizing);

#endif
