/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Reports as metrics, and the difference of two reports. */
#include "metrics.h"
#include "rates.h"

#include "check.h"

#include <stdlib.h>

static struct report parsed(const char *text)
{
	struct report report;

	CHECK_EQ(report_parse(&report, strdup(text)), 0);
	return report;
}

static char *metrics_of(const char *text)
{
	struct report report = parsed(text);
	char *printed = NULL;
	size_t len;
	FILE *out = open_memstream(&printed, &len);

	metrics_print(&report, 1, out);
	fclose(out);
	report_free(&report);
	return printed;
}

#define VM "name \"vm\"\ndevice \"/dev/ublkb0\"\n"
#define LABELS "name=\"vm\",device=\"/dev/ublkb0\""

static void test_metrics(void)
{
	check_case("numbers and texts as metrics");

	char *text = metrics_of(VM "state \"serving\"\nimage \"/a\\\\b \\\"c\\\"\"\n"
				   "queues.0.requests.read 7\nqueues.0.failed 1\n"
				   "queues.12.requests.write-zeroes 18446744073709551615\n"
				   "epoch-wait-nanoseconds 1500000000\n");

	CHECK(strstr(text, "\nqcow2_ublkd_requests_total{" LABELS
			   ",queue=\"0\",operation=\"read\"} 7\n"));
	CHECK(strstr(text, "{" LABELS ",queue=\"12\",operation=\"write-zeroes\"} "
			   "18446744073709551615\n"));
	CHECK(strstr(text, "\nqcow2_ublkd_request_errors_total{" LABELS ",queue=\"0\"} 1\n"));
	CHECK(strstr(text, "\nqcow2_ublkd_state{" LABELS ",state=\"serving\"} 1\n"));
	CHECK(strstr(text, ",path=\"/a\\\\b \\\"c\\\"\"} 1\n"));
	CHECK(strstr(text, "\nqcow2_ublkd_epoch_wait_seconds{" LABELS "} 1.5\n"));
	CHECK(strstr(text, "# TYPE qcow2_ublkd_requests_total counter\n"));
	CHECK(!strstr(text, "qcow2_ublkd_uptime_seconds{"));
	free(text);
}

static void test_histograms(void)
{
	check_case("a histogram counts up");

	char *text = metrics_of(VM "latency.read.l2-miss.count 6\n"
				   "latency.read.l2-miss.nanoseconds 2500\n"
				   "latency.read.l2-miss.buckets [1,2,3]\n");
	const char *at;

#define READ "{" LABELS ",operation=\"read\",cause=\"l2-miss\""
	at = strstr(text, "qcow2_ublkd_request_duration_seconds_sum" READ "} 2.5e-06\n");
	CHECK(at);
	CHECK(at &&
	      strstr(at, "_seconds_bucket" READ ",le=\"1.024e-06\"} 1\n"
			 "qcow2_ublkd_request_duration_seconds_bucket" READ ",le=\"2.048e-06\"} 3\n"
			 "qcow2_ublkd_request_duration_seconds_bucket" READ ",le=\"+Inf\"} 6\n"
			 "qcow2_ublkd_request_duration_seconds_count" READ "} 6\n"));
	free(text);
}

static void test_rates(void)
{
	check_case("rates between two reports");

	struct report before = parsed("requests.read 100\nlatency.read.hit.buckets [90,10,0,0]\n"
				      "cache.slices-loaded 5\nbytes.read 0\n");
	struct report after = parsed("requests.read 300\nlatency.read.hit.buckets [140,10,0,0]\n"
				     "latency.read.cow.buckets [0,0,149,1]\n"
				     "cache.slices-loaded 25\nbytes.read 8192\n"
				     "cache.slices-dirty 3\n");
	struct rates rates = rates_between(&before, &after, 2);

	CHECK_EQ((uint64_t)rates.reads, 100);
	CHECK_EQ((uint64_t)rates.read_bytes, 4096);
	CHECK_EQ((uint64_t)rates.writes, 0);
	CHECK_EQ((uint64_t)rates.read_ns[0], 4096);
	CHECK_EQ((uint64_t)rates.read_ns[1], 4096);
	CHECK_EQ((uint64_t)rates.write_ns[1], 0);
	CHECK_EQ((uint64_t)(rates.hit_share * 1000 + 0.5), 900);
	CHECK_EQ(rates.slices_dirty, 3);
	rates = rates_between(&after, &before, 2);
	CHECK_EQ((uint64_t)rates.reads, 0);
	CHECK_EQ((uint64_t)rates.read_ns[1], 0);
	report_free(&before);
	report_free(&after);
}

int main(void)
{
	test_metrics();
	test_histograms();
	test_rates();
	return check_end();
}
