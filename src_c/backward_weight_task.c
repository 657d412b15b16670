/* SPDX-License-Identifier: BSD-3-Clause
 *
 * A task of the weight gradient has some output channels as lanes, some taps, and a power of two of chunks (a span).
 * Where rows of channels suit the kernel it reads them in place; otherwise it packs blocks of x and dy into tiles like
 * the panels of the forward pass.  Where channels are few, chunks lie side by side as lanes.  Sequences that are
 * contiguous in time, with few taps, are left to backward_weight_lines.c. */
#include "backward_weight.h"
#include "cpu.h"

#include <string.h>

enum { MOST_LANES = DW_MAX_PANEL_LANES };

/* Units [first, first + count) as lanes, all alike: of the same chunk, or complete and inside the input. */
typedef struct lanes {
    ptrdiff_t lanes;
    ptrdiff_t x_at[MOST_LANES], y_at[MOST_LANES];
    int64_t item, start, step, steps; /* batch item, input step of tap 0, first output step, output steps, of the first unit */
} lanes;

typedef struct task {
    const dw_gradient_call *call;
    const dw_plan *plan;
    const dw_kernels *kernels;
    int64_t first_tap, taps;
    bool bias; /* its gradient as well */
    bool y_in_place; /* dy needs no tile: lanes are whole vectors of its rows */
    ptrdiff_t channel, channels; /* output channels */
    ptrdiff_t turn; /* lanes are so many channels further, the last ones are the first channels */
    ptrdiff_t item;
    char *x_tile, *y_tile, *sums, *stack;
    char *w_tile; /* if dx is computed on the way, its weights, a vector of channels after the other, otherwise NULL */
} task;

/* Whether some of the taps do, in some of the steps, the first of which has its first tap at input step `start`. */
static bool leaves_input(const dwconv_problem *p, int64_t start, int64_t steps, int64_t taps)
{
    return start < 0 || start + (steps - 1) * p->stride + (taps - 1) * p->dilation >= p->in_steps;
}

static bool is_clipped(const dwconv_problem *p, const dw_gradient_cuts *c, int64_t chunk, int64_t *steps)
{
    const int64_t step = chunk * c->chunk_steps, start = step * p->stride - p->pad_left;
    *steps = dw_min(c->chunk_steps, p->out_steps - step);
    return leaves_input(p, start, *steps, p->kernel_size);
}

/* As many units from `unit` as are alike, at most `side` and none from `end` on; returns their number. */
static int64_t find_lanes(const task *t, int64_t unit, int64_t end, lanes *l)
{
    const dw_plan *plan = t->plan;
    const dwconv_problem *p = &plan->problem;
    const dw_gradient_cuts *c = &t->call->cuts;
    const int64_t first_chunk = unit / p->batch;
    const bool clip = is_clipped(p, c, first_chunk, &l->steps);
    const bool any_chunk = !clip && l->steps == c->chunk_steps;
    l->step = first_chunk * c->chunk_steps;
    l->start = l->step * p->stride - p->pad_left;
    l->lanes = 0;
    l->item = unit % p->batch;
    int64_t count = 0;
    for (; count < c->side && unit + count < end; count++) {
        const int64_t chunk = (unit + count) / p->batch, b = (unit + count) % p->batch;
        int64_t steps;
        if (chunk != first_chunk && (!any_chunk || is_clipped(p, c, chunk, &steps) || steps < c->chunk_steps))
            break;
        const int64_t later = (chunk - first_chunk) * c->chunk_steps;
        const ptrdiff_t x = (ptrdiff_t)(b * plan->x.batch + later * p->stride * plan->x.step);
        const ptrdiff_t y = (ptrdiff_t)(b * plan->y.batch + later * plan->y.step);
        const ptrdiff_t lanes_used = c->in_place ? 1 : t->channels; /* in place, the first says where all are */
        for (ptrdiff_t o = t->channel; o < t->channel + lanes_used; o++, l->lanes++) {
            l->x_at[l->lanes] = x + (o / (ptrdiff_t)p->depth_multiplier + t->turn) * plan->x.channel;
            l->y_at[l->lanes] = y + (o + t->turn) * plan->y.channel;
        }
    }
    return count;
}

/* Fills rows of a tile with steps step, step + advance, ... of x (repeated as the multiplier asks) or dy. */
static void pack(const task *t, const lanes *l, bool is_x, int64_t step, int64_t advance, char *tile, int64_t rows)
{
    const dw_plan *plan = t->plan;
    const dw_strides *strides = is_x ? &plan->x : &plan->y;
    const char *source = is_x ? t->call->x : t->call->dy;
    const ptrdiff_t *at = is_x ? l->x_at : l->y_at;
    const ptrdiff_t repeat = is_x ? (ptrdiff_t)plan->problem.depth_multiplier : 1, row = t->call->cuts.tile_row;
    const ptrdiff_t offset = (ptrdiff_t)step * strides->step;
    const ptrdiff_t distance = rows > 1 ? (ptrdiff_t)advance * strides->step : strides->step;
    if (plan->problem.layout == DWCONV_CHANNELS_FIRST) {
        t->kernels->gather_lanes(source, at, offset, distance, tile, row, (ptrdiff_t)rows, l->lanes);
        return;
    }
    for (ptrdiff_t lane = 0; lane < l->lanes; lane += t->channels)
        t->kernels->repeat_lanes(source + (at[lane] + offset) * t->item, distance, t->channel % repeat, repeat,
                                 tile + lane * t->item, row, (ptrdiff_t)rows, t->channels);
}

/* The steps of x that exist among step, step + advance, ... ; rows of others stay as they are, nobody reads them. */
static void pack_existing(const task *t, const lanes *l, int64_t step, int64_t advance, char *tile, int64_t rows)
{
    const int64_t first = dw_max(dw_ceil_div(-step, advance), 0);
    const int64_t last = dw_min(dw_ceil_div(t->plan->problem.in_steps - step, advance), rows);
    if (first < last)
        pack(t, l, true, step + first * advance, advance, tile + first * t->call->cuts.tile_row * t->item, last - first);
}

/* In place, vectors are cut where lines of x are, if rows are whole vectors that follow one another: what is cut off at the
 * beginning of a row is joined to the end of the row before (`wrap` of dw_correlate). */
static ptrdiff_t turn_of(const dw_gradient_call *call)
{
    const dw_plan *plan = call->plan;
    const dwconv_problem *p = &plan->problem;
    const int64_t item = plan->item_bytes;
    if (!call->cuts.in_place || call->activated || p->stride > 1 || p->depth_multiplier > 1 || call->taps == 0
        || plan->x.step != plan->out_channels || plan->y.step != plan->out_channels)
        return 0;
    return (ptrdiff_t)dw_unaligned_head(call->x, plan->x.step * item, plan->kernels->vector_lanes * item, item);
}

/* How many of the last lanes are the first channels. */
static ptrdiff_t wrapped(const task *t)
{
    return (ptrdiff_t)dw_max(t->channel + t->channels + t->turn - t->plan->out_channels, 0);
}

/* The same as add_block, in place. */
static void add_rows_in_place(const task *t, const lanes *l, int64_t i, int64_t steps)
{
    const dw_plan *plan = t->plan;
    const dwconv_problem *p = &plan->problem;
    const ptrdiff_t row = t->call->cuts.tile_row;
    const int64_t start = l->start + i * p->stride + t->first_tap * p->dilation;
    /* taps that far apart are as far apart as neighbouring steps, if there are such */
    const int64_t meets = p->stride % p->dilation == 0 ? p->stride / p->dilation : 1;
    const int64_t apart = dw_clamp(t->taps, 1, meets);
    dw_correlate job = {
        .x = t->call->x,
        .x_tap = (size_t)(meets * p->dilation) * (size_t)plan->x.step,
        .x_step = (size_t)p->stride * (size_t)plan->x.step,
        .y = t->call->dy + (l->y_at[0] + (l->step + i) * plan->y.step) * t->item,
        .y_step = plan->y.step,
        .sums_tap = (ptrdiff_t)meets * row,
        .steps = (ptrdiff_t)steps, .lanes = t->channels / (ptrdiff_t)p->depth_multiplier,
        .wrap = wrapped(t),
        .clip = leaves_input(p, start, steps, t->taps), .pairs = p->depth_multiplier == 2,
        .stride = p->stride, .dilation = meets * p->dilation, .limit = p->in_steps,
    };
    for (int64_t n = 0; n < apart; n++) {
        job.start = start + n * p->dilation;
        job.x_at = (size_t)l->x_at[0] + (size_t)job.start * (size_t)plan->x.step;
        job.sums = t->sums + n * row * t->item;
        job.bias_sums = t->bias && n == 0 ? t->sums + t->taps * row * t->item : NULL;
        job.taps = t->taps > 0 ? (ptrdiff_t)((t->taps - n - 1) / apart + 1) : 0;
        t->kernels->correlate(&job);
    }
}

/* The products of `steps` steps from number i of the units with `taps` taps from k are added to the sums. */
static void add_block(const task *t, const lanes *l, int64_t i, int64_t steps, int64_t k, int64_t taps)
{
    const dwconv_problem *p = &t->plan->problem;
    const dw_gradient_cuts *c = &t->call->cuts;
    const int64_t start = l->start + i * p->stride + k * p->dilation;
    const ptrdiff_t row = c->tile_row;
    const char *y = t->y_in_place ? t->call->dy + (l->y_at[0] + (l->step + i) * t->plan->y.step) * t->item : t->y_tile;
    dw_correlate job = {
        .y = y, .y_step = t->y_in_place ? t->plan->y.step : row, .steps = (ptrdiff_t)steps,
        .lanes = (ptrdiff_t)dw_round_up(l->lanes, DW_ALIGN / t->item), /* of tiles, whole vectors */
        .clip = leaves_input(p, start, steps, taps), .start = start, .stride = p->stride, .limit = p->in_steps,
    };
    int64_t apart = 1; /* taps that far apart are as far apart as neighbouring steps */
    if (taps == 0) { /* the bias alone */
        job.x_tap = job.x_step = (size_t)row;
    } else if (c->gathered) {
        for (int64_t n = 0; n < taps; n++)
            pack_existing(t, l, start + n * p->dilation, p->stride, t->x_tile + n * steps * row * t->item, steps);
        job.x_tap = (size_t)(steps * row);
        job.x_step = (size_t)row;
    } else {
        const int64_t tap_rows = p->dilation / c->unit_steps, step_rows = p->stride / c->unit_steps;
        pack_existing(t, l, start, c->unit_steps, t->x_tile, (steps - 1) * step_rows + (taps - 1) * tap_rows + 1);
        if (step_rows % tap_rows == 0)
            apart = dw_min(step_rows / tap_rows, taps);
        job.x_tap = taps > 1 ? (size_t)(apart * tap_rows * row) : (size_t)row;
        job.x_step = steps > 1 ? (size_t)(step_rows * row) : (size_t)row;
    }
    job.sums_tap = (ptrdiff_t)apart * row;
    job.dilation = apart * p->dilation;
    for (int64_t n = 0; n < apart; n++) {
        job.x = t->x_tile + n * ((ptrdiff_t)job.x_tap / apart) * t->item;
        job.sums = t->sums + (k - t->first_tap + n) * row * t->item;
        job.taps = (ptrdiff_t)((taps - n - 1) / apart + 1);
        job.start = start + n * p->dilation;
        job.bias_sums = t->bias && k + n == 0 ? t->sums + t->taps * row * t->item : NULL;
        t->kernels->correlate(&job);
    }
}

/* The kernel read backwards, of a vector of channels after the other. */
static void pack_weights(task *t)
{
    const dw_call *input = t->call->input;
    const ptrdiff_t taps = (ptrdiff_t)t->plan->problem.kernel_size, vector = t->kernels->vector_lanes;
    t->w_tile = t->x_tile + 2 * DW_VIEW_BYTES;
    for (ptrdiff_t lane = 0; lane < t->channels; lane += vector)
        t->kernels->repeat_lanes(input->w + (t->channel + lane) * t->item, input->w_tap, 0, 1,
                                 t->w_tile + lane * taps * t->item, vector, taps, (ptrdiff_t)dw_min(vector, t->channels - lane));
}

/* The rows of dx of the chunk of l. */
static dw_bundle rows_of_input(const task *t, const lanes *l)
{
    const dwconv_problem *p = &t->plan->problem;
    const dw_call *input = t->call->input;
    const dw_part part = dw_gradient_input_part(t->call, l->item, l->step);
    return (dw_bundle){
        .w = t->w_tile, .y = input->y + part.first_row * t->item, .taps = (ptrdiff_t)p->kernel_size,
        .rows = (ptrdiff_t)(part.last_row - part.first_row), .stride = 1, .dilation = 1,
        .start = part.first_row - input->plan->problem.pad_left, .limit = p->out_steps,
    };
}

/* From the sequences of batch item b to those that are walked next: of the next item, or of the next channels. */
static ptrdiff_t following(const task *t, const dw_strides *strides, int64_t b)
{
    const ptrdiff_t rest = (ptrdiff_t)(t->plan->problem.batch - 1 - b);
    return rest > 0 ? strides->batch : t->channels * strides->channel - (ptrdiff_t)b * strides->batch;
}

/* All products of the units, a vector of sequences at a time. */
static void add_bundles(const task *t, const lanes *l)
{
    const ptrdiff_t row = t->call->cuts.tile_row, vector = t->kernels->vector_lanes;
    dw_bundle input = t->w_tile ? rows_of_input(t, l) : (dw_bundle){0};
    for (ptrdiff_t lane = 0; lane < l->lanes; lane += vector) {
        char *sums = t->sums + lane * t->item;
        const dw_correlate_bundle job = {
            .x = t->call->x, .y = t->call->dy, .tile = t->x_tile, .sums = sums, .sums_tap = row,
            .bias_sums = t->bias ? sums + t->taps * row * t->item : NULL,
            .x_at = l->x_at + lane, .y_at = l->y_at + lane, .input = t->w_tile ? &input : NULL,
            .lanes = (ptrdiff_t)dw_min(vector, l->lanes - lane), .taps = (ptrdiff_t)t->taps,
            .tile_rows = DW_VIEW_BYTES / (vector * t->item),
            .x_following = following(t, &t->plan->x, l->item), .y_following = following(t, &t->plan->y, l->item),
            .first = l->step, .last = l->step + l->steps, .ahead = t->first_tap - t->plan->problem.pad_left,
            .limit = t->plan->problem.in_steps,
        };
        if (t->w_tile) {
            input.w = t->w_tile + lane * t->item * t->plan->problem.kernel_size;
            input.y_at = l->x_at + lane;
            input.lanes = job.lanes;
        }
        t->kernels->correlate_bundle(&job);
    }
}

/* The sums of some units, side by side in the tile `sums`: a row for each tap, the bias behind them. */
static void sum_units(const task *t, const lanes *l)
{
    const dw_gradient_cuts *c = &t->call->cuts;
    const ptrdiff_t row_bytes = c->tile_row * t->item;
    memset(t->sums, 0, (size_t)((t->taps + 1) * row_bytes));
    if (c->bundles) {
        add_bundles(t, l);
        return;
    }
    for (int64_t i = 0; i < l->steps; i += c->block_steps) {
        const int64_t steps = dw_min(c->block_steps, l->steps - i);
        if (c->in_place) {
            add_rows_in_place(t, l, i, steps);
            continue;
        }
        if (!t->y_in_place)
            pack(t, l, false, l->step + i, 1, t->y_tile, steps);
        int64_t n = 0;
        do {
            add_block(t, l, i, steps, t->first_tap + n, dw_min(c->block_taps, t->taps - n));
            n += c->block_taps;
        } while (n < t->taps);
    }
}

/* Sums at rest, two to the power `level` of units each, as the bits of `count` say. */
typedef struct counter {
    uint64_t count;
} counter;

static char *level_of(const task *t, ptrdiff_t rows, int level) { return t->stack + level * rows * t->channels * t->item; }

static void push(const task *t, counter *c, char *sums, ptrdiff_t rows)
{
    const ptrdiff_t row = t->call->cuts.tile_row;
    int level = 0;
    for (; c->count >> level & 1; level++)
        t->kernels->add_rows(level_of(t, rows, level), t->channels, sums, row, rows, t->channels);
    t->kernels->repeat_lanes(sums, row, 0, 1, level_of(t, rows, level), t->channels, rows, t->channels);
    c->count++;
}

/* The sum of everything that was pushed. */
static char *collapse(const task *t, const counter *c, ptrdiff_t rows)
{
    char *sums = NULL;
    for (int level = 0; c->count >> level; level++) {
        if (!(c->count >> level & 1))
            continue;
        if (sums)
            t->kernels->add_rows(level_of(t, rows, level), t->channels, sums, t->channels, rows, t->channels);
        else
            sums = level_of(t, rows, level);
    }
    return sums;
}

/* The rows of dx of the chunk of l, in place. */
static void convolve_back(const task *t, const lanes *l)
{
    const dw_part part = dw_gradient_input_part(t->call, l->item, l->step);
    for (int n = 0; n < t->call->inputs; n++) {
        const dw_call *input = &t->call->input[n];
        dw_direct_begin(t->x_tile, 1);
        (input->plan->regions->way == DW_PAIRS ? dw_pairs_task : dw_direct_task)(input, input->plan->regions, part, t->x_tile);
    }
}

/* Sums of all lanes to some rows of the result. */
static void store(const task *t, const char *sums, char *target, ptrdiff_t rows)
{
    const ptrdiff_t wrap = wrapped(t), inside = t->channels - wrap;
    dw_gradient_store(t->call, sums, t->channels, target + (t->channel + t->turn) * t->item, rows, inside);
    if (wrap > 0)
        dw_gradient_store(t->call, sums + inside * t->item, t->channels, target, rows, wrap);
}

void dw_gradient_task(void *argument, int64_t index, int worker)
{
    const dw_gradient_call *call = argument;
    const dw_plan *plan = call->plan;
    const dw_gradient_cuts *c = &call->cuts;
    const int64_t panel = index % c->panels, group = index / c->panels % c->groups, span = index / c->panels / c->groups;
    char *workspace = call->workspace + (size_t)worker * call->worker_bytes;
    task t = {
        .call = call, .plan = plan, .kernels = plan->kernels, .item = plan->item_bytes,
        .first_tap = group * c->group_taps, .turn = turn_of(call),
        .x_tile = workspace,
    };
    t.taps = dw_min(c->group_taps, call->taps - t.first_tap);
    const ptrdiff_t head = c->activated ? dw_gradient_activated_head(call) : 0;
    const int64_t next = dw_min((panel + 1) * c->panel_lanes + head, plan->out_channels);
    t.channel = (ptrdiff_t)(panel > 0 ? dw_min(panel * c->panel_lanes + head, plan->out_channels) : 0);
    t.channels = (ptrdiff_t)next - t.channel;
    t.y_tile = t.x_tile + c->x_bytes;
    t.sums = t.y_tile + c->y_bytes;
    t.stack = t.sums + (c->group_taps + 1) * c->tile_row * t.item;
    t.bias = call->dbias && group == 0;
    t.y_in_place = plan->problem.layout == DWCONV_CHANNELS_LAST && c->side == 1 && t.channels * t.item % DW_ALIGN == 0;
    const ptrdiff_t rows = (ptrdiff_t)t.taps + t.bias;

    const uint64_t state = dw_fp_state_get();
    dw_fp_state_set(dw_fp_state_default(state));
    /* Lanes that nobody packs are computed with, too. */
    if (c->side > 1 || (!c->in_place && t.channels * t.item % DW_ALIGN != 0))
        memset(t.x_tile, 0, (size_t)(c->x_bytes + c->y_bytes));
    if (c->bundles && call->input && group == 0)
        pack_weights(&t);
    if (c->activated)
        dw_gradient_pack_activated(call, t.channel, t.channels, panel > 0 ? 0 : head, t.x_tile);
    counter sums = {0};
    const int64_t end = dw_min((span + 1) * c->span_units, c->units);
    for (int64_t unit = span * c->span_units, count; unit < end; unit += count) {
        lanes l;
        if (c->activated) {
            count = 1;
            dw_gradient_sum_activated(call, unit, t.channel, t.channels, panel > 0 ? 0 : head, t.x_tile, t.sums);
        } else if (c->lines) {
            count = 1;
            dw_gradient_sum_lines(call, unit, t.channel, t.channels, t.x_tile, t.sums);
        } else {
            count = find_lanes(&t, unit, end, &l);
            if (c->walks)
                convolve_back(&t, &l);
            sum_units(&t, &l);
        }
        for (int64_t n = 0; n < count; n++)
            push(&t, &sums, t.sums + n * t.channels * t.item, rows);
    }
    const char *sum = collapse(&t, &sums, rows), *bias_sum = sum + t.taps * t.channels * t.item;
    char *dw = call->dw, *dbias = call->dbias;
    if (c->spans > 1) {
        dw = call->span_sums + span * (call->taps + 1) * plan->out_channels * t.item;
        dbias = dw + call->taps * plan->out_channels * t.item;
    }
    if (t.taps > 0 && call->dw)
        store(&t, sum, dw + t.first_tap * plan->out_channels * t.item, (ptrdiff_t)t.taps);
    if (t.bias)
        store(&t, bias_sum, dbias, 1);
    if (call->input && dw_output_is_large(call->input->plan))
        plan->kernels->fence();
    dw_fp_state_set(state);
}
