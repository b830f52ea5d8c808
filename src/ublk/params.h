/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What the block layer is told about the disk. */
#ifndef PARAMS_H
#define PARAMS_H

#include "base.h"
#include "buffers.h"
#include "image.h"

#include <linux/ublk_cmd.h>

/* Largest discard and write-zeroes request: bounds how long one of them keeps its tag. */
#define PARAMS_MAX_ZERO_BYTES GIB

/*
 * Parameters of a disk that shows @info, with read and write requests of up to @max_io_bytes (a
 * multiple of 4096, as granted by ADD_DEV) whose bytes go around by @mode; kernel docs: ublk,
 * "UBLK_CMD_SET_PARAMS".
 */
void params_fill(struct ublk_params *params, const struct image_info *info, uint32_t max_io_bytes,
		 enum data_mode mode);

#endif
