/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The report of a daemon about itself.  Counters are read while they change: each of them is
 * exact, but they are of no common moment.
 */
#include "status.h"
#include "report.h"

#include <inttypes.h>
#include <stdarg.h>
#include <unistd.h>

static const char *const op_key[REQ_OPS] = {
	[REQ_READ] = "read",
	[REQ_WRITE] = "write",
	[REQ_FLUSH] = "flush",
	[REQ_DISCARD] = "discard",
	[REQ_WRITE_ZEROES] = "write-zeroes",
};

static const char *const cause_key[CAUSES] = {
	[CAUSE_HIT] = "hit",	       [CAUSE_MISS] = "l2-miss", [CAUSE_UNPACK] = "decompress",
	[CAUSE_ALLOCATE] = "allocate", [CAUSE_COPY] = "cow",	 [CAUSE_FLUSH] = "flush",
};

static const char *state_of(const struct status *status)
{
	switch (image_health(status->image)) {
	case IMAGE_BROKEN:
		return "broken";
	case IMAGE_CORRUPT:
		return "corrupt";
	case IMAGE_SOUND:
		break;
	}
	return status->stopping ? "stopping" : "serving";
}

__attribute__((format(printf, 3, 4))) static void write_number(FILE *out, uint64_t value,
							       const char *key, ...)
{
	va_list args;

	va_start(args, key);
	vfprintf(out, key, args);
	va_end(args);
	fprintf(out, " %" PRIu64 "\n", value);
}

static void write_facts(const struct status *status, FILE *out)
{
	struct device_facts device = device_facts(status->device);
	struct image_info image = image_info(status->image);

	report_text(out, "name", status->name);
	report_text(out, "device", device_name(status->device));
	report_text(out, "state", state_of(status));
	report_text(out, "image", status->image_path);
	report_number(out, "pid", (uint64_t)getpid());
	report_text(out, "version", VERSION);
	report_number(out, "uptime-seconds", status->uptime_s);
	report_flag(out, "read-only", image.read_only);
	report_number(out, "virtual-size", image.size_bytes);
	report_number(out, "cluster-size", image.cluster_bytes);
	report_number(out, "layers", image.layers);
	report_number(out, "queue-count", device.queues);
	report_number(out, "depth", device.depth);
	report_flag(out, "zero-copy", device.zero_copy);
	report_flag(out, "recoverable", device.recoverable);
}

/* --- requests ------------------------------------------------------------------------------------ */

static void write_queues(const struct device *device, struct device_traffic *sum, FILE *out)
{
	unsigned queues = device_facts(device).queues;

	for (unsigned q = 0; q < queues; q++) {
		struct device_traffic own = { 0 };

		device_traffic(device, q, &own);
		device_traffic(device, q, sum);
		for (unsigned op = 0; op < REQ_OPS; op++)
			write_number(out, own.requests[op], "queues.%u.requests.%s", q, op_key[op]);
		for (unsigned op = 0; op < REQ_OPS; op++)
			write_number(out, own.bytes[op], "queues.%u.bytes.%s", q, op_key[op]);
		write_number(out, own.failed, "queues.%u.failed", q);
	}
}

static void write_requests(const struct device_traffic *traffic, FILE *out)
{
	for (unsigned op = 0; op < REQ_OPS; op++)
		write_number(out, traffic->requests[op], "requests.%s", op_key[op]);
	for (unsigned op = 0; op < REQ_OPS; op++)
		write_number(out, traffic->bytes[op], "bytes.%s", op_key[op]);
	report_number(out, "failed", traffic->failed);
}

/* --- how long they take -------------------------------------------------------------------------- */

static uint64_t total(const struct histogram *histogram)
{
	uint64_t sum = 0;

	for (unsigned i = 0; i < STATS_BUCKETS; i++)
		sum += histogram->count[i];
	return sum;
}

/* Under "@group.@first[.@second]"; what never happened is left out. */
static void write_histogram(const struct histogram *histogram, const char *path, FILE *out)
{
	uint64_t count = total(histogram);

	if (!count)
		return;
	write_number(out, count, "%s.count", path);
	write_number(out, histogram->ns, "%s.nanoseconds", path);
	fprintf(out, "%s.buckets [", path);
	for (unsigned i = 0; i < STATS_BUCKETS; i++)
		fprintf(out, "%s%" PRIu64, i ? "," : "", histogram->count[i]);
	fprintf(out, "]\n");
}

static void write_latencies(const struct image_traffic *traffic, FILE *out)
{
	char path[64];

	for (unsigned op = 0; op < REQ_OPS; op++) {
		for (unsigned cause = 0; cause < CAUSES; cause++) {
			snprintf(path, sizeof(path), "latency.%s.%s", op_key[op], cause_key[cause]);
			write_histogram(&traffic->request[op][cause], path, out);
		}
	}
}

static void write_host(const struct image_traffic *traffic, FILE *out)
{
	char path[64];

	for (unsigned op = 0; op < IO_HOST_OPS; op++) {
		write_number(out, total(&traffic->host[op]), "host.%s.ios", io_name(op));
		write_number(out, traffic->host_bytes[op], "host.%s.bytes", io_name(op));
		snprintf(path, sizeof(path), "host.%s.latency", io_name(op));
		write_histogram(&traffic->host[op], path, out);
	}
}

/* --- the image ----------------------------------------------------------------------------------- */

static void write_image(const struct image_stats *stats, const struct image_dirt *dirt, FILE *out)
{
	uint64_t stock = stats->clusters_reserved - stats->clusters_taken;
	uint64_t quarantined = stats->clusters_dropped - stats->clusters_released;

	report_number(out, "cache.slices-loaded", stats->slice_loads);
	report_number(out, "cache.slices-written", stats->slice_writes);
	report_number(out, "cache.slices-dirty", dirt->slices);
	report_number(out, "cache.slices-dirty-max", dirt->slices_max);
	report_number(out, "flush.runs", stats->flush_runs);
	report_number(out, "flush.syncs", stats->syncs);
	report_number(out, "clusters.allocated", stats->clusters_allocated);
	report_number(out, "clusters.released", stats->clusters_released);
	report_number(out, "clusters.decompressed", stats->clusters_unpacked);
	/* The counters are of no common moment: what is taken in between must not show as a flood. */
	report_number(out, "clusters.reserved", (int64_t)stock > 0 ? stock : 0);
	report_number(out, "clusters.quarantined", (int64_t)quarantined > 0 ? quarantined : 0);
	report_number(out, "clusters.refills", stats->refills);
	report_number(out, "epoch-wait-nanoseconds", stats->epoch_ns);
}

void status_write(const struct status *status, FILE *out)
{
	struct image_stats stats = image_stats(status->image);
	struct image_dirt dirt = image_dirt(status->image);
	unsigned lanes = device_lanes(status->device) + 1; /* and the service lane */
	struct device_traffic requests = { 0 };
	struct image_traffic traffic = { 0 };

	for (unsigned lane = 0; lane < lanes; lane++)
		image_traffic(status->image, lane, &traffic);
	write_facts(status, out);
	write_queues(status->device, &requests, out);
	write_requests(&requests, out);
	write_latencies(&traffic, out);
	write_host(&traffic, out);
	write_image(&stats, &dirt, out);
}
