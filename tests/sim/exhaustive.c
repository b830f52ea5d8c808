/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * All short histories: every sequence of a few small requests, on images of many kinds, with a look
 * at every state that a power cut after each host I/O may leave.
 */
#include "play.h"

#include <getopt.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define MAX_JOBS 64u

static struct stage stage;
static struct play play;
static struct cuts cuts = { .limit = 12, .reopen_every = 5000 };

/* What the command line asks for, and what is done of it. */
struct campaign {
	unsigned length;
	unsigned jobs;
	uint64_t first; /* history, in the order of playing */
	uint64_t step; /* every so many-th */
	unsigned image; /* only histories on this kind; history_kinds(): on all */
	uint64_t seconds; /* budget; 0: none */
	uint64_t seed; /* of images */
	struct {
		_Atomic uint64_t played;
		_Atomic uint64_t states;
		_Atomic uint64_t reopened;
	} * tally;
};

/* --- all of them ------------------------------------------------------------------------------------ */

static uint64_t now_ms(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (uint64_t)ts.tv_sec * 1000 + (uint64_t)ts.tv_nsec / 1000000;
}

/* Of those asked for; a history's kind is its number's last digit. */
static uint64_t count_all(const struct campaign *campaign)
{
	uint64_t count = histories(campaign->length);

	return campaign->image < history_kinds() ? count / history_kinds() : count;
}

/* Scattered, so that the first few are a fair sample of all: the count has no such prime factor. */
static uint64_t number_of(const struct campaign *campaign, uint64_t nth)
{
	uint64_t count = count_all(campaign);
	uint64_t scattered = (uint64_t)((unsigned __int128)nth * 1000003 % count);

	if (campaign->image < history_kinds())
		return scattered * history_kinds() + campaign->image;
	return scattered;
}

static void play_share(const struct campaign *campaign, unsigned share, uint64_t until)
{
	uint64_t count = count_all(campaign);

	stage_init(&stage);
	for (uint64_t nth = campaign->first + share * campaign->step; nth < count;
	     nth += campaign->jobs * campaign->step) {
		if (until && now_ms() >= until)
			break;
		play = (struct play){ .seed = campaign->seed };
		play.history = history_decode(number_of(campaign, nth), campaign->length);
		play_history(&stage, &play, &cuts);
		campaign->tally[share].played++;
		campaign->tally[share].states = cuts.states;
		campaign->tally[share].reopened = cuts.reopened;
	}
}

static void sum_up(const struct campaign *campaign, uint64_t milliseconds)
{
	uint64_t played = 0, states = 0, reopened = 0;
	double seconds = (double)milliseconds / 1000 + 0.001;

	for (unsigned i = 0; i < campaign->jobs; i++) {
		played += campaign->tally[i].played;
		states += campaign->tally[i].states;
		reopened += campaign->tally[i].reopened;
	}
	printf("%" PRIu64 " of %" PRIu64 " histories of %u requests, %" PRIu64
	       " states of the disk (%.0f/s), %" PRIu64 " of them opened and used, %.1f s\n",
	       played, count_all(campaign), campaign->length, states, (double)states / seconds,
	       reopened, seconds);
}

static int run(struct campaign *campaign)
{
	uint64_t started = now_ms();
	uint64_t until = campaign->seconds ? started + campaign->seconds * 1000 : 0;
	int failed = 0, status;

	campaign->tally = mmap(NULL, MAX_JOBS * sizeof(*campaign->tally), PROT_READ | PROT_WRITE,
			       MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	must(campaign->tally != MAP_FAILED);
	for (unsigned i = 0; i < campaign->jobs; i++) {
		fflush(stdout);
		if (fork() == 0) {
			play_share(campaign, i, until);
			_exit(0);
		}
	}
	while (wait(&status) > 0)
		failed |= status;
	sum_up(campaign, now_ms() - started);
	return failed ? 1 : 0;
}

static _Noreturn void usage(void)
{
	fprintf(stderr,
		"usage: exhaustive [OPTION...]\n"
		"  --length N   requests of a history, 1 to %u (2)\n"
		"  --pieces N   all subsets of up to so many unsynced sectors, of more a sample (12)\n"
		"  --every N    every Nth history only (1)\n"
		"  --first N    begin with the Nth (0)\n"
		"  --image N    on one kind of image only, of %u, from 0 on\n"
		"  --seconds N  end after so long\n"
		"  --reopen N   open every Nth state of the disk, use it, close it (5000; 0: none)\n"
		"  --seed N     of the images' contents (1)\n"
		"  --jobs N     processes (as many as there are processors)\n",
		HISTORY_LENGTH, history_kinds());
	exit(2);
}

static void parse_one(struct campaign *campaign, int option, uint64_t number)
{
	switch (option) {
	case 'l':
		campaign->length = (unsigned)number;
		break;
	case 'p':
		cuts.limit = (unsigned)number;
		break;
	case 'e':
		campaign->step = number;
		break;
	case 'f':
		campaign->first = number;
		break;
	case 'i':
		campaign->image = (unsigned)number;
		break;
	case 's':
		campaign->seconds = number;
		break;
	case 'r':
		cuts.reopen_every = number;
		break;
	case 'S':
		campaign->seed = number;
		break;
	case 'j':
		campaign->jobs = (unsigned)number;
		break;
	default:
		usage();
	}
}

static void parse(struct campaign *campaign, int argc, char **argv)
{
	static const struct option options[] = {
		{ "length", required_argument, NULL, 'l' },
		{ "pieces", required_argument, NULL, 'p' },
		{ "every", required_argument, NULL, 'e' },
		{ "first", required_argument, NULL, 'f' },
		{ "image", required_argument, NULL, 'i' },
		{ "seconds", required_argument, NULL, 's' },
		{ "reopen", required_argument, NULL, 'r' },
		{ "seed", required_argument, NULL, 'S' },
		{ "jobs", required_argument, NULL, 'j' },
		{ 0 },
	};
	int option;

	while ((option = getopt_long(argc, argv, "", options, NULL)) != -1)
		parse_one(campaign, option, optarg ? strtoull(optarg, NULL, 0) : 0);
	if (optind < argc || campaign->length < 1 || campaign->length > HISTORY_LENGTH ||
	    campaign->jobs < 1 || campaign->jobs > MAX_JOBS || !campaign->step ||
	    cuts.limit > CUTS_LIMIT_MOST)
		usage();
}

static void report(void)
{
	history_print(&play.history);
}

int main(int argc, char **argv)
{
	long processors = sysconf(_SC_NPROCESSORS_ONLN);
	struct campaign campaign = {
		.length = 2,
		.jobs = processors > 0 ? (unsigned)processors : 1,
		.step = 1,
		.seed = 1,
		.image = history_kinds(),
	};

	stage_report = report;
	parse(&campaign, argc, argv);
	return run(&campaign);
}
