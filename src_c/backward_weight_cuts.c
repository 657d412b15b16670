/* SPDX-License-Identifier: BSD-3-Clause
 *
 * How a call for the gradients of kernel and bias is cut: chunks of time, by the shape alone; lanes, taps and blocks of
 * a task, by the sizes of caches; spans, by the threads. */
#include "backward_weight.h"

/* Steps and taps of a block, such that what they read fits the tiles. */
static void size_block(const dw_plan *plan, dw_gradient_cuts *c)
{
    const dwconv_problem *p = &plan->problem;
    const int64_t row_bytes = c->tile_row * plan->item_bytes, x_rows = DW_GRADIENT_X_BYTES / row_bytes;
    const int64_t enough = dw_min(16, c->chunk_steps);
    if (c->lines) {
        c->x_bytes = c->panel_lanes * (c->group_taps + 1) * DW_ALIGN;
        return;
    }
    if (c->bundles) {
        c->x_bytes = 2 * DW_VIEW_BYTES + dw_min(p->kernel_size * DW_GRADIENT_NARROW_BYTES, 2 * DW_VIEW_BYTES);
        return;
    }
    if (c->activated) {
        c->x_bytes = dw_gradient_activated_bytes(plan, c);
        return;
    }
    if (c->in_place) {
        c->block_steps = c->group_taps <= DW_DIRECT_TAPS ? DW_GRADIENT_ROW_BLOCK
                         : c->group_taps <= DW_GRADIENT_MEDIUM_TAPS ? DW_GRADIENT_MEDIUM_BLOCK : DW_GRADIENT_LONG_BLOCK;
        c->block_steps = dw_min(c->block_steps, c->chunk_steps);
        c->x_bytes = c->walks ? DW_WORKSPACE_BYTES : 0;
        return;
    }
    c->unit_steps = p->layout == DWCONV_CHANNELS_FIRST ? 1 : dw_gcd(p->stride, p->dilation);
    const int64_t tap_rows = p->dilation / c->unit_steps, step_rows = p->stride / c->unit_steps;
    int64_t taps = dw_max(c->group_taps, 1), steps = 0;
    if ((taps - 1) * tap_rows + (enough - 1) * step_rows >= x_rows)
        taps = dw_min(taps, x_rows / 2 / tap_rows + 1); /* half of the tile for them */
    if ((taps - 1) * tap_rows < x_rows)
        steps = (x_rows - 1 - (taps - 1) * tap_rows) / step_rows + 1;
    c->gathered = steps < enough || (steps - 1) * step_rows + (taps - 1) * tap_rows >= 2 * steps * taps;
    if (c->gathered) {
        taps = dw_min(c->group_taps, 8);
        steps = x_rows / dw_max(taps, 1);
    }
    c->block_taps = dw_max(taps, 1);
    c->block_steps = dw_min(dw_min(steps, DW_GRADIENT_Y_BYTES / row_bytes), c->chunk_steps);
    if (c->block_steps > 4)
        c->block_steps -= c->block_steps % 4;
    const int64_t rows_used = c->gathered ? c->block_taps * c->block_steps
                                          : (c->block_steps - 1) * step_rows + (c->block_taps - 1) * tap_rows + 1;
    c->x_bytes = rows_used * row_bytes;
    c->y_bytes = c->block_steps * row_bytes;
}

/* Chunks of time, and units of as many batch items as they have room for: a part of the definition of the result. */
static void cut_time(const dw_plan *plan, dw_gradient_cuts *c)
{
    const dwconv_problem *p = &plan->problem;
    const int64_t chains = c->lines ? DW_ALIGN / plan->item_bytes : 1;
    c->chunk_steps = dw_ceil_div(p->out_steps, dw_ceil_div(p->out_steps, DW_CHUNK_STEPS * chains));
    c->chunk_steps = dw_round_up(c->chunk_steps, chains);
    c->chunks = dw_ceil_div(p->out_steps, c->chunk_steps);
    c->line_items = c->lines && c->chunks == 1 ? dw_min(DW_CHUNK_STEPS / (c->chunk_steps / chains), p->batch) : 1;
    c->units = c->chunks * dw_ceil_div(p->batch, c->line_items);
}

int dw_gradient_threads(const dw_plan *plan, int64_t taps, int max_threads)
{
    const dwconv_problem *p = &plan->problem;
    return dw_threads_for(p->batch * p->out_steps * plan->out_channels, taps, max_threads);
}

dw_part dw_gradient_input_part(const dw_gradient_call *call, int64_t batch_item, int64_t step)
{
    const dwconv_problem *p = &call->plan->problem;
    const int64_t end = step + call->cuts.chunk_steps;
    return (dw_part){
        .across = batch_item,
        .first_row = step == 0 ? 0 : dw_clamp(step - p->pad_left, 0, p->in_steps),
        .last_row = end >= p->out_steps ? p->in_steps : dw_clamp(end - p->pad_left, 0, p->in_steps),
    };
}

/* Spans of a power of two of units, not more than wanted, nor than there is room for. */
static void cut_spans(const dw_plan *plan, dw_gradient_cuts *c, int64_t taps, int threads, int64_t wanted)
{
    const int64_t span_bytes = (taps + 1) * plan->out_channels * plan->item_bytes;
    for (c->span_units = 1;; c->span_units *= 2) {
        c->spans = dw_ceil_div(c->units, c->span_units);
        for (c->levels = 1; dw_min(c->span_units, c->units) >> c->levels;)
            c->levels++;
        if (c->spans == 1)
            return;
        const int64_t bytes = threads * (int64_t)dw_gradient_worker_bytes(plan, c) + c->spans * span_bytes;
        if (c->spans <= wanted && bytes <= threads * DW_GRADIENT_WORKER_BYTES)
            return;
    }
}

dw_gradient_cuts dw_gradient_cut(const dw_plan *plan, int64_t taps, bool activated, int max_threads)
{
    const dwconv_problem *p = &plan->problem;
    const int threads = dw_gradient_threads(plan, taps, max_threads);
    const bool few = taps <= DW_DIRECT_TAPS, last = p->layout == DWCONV_CHANNELS_LAST;
    dw_gradient_cuts c = {.side = 1, .groups = 1, .activated = activated};
    c.lines = dw_gradient_takes_lines(plan);
    c.in_place = last && p->depth_multiplier <= 2 && p->channels * plan->item_bytes >= DW_ALIGN
                 && (few || p->stride % p->dilation == 0); /* many taps share rows, or packing them costs less */
    c.bundles = plan->kernels->correlate_bundle && !last && !few && p->stride == 1 && p->dilation == 1
                && p->out_steps >= DW_GRADIENT_BUNDLE_STEPS;
    cut_time(plan, &c);
    while (c.units >> c.levels)
        c.levels++;
    const int64_t out_bytes = plan->out_channels * plan->item_bytes;
    const int64_t wide_bytes = (taps + 1) * DW_GRADIENT_WIDE_ROW_BYTES; /* sums at rest, those of a unit, those of spans: */
    const bool wide = c.in_place && !few && (c.levels + 4) * wide_bytes <= DW_GRADIENT_WORKER_BYTES
                      && (c.levels + 2) * wide_bytes + DW_WORKSPACE_BYTES <= DW_GRADIENT_WORKER_BYTES
                      && dw_gradient_shares_well(c.units * dw_ceil_div(out_bytes, DW_GRADIENT_WIDE_ROW_BYTES), threads);
    const int64_t row_bytes = c.activated ? DW_ACTIVATED_ROW_BYTES
                              : wide ? DW_GRADIENT_WIDE_ROW_BYTES
                              : c.in_place ? (few ? DW_GRADIENT_ROW_BYTES : DW_GRADIENT_LONG_ROW_BYTES)
                              : c.lines ? DW_GRADIENT_LINES_BYTES
                              : last ? DW_GRADIENT_PANEL_BYTES
                              : few ? DW_GRADIENT_MEDIUM_BYTES : DW_GRADIENT_NARROW_BYTES;
    const int64_t lanes = row_bytes / plan->item_bytes;
    c.panel_lanes = dw_min(plan->out_channels, lanes);
    if (activated) { /* all taps in one task; equal tasks of whole strips */
        const int64_t most = DW_ACTIVATED_STACK_BYTES / ((taps + 1) * c.levels * plan->item_bytes);
        const int64_t strip = DW_ACTIVATED_STRIP_BYTES / plan->item_bytes;
        const int64_t parts = dw_ceil_div(plan->out_channels, dw_clamp(lanes, strip, dw_max(most, strip)));
        c.panel_lanes = dw_min(dw_round_up(dw_ceil_div(plan->out_channels, parts), strip), plan->out_channels);
    }
    c.panels = dw_ceil_div(plan->out_channels, c.panel_lanes);
    if (c.panels == 1 && !c.in_place && !c.lines)
        c.side = dw_min(DW_PANEL_BYTES / plan->item_bytes / c.panel_lanes, c.units);
    const int64_t head = activated ? DW_ALIGN / plan->item_bytes : 0; /* room for it */
    c.tile_row = (ptrdiff_t)(dw_round_up(c.panel_lanes * c.side, DW_ALIGN / plan->item_bytes) + head);
    if (taps > 0) {
        const int64_t tap_bytes = c.levels * c.panel_lanes * plan->item_bytes;
        const int64_t most = wide ? taps : dw_min(DW_GRADIENT_TAPS, DW_GRADIENT_STACK_BYTES / tap_bytes - 1);
        c.groups = dw_ceil_div(taps, most);
        c.group_taps = dw_ceil_div(taps, c.groups);
        c.groups = dw_ceil_div(taps, c.group_taps);
    }
    c.walks = c.in_place && !few && c.panels == 1 && c.groups == 1 && (p->stride == 1 || c.chunks == 1);
    size_block(plan, &c);

    const int64_t tasks = (int64_t)threads * DW_TASKS_PER_THREAD;
    cut_spans(plan, &c, taps, threads, threads > 1 ? dw_ceil_div(tasks, c.panels * c.groups) : 1);
    return c;
}

size_t dw_gradient_worker_bytes(const dw_plan *plan, const dw_gradient_cuts *c)
{
    const int64_t rows = c->group_taps + 1;
    const int64_t elements = rows * (c->tile_row + c->levels * (c->activated ? c->tile_row : c->panel_lanes));
    return (size_t)(c->x_bytes + c->y_bytes + dw_round_up(elements * plan->item_bytes, DW_ALIGN));
}
