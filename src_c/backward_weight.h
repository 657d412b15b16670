/* SPDX-License-Identifier: BSD-3-Clause
 *
 * The gradients of kernel and bias, in four files: how a call is cut (backward_weight_cuts.c), what a task does
 * (backward_weight_task.c; backward_weight_lines.c where lanes are steps), and the call itself (backward_weight.c),
 * which says what is computed.  backward_activated.c has tasks that compute the other gradients, too. */
#ifndef DWCONV_BACKWARD_WEIGHT_H
#define DWCONV_BACKWARD_WEIGHT_H

#include "internal.h"

/* The cuts of a call. */
typedef struct dw_gradient_cuts {
    int64_t chunk_steps, chunks, units; /* units: chunks of all batch items */
    int64_t panel_lanes, panels;        /* output channels of a task */
    int64_t side;                       /* most units that lie side by side */
    int64_t group_taps, groups;         /* taps of a task */
    int64_t span_units, spans;
    int levels;
    ptrdiff_t tile_row;                 /* of tiles; sums at rest have panel_lanes */
    int64_t block_steps, block_taps;    /* of a tile, */
    int64_t x_bytes, y_bytes;           /* and what of the tiles that needs; none in place */
    bool in_place;                      /* no tiles: lanes are channels of the arrays */
    bool walks;                         /* a task has all channels and taps, and can convolve dy for dx on the way */
    bool activated;                     /* the same, and the tile is of dz */
    bool bundles;                       /* sequences are transposed by the kernel; the tile is of x and dy, and of w for dx */
    bool lines;                         /* no tiles: lanes are steps; sums are chains of every W-th step */
    int64_t line_items;                 /* lines: batch items of a unit */
    bool gathered;                      /* x tile: a row for each step of each tap, not one for each input step */
    int64_t unit_steps;                 /* not gathered: input steps from a row of the x tile to the next */
} dw_gradient_cuts;

/* What a call of dwconv_backward_activated has besides. */
typedef struct dw_activated {
    const char *w, *bias;
    char *dx; /* or NULL */
    int kind;
} dw_activated;

typedef struct dw_gradient_call {
    const dw_plan *plan;
    const char *x, *dy;
    char *dw, *dbias;
    char *workspace, *span_sums; /* span_sums: [spans][K+1][out_channels] */
    int64_t taps;                /* K, or 0 if only the bias is wanted */
    const dw_activated *activated; /* or NULL: dy is the gradient of the convolution itself */
    const dw_call *input; /* the convolutions of dy that give dx and are done on the way, or NULL */
    int inputs;           /* how many: 1 for lines and bundles */
    dw_gradient_cuts cuts;
    size_t worker_bytes;
} dw_gradient_call;

/* Whether so many tasks, if they are equal, keep all threads busy. */
static inline bool dw_gradient_shares_well(int64_t tasks, int threads)
{
    return tasks >= 2 * threads || tasks % threads == 0;
}

/* backward_weight_cuts.c: threads worth starting for so many taps (0: the bias alone), the cuts for at most that many,
 * and what they need of the workspace for each of them; the rows of dx whose last tap lies in the chunk from `step` on,
 * where those of no tap belong to the first or the last. */
int dw_gradient_threads(const dw_plan *plan, int64_t taps, int max_threads);
dw_gradient_cuts dw_gradient_cut(const dw_plan *plan, int64_t taps, bool activated, int max_threads);
size_t dw_gradient_worker_bytes(const dw_plan *plan, const dw_gradient_cuts *cuts);
dw_part dw_gradient_input_part(const dw_gradient_call *call, int64_t batch_item, int64_t step);

/* backward_weight.c: scratch of a call, and the call itself, of which the cuts and the workspace are still open; some lanes
 * of finished sums to rows of dw, dbias or those of a span. */
size_t dw_gradient_scratch_size(const dw_plan *plan, int64_t taps, bool activated, int max_threads);
dwconv_status dw_gradient_execute(dw_gradient_call *call, const dwconv_exec *exec);
void dw_gradient_store(const dw_gradient_call *call, const char *sums, ptrdiff_t sums_row, char *target, ptrdiff_t rows,
                       ptrdiff_t lanes);

/* backward_weight_task.c: one task of a call, a dw_gradient_call; sums to rows of dw, dbias or those of a span. */
void dw_gradient_task(void *call, int64_t index, int worker);

/* backward_weight_lines.c: whether lanes are steps; the sums of a unit, a row of output channels for each tap and one for
 * the bias, with room for chains of as many channels. */
bool dw_gradient_takes_lines(const dw_plan *plan);
void dw_gradient_sum_lines(const dw_gradient_call *call, int64_t unit, int64_t channel, int64_t channels, char *chains,
                           char *sums);

/* backward_activated.c: whether everything is done in one walk; bytes of the tiles of dz, behind which the weights of a
 * task are; how many lanes further than panel_lanes say all tasks but the first begin; the weights; the sums of a unit as
 * above, and its rows of dx. */
bool dw_gradient_takes_activated(const dw_plan *plan);
ptrdiff_t dw_gradient_activated_bytes(const dw_plan *plan, const dw_gradient_cuts *cuts);
ptrdiff_t dw_gradient_activated_head(const dw_gradient_call *call);
void dw_gradient_pack_activated(const dw_gradient_call *call, ptrdiff_t channel, ptrdiff_t channels, ptrdiff_t head,
                                char *tile);
void dw_gradient_sum_activated(const dw_gradient_call *call, int64_t unit, ptrdiff_t channel, ptrdiff_t channels,
                               ptrdiff_t head, char *tile, char *sums);

#endif
