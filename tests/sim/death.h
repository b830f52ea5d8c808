/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The engine is killed, at any moment, and another one goes on in its place: what flies has happened or
 * not, the memory to be handed over is as it was, and requests without an answer are asked again.
 */
#ifndef DEATH_H
#define DEATH_H

#include "stage.h"

/*
 * Do @act, through up to @kills kills; it begins anew after each.  The engine dies where
 * death_may_come() is called, and, in builds with kill points, between its own stores.
 */
void death_through(struct stage *stage, void (*act)(void), unsigned kills);

/* Within @act: between two moves. */
void death_may_come(struct stage *stage);

/* Kill it now, outside of all that; the next one takes over. */
void death_take_over(struct stage *stage);

#endif
