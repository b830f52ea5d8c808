/* SPDX-License-Identifier: GPL-2.0-or-later */
/* From the facts of an image to the limits of a request queue. */
#include "params.h"

/* Page size and sector of most disks below: writes of less make somebody read first. */
#define PHYSICAL_SHIFT 12

static uint8_t log2_up(uint64_t value)
{
	uint8_t shift = 0;

	while (UINT64_C(1) << shift < value)
		shift++;
	return shift;
}

static void fill_basic(struct ublk_param_basic *basic, const struct image_info *info,
		       uint32_t max_io_bytes)
{
	*basic = (struct ublk_param_basic){
		.attrs = info->read_only ? UBLK_ATTR_READ_ONLY :
					   UBLK_ATTR_VOLATILE_CACHE | UBLK_ATTR_FUA,
		.logical_bs_shift = SECTOR_SHIFT,
		.physical_bs_shift = PHYSICAL_SHIFT,
		/* The block layer splits requests above its own limit, unless the optimum is larger. */
		.io_opt_shift = log2_up(max_io_bytes),
		.io_min_shift = PHYSICAL_SHIFT,
		.max_sectors = max_io_bytes >> SECTOR_SHIFT,
		.dev_sectors = info->size_bytes >> SECTOR_SHIFT,
	};
}

static void fill_discard(struct ublk_param_discard *discard, const struct image_info *info)
{
	uint64_t most = round_down(PARAMS_MAX_ZERO_BYTES, info->cluster_bytes) >> SECTOR_SHIFT;

	*discard = (struct ublk_param_discard){
		.discard_granularity = info->cluster_bytes,
		.max_discard_sectors = info->discards ? (uint32_t)most : 0,
		.max_write_zeroes_sectors = (uint32_t)most,
		.max_discard_segments = 1,
	};
}

void params_fill(struct ublk_params *params, const struct image_info *info, uint32_t max_io_bytes,
		 enum data_mode mode)
{
	*params = (struct ublk_params){
		.len = UBLK_PARAMS_BYTES(discard),
		.types = UBLK_PARAM_TYPE_BASIC,
	};
	fill_basic(&params->basic, info, max_io_bytes);
	if (!info->read_only) {
		fill_discard(&params->discard, info);
		params->types |= UBLK_PARAM_TYPE_DISCARD;
	}
	/* The clients' own memory goes to the host file, which may want it aligned to sectors. */
	if (mode == DATA_ZERO_COPY) {
		params->len = UBLK_PARAMS_BYTES(dma_align);
		params->dma_align.alignment = SECTOR_SIZE - 1;
		params->types |= UBLK_PARAM_TYPE_DMA_ALIGN;
	}
}
