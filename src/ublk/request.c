/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The door between the driver and the engine.
 *
 * Two rules of the kernel are kept here and nowhere else: a read or write is answered with its
 * full length or an error, and never with an error that the block layer takes for success.
 */
#include "request.h"

#include <errno.h>

/* The engine's name for the operation, or -1. */
static int decode_op(uint32_t op_flags)
{
	switch (op_flags & UBLK_IO_OP_MASK) {
	case UBLK_IO_OP_READ:
		return REQ_READ;
	case UBLK_IO_OP_WRITE:
		return REQ_WRITE;
	case UBLK_IO_OP_FLUSH:
		return REQ_FLUSH;
	case UBLK_IO_OP_DISCARD:
		return REQ_DISCARD;
	case UBLK_IO_OP_WRITE_ZEROES:
		return REQ_WRITE_ZEROES;
	default:
		return -1;
	}
}

static unsigned decode_flags(enum req_op op, uint32_t op_flags)
{
	unsigned flags = 0;

	if (op_flags & UBLK_IO_F_FUA && (op == REQ_WRITE || op == REQ_WRITE_ZEROES))
		flags |= REQ_FUA;
	if (op_flags & UBLK_IO_F_NOUNMAP && op == REQ_WRITE_ZEROES)
		flags |= REQ_NOUNMAP;
	return flags;
}

static bool range_is_within(const _Atomic uint64_t *limit, const struct ublksrv_io_desc *desc)
{
	uint64_t sectors = atomic_load_explicit(limit, memory_order_acquire);

	return desc->nr_sectors > 0 && desc->nr_sectors <= sectors &&
	       desc->start_sector <= sectors - desc->nr_sectors;
}

bool request_is_late(const struct ublksrv_io_desc *desc, const struct request_limits *limits)
{
	return !range_is_within(&limits->sectors, desc) &&
	       range_is_within(&limits->sectors_most, desc);
}

bool request_decode(struct req *req, const struct ublksrv_io_desc *desc,
		    const struct request_limits *limits)
{
	int op = decode_op(desc->op_flags);

	if (op < 0)
		return false;
	req->op = (enum req_op)op;
	req->flags = decode_flags(req->op, desc->op_flags);
	req->guest = (struct guest){ 0 };
	req->len = 0;
	if (req->op == REQ_FLUSH)
		return true;
	if (!range_is_within(&limits->sectors, desc))
		return false;
	req->guest.byte = desc->start_sector << SECTOR_SHIFT;
	req->len = (uint64_t)desc->nr_sectors << SECTOR_SHIFT;
	if (req->op == REQ_READ)
		return req->len <= limits->max_io_bytes;
	if (limits->read_only)
		return false;
	return req->op != REQ_WRITE || req->len <= limits->max_io_bytes;
}

/*
 * Errors that mean something to file systems and multipath.  EAGAIN and EOPNOTSUPP would be
 * retried or reported as success by the block layer; they and all others are I/O errors.
 */
static int32_t blk_error(int err)
{
	switch (err) {
	case -ENOSPC:
	case -ENOMEM:
	case -EILSEQ:
	case -ENODATA:
	case -ETIMEDOUT:
		return err;
	default:
		return -EIO;
	}
}

int32_t request_result(const struct req *req, int err)
{
	if (err)
		return blk_error(err);
	return req->op == REQ_READ || req->op == REQ_WRITE ? (int32_t)req->len : 0;
}
