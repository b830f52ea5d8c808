/* SPDX-License-Identifier: GPL-2.0-or-later */
/* One io in flight: what it says, what it may not say, what it does to the file. */
#ifndef FLIGHT_H
#define FLIGHT_H

#include "ring.h"

const char *flight_name(const struct flight *flight);

/* Its memory, whether it was named by address or by the number of a buffer. */
uint8_t *flight_memory(const struct sim_host *host, const struct flight *flight);

/* Where a fetch has its bytes from; fails when they are not there. */
const uint8_t *flight_source(const struct sim_host *host, const struct flight *flight);

/* Does its memory belong to a request, not to the engine? */
bool flight_is_guest(const struct sim_host *host, const struct flight *flight);

/* A write, a punch or a truncate. */
bool flight_changes_file(const struct flight *flight);

/* Of the file range that it touches. */
uint64_t flight_end(const struct flight *flight);

/* What the first @len bytes of it do to the file. */
struct hostop *flight_op(const struct sim_host *host, const struct flight *flight, uint64_t len);

/* Do the first @len bytes of it to the file, now. */
void flight_do(struct sim_host *host, struct flight *flight, uint64_t len);

/* Do some sectors of a write, now; nobody will hear of it. */
void flight_tear(struct sim_host *host, struct flight *flight);

/* Fetch the bytes of a read, now. */
void flight_read(struct sim_host *host, struct flight *flight);

/* Do a sync, now, or that of a durable write which is done: who hears of its failure hears of it later. */
void flight_sync(struct sim_host *host, struct flight *flight);

/* Have a work done, now, on a thread that is no lane's. */
void flight_work(struct sim_host *host, struct flight *flight);

/* Set space aside for the first @len bytes of it, now. */
void flight_allocate(struct sim_host *host, struct flight *flight, uint64_t len);

/* Do what is not yet done of it, with the mishaps that the seed asks for: the result. */
int64_t flight_end_now(struct sim_host *host, struct flight *flight);

uint64_t flight_hash(const struct sim_host *host, const struct flight *flight);

/* The end of an io whose task has not waited for it, and cannot be told of a mishap. */
void ghost_end(struct sim_host *host, struct flight *flight);

/* May it be queued next to what flies already? */
void flight_check(struct sim_host *host, struct flight *flight);

#endif
