/* SPDX-License-Identifier: BSD-3-Clause
 *
 * In place with a depth multiplier of two: channels_last, whole vectors of channels.  A lane stands for a pair of output
 * channels; kernels/pair_rows.tmpl.h says how.  The same way serves the gradient of the input, whose results are sums of
 * pairs. */
#include "internal.h"
#include "tiles.h"

void dw_pairs_task(const dw_call *call, const dw_region *region, dw_part part, char *workspace)
{
    const dw_plan *plan = call->plan;
    const dwconv_problem *p = &plan->problem;
    const dw_kernels *kernels = plan->kernels;
    const int64_t item = plan->item_bytes, vector = kernels->vector_lanes, pairs = plan->out_channels / 2;
    const int sums = plan->lane_sum == 2;
    const int64_t column_bytes = 2 * p->kernel_size * vector * item;
    const int64_t columns = dw_ceil_div(pairs, vector), fitting = (DW_X_TILE_BYTES + DW_W_TILE_BYTES) / column_bytes;
    const int64_t band = dw_ceil_div(columns, dw_ceil_div(columns, fitting)) * vector; /* bands of equal width */
    const ptrdiff_t taps = (ptrdiff_t)p->kernel_size;
    for (int64_t lane = 0; lane < pairs; lane += band) {
        dw_rows job = {
            .x = call->x, .w = workspace, .init = call->bias ? call->bias + 2 * lane * item : NULL,
            .x_tap = (size_t)p->dilation * (size_t)plan->x.step,
            .w_tap = (ptrdiff_t)(2 * vector), .w_column = (ptrdiff_t)(2 * vector) * taps,
            .y_row = (ptrdiff_t)region->phases * plan->y.step,
            .lanes = (ptrdiff_t)dw_min(band, pairs - lane), .taps = taps,
            .kind = call->activation.kind, .alpha = call->activation.alpha, .beta = call->activation.beta,
            .dilation = p->dilation, .limit = p->in_steps,
        };
        kernels->pack_pairs(call->w + 2 * lane * item, call->w_tap, workspace, taps, job.lanes, sums);
        for (int64_t phase = 0; phase < region->phases; phase++) {
            const dw_walk walk = dw_walk_of(plan, region, phase);
            const int64_t step = walk.first_step + part.first_row * region->phases;
            job.rows = (ptrdiff_t)(dw_min(part.last_row, walk.rows) - part.first_row);
            job.start = walk.start + part.first_row * walk.advance;
            job.advance = walk.advance;
            job.x_row = (size_t)walk.advance * (size_t)plan->x.step;
            job.x_at = (size_t)part.across * (size_t)plan->x.batch + (size_t)job.start * (size_t)plan->x.step
                       + (size_t)(sums ? 2 * lane : lane);
            job.y = call->y + (part.across * plan->y.batch + step * plan->y.step + (sums ? lane : 2 * lane)) * item;
            if (job.rows > 0)
                kernels->conv_pairs(&job, sums);
        }
    }
}
