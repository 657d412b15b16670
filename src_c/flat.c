/* SPDX-License-Identifier: BSD-3-Clause
 *
 * Few taps on a sequence that is contiguous in time: channels_first, or channels_last with channels too few for a
 * vector.  The memory of the sequence is read as rows of W neighbouring elements, whatever steps and channels they
 * are; one tap further is dilation * C elements further.  Only the weights need packing: tap k of element j is
 * w[k, j mod C].  Covers interior rows; nothing is clipped here. */
#include "internal.h"
#include "tiles.h"

void dw_flat_task(const dw_call *call, const dw_region *region, dw_part part, char *workspace)
{
    const dw_plan *plan = call->plan;
    const dwconv_problem *p = &plan->problem;
    const ptrdiff_t item = plan->item_bytes;
    const bool by_channel = p->layout == DWCONV_CHANNELS_FIRST;
    const int64_t period = by_channel ? 1 : p->channels; /* elements of one step */
    const int64_t b = by_channel ? part.across / plan->out_channels : part.across;
    const int64_t o = by_channel ? part.across % plan->out_channels : 0;
    const ptrdiff_t width = (ptrdiff_t)(DW_ALIGN / item * period);

    char *const init = workspace, *const w = workspace + width * item;
    for (ptrdiff_t j = 0; j < width; j += (ptrdiff_t)(by_channel ? width : period)) {
        const ptrdiff_t lanes = by_channel ? width : (ptrdiff_t)period, repeat = by_channel ? width : 1;
        if (call->bias)
            plan->kernels->repeat_lanes(call->bias + o * item, 0, 0, repeat, init + j * item, width, 1, lanes);
        plan->kernels->repeat_lanes(call->w + o * item, call->w_tap, 0, repeat, w + j * item, width,
                                    (ptrdiff_t)p->kernel_size, lanes);
    }

    const int64_t first = region->first + part.first_row;
    const char *x = call->x
                    + (b * plan->x.batch + o / p->depth_multiplier * plan->x.channel + (first - p->pad_left) * plan->x.step) * item;
    char *y = call->y + (b * plan->y.batch + o * plan->y.channel + first * plan->y.step) * item;
    int64_t left = (part.last_row - part.first_row) * period;
    const int64_t cached = dw_max(DW_ACTIVATE_BYTES / item / width / DW_ROW_BLOCK, 1) * DW_ROW_BLOCK * width;
    while (left > 0) {
        int64_t n = dw_min(left, cached);
        if (n >= width)
            n -= n % width;
        const dw_rows job = {
            .x = x,
            .x_row = (size_t)width,
            .x_tap = (size_t)(p->dilation * period),
            .w = w,
            .w_tap = width,
            .init = call->bias ? init : NULL,
            .y = y,
            .y_row = width,
            .rows = n >= width ? (ptrdiff_t)(n / width) : 1,
            .lanes = n >= width ? width : (ptrdiff_t)n,
            .taps = (ptrdiff_t)p->kernel_size,
        };
        plan->kernels->conv_rows(&job);
        if (call->activation.kind != DWCONV_LINEAR)
            dw_activate_rows(call, y, 0, 1, (ptrdiff_t)n);
        x += n * item;
        y += n * item;
        left -= n;
    }
}
