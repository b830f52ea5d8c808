/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Metrics, by table: which keys of a report belong to one, and which of their words are labels.
 *
 * A pattern is a key in which `*` stands for any one word: the first of them becomes the first
 * label, and so on.
 */
#include "metrics.h"

#include <inttypes.h>
#include <stdlib.h>

#define PREFIX "qcow2_ublkd_"
#define FIRST_BUCKET_SECONDS 1024e-9

enum shape {
	COUNTER,
	GAUGE,
	SECONDS, /* a gauge whose key is in nanoseconds */
	TEXT_INFO, /* 1, and what the key says is a label */
	HISTOGRAM, /* of PATTERN.count, .nanoseconds and .buckets */
};

struct metric {
	const char *name;
	const char *help;
	enum shape shape;
	const char *pattern;
	const char *label[2]; /* for each `*`; of TEXT_INFO: for the key's text */
};

static const struct metric metrics[] = {
	{ "state", "State of the device: 1 for the one it is in", TEXT_INFO, "state", { "state" } },
	{ "image_info", "Path of the image", TEXT_INFO, "image", { "path" } },
	{ "version_info", "Version of the daemon", TEXT_INFO, "version", { "version" } },
	{ "uptime_seconds", "Time since the daemon began", GAUGE, "uptime-seconds", { 0 } },
	{ "disk_size_bytes", "Size of the disk", GAUGE, "virtual-size", { 0 } },
	{ "requests_total",
	  "Requests answered",
	  COUNTER,
	  "queues.*.requests.*",
	  { "queue", "operation" } },
	{ "request_bytes_total",
	  "Bytes of the requests answered",
	  COUNTER,
	  "queues.*.bytes.*",
	  { "queue", "operation" } },
	{ "request_errors_total", "Requests that failed", COUNTER, "queues.*.failed", { "queue" } },
	{ "request_duration_seconds",
	  "How long requests took, by what they met",
	  HISTOGRAM,
	  "latency.*.*",
	  { "operation", "cause" } },
	{ "host_ios_total", "I/O on the host's files", COUNTER, "host.*.ios", { "operation" } },
	{ "host_bytes_total", "Bytes of it", COUNTER, "host.*.bytes", { "operation" } },
	{ "host_io_duration_seconds",
	  "How long it took",
	  HISTOGRAM,
	  "host.*.latency",
	  { "operation" } },
	{ "l2_slices_loaded_total",
	  "Pieces of mapping tables read",
	  COUNTER,
	  "cache.slices-loaded",
	  { 0 } },
	{ "l2_slices_written_total",
	  "Pieces of mapping tables written",
	  COUNTER,
	  "cache.slices-written",
	  { 0 } },
	{ "l2_slices_dirty",
	  "Pieces of mapping tables that are not written yet",
	  GAUGE,
	  "cache.slices-dirty",
	  { 0 } },
	{ "l2_slices_dirty_max", "So many of them at most", GAUGE, "cache.slices-dirty-max", { 0 } },
	{ "flushes_total", "Flushes of the image", COUNTER, "flush.runs", { 0 } },
	{ "syncs_total", "Syncs of the host's files by them", COUNTER, "flush.syncs", { 0 } },
	{ "clusters_allocated_total", "Clusters allocated", COUNTER, "clusters.allocated", { 0 } },
	{ "clusters_released_total", "Clusters given up", COUNTER, "clusters.released", { 0 } },
	{ "clusters_decompressed_total",
	  "Clusters decompressed",
	  COUNTER,
	  "clusters.decompressed",
	  { 0 } },
	{ "clusters_reserved",
	  "Free clusters in stock for allocations",
	  GAUGE,
	  "clusters.reserved",
	  { 0 } },
	{ "clusters_quarantined",
	  "Clusters given up that must not be used again yet",
	  GAUGE,
	  "clusters.quarantined",
	  { 0 } },
	{ "epoch_wait_seconds",
	  "How long clusters have been waiting for requests that may use them",
	  SECONDS,
	  "epoch-wait-nanoseconds",
	  { 0 } },
};

/* --- keys ---------------------------------------------------------------------------------------- */

struct word {
	const char *text;
	int len;
};

/* Does @key begin with @pattern?  Then *@rest is what is behind it, and @word what the stars are. */
static bool matches(const char *key, const char *pattern, struct word word[2], const char **rest)
{
	unsigned words = 0;

	while (*pattern) {
		if (*pattern == '*') {
			int len = (int)strcspn(key, ".");

			word[words++] = (struct word){ key, len };
			key += len;
			pattern++;
		} else if (*pattern++ != *key++) {
			return false;
		}
	}
	*rest = key;
	return *key == '\0' || *key == '.';
}

/* A label's text between quotes: a backslash, a quote and a newline need one more backslash. */
static void print_escaped(const char *text, FILE *out)
{
	for (; *text; text++) {
		if (*text == '\\' || *text == '"')
			fputc('\\', out);
		if (*text == '\n')
			fputs("\\n", out);
		else
			fputc(*text, out);
	}
}

/* --- samples ------------------------------------------------------------------------------------- */

/* Everything but the value. */
static void begin(const struct metric *metric, const char *ending, const struct report *report,
		  const struct word *word, FILE *out)
{
	char text[4096];

	fprintf(out, PREFIX "%s%s{name=\"", metric->name, ending);
	print_escaped(report_get_text(report, "name", text, sizeof(text)), out);
	fprintf(out, "\",device=\"");
	print_escaped(report_get_text(report, "device", text, sizeof(text)), out);
	fputc('"', out);
	if (metric->shape == TEXT_INFO) {
		fprintf(out, ",%s=\"", metric->label[0]);
		print_escaped(report_get_text(report, metric->pattern, text, sizeof(text)), out);
		fputc('"', out);
		return;
	}
	for (unsigned i = 0; i < 2 && metric->label[i]; i++)
		fprintf(out, ",%s=\"%.*s\"", metric->label[i], word[i].len, word[i].text);
}

static void print_value(const struct metric *metric, const struct report *report,
			const struct word *word, const char *value, FILE *out)
{
	begin(metric, "", report, word, out);
	if (metric->shape == TEXT_INFO)
		fprintf(out, "} 1\n");
	else if (metric->shape == SECONDS)
		fprintf(out, "} %.9g\n", (double)strtoull(value, NULL, 10) * 1e-9);
	else
		fprintf(out, "} %s\n", value);
}

/* @value: the list of counts. */
static void print_buckets(const struct metric *metric, const struct report *report,
			  const struct word *word, const char *value, FILE *out)
{
	double limit = FIRST_BUCKET_SECONDS;
	uint64_t sum = 0;
	char *end;

	for (const char *at = value + 1; *at && *at != ']'; at = *end == ',' ? end + 1 : end) {
		sum += strtoull(at, &end, 10);
		if (end == at)
			return;
		begin(metric, "_bucket", report, word, out);
		if (*end == ',')
			fprintf(out, ",le=\"%.6g\"} %" PRIu64 "\n", limit, sum);
		else
			fprintf(out, ",le=\"+Inf\"} %" PRIu64 "\n", sum);
		limit *= 2;
	}
	begin(metric, "_count", report, word, out);
	fprintf(out, "} %" PRIu64 "\n", sum);
}

static void print_histogram(const struct metric *metric, const struct report *report,
			    const struct word *word, const char *rest, const char *value, FILE *out)
{
	if (strcmp(rest, ".nanoseconds") == 0) {
		begin(metric, "_sum", report, word, out);
		fprintf(out, "} %.9g\n", (double)strtoull(value, NULL, 10) * 1e-9);
	} else if (strcmp(rest, ".buckets") == 0) {
		print_buckets(metric, report, word, value, out);
	}
}

static void print_samples(const struct metric *metric, const struct report *report, FILE *out)
{
	for (size_t i = 0; i < report->lines; i++) {
		const struct report_line *line = &report->line[i];
		struct word word[2];
		const char *rest;

		if (!matches(line->key, metric->pattern, word, &rest))
			continue;
		if (metric->shape == HISTOGRAM)
			print_histogram(metric, report, word, rest, line->value, out);
		else if (*rest == '\0')
			print_value(metric, report, word, line->value, out);
	}
}

void metrics_print(const struct report *reports, size_t count, FILE *out)
{
	static const char *const type[] = {
		[COUNTER] = "counter", [GAUGE] = "gauge",	  [SECONDS] = "gauge",
		[TEXT_INFO] = "gauge", [HISTOGRAM] = "histogram",
	};

	for (size_t m = 0; m < ARRAY_SIZE(metrics); m++) {
		const struct metric *metric = &metrics[m];

		fprintf(out, "# HELP " PREFIX "%s %s.\n# TYPE " PREFIX "%s %s\n", metric->name,
			metric->help, metric->name, type[metric->shape]);
		for (size_t r = 0; r < count; r++)
			print_samples(metric, &reports[r], out);
	}
}
