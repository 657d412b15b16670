/* SPDX-License-Identifier: BSD-3-Clause
 *
 * Sequences that are contiguous in time, a vector of them at a time: lanes are sequences, transposed block by block on
 * the way in and out, as kernels/bundle.tmpl.h says.
 *
 *     x tile  [steps][vector]
 *     w tile  [taps][vector]
 *     bias    [vector] */
#include "internal.h"
#include "tiles.h"

#include <string.h>

bool dw_bundle_has_room(const dw_plan *plan)
{
    const dwconv_problem *p = &plan->problem;
    const int64_t vector = plan->kernels->vector_lanes, rows = plan->kernels->bundle_rows;
    const int64_t row_bytes = vector * plan->item_bytes, half = DW_X_TILE_BYTES / row_bytes / 2;
    return p->kernel_size <= DW_W_TILE_BYTES / row_bytes && p->stride < half && p->dilation < half
           && (rows - 1) * p->stride + (p->kernel_size - 1) * p->dilation + vector <= half;
}

void dw_bundle_task(const dw_call *call, const dw_region *region, dw_part part, char *workspace)
{
    enum { MOST_LANES = DW_ALIGN / sizeof(float) };
    const dw_plan *plan = call->plan;
    const dwconv_problem *p = &plan->problem;
    const int64_t item = plan->item_bytes, lanes = plan->kernels->vector_lanes;
    const int64_t first = part.across * lanes, step = region->first + part.first_row;
    char *w_tile = workspace + DW_X_TILE_BYTES, *bias_tile = w_tile + DW_W_TILE_BYTES;
    ptrdiff_t x_at[MOST_LANES], y_at[MOST_LANES];
    dw_bundle job = {
        .x = call->x, .w = w_tile, .init = call->bias ? bias_tile : NULL, .y = call->y, .tile = workspace,
        .x_at = x_at, .y_at = y_at,
        .lanes = (ptrdiff_t)dw_min(lanes, region->lanes - first), .taps = (ptrdiff_t)p->kernel_size,
        .rows = (ptrdiff_t)(part.last_row - part.first_row),
        .stride = (ptrdiff_t)p->stride, .dilation = (ptrdiff_t)p->dilation,
        .tile_rows = (ptrdiff_t)(DW_X_TILE_BYTES / (lanes * item)),
        .start = step * p->stride - p->pad_left, .limit = p->in_steps,
    };
    if (job.rows <= 0)
        return;
    if (job.lanes < lanes) /* weights of lanes that do not exist, which meet zeros */
        memset(w_tile, 0, (size_t)(job.taps * lanes * item));
    int64_t b = first / plan->out_channels, o = first % plan->out_channels;
    for (ptrdiff_t lane = 0, n; lane < job.lanes; lane += n, o = 0, b++) { /* lanes that are neighbours in w */
        n = (ptrdiff_t)dw_min(job.lanes - lane, plan->out_channels - o);
        for (ptrdiff_t l = 0; l < n; l++) {
            x_at[lane + l] = (ptrdiff_t)(b * plan->x.batch + (o + l) / p->depth_multiplier * plan->x.channel);
            y_at[lane + l] = (ptrdiff_t)(b * plan->y.batch + (o + l) * plan->y.channel + step);
        }
        plan->kernels->repeat_lanes(call->w + o * item, call->w_tap, 0, 1, w_tile + lane * item, (ptrdiff_t)lanes, job.taps,
                                    n);
        if (call->bias)
            memcpy(bias_tile + lane * item, call->bias + o * item, (size_t)(n * item));
    }
    plan->kernels->conv_bundle(&job);
    if (call->activation.kind == DWCONV_LINEAR)
        return;
    for (ptrdiff_t l = 0; l < job.lanes; l++) {
        char *const y = call->y + y_at[l] * item;
        const dw_activate activate = {
            .source = y, .target = y, .source_row = job.rows, .target_row = job.rows, .rows = 1, .lanes = job.rows,
            .kind = call->activation.kind, .alpha = call->activation.alpha, .beta = call->activation.beta,
        };
        plan->kernels->activate(&activate);
    }
}
