/* SPDX-License-Identifier: GPL-2.0-or-later */
/* A smaller disk: the machine. */
#ifndef SHRINK_H
#define SHRINK_H

#include "engine.h"

/* image_resize_start() for a smaller disk. */
void shrink_start(struct image *image, uint64_t bytes, void (*done)(void *arg, int err), void *arg);

#endif
