/* SPDX-License-Identifier: BSD-3-Clause
 *
 * In place with a depth multiplier that is a power of two: channels_last, whole vectors of results.  Rows of x are read as
 * they lie and repeated in registers; kernels/repeated_rows.tmpl.h says how. */
#include "internal.h"
#include "tiles.h"

void dw_repeated_task(const dw_call *call, const dw_region *region, dw_part part, char *workspace)
{
    const dw_plan *plan = call->plan;
    const dwconv_problem *p = &plan->problem;
    const dw_kernels *kernels = plan->kernels;
    const int64_t item = plan->item_bytes, vector = kernels->vector_lanes, lanes = plan->out_channels;
    const int64_t unit = dw_max(vector, p->depth_multiplier); /* bands begin with an element of x, and are of equal width */
    const int64_t units = lanes / unit, fitting = (DW_X_TILE_BYTES + DW_W_TILE_BYTES) / (p->kernel_size * unit * item);
    const int64_t band = dw_ceil_div(units, dw_ceil_div(units, fitting)) * unit;
    const ptrdiff_t taps = (ptrdiff_t)p->kernel_size, repeat = (ptrdiff_t)p->depth_multiplier;
    for (int64_t lane = 0; lane < lanes; lane += band) {
        dw_rows job = {
            .x = call->x, .w = workspace, .init = call->bias ? call->bias + lane * item : NULL,
            .x_tap = (size_t)p->dilation * (size_t)plan->x.step,
            .w_tap = (ptrdiff_t)vector, .w_column = (ptrdiff_t)vector * taps,
            .y_row = (ptrdiff_t)region->phases * plan->y.step,
            .lanes = (ptrdiff_t)dw_min(band, lanes - lane), .taps = taps, .repeat = repeat, .clip = 1,
            .kind = call->activation.kind, .alpha = call->activation.alpha, .beta = call->activation.beta,
            .dilation = p->dilation, .limit = p->in_steps,
        };
        kernels->split_columns(call->w + lane * item, call->w_tap, workspace, taps, job.lanes, 0);
        kernels->regroup(workspace, job.w_tap, taps * (job.lanes / job.w_tap), job.w_tap, repeat);
        for (int64_t phase = 0; phase < region->phases; phase++) {
            const dw_walk walk = dw_walk_of(plan, region, phase);
            const int64_t step = walk.first_step + part.first_row * region->phases;
            job.rows = (ptrdiff_t)(dw_min(part.last_row, walk.rows) - part.first_row);
            job.start = walk.start + part.first_row * walk.advance;
            job.advance = walk.advance;
            job.x_row = (size_t)walk.advance * (size_t)plan->x.step;
            job.x_at = (size_t)part.across * (size_t)plan->x.batch + (size_t)job.start * (size_t)plan->x.step
                       + (size_t)(lane / repeat);
            job.y = call->y + (part.across * plan->y.batch + step * plan->y.step + lane) * item;
            if (job.rows > 0)
                kernels->conv_repeated(&job);
        }
    }
}
