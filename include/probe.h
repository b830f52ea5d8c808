/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Places where a tracer may look in (USDT): a nop each, until one does.  What they show is listed
 * in the manual page, section PROBES.  Arguments must be at hand: they are computed in any case.
 */
#ifndef PROBE_H
#define PROBE_H

#ifdef HAVE_SDT
#include <sys/sdt.h>

#define probe2(name, a, b) DTRACE_PROBE2(qcow2_ublkd, name, a, b)
#define probe4(name, a, b, c, d) DTRACE_PROBE4(qcow2_ublkd, name, a, b, c, d)
#else
#define probe2(name, a, b) ((void)0)
#define probe4(name, a, b, c, d) ((void)0)
#endif

#endif
