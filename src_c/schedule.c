/* SPDX-License-Identifier: BSD-3-Clause
 *
 * Chooses how to walk over a problem.  Seven ways, each in a file of its own:
 *   direct  rows of channels are read and written in place
 *   pairs   the same with a depth multiplier of two: lanes are pairs of output channels
 *   repeated  in place with other multipliers that are powers of two
 *   panel   lanes (any independent output sequences) are packed side by side in a small tile first
 *   flat    lanes are neighbouring steps of one sequence; nothing is packed but the weights
 *   lines   the same where the ends of a sequence are done by masks: short ones with few taps, some with many
 *   bundle  lanes are sequences that are contiguous in time, transposed block by block on the way in and out
 * No choice here changes a bit of any result, only the time it takes. */
#include "cpu.h"
#include "internal.h"
#include "tiles.h"

static dw_region *add_region(dw_plan *plan, dw_way way, int64_t first, int64_t steps)
{
    dw_region *r = &plan->regions[plan->regions_used++];
    *r = (dw_region){.way = way, .first = first, .steps = steps, .segments = 1, .phases = 1};
    return r;
}

/* Phases turn a dilated problem into undilated ones; with fewer than two rows in each they only cost. */
static int64_t phases_of(const dwconv_problem *p, int64_t steps)
{
    const int64_t phases = p->dilation / dw_gcd(p->stride, p->dilation);
    return phases < steps ? phases : steps;
}

/* channels_last, multiplier 1 */
static void add_direct(dw_plan *plan, int64_t first, int64_t steps)
{
    const dwconv_problem *p = &plan->problem;
    dw_region *r = add_region(plan, DW_DIRECT, first, steps);
    r->phases = phases_of(p, steps);
    r->packs_weights = steps >= DW_PACK_ROWS && p->kernel_size <= DW_DIRECT_MOST_TAPS;
    r->panel_lanes = plan->out_channels;
    /* Few rows: cut along the channels instead, so that there is something to share among threads. */
    if (p->batch * dw_min(steps, DW_ROW_BLOCK) < DW_ROW_BLOCK)
        r->panel_lanes = 4096 / plan->item_bytes;
    r->panels = dw_ceil_div(plan->out_channels, r->panel_lanes);
    r->items = r->phases == 1 ? (int32_t)dw_clamp(DW_TASK_ROWS / steps, 1, p->batch) : 1;
    r->tasks_across = r->panels * dw_ceil_div(p->batch, r->items);
}

static void add_flat(dw_plan *plan, int64_t first, int64_t steps)
{
    dw_region *r = add_region(plan, DW_FLAT, first, steps);
    const bool by_channel = plan->problem.layout == DWCONV_CHANNELS_FIRST;
    const bool few_taps = plan->problem.kernel_size <= DW_FLAT_TAPS;
    r->panel_lanes = by_channel ? few_taps ? DW_LINES_OF_A_TASK : 1 : plan->out_channels;
    r->panels = dw_ceil_div(plan->out_channels, r->panel_lanes);
    /* Short batch items together, whose weights are then packed once. */
    r->items = by_channel ? 1 : (int32_t)dw_clamp(DW_FLAT_TASK_ROWS * dw_flat_row(plan) / (steps * plan->out_channels), 1,
                                                  plan->problem.batch);
    r->tasks_across = dw_ceil_div(plan->problem.batch, r->items) * r->panels;
}

/* Pairs or repeated: channels_last with a multiplier, or its gradient. */
static void add_multiplied(dw_plan *plan, dw_way way, int64_t steps)
{
    dw_region *r = add_region(plan, way, 0, steps);
    r->phases = phases_of(&plan->problem, steps);
    r->tasks_across = plan->problem.batch;
}

/* The number of segments, at most `most`, that leaves the smallest part of the last vector empty. */
static int64_t segments_for(int64_t sequences, int64_t most, int64_t vector)
{
    int64_t best = 1;
    for (int64_t n = 2; n <= most; n++)
        if (n * sequences * dw_round_up(best * sequences, vector) >= best * sequences * dw_round_up(n * sequences, vector))
            best = n;
    return best;
}

static void add_panel(dw_plan *plan, int64_t first, int64_t steps, bool interior)
{
    const dwconv_problem *p = &plan->problem;
    const int64_t vector = DW_ALIGN / plan->item_bytes;
    int64_t wide = DW_PANEL_BYTES / plan->item_bytes;
    const int64_t sum = dw_summed_lanes(plan);
    const int64_t sequences = p->batch * (plan->out_channels / plan->lane_sum) * sum;
    int64_t left = 0;
    dw_region *r = add_region(plan, DW_PANEL, first, steps);
    if (interior && sequences < wide) { /* too few sequences to fill the lanes: cut time in segments */
        const int64_t fitting = DW_W_TILE_BYTES / p->kernel_size / DW_ALIGN * vector; /* so that no tap waits */
        if (fitting >= sequences)
            wide = dw_min(wide, fitting);
        r->segments = segments_for(sequences, dw_min(wide / sequences, steps / DW_ROW_BLOCK), vector);
    } else if (p->layout == DWCONV_CHANNELS_FIRST && plan->lane_sum == 1)
        wide = (p->kernel_size > DW_FLAT_TAPS ? DW_TRANSPOSED_BYTES : DW_TRANSPOSED_SHORT_BYTES) / plan->item_bytes;
    else if (p->kernel_size > DW_LONG_KERNEL)
        wide /= 2;
    if (r->segments > 1) {
        r->segment_steps = steps / r->segments;
        left = steps % r->segments;
        r->steps = r->segment_steps;
    }
    r->lanes = sequences * r->segments;
    r->panel_lanes = dw_min(wide, dw_round_up(r->lanes, vector));
    if (plan->lane_sum > 1) /* sums are not cut by the edge of a panel */
        r->panel_lanes = sum < plan->lane_sum ? sum : dw_min(wide / sum * sum, r->lanes);
    r->panels = dw_ceil_div(r->lanes, r->panel_lanes);
    r->tasks_across = r->panels;

    /* Consecutive input steps in the tile if a useful block fits; otherwise every dilation-th, phase by phase.
     * For channels_last both cost the same, and phases need fewer rows. */
    const int64_t row_bytes = dw_round_up(r->panel_lanes, vector) * plan->item_bytes;
    const int64_t tile_rows = DW_X_TILE_BYTES / row_bytes;
    const int64_t phases = phases_of(p, r->steps);
    const int64_t taps = dw_min(p->kernel_size, DW_W_TILE_BYTES / row_bytes);
    r->natural = p->layout == DWCONV_CHANNELS_FIRST && p->dilation < tile_rows && p->stride < tile_rows
                 && (taps - 1) * p->dilation + (phases * DW_ROW_BLOCK - 1) * p->stride < tile_rows;
    r->phases = r->natural ? 1 : phases;
    r->inner_phases = phases;
    r->row_units = p->stride / dw_gcd(p->stride, p->dilation);

    if (left > 0)
        add_panel(plan, first + steps - left, left, false);
}

/* Whether many taps run well in place: the rows of a block must not push each other out of the cache, and should be
 * near or begin where lines do; where the cache has more ways, packing never pays (tiles.h). */
static bool rows_fit(const dw_plan *plan)
{
    const dwconv_problem *p = &plan->problem;
    const int64_t row_bytes = dw_row_bytes(plan, p->dilation);
    if (p->kernel_size > DW_DIRECT_MOST_TAPS)
        return false;
    if (dw_cpu_features() & DW_CPU_12_WAYS)
        return true;
    if (p->stride > 2)
        return false;
    return row_bytes <= DW_DIRECT_ROW_BYTES || (row_bytes % DW_ALIGN == 0 && dw_cache_lines(row_bytes) >= 16);
}

/* Whether channels_last channels that do not fill whole vectors, or with a multiplier, can be walked over as neighbours in
 * memory; `shared`: so that rows share what they read. */
static bool side_by_side_fits(const dw_plan *plan, int64_t interior, bool shared)
{
    const dwconv_problem *p = &plan->problem;
    const int64_t channels = plan->out_channels, lanes = plan->kernels->vector_lanes, row = dw_flat_row(plan);
    const bool repeats = p->depth_multiplier > 1 && !dw_repeats(plan); /* in a tile */
    if (p->layout != DWCONV_CHANNELS_LAST || p->stride > 1 || plan->lane_sum > 1 || plan->x.step != p->channels
        || plan->y.step != channels || channels >= 4 * lanes || interior < DW_FLAT_MIN_STEPS)
        return false;
    if (p->depth_multiplier == 1 && p->kernel_size <= DW_FLAT_TAPS)
        return channels < lanes;
    if (p->depth_multiplier == 1 && channels % lanes == 0)
        return false;
    const int64_t room = DW_W_TILE_BYTES + (repeats ? 0 : DW_X_TILE_BYTES);
    if (interior < 2 * p->kernel_size || (p->kernel_size + 1) * row * plan->item_bytes > room
        || (repeats && dw_flat_block(plan) < p->kernel_size * p->dilation))
        return false;
    const int64_t advance = p->dilation * channels;
    return !shared || (row % advance == 0 && row / advance <= (dw_repeats(plan) ? 2 : plan->kernels->most_reuse));
}

/* A way for the steps whose taps are all inside the input, which are [lo, hi), and panels for the others. */
static void add_between_edges(dw_plan *plan, dw_way way, int64_t lo, int64_t hi)
{
    const int64_t out = plan->problem.out_steps;
    if (lo > 0)
        add_panel(plan, 0, lo, false);
    if (way == DW_FLAT)
        add_flat(plan, lo, hi - lo);
    else
        add_panel(plan, lo, hi - lo, true);
    if (hi < out)
        add_panel(plan, hi, out - hi, false);
}

/* Whether short sequences can be walked along time, ends and all. */
static bool lines_fit(const dw_plan *plan)
{
    const dwconv_problem *p = &plan->problem;
    return plan->kernels->conv_lines && p->layout == DWCONV_CHANNELS_FIRST && p->stride == 1 && plan->y.step == 1
           && p->depth_multiplier == 1 && plan->lane_sum == 1 && p->kernel_size > 1 && p->kernel_size <= DW_FLAT_TAPS
           && p->in_steps > 0 && p->dilation <= plan->kernels->vector_lanes / (p->kernel_size - 1)
           && p->out_steps >= DW_LINE_STEPS;
}

/* Whether sequences can be walked along time with many taps; where bundles do not fit it is better than panels if those would
 * have to repack much for each phase of a dilation, or if there are `few` sequences. */
static bool long_lines_fit(const dw_plan *plan, bool few)
{
    const dwconv_problem *p = &plan->problem;
    const int64_t taps = p->kernel_size, steps = p->out_steps;
    if (!plan->kernels->conv_line_streams || p->layout != DWCONV_CHANNELS_FIRST || p->stride > 1 || plan->x.step != 1
        || plan->y.step != 1 || plan->lane_sum > 1 || taps <= DW_FLAT_TAPS
        || p->dilation > dw_min(DW_LINE_REACH, p->in_steps) / (taps - 1) || dw_long_lines_of_a_task(plan) == 0
        || steps < DW_LONG_LINE_STEPS)
        return false;
    if (few)
        return steps >= DW_FEW_LINE_STEPS && (p->dilation == 1 ? taps < DW_FEW_LINE_TAPS : taps > DW_LINE_TAPS);
    return p->dilation >= DW_LINE_DILATION;
}

/* Whether sequences should be transposed a vector at a time: nearly always where they can be, but not if `few` of them would
 * leave lanes empty for a long time, nor with few taps near each other, whose sums take less time than transposes. */
static bool bundles_fit(const dw_plan *plan, bool few)
{
    const dwconv_problem *p = &plan->problem;
    const int64_t sequences = p->batch * plan->out_channels;
    if (!plan->kernels->conv_bundle || p->layout != DWCONV_CHANNELS_FIRST || plan->x.step != 1 || plan->y.step != 1
        || plan->lane_sum > 1 || p->out_steps < plan->kernels->bundle_rows || !dw_bundle_has_room(plan) || lines_fit(plan))
        return false;
    if (plan->item_bytes == 8 && p->kernel_size > DW_LINE_TAPS && long_lines_fit(plan, false))
        return false;
    return !few || p->out_steps < DW_BUNDLE_STEPS
           || sequences * 2 > dw_round_up(sequences, plan->kernels->vector_lanes);
}

static void add_lines(dw_plan *plan, int64_t steps)
{
    dw_region *r = add_region(plan, DW_LINES, 0, steps);
    r->panel_lanes = plan->problem.kernel_size > DW_FLAT_TAPS ? dw_long_lines_of_a_task(plan) : DW_LINES_OF_A_TASK;
    r->panels = dw_ceil_div(plan->out_channels, r->panel_lanes);
    r->tasks_across = plan->problem.batch * r->panels;
}

static void add_bundles(dw_plan *plan, int64_t steps)
{
    dw_region *r = add_region(plan, DW_BUNDLE, 0, steps);
    r->lanes = plan->problem.batch * plan->out_channels;
    r->tasks_across = dw_ceil_div(r->lanes, plan->kernels->vector_lanes);
}

void dw_schedule(dw_plan *plan)
{
    const dwconv_problem *p = &plan->problem;
    const bool last = p->layout == DWCONV_CHANNELS_LAST, few_taps = p->kernel_size <= DW_FLAT_TAPS;
    const int64_t vector = DW_ALIGN / plan->item_bytes, wide = DW_PANEL_BYTES / plan->item_bytes;
    int64_t lo, hi;
    dw_interior(-p->pad_left, p->stride, (p->kernel_size - 1) * p->dilation, p->in_steps, p->out_steps, &lo, &hi);
    const int64_t interior = hi - lo;
    const bool as_pairs = last && p->depth_multiplier * plan->lane_sum == 2 && plan->out_channels >= 2 * vector;
    const bool few = p->batch * plan->out_channels * 2 <= wide && interior >= 4 * DW_ROW_BLOCK; /* sequences */

    if (last && dw_repeats(plan) && plan->out_channels % plan->kernels->vector_lanes == 0 && !as_pairs
        && p->kernel_size <= DW_DIRECT_MOST_TAPS && (few_taps || rows_fit(plan)))
        add_multiplied(plan, DW_REPEATED, p->out_steps);
    else if (side_by_side_fits(plan, interior, true))
        add_between_edges(plan, DW_FLAT, lo, hi);
    else if (last && p->depth_multiplier == 1 && plan->lane_sum == 1 && p->channels * 2 > vector
             && (p->kernel_size <= DW_DIRECT_TAPS || p->stride > 4 || rows_fit(plan)))
        add_direct(plan, 0, p->out_steps);
    else if (as_pairs && p->kernel_size <= DW_DIRECT_MOST_TAPS && (few_taps || rows_fit(plan)))
        add_multiplied(plan, DW_PAIRS, p->out_steps);
    else if (side_by_side_fits(plan, interior, false))
        add_between_edges(plan, DW_FLAT, lo, hi);
    else if (!last && p->stride == 1 && few_taps && plan->y.step == 1 && plan->lane_sum == 1
             && interior >= DW_FLAT_STEPS_PER_TAP * p->kernel_size)
        add_flat(plan, 0, p->out_steps);
    else if (bundles_fit(plan, few))
        add_bundles(plan, p->out_steps);
    else if (lines_fit(plan) || long_lines_fit(plan, few))
        add_lines(plan, p->out_steps);
    else if (!last && p->stride == 1 && !few_taps && plan->x.step == 1 && plan->y.step == 1 && plan->lane_sum == 1
             && few && p->dilation > 1 && (p->kernel_size + 1) * DW_ALIGN <= DW_X_TILE_BYTES + DW_W_TILE_BYTES)
        add_between_edges(plan, DW_FLAT, lo, hi);
    else if (few)
        add_between_edges(plan, DW_PANEL, lo, hi);
    else
        add_panel(plan, 0, p->out_steps, false);
}
