/* SPDX-License-Identifier: BSD-3-Clause
 *
 * The weight gradient of sequences that are contiguous in time, with few taps.  Lanes are steps, so that x and dy are
 * read once and as they are, where transposes would cost more than the sums.  Therefore a sum is not one chain but W of
 * them, W = DW_ALIGN / sizeof(element) for every instruction set, which are added at the end of a unit. */
#include "backward_weight.h"
#include "tiles.h"

#include <string.h>

bool dw_gradient_takes_lines(const dw_plan *plan)
{
    const dwconv_problem *p = &plan->problem;
    return p->layout == DWCONV_CHANNELS_FIRST && p->stride == 1 && p->depth_multiplier == 1
           && p->kernel_size <= DW_FLAT_TAPS && p->out_steps >= DW_GRADIENT_LINE_STEPS;
}

/* The rows of dx of the chunk from `step` on, of some lines. */
static void convolve_back(const dw_gradient_call *call, int64_t b, int64_t channel, int64_t step)
{
    const dw_call *input = call->input;
    const dw_region *region = &input->plan->regions[0];
    dw_part part = dw_gradient_input_part(call, b, step);
    part.across = b * region->panels + channel / region->panel_lanes;
    if (region->way == DW_FLAT)
        dw_flat_task(input, region, part, NULL);
    else
        dw_lines_task(input, region, part, NULL);
}

void dw_gradient_sum_lines(const dw_gradient_call *call, int64_t unit, int64_t channel, int64_t channels, char *chains,
                           char *sums)
{
    const dw_plan *plan = call->plan;
    const dwconv_problem *p = &plan->problem;
    const dw_gradient_cuts *c = &call->cuts;
    const int64_t groups = dw_ceil_div(p->batch, c->line_items), item = plan->item_bytes;
    const int64_t step = unit / groups * c->chunk_steps, first = unit % groups * c->line_items;
    const ptrdiff_t rows = (ptrdiff_t)call->taps + 1;
    const ptrdiff_t together = (ptrdiff_t)(call->input ? call->input->plan->regions[0].panel_lanes : channels);
    memset(chains, 0, (size_t)(channels * rows * DW_ALIGN));
    for (int64_t b = first; b < dw_min(first + c->line_items, p->batch); b++)
        for (int64_t line = 0; line < channels; line += together) {
            const int64_t o = channel + line;
            const dw_correlate_lines job = {
                .x = call->x, .x_tap = (ptrdiff_t)p->dilation, .x_line = plan->x.channel,
                .x_at = (size_t)b * (size_t)plan->x.batch + (size_t)o * (size_t)plan->x.channel
                        + (size_t)(step - p->pad_left),
                .y = call->dy + (b * plan->y.batch + o * plan->y.channel + step) * item, .y_line = plan->y.channel,
                .sums = chains + line * rows * DW_ALIGN, .taps = rows - 1,
                .lines = (ptrdiff_t)dw_min(together, channels - line),
                .steps = (ptrdiff_t)dw_min(c->chunk_steps, p->out_steps - step),
                .start = step - p->pad_left, .limit = p->in_steps,
            };
            plan->kernels->correlate_lines(&job);
            if (call->input)
                convolve_back(call, b, o, step);
        }
    plan->kernels->add_chains(chains, rows, (ptrdiff_t)channels, sums, c->tile_row);
}
