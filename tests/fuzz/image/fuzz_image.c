/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Hostile images, with what lies below them, under hostile requests, through the real engine.
 *
 * Whatever the bytes: it ends, nothing crashes, leaks or is allocated while it serves, and the
 * guest's bytes never get to where metadata is, see border.h.  An image that our checker calls
 * sound stays sound and gets no corrupt mark, however often it is opened, killed and closed.
 */
#include "border.h"
#include "compose.h"
#include "guest.h"
#include "soundness.h"

#include "format.h"

#include "memory.h"
#include "report.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#define LIVES 3

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
void __wrap_log_message(enum log_level level, const char *fmt, ...);

static struct fuzz {
	struct rng rng;
	struct sim_host host;
	struct model model; /* who makes an image wants to tell it */
	struct guest_side guest;
	bool made;
	bool looked;
	bool sound; /* before the life at hand */
} fuzz;

/* What the engine has to say, with FUZZ_LOG set; it has much to say of such images. */
void __wrap_log_message(enum log_level level, const char *fmt, ...)
{
	char text[1024];
	va_list args;

	(void)level;
	va_start(args, fmt);
	vsnprintf(text, sizeof(text), fmt, args);
	va_end(args);
	if (getenv("FUZZ_LOG"))
		fprintf(stderr, "%s\n", text);
}

static void report(void)
{
	for (unsigned i = 0; fuzz.guest.image && i < fuzz.host.lanes; i++)
		lane_dump(&fuzz.host.ring[i].lane);
	/* The fuzzer keeps the input of who aborts, not of who exits. */
	abort();
}

static void make_once(void)
{
	if (fuzz.made)
		return;
	fuzz.made = true;
	fuzz.host.rng = &fuzz.rng;
	disk_init(&fuzz.host.disk);
	disk_init(&fuzz.host.data);
	below_init(&fuzz.host.below);
	model_init(&fuzz.model);
	guest_init(&fuzz.guest, &fuzz.host, &fuzz.rng);
	report_hook = report;
}

static void set_host(struct input *in)
{
	struct sim_host *host = &fuzz.host;
	uint8_t how = input_byte(in);

	host->faults = (struct faults){ 0 };
	if (how & 1)
		host->faults = (struct faults){ .again = 50, .shortened = 200 };
	if ((how & 6) == 6)
		host->faults.error = 100;
	host->faults.no_punch = (how & 24) == 24;
	host->align = how & 32 ? SECTOR_SIZE : 1;
	host->early_percent = how & 64 ? 50 : 0;
	host->held = how & 128 ? 1u << (how >> 1 & 7) : 0;
	host->file_index = 0;
	host->data_apart = true; /* if the header says so */
	host->now = 0;
}

static int open_image(struct input *in, bool read_only, struct why *why)
{
	struct lane *lane[MAX_LANES];
	uint8_t how = input_byte(in);
	struct image_options options = {
		.read_only = read_only,
		.l2_cache_bytes = how & 2 ? 4096u * (1 + (how >> 4)) : 0,
		.reqs_per_lane = GUEST_DEPTH,
		.lanes = 1 + (how & 1),
		.lane = lane,
		.workers = how & 64 ? 2 : 0,
		.unpack_here_bytes = 1,
		.reserve_bytes = how & 4 ? 4096 : 0,
		.snapshot = read_only && how & 8 ? "1" : NULL,
		.files = { .open_below = host_open_below,
			   .open_data = host_open_data,
			   .arg = &fuzz.host,
			   .backing_format = how & 128 ? "raw" : NULL },
	};

	fuzz.host.read_only = read_only;
	fuzz.host.workers = options.workers;
	host_start(&fuzz.host, options.lanes);
	for (unsigned i = 0; i < options.lanes; i++)
		lane[i] = &fuzz.host.ring[i].lane;
	this_lane = NULL;
	return image_open(&fuzz.guest.image, host_file(&fuzz.host), &options, why);
}

/* What the bytes say after a life. */
static void look_back(const uint8_t *header, bool read_only)
{
	uint8_t now[SECTOR_SIZE];

	sparse_read(&fuzz.host.disk.visible, 0, now, sizeof(now));
	border_check_header(header, now);
	if (read_only && memcmp(header, now, sizeof(now)) != 0)
		sim_fail("reading has changed the header");
	if (!fuzz.sound || read_only)
		return;
	if (now[QCOW2_AT_INCOMPATIBLE + 7] & ~header[QCOW2_AT_INCOMPATIBLE + 7] & QCOW2_CORRUPT)
		sim_fail("a sound image got the corrupt mark");
	soundness_demand(&fuzz.host.disk.visible);
}

/* False when the image was refused. */
static bool live(struct input *in)
{
	uint8_t how = input_byte(in), header[SECTOR_SIZE];
	bool read_only = (how & 3) == 3, killed = how & 4;
	struct why why = { "" };
	int err;

	sparse_read(&fuzz.host.disk.visible, 0, header, sizeof(header));
	/* What was sound has been looked at again after the life before, and what was not stays so. */
	if (!fuzz.looked)
		fuzz.sound = soundness_of(&fuzz.host.disk.visible);
	fuzz.looked = true;
	fuzz.host.hostile = !fuzz.sound;
	set_host(in);
	err = open_image(in, read_only, &why);
	if (err) {
		if (!why.text[0] || strchr(why.text, '\n'))
			sim_fail("error %d and the sentence '%s'", err, why.text);
		if (fuzz.sound && !read_only && strstr(why.text, "is corrupt"))
			sim_fail("a sound image was refused: %s", why.text);
		fuzz.guest.image = NULL;
		host_stop(&fuzz.host);
		return false;
	}
	border_watch(&fuzz.host, read_only ? NULL : &fuzz.host.disk.visible);
	guest_live(&fuzz.guest, in);
	if (killed)
		host_kill(&fuzz.host);
	else
		guest_close(&fuzz.guest);
	image_free(fuzz.guest.image);
	fuzz.guest.image = NULL;
	host_stop(&fuzz.host);
	this_lane = NULL;
	look_back(header, read_only);
	return true;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct input in = { data, size };

	make_once();
	compose(&in, &fuzz.host, &fuzz.model, &fuzz.rng);
	fuzz.rng.state = input_take(&in, 2);
	fuzz.looked = false;
	for (unsigned i = 0; i < LIVES && in.left; i++)
		live(&in);
	return 0;
}
