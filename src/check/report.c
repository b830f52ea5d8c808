/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What a check has found, in words and as JSON. */
#include "checker.h"
#include "json.h"

#include <inttypes.h>

static double percent(uint64_t part, uint64_t whole)
{
	return whole ? 100.0 * (double)part / (double)whole : 0;
}

static void print_findings(const struct check_result *result, FILE *out)
{
	if (!(result->check_errors | result->corruptions | result->leaks))
		fprintf(out, "No errors were found on the image.\n");
	if (result->corruptions)
		fprintf(out,
			"\n%" PRIu64 " errors were found on the image.\n"
			"Data may be corrupted, or further writes to the image may corrupt it.\n",
			result->corruptions);
	if (result->leaks)
		fprintf(out,
			"\n%" PRIu64 " leaked clusters were found on the image.\n"
			"This means waste of disk space, but no harm to data.\n",
			result->leaks);
	if (result->check_errors)
		fprintf(out, "\n%" PRIu64 " internal errors have occurred during the check.\n",
			result->check_errors);
}

void check_print(const struct check_result *result, FILE *out)
{
	if (result->corruptions_fixed | result->leaks_fixed)
		fprintf(out,
			"The following inconsistencies were found and repaired:\n\n"
			"    %" PRIu64 " leaked clusters\n    %" PRIu64 " corruptions\n\n",
			result->leaks_fixed, result->corruptions_fixed);
	print_findings(result, out);
	if (result->total_clusters)
		fprintf(out,
			"%" PRIu64 "/%" PRIu64 " = %.2f%% allocated, %.2f%% fragmented, "
			"%.2f%% compressed clusters\n",
			result->allocated_clusters, result->total_clusters,
			percent(result->allocated_clusters, result->total_clusters),
			percent(result->fragmented_clusters, result->allocated_clusters),
			percent(result->compressed_clusters, result->allocated_clusters));
	fprintf(out, "Image end offset: %" PRIu64 "\n", result->image_end_bytes);
}

void check_print_json(const struct check_result *result, const char *name, FILE *out)
{
	const struct {
		const char *key;
		uint64_t value;
	} rows[] = {
		{ "image-end-offset", result->image_end_bytes },
		{ "total-clusters", result->total_clusters },
		{ "allocated-clusters", result->allocated_clusters },
		{ "fragmented-clusters", result->fragmented_clusters },
		{ "compressed-clusters", result->compressed_clusters },
		{ "check-errors", result->check_errors },
		{ "corruptions", result->corruptions },
		{ "leaks", result->leaks },
		{ "corruptions-fixed", result->corruptions_fixed },
		{ "leaks-fixed", result->leaks_fixed },
	};

	fprintf(out, "{\n");
	for (size_t i = 0; i < ARRAY_SIZE(rows); i++)
		fprintf(out, "    \"%s\": %" PRIu64 ",\n", rows[i].key, rows[i].value);
	fprintf(out, "    \"filename\": ");
	json_string(out, name, strlen(name));
	fprintf(out, ",\n    \"format\": \"qcow2\"\n}\n");
}
