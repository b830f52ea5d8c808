/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Many lanes on one image at once, each verifying what it alone writes.
 *
 * Of every four clusters three are shared: their sectors belong to the lanes in turn, so that
 * lanes meet in clusters, claims and slices.  The fourth belongs to one lane as a whole, which
 * also discards and zeroes it.
 *
 * With --areas the disk is divided among so many writers instead, which end in the midst of clusters:
 * seven writes of ten requests, of 4 to 64 KiB, the load under which other engines have lost data.
 */
#include "rig.h"

#include <errno.h>
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#define MAX_DEPTH 512u
#define MAX_SECTORS (UINT64_C(4) * 1024 * 1024)
#define MAX_OP_BYTES (1 * MIB)
#define AREA_PIECE 8u /* sectors: what requests of areas are aligned to */
#define AREA_MOST 16u /* pieces of one */

struct driver;

struct slot {
	struct req req;
	struct driver *driver;
	bool busy;
	uint8_t *buffer;
};

/* One lane's share of the work; only its thread touches it while it runs. */
struct driver {
	struct stress *stress;
	unsigned lane;
	uint64_t rng;
	uint64_t todo;
	uint64_t cursor; /* of the reading back: a sector */
	bool reading_back;
	bool pumping;
	unsigned busy;
	struct slot slot[MAX_DEPTH];
	sem_t idle;
};

struct stress {
	struct rig_options options;
	struct rig rig;
	uint64_t ops;
	uint64_t seed;
	uint64_t sectors;
	uint64_t cluster_sectors;
	unsigned areas; /* 0: none */
	uint64_t area_sectors;
	const char *content_path;
	uint8_t *content; /* of the disk, before anything is written; NULL: zeros */
	uint32_t *version; /* by sector; its owner's.  0: what was there before */
	uint64_t seen; /* by looks at what is under way */
	uint8_t *taken; /* by sector: a request of the owner is under way */
	struct driver driver[RIG_LANES];
};

static uint64_t random_next(struct driver *driver)
{
	driver->rng ^= driver->rng << 13;
	driver->rng ^= driver->rng >> 7;
	driver->rng ^= driver->rng << 17;
	return driver->rng;
}

static uint64_t random_below(struct driver *driver, uint64_t n)
{
	return (random_next(driver) >> 20) % n;
}

/* --- whose is it, and what must be in it? ---------------------------------------------------------- */

static bool is_private(const struct stress *stress, uint64_t cluster)
{
	return !stress->areas && stress->cluster_sectors > 1 && cluster % 4 == 3;
}

static unsigned owner(const struct stress *stress, uint64_t sector)
{
	uint64_t cluster = sector / stress->cluster_sectors;
	uint64_t turn = is_private(stress, cluster) ? cluster / 4 : sector;

	if (stress->areas)
		turn = sector / stress->area_sectors;
	return (unsigned)(turn % stress->options.queues);
}

static void fill(uint8_t *bytes, uint64_t sector, uint32_t version)
{
	uint64_t word = (sector << 32 | version) * UINT64_C(0x9e3779b97f4a7c15);

	for (unsigned i = 0; i < SECTOR_SIZE; i += sizeof(word), word += i)
		memcpy(bytes + i, &word, sizeof(word));
}

static void expect(const struct stress *stress, uint8_t *bytes, uint64_t sector)
{
	if (stress->version[sector])
		fill(bytes, sector, stress->version[sector]);
	else if (stress->content)
		memcpy(bytes, stress->content + sector * SECTOR_SIZE, SECTOR_SIZE);
	else
		memset(bytes, 0, SECTOR_SIZE);
}

static void verify(struct slot *slot)
{
	struct stress *stress = slot->driver->stress;
	uint64_t first = slot->req.guest.byte / SECTOR_SIZE;
	uint8_t right[SECTOR_SIZE];

	for (uint64_t i = 0; i < slot->req.len / SECTOR_SIZE; i++) {
		uint64_t sector = first + i;

		if (owner(stress, sector) != slot->driver->lane)
			continue;
		expect(stress, right, sector);
		if (memcmp(slot->buffer + i * SECTOR_SIZE, right, sizeof(right)) == 0)
			continue;
		fprintf(stderr, "sector %llu is not version %u of it (seed %llu)\n",
			(unsigned long long)sector, stress->version[sector],
			(unsigned long long)stress->seed);
		abort();
	}
}

/* --- requests --------------------------------------------------------------------------------------- */

static void take(struct slot *slot, bool taken)
{
	struct stress *stress = slot->driver->stress;
	uint64_t first = slot->req.guest.byte / SECTOR_SIZE;

	for (uint64_t i = 0; i < slot->req.len / SECTOR_SIZE; i++)
		if (owner(stress, first + i) == slot->driver->lane)
			stress->taken[first + i] = taken;
}

static bool is_taken(const struct driver *driver, uint64_t first, uint64_t sectors)
{
	const struct stress *stress = driver->stress;

	for (uint64_t i = 0; i < sectors; i++)
		if (owner(stress, first + i) == driver->lane && stress->taken[first + i])
			return true;
	return false;
}

static void pump(struct driver *driver);

static void on_done(struct req *req)
{
	struct slot *slot = container_of(req, struct slot, req);
	struct driver *driver = slot->driver;

	if (req->result) {
		fprintf(stderr, "request %d at %llu ended with %d (seed %llu)\n", (int)req->op,
			(unsigned long long)req->guest.byte, req->result,
			(unsigned long long)driver->stress->seed);
		abort();
	}
	if (req->op == REQ_READ)
		verify(slot);
	take(slot, false);
	slot->busy = false;
	driver->busy--;
	if (!driver->pumping)
		pump(driver);
}

/* New versions for the sectors of a request. */
static void renew(struct slot *slot)
{
	struct stress *stress = slot->driver->stress;
	uint64_t first = slot->req.guest.byte / SECTOR_SIZE;

	for (uint64_t i = 0; i < slot->req.len / SECTOR_SIZE; i++) {
		uint32_t *version = &stress->version[first + i];

		*version = slot->req.op == REQ_WRITE ? (uint32_t)(random_next(slot->driver) | 1) :
						       0;
		if (slot->req.op == REQ_WRITE)
			fill(slot->buffer + i * SECTOR_SIZE, first + i, *version);
	}
}

static void submit(struct slot *slot)
{
	struct driver *driver = slot->driver;

	slot->req.span = span_memory(slot->buffer);
	slot->req.done = on_done;
	slot->busy = true;
	driver->busy++;
	take(slot, true);
	if (slot->req.op != REQ_READ && slot->req.op != REQ_FLUSH)
		renew(slot);
	image_submit(driver->stress->rig.image, driver->stress->rig.lane[driver->lane], &slot->req);
}

/* A change of what is ours alone: one sector of a shared cluster, or some of a private one. */
static void draw_change(struct driver *driver, struct req *req)
{
	const struct stress *stress = driver->stress;
	uint64_t sector = random_below(driver, stress->sectors);
	uint64_t sectors = 1, kind = random_below(driver, 8);

	if (is_private(stress, sector / stress->cluster_sectors)) {
		uint64_t start = round_down(sector, stress->cluster_sectors);

		sectors = min_u64(stress->cluster_sectors, MAX_OP_BYTES / SECTOR_SIZE);
		sectors = min_u64(sectors, stress->sectors - start);
		sector = start;
		if (kind < 4)
			req->op = kind < 2 ? REQ_DISCARD : REQ_WRITE_ZEROES;
		/* Half a cluster is not discarded. */
		if (sectors < stress->cluster_sectors)
			req->op = REQ_WRITE;
	} else if (kind == 0) {
		req->op = REQ_WRITE_ZEROES;
	}
	req->guest.byte = sector * SECTOR_SIZE;
	req->len = sectors * SECTOR_SIZE;
}

/* A write within one area. */
static void draw_area_write(struct driver *driver, struct req *req)
{
	const struct stress *stress = driver->stress;
	uint64_t pieces = stress->area_sectors / AREA_PIECE;
	uint64_t area = random_below(driver, stress->areas), piece = random_below(driver, pieces);
	uint64_t most = min_u64(pieces - piece, AREA_MOST);

	req->guest.byte = (area * stress->area_sectors + piece * AREA_PIECE) * SECTOR_SIZE;
	req->len = (1 + random_below(driver, most)) * AREA_PIECE * SECTOR_SIZE;
}

static bool draw(struct driver *driver, struct slot *slot)
{
	struct stress *stress = driver->stress;
	uint64_t kind = random_below(driver, 64), reads = stress->areas ? 19 : 23;
	struct req *req = &slot->req;

	memset(req, 0, offsetof(struct req, result));
	if (kind == 0) {
		req->op = REQ_FLUSH;
		return true;
	}
	req->op = kind <= reads ? REQ_READ : REQ_WRITE;
	if (req->op == REQ_READ) {
		uint64_t sector = random_below(driver, stress->sectors);
		uint64_t most = min_u64(stress->sectors - sector, 32);

		req->guest.byte = sector * SECTOR_SIZE;
		req->len = SECTOR_SIZE * (1 + random_below(driver, most));
	} else {
		if (stress->areas)
			draw_area_write(driver, req);
		else
			draw_change(driver, req);
		if (random_below(driver, 16) == 0 && req->op != REQ_DISCARD)
			req->flags |= REQ_FUA;
		if (random_below(driver, 2) && req->op == REQ_WRITE_ZEROES)
			req->flags |= REQ_NOUNMAP;
	}
	if (req->op != REQ_READ && owner(stress, req->guest.byte / SECTOR_SIZE) != driver->lane)
		return false;
	return !is_taken(driver, req->guest.byte / SECTOR_SIZE, req->len / SECTOR_SIZE);
}

static bool draw_read_back(struct driver *driver, struct slot *slot)
{
	uint64_t left = driver->stress->sectors - driver->cursor;
	uint64_t sectors = min_u64(left, 64);

	memset(&slot->req, 0, offsetof(struct req, result));
	slot->req.op = REQ_READ;
	slot->req.guest.byte = driver->cursor * SECTOR_SIZE;
	slot->req.len = sectors * SECTOR_SIZE;
	driver->cursor += sectors;
	return true;
}

static bool is_over(const struct driver *driver)
{
	return driver->reading_back ? driver->cursor == driver->stress->sectors : !driver->todo;
}

static struct slot *free_slot(struct driver *driver)
{
	for (unsigned i = 0; i < driver->stress->options.depth; i++)
		if (!driver->slot[i].busy)
			return &driver->slot[i];
	return NULL;
}

/* Hand in requests as long as there is room. */
static void pump(struct driver *driver)
{
	struct slot *slot;

	driver->pumping = true;
	while (!is_over(driver) && (slot = free_slot(driver)) != NULL) {
		if (!(driver->reading_back ? draw_read_back(driver, slot) : draw(driver, slot)))
			continue;
		if (driver->todo)
			driver->todo--;
		submit(slot);
	}
	driver->pumping = false;
	if (is_over(driver) && !driver->busy)
		sem_post(&driver->idle);
}

static void start_driver(void *arg)
{
	pump(arg);
}

/* --- a look at what is under way, again and again ---------------------------------------------------- */

#define LOOK_EVERY_NS 3000000
#define LOOK_ROOM 1024u

struct glance {
	struct stress *stress;
	unsigned lane;
};

static void check_live(const struct lane *lane, const struct live *live)
{
	uint64_t now = lane_now(lane);
	bool right = live->state && strlen(live->state) > 2 && live->since <= now &&
		     live->began <= now && (!live->waits_for || strlen(live->waits_for) > 1) &&
		     (!live->io || (strlen(live->io) > 1 && strlen(live->file) > 1));

	if (right)
		return;
	fprintf(stderr, "lane %u: %s in %s: a look shows nonsense\n", lane->id, live->machine,
		live->state);
	abort();
}

static void glance(void *arg)
{
	const struct glance *glance = arg;
	struct stress *stress = glance->stress;
	struct lane *lane = stress->rig.lane[glance->lane];
	static struct live live[RIG_LANES][LOOK_ROOM];
	struct live_list look = { .live = live[glance->lane], .room = LOOK_ROOM };

	lane_settle(lane);
	for (unsigned k = 0; glance->lane < stress->options.queues && k < stress->options.depth;
	     k++)
		if (stress->driver[glance->lane].slot[k].busy)
			image_look_at(stress->rig.image, &stress->driver[glance->lane].slot[k].req,
				      &look);
	image_look(stress->rig.image, lane, &look);
	for (unsigned i = 0; i < look.count; i++)
		check_live(lane, &look.live[i]);
	stress->seen += look.count;
}

static void look_around(struct stress *stress)
{
	for (unsigned i = 0; i < stress->rig.lanes; i++) {
		struct glance lane = { .stress = stress, .lane = i };

		rig_call(&stress->rig, i, glance, &lane);
	}
}

static bool is_idle_soon(struct driver *driver)
{
	struct timespec until;

	clock_gettime(CLOCK_REALTIME, &until);
	until.tv_nsec += LOOK_EVERY_NS;
	if (until.tv_nsec >= 1000000000) {
		until.tv_nsec -= 1000000000;
		until.tv_sec++;
	}
	return sem_timedwait(&driver->idle, &until) == 0;
}

/* --- the whole --------------------------------------------------------------------------------------- */

static void run_all(struct stress *stress, bool reading_back)
{
	for (unsigned i = 0; i < stress->options.queues; i++) {
		struct driver *driver = &stress->driver[i];

		driver->reading_back = reading_back;
		driver->cursor = 0;
		driver->todo = reading_back ? 0 : stress->ops / stress->options.queues;
		rig_call(&stress->rig, i, start_driver, driver);
	}
	for (unsigned i = 0; i < stress->options.queues; i++)
		while (!is_idle_soon(&stress->driver[i]))
			look_around(stress);
}

static void open_rig(struct stress *stress)
{
	struct why why;
	int err = rig_open(&stress->rig, &stress->options, &why);
	struct image_info info;

	if (err) {
		fprintf(stderr, "%s\n", why.text);
		exit(1);
	}
	info = image_info(stress->rig.image);
	stress->sectors = info.size_bytes / SECTOR_SIZE;
	stress->cluster_sectors = info.cluster_bytes / SECTOR_SIZE;
	if (stress->sectors > MAX_SECTORS) {
		fprintf(stderr, "the disk is too large for this test\n");
		exit(1);
	}
	if (stress->areas)
		stress->area_sectors =
			round_down(stress->sectors / stress->areas, (uint64_t)AREA_PIECE);
	if (stress->areas && !stress->area_sectors) {
		fprintf(stderr, "the disk is too small for so many areas\n");
		exit(1);
	}
}

static void read_content(struct stress *stress)
{
	FILE *file = fopen(stress->content_path, "re");
	size_t bytes = MAX_SECTORS * SECTOR_SIZE;

	stress->content = file ? calloc(1, bytes) : NULL;
	if (!stress->content || !fread(stress->content, 1, bytes, file)) {
		fprintf(stderr, "%s: cannot be read\n", stress->content_path);
		exit(1);
	}
	fclose(file);
}

static void close_rig(struct stress *stress)
{
	struct image_stats stats = image_stats(stress->rig.image);
	int err = rig_close(&stress->rig);

	if (err) {
		fprintf(stderr, "close: %s\n", strerror(-err));
		exit(1);
	}
	printf("%llu clusters allocated, %llu released, %llu flush runs, %llu syncs, %llu slices read\n",
	       (unsigned long long)stats.clusters_allocated,
	       (unsigned long long)stats.clusters_released, (unsigned long long)stats.flush_runs,
	       (unsigned long long)stats.syncs, (unsigned long long)stats.slice_loads);
}

static void make_drivers(struct stress *stress)
{
	stress->version = calloc(MAX_SECTORS, sizeof(*stress->version));
	stress->taken = calloc(MAX_SECTORS, 1);
	for (unsigned i = 0; i < stress->options.queues; i++) {
		struct driver *driver = &stress->driver[i];

		driver->stress = stress;
		driver->lane = i;
		driver->rng = (stress->seed * RIG_LANES + i + 1) * UINT64_C(0x9e3779b97f4a7c15);
		sem_init(&driver->idle, 0, 0);
		for (unsigned k = 0; k < stress->options.depth; k++) {
			driver->slot[k].driver = driver;
			driver->slot[k].buffer = aligned_alloc(4096, MAX_OP_BYTES);
		}
	}
}

static void free_drivers(struct stress *stress)
{
	for (unsigned i = 0; i < stress->options.queues; i++)
		for (unsigned k = 0; k < stress->options.depth; k++)
			free(stress->driver[i].slot[k].buffer);
	free(stress->version);
	free(stress->taken);
	free(stress->content);
}

static void usage(void)
{
	fprintf(stderr, "usage: native_stress IMAGE [--ops N] [--lanes N] [--depth N] [--seed N]\n"
			"              [--l2-cache BYTES] [--reserve BYTES] [--direct]\n"
			"              [--areas N] [--content RAW]\n"
			"The image's content must be zeros, or that of RAW, and is not kept.\n");
	exit(2);
}

static void parse(struct stress *stress, int argc, char **argv)
{
	static const struct option options[] = {
		{ "ops", required_argument, NULL, 'o' },
		{ "lanes", required_argument, NULL, 'l' },
		{ "depth", required_argument, NULL, 'd' },
		{ "seed", required_argument, NULL, 's' },
		{ "l2-cache", required_argument, NULL, 'c' },
		{ "reserve", required_argument, NULL, 'r' },
		{ "direct", no_argument, NULL, 'D' },
		{ "areas", required_argument, NULL, 'a' },
		{ "content", required_argument, NULL, 'C' },
		{ 0 },
	};
	int option;

	while ((option = getopt_long(argc, argv, "", options, NULL)) != -1) {
		uint64_t number = optarg && option != 'C' ? rig_number(optarg) : 0;

		switch (option) {
		case 'o':
			stress->ops = number;
			break;
		case 'l':
			stress->options.queues = (unsigned)min_u64(number, RIG_LANES - 1);
			break;
		case 'd':
			stress->options.depth = (unsigned)min_u64(number, MAX_DEPTH);
			break;
		case 's':
			stress->seed = number;
			break;
		case 'c':
			stress->options.l2_cache_bytes = number;
			break;
		case 'r':
			stress->options.reserve_bytes = number;
			break;
		case 'D':
			stress->options.direct = true;
			break;
		case 'a':
			stress->areas = (unsigned)number;
			break;
		case 'C':
			stress->content_path = optarg;
			break;
		default:
			usage();
		}
	}
	if (optind != argc - 1)
		usage();
	stress->options.path = argv[optind];
}

int main(int argc, char **argv)
{
	static struct stress stress = {
		.options = { .queues = 3, .depth = 16 },
		.ops = 100000,
		.seed = 1,
	};

	parse(&stress, argc, argv);
	if (stress.content_path)
		read_content(&stress);
	make_drivers(&stress);
	open_rig(&stress);
	run_all(&stress, false);
	run_all(&stress, true);
	close_rig(&stress);

	/* And what is in the file is the same. */
	open_rig(&stress);
	run_all(&stress, true);
	close_rig(&stress);
	free_drivers(&stress);
	if (!stress.seen) {
		fprintf(stderr, "no look has seen anything\n");
		return 1;
	}
	printf("%llu requests on %u lanes, all verified\n", (unsigned long long)stress.ops,
	       stress.options.queues);
	return 0;
}
