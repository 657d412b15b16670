/* SPDX-License-Identifier: BSD-3-Clause
 *
 * Few taps on short sequences that are contiguous in time, many of them in one call of the kernel: lanes are steps, and
 * the ends of a sequence, which are a large part of it, are done by masks instead of calls of their own (flat.c).
 * Only where registers can be shifted.  Many taps are done by long_lines.c. */
#include "internal.h"

void dw_lines_task(const dw_call *call, const dw_region *region, dw_part part, char *workspace)
{
    if (call->plan->problem.kernel_size > DW_FLAT_TAPS) {
        dw_long_lines_task(call, region, part, workspace);
        return;
    }
    const dw_plan *plan = call->plan;
    const dwconv_problem *p = &plan->problem;
    const int64_t item = plan->item_bytes, b = part.across / region->panels;
    const int64_t channel = part.across % region->panels * region->panel_lanes;
    const int64_t step = region->first + part.first_row, start = step - p->pad_left;
    const dw_lines job = {
        .x = call->x, .x_tap = (ptrdiff_t)p->dilation, .x_line = plan->x.channel,
        .x_at = (size_t)b * (size_t)plan->x.batch + (size_t)channel * (size_t)plan->x.channel + (size_t)start,
        .w = call->w + channel * item, .w_tap = call->w_tap,
        .init = call->bias ? call->bias + channel * item : NULL,
        .y = call->y + (b * plan->y.batch + channel * plan->y.channel + step) * item, .y_line = plan->y.channel,
        .taps = (ptrdiff_t)p->kernel_size, .steps = (ptrdiff_t)(part.last_row - part.first_row),
        .lines = (ptrdiff_t)dw_min(region->panel_lanes, plan->out_channels - channel),
        .kind = call->activation.kind, .alpha = call->activation.alpha, .beta = call->activation.beta,
        .start = start, .limit = p->in_steps,
    };
    if (job.steps > 0)
        plan->kernels->conv_lines(&job);
}
