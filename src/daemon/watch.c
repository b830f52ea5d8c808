/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Looks: asked for, gathered, judged, and shown. */
#include "watch.h"
#include "messages.h"
#include "sight.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <unistd.h>

/* What may be under way on a lane beside its requests. */
#define OWN_ROOM 128u

/* A lane that takes longer to answer is not waited for: it is busy, or it hangs. */
#define ANSWER_NS (2 * NS_PER_S)

#define LOOKS_IN_LIMIT 4
#define LOOK_AT_LEAST_NS (5 * NS_PER_S)

/* --- on the lanes -------------------------------------------------------------------------------- */

static void look(void *arg)
{
	struct watch_lane *lane = arg;
	struct watch *watch = lane->watch;

	if (lane->id < watch->queues) {
		device_look(watch->device, lane->id, &lane->look);
	} else {
		lane_settle(&watch->service->worker.lane);
		image_look(watch->image, &watch->service->worker.lane, &lane->look);
	}
	atomic_store(&lane->asked, false);
	eventfd_write(watch->answer_fd, 1);
}

static void ask(struct watch *watch, struct watch_lane *lane, uint64_t now)
{
	lane->look.count = lane->look.missed = 0;
	lane->asked_at = now;
	atomic_store(&lane->asked, true);
	lane->call.run = look;
	lane->call.arg = lane;
	if (lane->id < watch->queues)
		device_post(watch->device, lane->id, &lane->call);
	else
		worker_post(&watch->service->worker, &lane->call);
}

/* --- judged -------------------------------------------------------------------------------------- */

/* What is the oldest that hangs?  A lane that has not answered counts as such. */
struct finding {
	uint64_t since; /* 0: nothing hangs */
	unsigned requests; /* that hang; parts of them, to be exact */
	const struct watch_lane *lane;
	const struct live *live; /* NULL: the lane itself */
};

static void consider(struct finding *finding, uint64_t since, const struct watch_lane *lane,
		     const struct live *live)
{
	if (finding->since && finding->since <= since)
		return;
	finding->since = since;
	finding->lane = lane;
	finding->live = live;
}

static void consider_lane(struct finding *finding, const struct watch_lane *lane, uint64_t before)
{
	for (unsigned i = 0; i < lane->look.count; i++) {
		const struct live *live = &lane->look.live[i];
		uint64_t since = live->began ? live->began : live->since;

		/* What waits for its turn in the engine, as the allocator, does not hang. */
		if (!since || since > before || (!live->req && !live->io))
			continue;
		finding->requests += live->tag >= 0;
		consider(finding, since, lane, live);
	}
}

static struct finding judge(const struct watch *watch, uint64_t now)
{
	uint64_t before = now > watch->limit_ns ? now - watch->limit_ns : 0;
	struct finding finding = { 0 };

	for (unsigned i = 0; watch->limit_ns && i < watch->lanes; i++) {
		const struct watch_lane *lane = &watch->lane[i];

		if (!atomic_load(&lane->asked))
			consider_lane(&finding, lane, before);
		else if (lane->asked_at <= before)
			consider(&finding, lane->asked_at, lane, NULL);
	}
	return finding;
}

static struct sight_place place_of(const struct watch *watch, const struct watch_lane *lane)
{
	return (struct sight_place){
		.device = device_name(watch->device),
		.queue = lane->id < watch->queues ? (int)lane->id : SIGHT_SERVICE,
	};
}

static void report(struct watch *watch, const struct finding *finding, uint64_t now)
{
	struct sight_place place = place_of(watch, finding->lane);

	watch->reported_ns = now - finding->since;
	log_event(
		MESSAGE_HANGS,
		"%s: the storage below the image does not answer: %u requests have been waiting for "
		"more than %" PRIu64 " s, the oldest for %" PRIu64
		" s; qcow2-ublkd stop --force does not wait for them",
		place.device, finding->requests, watch->limit_ns / NS_PER_S,
		watch->reported_ns / NS_PER_S);
	if (finding->live)
		sight_log(LOG_WARN, &place, finding->live, now);
	else
		sight_log_silent(LOG_WARN, &place, watch->reported_ns);
}

/* Once, and again whenever it has taken twice as long. */
static void conclude(struct watch *watch, uint64_t now)
{
	struct finding finding = judge(watch, now);

	if (finding.since && (!watch->hung_since || now - finding.since >= 2 * watch->reported_ns))
		report(watch, &finding, now);
	else if (!finding.since && watch->hung_since)
		log_event(MESSAGE_HUNG,
			  "%s: what hung has been answered, after up to %" PRIu64 " s",
			  device_name(watch->device), (now - watch->hung_since) / NS_PER_S);
	watch->hung_since = finding.since;
}

/* --- shown --------------------------------------------------------------------------------------- */

static void show_lane(const struct watch *watch, const struct watch_lane *lane, uint64_t now)
{
	struct sight_place place = place_of(watch, lane);

	if (atomic_load(&lane->asked)) {
		sight_log_silent(LOG_INFO, &place, now - lane->asked_at);
		return;
	}
	for (unsigned i = 0; i < lane->look.count; i++)
		sight_log(LOG_INFO, &place, &lane->look.live[i], now);
	if (lane->look.missed)
		log_info("%s: and %u more", place.device, lane->look.missed);
}

static void show(const struct watch *watch, uint64_t now)
{
	unsigned count = 0;

	for (unsigned i = 0; i < watch->lanes; i++) {
		show_lane(watch, &watch->lane[i], now);
		count += atomic_load(&watch->lane[i].asked) ? 0 : watch->lane[i].look.count;
	}
	log_info("%s: %u under way", device_name(watch->device), count);
}

/* --- turns --------------------------------------------------------------------------------------- */

static bool all_answered(const struct watch *watch)
{
	for (unsigned i = 0; i < watch->lanes; i++)
		if (atomic_load(&watch->lane[i].asked))
			return false;
	return true;
}

static void ask_all(struct watch *watch, uint64_t now)
{
	watch->show = watch->show_next;
	watch->show_next = false;
	watch->deadline_ns = now + ANSWER_NS;
	for (unsigned i = 0; i < watch->lanes; i++)
		if (!atomic_load(&watch->lane[i].asked))
			ask(watch, &watch->lane[i], now);
}

static uint64_t interval_ns(const struct watch *watch)
{
	return min_u64(watch->limit_ns / LOOKS_IN_LIMIT, LOOK_AT_LEAST_NS);
}

void watch_turn(struct watch *watch)
{
	uint64_t now = monotonic_ns();
	eventfd_t ignored;

	if (!watch->lane)
		return;
	eventfd_read(watch->answer_fd, &ignored);
	if (watch->deadline_ns && (all_answered(watch) || now >= watch->deadline_ns)) {
		conclude(watch, now);
		if (watch->show)
			show(watch, now);
		watch->deadline_ns = 0;
		watch->next_ns = now + interval_ns(watch);
	}
	if (!watch->deadline_ns && (watch->show_next || (watch->limit_ns && now >= watch->next_ns)))
		ask_all(watch, now);
}

int watch_fd(const struct watch *watch, int *timeout_ms)
{
	uint64_t now = monotonic_ns(), at = watch->deadline_ns;

	if (!watch->lane)
		return -1;
	if (!at)
		at = watch->show_next ? now : watch->limit_ns ? watch->next_ns : 0;
	if (!at)
		return watch->answer_fd;
	/* Rounded up, or else the last millisecond would be spent on turns. */
	timeout_lower(timeout_ms, at > now ? (int64_t)div_round_up(at - now, NS_PER_MS) : 0);
	return watch->answer_fd;
}

void watch_show(struct watch *watch)
{
	watch->show_next = true;
}

uint64_t watch_hung_s(const struct watch *watch)
{
	return watch->hung_since ? max_u64((monotonic_ns() - watch->hung_since) / NS_PER_S, 1) : 0;
}

/* --- life ---------------------------------------------------------------------------------------- */

static bool make_lanes(struct watch *watch, unsigned room)
{
	watch->lane = calloc(watch->lanes, sizeof(*watch->lane));
	for (unsigned i = 0; watch->lane && i < watch->lanes; i++) {
		struct watch_lane *lane = &watch->lane[i];

		lane->watch = watch;
		lane->id = i;
		lane->look.room = room;
		/* Resident is what was seen at a time. */
		lane->look.live = sparse_map(room * sizeof(*lane->look.live));
		if (!lane->look.live)
			return false;
	}
	return watch->lane;
}

void watch_begin(struct watch *watch, struct device *device, struct image *image,
		 struct service *service, uint64_t limit_s)
{
	*watch = (struct watch){
		.device = device,
		.image = image,
		.service = service,
		.queues = device_lanes(device),
		.lanes = device_lanes(device) + 1,
		.limit_ns = limit_s * NS_PER_S,
		.answer_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK),
	};
	watch->next_ns = monotonic_ns() + interval_ns(watch);
	if (watch->answer_fd >= 0 && make_lanes(watch, 2 * device_depth(device) + OWN_ROOM))
		return;
	log_warn("%s: no memory to look at what is under way: --io-timeout has no effect",
		 device_name(device));
	watch_end(watch);
}

void watch_end(struct watch *watch)
{
	for (unsigned i = 0; watch->lane && i < watch->lanes; i++) {
		struct live_list *look = &watch->lane[i].look;

		if (look->live)
			munmap(look->live, look->room * sizeof(*look->live));
	}
	free(watch->lane);
	watch->lane = NULL;
	if (watch->answer_fd > 0)
		close(watch->answer_fd);
	watch->answer_fd = -1;
}
