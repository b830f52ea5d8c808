/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Lines for people, with fields that a program can find: name=value, names of objects as the code has them. */
#include "sight.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>

static const char *const op_name[REQ_OPS] = {
	[REQ_READ] = "read",
	[REQ_WRITE] = "write",
	[REQ_FLUSH] = "flush",
	[REQ_DISCARD] = "discard",
	[REQ_WRITE_ZEROES] = "write-zeroes",
};

struct line {
	char *text;
	size_t used;
};

__attribute__((format(printf, 2, 3))) static void put(struct line *line, const char *format, ...)
{
	size_t room = SIGHT_BYTES - line->used;
	va_list args;
	int len;

	va_start(args, format);
	len = vsnprintf(line->text + line->used, room, format, args);
	va_end(args);
	if (len > 0)
		line->used += min_u64((uint64_t)len, room - 1);
}

static void put_place(struct line *line, const struct sight_place *place)
{
	put(line, "%s: ", place->device);
	if (place->queue == SIGHT_SERVICE)
		put(line, "service");
	else
		put(line, "queue %d", place->queue);
}

static void put_age(struct line *line, uint64_t since, bool longer, uint64_t now)
{
	uint64_t ms = now > since ? (now - since) / 1000000 : 0;

	put(line, " for %" PRIu64 ".%03u s%s", ms / 1000, (unsigned)(ms % 1000),
	    longer ? " or longer" : "");
}

static void put_request(struct line *line, const struct live *live, uint64_t now)
{
	if (live->tag >= 0)
		put(line, " tag %d", (int)live->tag);
	put(line, " %s", op_name[live->op]);
	if (live->len)
		put(line, " of %" PRIu64 " at %" PRIu64, live->len, live->guest.byte);
	if (live->began)
		put_age(line, live->began, live->longer, now);
}

static void put_wait(struct line *line, const struct live *live, uint64_t now)
{
	const char *name = live->waits_for;

	if (live->io)
		put(line, ", waits for the host: %s of %" PRIu64 " at %" PRIu64 " of %s", live->io,
		    live->io_len, live->io_off.byte, live->file);
	else if (name)
		put(line, ", waits at %s", name[0] == '&' ? name + 1 : name);
	if ((live->io || name) && live->since)
		put_age(line, live->since, false, now);
}

void sight_text(char text[SIGHT_BYTES], const struct sight_place *place, const struct live *live,
		uint64_t now)
{
	struct line line = { .text = text };

	put_place(&line, place);
	if (live->req)
		put_request(&line, live, now);
	put(&line, ", %s in %s", live->machine, live->state);
	put_wait(&line, live, now);
}

void sight_log(enum log_level level, const struct sight_place *place, const struct live *live,
	       uint64_t now)
{
	char text[SIGHT_BYTES];

	sight_text(text, place, live, now);
	log_message(level, "%s", text);
}

void sight_log_silent(enum log_level level, const struct sight_place *place, uint64_t ns)
{
	char text[SIGHT_BYTES];
	struct line line = { .text = text };

	put_place(&line, place);
	log_message(level,
		    "%s: its thread has not answered for %" PRIu64
		    " s: it is busy, or hangs in a system call",
		    text, ns / 1000000000);
}
