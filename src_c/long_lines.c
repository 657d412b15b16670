/* SPDX-License-Identifier: BSD-3-Clause
 *
 * Many taps on sequences that are contiguous in time: lanes are steps, nothing is transposed, and the ends of a sequence
 * are done by masks.  kernels/long_lines.tmpl.h says how; here are what a task holds and how a sequence is shared out.
 *
 *     weights  [lines][taps]   side by side, because in place they lie as far apart as the channels are wide
 *     exist    one word for each input step in reach of a block */
#include "internal.h"
#include "tiles.h"

#include <string.h>

int64_t dw_long_lines_of_a_task(const dw_plan *plan)
{
    const int64_t fitting = DW_LINE_WEIGHT_BYTES / plan->item_bytes / plan->problem.kernel_size;
    return dw_min(fitting, DW_LINES_OF_A_TASK);
}

static void pack_weights(const dw_call *call, int64_t channel, int64_t lines, char *tile)
{
    const dw_kernels *kernels = call->plan->kernels;
    const ptrdiff_t taps = (ptrdiff_t)call->plan->problem.kernel_size, item = call->plan->item_bytes;
    const char *w = call->w + channel * item;
    ptrdiff_t at[DW_LINES_OF_A_TASK];
    for (int l = 0; l < DW_LINES_OF_A_TASK; l++)
        at[l] = l * taps;
    const ptrdiff_t whole = (ptrdiff_t)lines / kernels->vector_lanes * kernels->vector_lanes;
    if (whole > 0)
        kernels->scatter_lanes(w, call->w_tap, tile, at, 0, 1, taps, whole);
    for (ptrdiff_t l = whole; l < lines; l++)
        for (ptrdiff_t k = 0; k < taps; k++)
            memcpy(tile + (l * taps + k) * item, w + (k * call->w_tap + l) * item, (size_t)item);
}

/* exist[i]: bit j tells whether input step first + i + j exists */
static void find_existing(int64_t first, int64_t limit, uint16_t *exist, int64_t count)
{
    uint16_t word = 0;
    for (int64_t j = 15; j > 0; j--)
        word = (uint16_t)(word << 1 | (first + count - 1 + j >= 0 && first + count - 1 + j < limit));
    for (int64_t i = count; i-- > 0;) {
        word = (uint16_t)(word << 1 | (first + i >= 0 && first + i < limit));
        exist[i] = word;
    }
}

/* Streams of so many results each, over the classes of vectors that are `apart`. */
static int64_t streams_of(int64_t vectors, int64_t apart, int64_t count)
{
    const int64_t least = vectors / apart, more = vectors % apart; /* so many classes have one more */
    return more * dw_ceil_div(least + 1, count) + (apart - more) * dw_ceil_div(least, count);
}

/* Chooses how many streams are walked together, and how many results each has, by what the micro-kernel was measured to
 * take, in eighths of a cycle: for a multiply-add, for a load that straddles two lines, at least for a tap, because the
 * one before has to be complete, for each result and for each group. */
static void share_out(dw_line_streams *job, ptrdiff_t lanes)
{
    const int64_t vectors = dw_ceil_div(job->steps, lanes), p = job->period, taps = job->taps;
    const int64_t least = dw_max(vectors / job->apart, 1);
    const int64_t live = dw_min(dw_min(dw_ceil_div(taps, p), least), DW_LINE_LIVE);
    const bool slides = taps <= live * p;
    static const int fewest[] = {6, 4, 3, 3}; /* streams that fill the units, with so many results under way */
    const int64_t all_most = live < 3 ? 6 : 5;
    int64_t best = INT64_MAX;
    for (int64_t cuts = 1, count; cuts <= least; cuts++) {
        count = slides ? dw_ceil_div(least, cuts) : live;
        if (count < live || cuts > 2 * DW_LINE_STREAMS)
            break;
        const int64_t all = vectors < job->apart ? vectors : streams_of(vectors, job->apart, count);
        const int64_t groups = dw_ceil_div(all, all_most), streams = dw_max(dw_ceil_div(all, groups), fewest[live - 1]);
        const int64_t windows = (count - 1) * p + taps;
        const int64_t work = dw_max(streams * (4 * count * taps + 6 * windows), 36 * windows);
        const int64_t cost = groups * (work + 200 * count + 1600);
        if (cost < best) {
            best = cost;
            job->count = (ptrdiff_t)count;
            job->streams = (int)streams;
        }
        if (!slides)
            break;
    }
    job->live = (int)live;
}

void dw_long_lines_task(const dw_call *call, const dw_region *region, dw_part part, char *workspace)
{
    const dw_plan *plan = call->plan;
    const dwconv_problem *p = &plan->problem;
    const int64_t item = plan->item_bytes, lanes = plan->kernels->vector_lanes, b = part.across / region->panels;
    const int64_t channel = part.across % region->panels * region->panel_lanes;
    const int64_t lines = dw_min(region->panel_lanes, plan->out_channels - channel);
    const int64_t steps = part.last_row - part.first_row, reach = (p->kernel_size - 1) * p->dilation;
    const int64_t common = dw_gcd(lanes, p->dilation);
    char *weights = workspace;
    uint16_t *exist = (uint16_t *)(void *)(workspace + DW_LINE_WEIGHT_BYTES);
    pack_weights(call, channel, lines, weights);

    const int64_t blocks = dw_ceil_div(steps, DW_LINE_VECTORS * lanes);
    for (int64_t block = 0, done = 0, left; block < blocks; block++, done += left) {
        left = dw_min(dw_round_up((steps - done) / (blocks - block), lanes), steps - done);
        const int64_t step = region->first + part.first_row + done, start = step - p->pad_left;
        dw_line_streams job = {
            .exist = exist - start, .x_tap = (ptrdiff_t)p->dilation, .taps = (ptrdiff_t)p->kernel_size,
            .steps = (ptrdiff_t)left, .start = start, .limit = p->in_steps,
            .period = (ptrdiff_t)(lanes / common), .apart = (ptrdiff_t)(p->dilation / common),
        };
        share_out(&job, (ptrdiff_t)lanes);
        if (start < 0 || start + dw_round_up(left, lanes) + reach > p->in_steps)
            find_existing(start, p->in_steps, exist, dw_round_up(left, lanes) + reach);
        const ptrdiff_t y = (ptrdiff_t)(b * plan->y.batch + channel * plan->y.channel + step);
        for (int64_t l = 0; l < lines; l++) {
            const int64_t o = channel + l;
            job.x = call->x + (b * plan->x.batch + o / p->depth_multiplier * plan->x.channel) * item;
            job.w = weights + l * p->kernel_size * item;
            job.init = call->bias ? call->bias + o * item : NULL;
            job.y = call->y + (y + l * plan->y.channel) * item;
            plan->kernels->conv_line_streams(&job);
            if (call->activation.kind == DWCONV_LINEAR)
                continue;
            const dw_activate activate = {
                .source = job.y, .target = job.y, .source_row = job.steps, .target_row = job.steps, .rows = 1,
                .lanes = job.steps, .kind = call->activation.kind,
                .alpha = call->activation.alpha, .beta = call->activation.beta,
            };
            plan->kernels->activate(&activate);
        }
    }
}
