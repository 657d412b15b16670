/* SPDX-License-Identifier: BSD-3-Clause
 *
 * In place: channels_last with multiplier 1.  A row of the problem is a row of the arrays, lanes are channels,
 * and the kernel walks along whole rows, which is how memory likes to be read. */
#include "internal.h"
#include "tiles.h"

void dw_direct_task(const dw_call *call, const dw_region *region, dw_part part)
{
    const dw_plan *plan = call->plan;
    const dwconv_problem *p = &plan->problem;
    const ptrdiff_t item = plan->item_bytes;
    const int64_t b = part.across / region->panels, lane = part.across % region->panels * region->panel_lanes;
    const int64_t lanes = dw_min(region->panel_lanes, plan->out_channels - lane);
    const bool activate = call->activation.kind != DWCONV_LINEAR;
    /* Rows to convolve before the activation passes over them. */
    const int64_t cached = dw_max(DW_ACTIVATE_BYTES / (lanes * item) / DW_ROW_BLOCK, 1) * DW_ROW_BLOCK;

    for (int64_t phase = 0; phase < region->phases; phase++) {
        const dw_walk walk = dw_walk_of(plan, region, phase);
        const int64_t end = dw_min(part.last_row, walk.rows);
        int64_t inside_lo, inside_hi;
        dw_interior(walk.start, walk.advance, (p->kernel_size - 1) * p->dilation, p->in_steps, walk.rows, &inside_lo,
                    &inside_hi);
        /* Clipping is decided by whole blocks of rows. */
        inside_lo = dw_min((inside_lo + DW_ROW_BLOCK - 1) / DW_ROW_BLOCK * DW_ROW_BLOCK, end);
        inside_hi = dw_max(inside_hi / DW_ROW_BLOCK * DW_ROW_BLOCK, inside_lo);

        for (int64_t row = part.first_row, next; row < end; row = next) {
            const bool inside = row >= inside_lo && row < inside_hi;
            next = inside ? inside_hi : row < inside_lo ? inside_lo : end;
            next = dw_min(next, end);
            if (activate)
                next = dw_min(next, row + cached);
            const int64_t step = walk.first_step + row * region->phases;
            char *y = call->y + (b * plan->y.batch + step * plan->y.step + lane) * item;
            const ptrdiff_t y_row = (ptrdiff_t)region->phases * plan->y.step;
            const dw_rows job = {
                .x = call->x,
                .x_at = (size_t)b * (size_t)plan->x.batch
                        + (size_t)(walk.start + row * walk.advance) * (size_t)plan->x.step + (size_t)lane,
                .x_row = (size_t)walk.advance * (size_t)plan->x.step,
                .x_tap = (size_t)p->dilation * (size_t)plan->x.step,
                .w = call->w + lane * item,
                .w_tap = call->w_tap,
                .init = call->bias ? call->bias + lane * item : NULL,
                .y = y,
                .y_row = y_row,
                .rows = (ptrdiff_t)(next - row),
                .lanes = (ptrdiff_t)lanes,
                .taps = (ptrdiff_t)p->kernel_size,
                .clip = !inside,
                .start = walk.start + row * walk.advance,
                .advance = walk.advance,
                .dilation = p->dilation,
                .limit = p->in_steps,
            };
            plan->kernels->conv_rows(&job);
            if (activate)
                dw_activate_rows(call, y, y_row, job.rows, job.lanes);
        }
    }
}
