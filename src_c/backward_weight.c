/* SPDX-License-Identifier: BSD-3-Clause
 *
 * The gradients of kernel and bias: sums over batch and time.
 *
 *     dw[k, c, m]    = sum_b sum_i x[b, i*stride + k*dilation - pad_left, c] * dy[b, i, c*M + m]
 *     dbias[c*M + m] = sum_b sum_i dy[b, i, c*M + m]
 *
 * Output steps are cut in chunks of at most DW_CHUNK_STEPS, by the shape alone.  Within a chunk each sum is one chain
 * of fused multiply-adds, steps ascending; chunks are numbered batch items first, and their sums are added in pairs,
 * pairs of pairs, and so on, as in a binary counter.  Nothing else enters a result, so it does not depend on tiles,
 * threads, layout or vector width.
 *
 * A task has some output channels as lanes, some taps, and a power of two of chunks (a span).  It packs blocks of x and
 * dy into tiles like the panels of the forward pass, unless rows of channels are read only once or twice and so in
 * place.  Where channels are few, chunks lie side by side as lanes.  A span that is not everything leaves its sum in the
 * workspace, and the caller's thread adds those up. */
#include "internal.h"
#include "parallel.h"

#include "cpu.h"

#include <string.h>

enum {
    MOST_LANES = DW_MAX_PANEL_LANES,
    MOST_LEVELS = 64
};

/* The cuts of a call. */
typedef struct cuts {
    int64_t chunk_steps, chunks, units; /* units: chunks of all batch items */
    int64_t panel_lanes, panels;        /* output channels of a task */
    int64_t side;                       /* most units that lie side by side */
    int64_t group_taps, groups;         /* taps of a task */
    int64_t span_units, spans;
    int levels;
    ptrdiff_t tile_row;                 /* of tiles; sums at rest have panel_lanes */
    int64_t block_steps, block_taps;    /* of a tile */
    bool in_place;                      /* no tiles: lanes are channels of the arrays */
    bool gathered;                      /* x tile: a row for each step of each tap, not one for each input step */
    int64_t unit_steps;                 /* not gathered: input steps from a row of the x tile to the next */
} cuts;

typedef struct gradient_call {
    const dw_plan *plan;
    const char *x, *dy;
    char *dw, *dbias;
    char *workspace, *span_sums; /* span_sums: [spans][K+1][out_channels] */
    int64_t taps;                /* K, or 0 if only the bias is wanted */
    cuts cuts;
    size_t worker_bytes;
} gradient_call;

/* Units [first, first + count) as lanes, all alike: of the same chunk, or complete and inside the input. */
typedef struct lanes {
    ptrdiff_t lanes;
    ptrdiff_t x_at[MOST_LANES], y_at[MOST_LANES];
    int64_t start, step, steps; /* input step of tap 0, first output step, output steps, all of the first unit */
} lanes;

typedef struct task {
    const gradient_call *call;
    const dw_plan *plan;
    const dw_kernels *kernels;
    int64_t first_tap, taps;
    bool bias; /* its gradient as well */
    ptrdiff_t channel, channels; /* output channels */
    ptrdiff_t item;
    char *x_tile, *y_tile, *sums, *stack;
} task;

/* Whether some of the taps do, in some of the steps, the first of which has its first tap at input step `start`. */
static bool leaves_input(const dwconv_problem *p, int64_t start, int64_t steps, int64_t taps)
{
    return start < 0 || start + (steps - 1) * p->stride + (taps - 1) * p->dilation >= p->in_steps;
}

static bool is_clipped(const dwconv_problem *p, const cuts *c, int64_t chunk, int64_t *steps)
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
    const cuts *c = &t->call->cuts;
    const int64_t first_chunk = unit / p->batch;
    const bool clip = is_clipped(p, c, first_chunk, &l->steps);
    const bool any_chunk = !clip && l->steps == c->chunk_steps;
    l->step = first_chunk * c->chunk_steps;
    l->start = l->step * p->stride - p->pad_left;
    l->lanes = 0;
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
            l->x_at[l->lanes] = x + o / (ptrdiff_t)p->depth_multiplier * plan->x.channel;
            l->y_at[l->lanes] = y + o * plan->y.channel;
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

/* The same as add_block, in place. */
static void add_rows_in_place(const task *t, const lanes *l, int64_t i, int64_t steps)
{
    const dw_plan *plan = t->plan;
    const dwconv_problem *p = &plan->problem;
    const ptrdiff_t row = t->call->cuts.tile_row;
    const int64_t start = l->start + i * p->stride;
    const dw_correlate job = {
        .x = t->call->x,
        .x_at = (size_t)l->x_at[0] + (size_t)start * (size_t)plan->x.step,
        .x_tap = (size_t)p->dilation * (size_t)plan->x.step,
        .x_step = (size_t)p->stride * (size_t)plan->x.step,
        .y = t->call->dy + (l->y_at[0] + (l->step + i) * plan->y.step) * t->item,
        .y_step = plan->y.step,
        .sums = t->sums, .sums_tap = row, .bias_sums = t->bias ? t->sums + t->taps * row * t->item : NULL,
        .taps = (ptrdiff_t)t->taps, .steps = (ptrdiff_t)steps, .lanes = t->channels,
        .clip = leaves_input(p, start, steps, t->taps),
        .start = start, .stride = p->stride, .dilation = p->dilation, .limit = p->in_steps,
    };
    t->kernels->correlate(&job);
}

/* The products of `steps` steps from number i of the units with `taps` taps from k are added to the sums. */
static void add_block(const task *t, const lanes *l, int64_t i, int64_t steps, int64_t k, int64_t taps)
{
    const dwconv_problem *p = &t->plan->problem;
    const cuts *c = &t->call->cuts;
    const int64_t start = l->start + i * p->stride + k * p->dilation;
    const ptrdiff_t row = c->tile_row;
    dw_correlate job = {
        .y = t->y_tile, .y_step = row, .steps = (ptrdiff_t)steps,
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

/* The sums of some units, side by side in the tile `sums`: a row for each tap, the bias behind them. */
static void sum_units(const task *t, const lanes *l)
{
    const cuts *c = &t->call->cuts;
    const ptrdiff_t row_bytes = c->tile_row * t->item;
    memset(t->sums, 0, (size_t)((t->taps + 1) * row_bytes));
    for (int64_t i = 0; i < l->steps; i += c->block_steps) {
        const int64_t steps = dw_min(c->block_steps, l->steps - i);
        if (c->in_place) {
            add_rows_in_place(t, l, i, steps);
            continue;
        }
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

static void store(const gradient_call *call, const char *sums, ptrdiff_t sums_row, char *target, ptrdiff_t rows,
                  ptrdiff_t lanes)
{
    call->plan->kernels->repeat_lanes(sums, sums_row, 0, 1, target, (ptrdiff_t)call->plan->out_channels, rows, lanes);
}

static void run_task(void *argument, int64_t index, int worker)
{
    const gradient_call *call = argument;
    const dw_plan *plan = call->plan;
    const cuts *c = &call->cuts;
    const int64_t panel = index % c->panels, group = index / c->panels % c->groups, span = index / c->panels / c->groups;
    char *workspace = call->workspace + (size_t)worker * call->worker_bytes;
    task t = {
        .call = call, .plan = plan, .kernels = plan->kernels, .item = plan->item_bytes,
        .first_tap = group * c->group_taps,
        .channel = (ptrdiff_t)(panel * c->panel_lanes),
        .x_tile = workspace,
    };
    t.taps = dw_min(c->group_taps, call->taps - t.first_tap);
    t.channels = (ptrdiff_t)dw_min(c->panel_lanes, plan->out_channels - t.channel);
    t.y_tile = t.x_tile + DW_GRADIENT_X_BYTES;
    t.sums = c->in_place ? workspace : t.y_tile + DW_GRADIENT_Y_BYTES;
    t.stack = t.sums + (c->group_taps + 1) * c->tile_row * t.item;
    t.bias = call->dbias && group == 0;
    const ptrdiff_t rows = (ptrdiff_t)t.taps + t.bias;

    const uint64_t state = dw_fp_state_get();
    dw_fp_state_set(dw_fp_state_default(state));
    if (!c->in_place && (c->side > 1 || t.channels * t.item % DW_ALIGN != 0)) /* lanes that nobody packs are computed with, too */
        memset(t.x_tile, 0, DW_GRADIENT_X_BYTES + DW_GRADIENT_Y_BYTES);
    counter sums = {0};
    const int64_t end = dw_min((span + 1) * c->span_units, c->units);
    for (int64_t unit = span * c->span_units, count; unit < end; unit += count) {
        lanes l;
        count = find_lanes(&t, unit, end, &l);
        sum_units(&t, &l);
        for (int64_t n = 0; n < count; n++)
            push(&t, &sums, t.sums + n * t.channels * t.item, rows);
    }
    const char *sum = collapse(&t, &sums, rows), *bias_sum = sum + t.taps * t.channels * t.item;
    char *dw = call->dw, *dbias = call->dbias;
    if (c->spans > 1) {
        dw = call->span_sums + span * (call->taps + 1) * plan->out_channels * t.item;
        dbias = dw + call->taps * plan->out_channels * t.item;
    }
    if (t.taps > 0)
        store(call, sum, t.channels, dw + (t.first_tap * plan->out_channels + t.channel) * t.item, (ptrdiff_t)t.taps,
              t.channels);
    if (t.bias)
        store(call, bias_sum, t.channels, dbias + t.channel * t.item, 1, t.channels);
    dw_fp_state_set(state);
}

/* Adds up the spans as `push` and `collapse` would have, had there been one. */
static void add_spans(const gradient_call *call)
{
    const dw_plan *plan = call->plan;
    const cuts *c = &call->cuts;
    const ptrdiff_t row = (ptrdiff_t)plan->out_channels, rows = (ptrdiff_t)call->taps + (call->dbias != NULL);
    const ptrdiff_t bytes = (ptrdiff_t)(call->taps + 1) * row * plan->item_bytes;
    char *at_rest[MOST_LEVELS], *sums = NULL;
    const uint64_t state = dw_fp_state_get();
    dw_fp_state_set(dw_fp_state_default(state));
    for (int64_t span = 0; span < c->spans; span++) {
        int level = 0;
        sums = call->span_sums + span * bytes;
        for (; span >> level & 1; level++)
            plan->kernels->add_rows(at_rest[level], row, sums, row, rows, row);
        at_rest[level] = sums;
    }
    sums = NULL;
    for (int level = 0; c->spans >> level; level++)
        if (c->spans >> level & 1) {
            if (sums)
                plan->kernels->add_rows(at_rest[level], row, sums, row, rows, row);
            else
                sums = at_rest[level];
        }
    if (call->taps > 0)
        store(call, sums, row, call->dw, (ptrdiff_t)call->taps, row);
    if (call->dbias)
        store(call, sums + call->taps * row * plan->item_bytes, row, call->dbias, 1, row);
    dw_fp_state_set(state);
}

/* Steps and taps of a block, such that what they read fits the tiles. */
static void size_block(const dw_plan *plan, cuts *c)
{
    const dwconv_problem *p = &plan->problem;
    const int64_t row_bytes = c->tile_row * plan->item_bytes, x_rows = DW_GRADIENT_X_BYTES / row_bytes;
    const int64_t enough = dw_min(16, c->chunk_steps);
    if (c->in_place) {
        c->block_steps = dw_min(DW_GRADIENT_ROW_BLOCK, c->chunk_steps);
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
}

static int threads_for(const dw_plan *plan, int64_t taps, int max_threads)
{
    const dwconv_problem *p = &plan->problem;
    return dw_threads_for(p->batch * p->out_steps * plan->out_channels, taps, max_threads);
}

static cuts cut(const dw_plan *plan, int64_t taps, int max_threads)
{
    const dwconv_problem *p = &plan->problem;
    cuts c = {.side = 1, .groups = 1};
    c.in_place = p->layout == DWCONV_CHANNELS_LAST && p->depth_multiplier == 1 && taps <= DW_DIRECT_TAPS
                 && p->channels * plan->item_bytes >= DW_ALIGN;
    const int64_t row_bytes = c.in_place ? DW_GRADIENT_ROW_BYTES
                              : taps <= DW_DIRECT_TAPS ? DW_GRADIENT_NARROW_BYTES : DW_GRADIENT_PANEL_BYTES;
    const int64_t lanes = row_bytes / plan->item_bytes;
    c.chunk_steps = dw_ceil_div(p->out_steps, dw_ceil_div(p->out_steps, DW_CHUNK_STEPS));
    c.chunks = dw_ceil_div(p->out_steps, c.chunk_steps);
    c.units = c.chunks * p->batch;
    c.panel_lanes = dw_min(plan->out_channels, lanes);
    c.panels = dw_ceil_div(plan->out_channels, c.panel_lanes);
    if (c.panels == 1 && !c.in_place)
        c.side = dw_min(DW_PANEL_BYTES / plan->item_bytes / c.panel_lanes, c.units);
    c.tile_row = (ptrdiff_t)dw_round_up(c.panel_lanes * c.side, DW_ALIGN / plan->item_bytes);
    while (c.units >> c.levels)
        c.levels++;
    if (taps > 0) {
        const int64_t most = dw_min(DW_GRADIENT_TAPS, DW_GRADIENT_STACK_BYTES / (c.levels * c.panel_lanes * plan->item_bytes) - 1);
        c.groups = dw_ceil_div(taps, most);
        c.group_taps = dw_ceil_div(taps, c.groups);
        c.groups = dw_ceil_div(taps, c.group_taps);
    }
    size_block(plan, &c);

    const int threads = threads_for(plan, taps, max_threads);
    const int64_t across = c.panels * c.groups;
    const int64_t wanted = threads > 1 ? dw_ceil_div((int64_t)threads * DW_TASKS_PER_THREAD, across) : 1;
    c.span_units = 1;
    while (dw_ceil_div(c.units, c.span_units) > wanted)
        c.span_units *= 2;
    c.spans = dw_ceil_div(c.units, c.span_units);
    return c;
}

static size_t worker_bytes(const dw_plan *plan, const cuts *c)
{
    const int64_t rows = c->group_taps + 1;
    const int64_t elements = rows * (c->tile_row + c->levels * c->panel_lanes);
    return (c->in_place ? 0 : DW_GRADIENT_X_BYTES + DW_GRADIENT_Y_BYTES)
           + (size_t)dw_round_up(elements * plan->item_bytes, DW_ALIGN);
}

static size_t scratch_size(const dw_plan *plan, int64_t taps, int max_threads)
{
    const cuts c = cut(plan, taps, max_threads);
    const size_t span_bytes = (size_t)((taps + 1) * plan->out_channels * plan->item_bytes);
    return (size_t)threads_for(plan, taps, max_threads) * worker_bytes(plan, &c)
           + (c.spans > 1 ? (size_t)c.spans * span_bytes : 0) + DW_ALIGN;
}

size_t dwconv_backward_weight_workspace_size(const dwconv_plan *opaque, int max_threads)
{
    const dw_plan *plan = dw_plan_of(opaque);
    if (!plan || plan->regions_used == 0)
        return 0;
    const size_t whole = scratch_size(plan, plan->problem.kernel_size, max_threads);
    const size_t bias_only = scratch_size(plan, 0, max_threads);
    return whole > bias_only ? whole : bias_only;
}

dwconv_status dwconv_backward_weight(const dwconv_plan *opaque, const void *x, const void *dy, void *dw, void *dbias,
                                     const dwconv_exec *exec)
{
    const dw_plan *plan = dw_plan_of(opaque);
    if (!opaque)
        return DWCONV_ERROR_NULL;
    if (!plan)
        return DWCONV_ERROR_PLAN;
    const dwconv_problem *p = &plan->problem;
    if (plan->out_channels == 0 || (!dw && !dbias))
        return DWCONV_OK; /* no elements */
    if (plan->regions_used == 0) {
        if (dw)
            memset(dw, 0, (size_t)(p->kernel_size * plan->out_channels * plan->item_bytes));
        if (dbias)
            memset(dbias, 0, (size_t)(plan->out_channels * plan->item_bytes));
        return DWCONV_OK;
    }
    if (!dy || (dw && !x && p->in_steps > 0))
        return DWCONV_ERROR_NULL;
    if (!exec)
        exec = &dw_one_thread;
    const size_t bytes = dwconv_backward_weight_workspace_size(opaque, exec->max_threads);
    if (!exec->workspace || exec->workspace_bytes < bytes)
        return DWCONV_ERROR_WORKSPACE;

    gradient_call call = {
        .plan = plan, .x = x, .dy = dy, .dw = dw, .dbias = dbias, .workspace = dw_align(exec->workspace),
        .taps = dw ? p->kernel_size : 0,
    };
    call.cuts = cut(plan, call.taps, exec->max_threads);
    call.worker_bytes = worker_bytes(plan, &call.cuts);
    const int threads = threads_for(plan, call.taps, exec->max_threads);
    call.span_sums = call.workspace + (size_t)threads * call.worker_bytes;
    dw_run(exec->runner, run_task, &call, call.cuts.panels * call.cuts.groups * call.cuts.spans, threads);
    if (call.cuts.spans > 1)
        add_spans(&call);
    return DWCONV_OK;
}
