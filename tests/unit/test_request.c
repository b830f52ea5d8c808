/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What the driver is answered: full length or an error, and none that block layers take for success. */
#include "request.h"

#include "check.h"

#include <errno.h>

#define ERRNO_MOST 4095 /* what the kernel can return */

static const struct {
	enum req_op op;
	uint64_t len;
	int32_t success;
} requests[] = {
	{ REQ_READ, 4096, 4096 },     { REQ_WRITE, MIB, MIB },
	{ REQ_FLUSH, 0, 0 },	      { REQ_DISCARD, UINT64_C(1) << 40, 0 },
	{ REQ_WRITE_ZEROES, GIB, 0 },
};

static bool is_told(int err)
{
	return err == -ENOSPC || err == -ENOMEM || err == -EILSEQ || err == -ENODATA ||
	       err == -ETIMEDOUT;
}

int main(void)
{
	for (unsigned i = 0; i < ARRAY_SIZE(requests); i++) {
		struct req req = { .op = requests[i].op, .len = requests[i].len };
		unsigned wrong = 0;

		check_case("operation %d", (int)req.op);
		CHECK_EQ(request_result(&req, 0), requests[i].success);
		CHECK_EQ(request_result(&req, -EAGAIN), -EIO);
		CHECK_EQ(request_result(&req, -EOPNOTSUPP), -EIO);
		for (int err = -1; err >= -ERRNO_MOST; err--)
			wrong += request_result(&req, err) != (is_told(err) ? err : -EIO);
		CHECK_EQ(wrong, 0);
	}
	return check_end();
}
