/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * From the kernel's descriptor to a request, and from a result to what the kernel wants to hear.
 * Pure functions.
 */
#ifndef REQUEST_H
#define REQUEST_H

#include "base.h"
#include "req.h"

#include <linux/ublk_cmd.h>
#include <stdatomic.h>

/* What a request is checked against. */
struct request_limits {
	_Atomic uint64_t sectors; /* of the disk; may become more, or less */
	_Atomic uint64_t
		sectors_most; /* that it has had: the users of a partition may not know of less */
	uint32_t max_io_bytes; /* of a read or write: the size of the buffer */
	bool read_only;
};

/*
 * Fill op, flags, guest and len of @req.  False for what the driver never sends: an unknown
 * operation, a range beyond the disk, more data than the buffer holds, a change of a read-only
 * disk (kernel docs: ublk, "struct ublksrv_io_desc").
 */
bool request_decode(struct req *req, const struct ublksrv_io_desc *desc,
		    const struct request_limits *limits);

/* Does a request that was refused reach behind the end of a disk that has become smaller, and no further? */
bool request_is_late(const struct ublksrv_io_desc *desc, const struct request_limits *limits);

/* The `result` of the commit: @err is 0 or -errno of the engine. */
int32_t request_result(const struct req *req, int err);

#endif
