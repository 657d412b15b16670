/* SPDX-License-Identifier: BSD-3-Clause
 *
 * In place: channels_last with multiplier 1.  A row of the problem is a row of the arrays, lanes are channels,
 * and the kernel walks along whole rows, which is how memory likes to be read.
 *
 * The weights are copied first, so that those of a vector of channels are neighbours: in place they lie as far apart
 * as the rows of x do, and where that is a power of two, both fall on the same few sets of the first-level cache.  As
 * many columns as have room for their weights are a band, which is walked over all rows: the fewer bands, the longer
 * the runs of memory.  Tasks of a worker that need the same band find it in the workspace, so that short batch items do
 * not cost a copy each.
 *
 * If the rows of x can be read in aligned vectors by beginning with a part of one (`head`), they are.  Where rows are
 * neighbours in memory, that part is not read by itself: lanes begin after it, and the last vector of a row goes on into
 * the part that begins the next one (`wrap`), for which the next row's taps lie just as far on. */
#include "cpu.h"
#include "internal.h"
#include "tiles.h"

#include <string.h>

/* Some channels of one task, over all its rows. */
typedef struct band {
    const dw_call *call;
    const dw_region *region;
    dw_part part;
    int64_t batch_item, items, lane, lanes, head;
    int64_t wrap; /* lanes at the end that are the first ones of the next row */
    const char *w, *bias;
    char *bias_copy; /* room for it, if lanes wrap */
    ptrdiff_t w_tap, w_column;
    bool stream;
} band;

/* Whose weights the workspace of a worker holds; no lanes: nobody's. */
typedef struct held {
    int64_t lane, lanes, head, wrap;
} held;

enum {
    HELD_AT = DW_WORKSPACE_BYTES - DW_ALIGN, /* where that is written, behind the weights */
    BIAS_BYTES = 4096                        /* of the stack, for bias that is copied */
};

void dw_direct_begin(char *workspace, int workers)
{
    for (int i = 0; i < workers; i++)
        *(held *)(void *)(workspace + (size_t)i * DW_WORKSPACE_BYTES + HELD_AT) = (held){0};
}

/* Whether x and y, columns of rows that are a multiple of `row_bytes` apart, fall on different sets of the cache. */
static bool apart(const char *x, const char *y, int64_t row_bytes)
{
    const int64_t distance = DW_ALIGN * 8 * 64 / dw_cache_lines(row_bytes); /* from a set of x to the next */
    const int64_t between = (int64_t)(((uintptr_t)y - (uintptr_t)x) % (uintptr_t)distance);
    return between >= 2 * DW_ALIGN && between <= distance - 2 * DW_ALIGN;
}

/* Rows that conv_rows should take at a time, so that input rows and results do not push each other out of the cache. */
static int rows_at_a_time(const band *s, int64_t advance)
{
    const dw_plan *plan = s->call->plan;
    const int64_t taps = plan->problem.kernel_size, row_bytes = dw_row_bytes(plan, advance);
    const int64_t lines = dw_cache_lines(row_bytes) * ((dw_cpu_features() & DW_CPU_12_WAYS) ? 12 : 8) / 8;
    if (taps > DW_FLAT_TAPS)
        return DW_TALL_ROWS;
    if (taps > 5 || 2 * 8 + taps <= lines)
        return 8;
    if (plan->problem.stride == 1 && apart(s->call->x, s->call->y, row_bytes))
        return 8 + taps - 1 <= lines ? 8 : 4;
    return 2 * 4 + taps - 1 <= lines ? 4 : 2;
}

/* Output steps  step + i*distance + phase  for i < rows, phase < phases, and the taps they take part in.  Where there is
 * but one phase, the same for all batch items of the task. */
typedef struct span {
    int64_t step, rows, phases, distance;
    int64_t advance; /* input steps from row to row */
    int64_t tap, taps;
    bool clip;
} span;

/* Lanes [from, from + lanes) of a band, which are channels from `channel` on. */
static void convolve_lanes(const band *s, const span *at, int block, int64_t from, int64_t lanes, int64_t channel)
{
    const dw_plan *plan = s->call->plan;
    const dwconv_problem *p = &plan->problem;
    const ptrdiff_t item = plan->item_bytes;
    const bool items = at->phases == 1;
    const int64_t vector = plan->kernels->vector_lanes, head = from == 0 ? s->head : 0;
    const int64_t start = at->step * p->stride - p->pad_left + at->tap * p->dilation;
    const dw_rows job = {
        .x = s->call->x,
        .x_at = (size_t)s->batch_item * (size_t)plan->x.batch + (size_t)start * (size_t)plan->x.step + (size_t)channel,
        .x_row = (size_t)at->advance * (size_t)plan->x.step,
        .x_tap = (size_t)p->dilation * (size_t)plan->x.step,
        .x_phase = items ? (size_t)plan->x.batch : (size_t)p->stride * (size_t)plan->x.step,
        .w = s->w + (from / vector * s->w_column + from % vector + at->tap * s->w_tap) * item,
        .w_tap = s->w_tap,
        .w_column = s->w_column,
        .init = s->bias ? s->bias + from * item : NULL,
        .y = s->call->y + (s->batch_item * plan->y.batch + at->step * plan->y.step + channel) * item,
        .y_row = (ptrdiff_t)at->distance * plan->y.step,
        .y_phase = items ? plan->y.batch : plan->y.step,
        .rows = (ptrdiff_t)at->rows,
        .phases = (ptrdiff_t)(items ? s->items : at->phases),
        .lanes = (ptrdiff_t)lanes,
        .taps = (ptrdiff_t)at->taps,
        .head = (ptrdiff_t)head,
        .clip = at->clip,
        .block = block,
        .stream = s->stream,
        .kind = s->call->activation.kind,
        .alpha = s->call->activation.alpha,
        .beta = s->call->activation.beta,
        .start = start,
        .advance = at->advance,
        .dilation = p->dilation,
        .limit = p->in_steps,
    };
    plan->kernels->conv_rows(&job);
}

static void convolve(const band *s, const span *at, int block)
{
    const int64_t inside = s->lanes - s->wrap; /* lanes of the row itself */
    if (s->wrap == 0 || at->clip || at->rows == 1) {
        convolve_lanes(s, at, block, 0, inside, s->lane);
        if (s->wrap > 0)
            convolve_lanes(s, at, block, inside, s->wrap, 0);
        return;
    }
    span first = *at, last = *at, wrapped = *at;
    first.rows = last.rows = 1;
    wrapped.rows--;
    last.step += wrapped.rows * at->distance;
    convolve_lanes(s, &first, block, inside, s->wrap, 0);
    convolve_lanes(s, &wrapped, block, 0, s->lanes, s->lane);
    convolve_lanes(s, &last, block, 0, inside, s->lane);
}

/* Many taps: phase by phase, so that a row is still in the cache when its last tap wants it. */
static void walk_phases(const band *s)
{
    const dw_plan *plan = s->call->plan;
    const dwconv_problem *p = &plan->problem;
    for (int64_t phase = 0; phase < s->region->phases; phase++) {
        const dw_walk walk = dw_walk_of(plan, s->region, phase);
        const int block = rows_at_a_time(s, walk.advance);
        const int64_t end = dw_min(s->part.last_row, walk.rows);
        int64_t inside_lo, inside_hi;
        const bool clips = p->kernel_size > DW_FLAT_TAPS && s->wrap == 0; /* blocks of many rows are clipped at little cost */
        dw_interior(walk.start, walk.advance, (p->kernel_size - 1) * p->dilation, p->in_steps, walk.rows, &inside_lo,
                    &inside_hi);
        /* Clipping is decided by whole blocks of rows. */
        inside_lo = clips ? end : dw_min(dw_round_up(inside_lo, DW_ROW_BLOCK), end);
        inside_hi = dw_max(inside_hi / DW_ROW_BLOCK * DW_ROW_BLOCK, inside_lo);

        for (int64_t row = s->part.first_row, next; row < end; row = next) {
            const bool inside = row >= inside_lo && row < inside_hi;
            next = inside ? inside_hi : row < inside_lo ? inside_lo : end;
            next = dw_min(next, end);
            const span part = {
                .step = walk.first_step + row * s->region->phases, .rows = next - row, .phases = 1,
                .distance = s->region->phases, .advance = walk.advance, .taps = p->kernel_size, .clip = !inside,
            };
            convolve(s, &part, block);
        }
    }
}

/* Where some taps of a dilated problem are inside the input: so many rows of so many phases from an output step on. */
static void convolve_inside(const band *s, int64_t step, int64_t rows, int64_t phases, dw_taps taps, int block)
{
    const int64_t d = s->call->plan->problem.dilation;
    const span part = {
        .step = step, .rows = rows, .phases = phases, .distance = d, .advance = d, .tap = taps.from,
        .taps = taps.to - taps.from,
    };
    while (block > 1 && rows < block)
        block /= 2;
    convolve(s, &part, block);
}

/* Few dilated taps, steps [first, end) cut where a tap enters or leaves the input, so that none has to be checked: some
 * rows of all phases in turn, which goes through memory in order. */
static void walk_in_order(const band *s, int64_t first, int64_t end, int block)
{
    const dwconv_problem *p = &s->call->plan->problem;
    const int64_t d = p->dilation;
    for (int64_t step = first, next; step < end; step = next) {
        const dw_taps taps = dw_taps_at(p, step);
        const int64_t steps = dw_min(taps.until, end) - step, phases = dw_min(d, steps);
        next = step + dw_max(steps / d, 1) * phases;
        for (int64_t rows; step < next; step += rows * phases) {
            rows = (next - step) / phases;
            rows = rows < 2 * block ? rows : block;
            convolve_inside(s, step, rows, phases, taps, block);
        }
    }
}

/* The same where input rows would be lost from the cache before the next rows of their phase want them: phase by phase. */
static void walk_by_phase(const band *s, int64_t first, int64_t end, int block)
{
    const dwconv_problem *p = &s->call->plan->problem;
    const int64_t d = p->dilation;
    for (int64_t phase = 0; phase < d; phase++)
        for (int64_t step = first + phase, rows; step < end; step += rows * d) {
            const dw_taps taps = dw_taps_at(p, step);
            rows = dw_ceil_div(dw_min(taps.until, end) - step, d);
            convolve_inside(s, step, rows, 1, taps, block);
        }
}

static void walk_band(const band *s)
{
    const dw_plan *plan = s->call->plan;
    const dwconv_problem *p = &plan->problem;
    const dw_region *r = s->region;
    if (r->phases != p->dilation || p->dilation == 1 || p->stride > 1 || p->kernel_size > DW_DIRECT_TAPS) {
        walk_phases(s);
        return;
    }
    const int64_t first = r->first + s->part.first_row * r->phases;
    const int64_t end = r->first + dw_min(s->part.last_row * r->phases, r->steps);
    const int block = rows_at_a_time(s, p->dilation);
    if (dw_row_bytes(plan, 1) >= DW_PHASE_ROW_BYTES && dw_row_bytes(plan, p->dilation) >= DW_PHASE_BYTES)
        walk_by_phase(s, first, end, block);
    else
        walk_in_order(s, first, end, block);
}

int64_t dw_unaligned_head(const char *first, int64_t row_bytes, int64_t vector_bytes, int64_t item)
{
    const int64_t off = (int64_t)((uintptr_t)first % (uintptr_t)vector_bytes);
    return row_bytes % vector_bytes == 0 && off % item == 0 ? (vector_bytes - off) % vector_bytes / item : 0;
}

/* Copies the weights of a band to the workspace, unless they are there, and the bias if it has to be. */
static void pack(band *s, char *workspace)
{
    const dw_plan *plan = s->call->plan;
    const int64_t item = plan->item_bytes, vector = plan->kernels->vector_lanes, inside = s->lanes - s->wrap;
    const ptrdiff_t taps = (ptrdiff_t)plan->problem.kernel_size, w_tap = s->call->w_tap;
    const char *w = s->call->w, *bias = s->call->bias;
    held *const now = (held *)(void *)(workspace + HELD_AT);
    if (now->lane != s->lane || now->lanes != s->lanes || now->head != s->head || now->wrap != s->wrap) {
        *now = (held){.lane = s->lane, .lanes = s->lanes, .head = s->head, .wrap = s->wrap};
        plan->kernels->split_columns(w + s->lane * item, w_tap, workspace, taps, (ptrdiff_t)inside, (ptrdiff_t)s->head);
        if (s->wrap > 0) {
            char *const wrapped = workspace + (inside / vector * s->w_column + inside % vector) * item;
            plan->kernels->repeat_lanes(w, w_tap, 0, 1, wrapped, s->w_tap, taps, (ptrdiff_t)s->wrap);
        }
    }
    s->bias = bias ? bias + s->lane * item : NULL;
    if (bias && s->wrap > 0) {
        memcpy(s->bias_copy, bias + s->lane * item, (size_t)(inside * item));
        memcpy(s->bias_copy + inside * item, bias, (size_t)(s->wrap * item));
        s->bias = s->bias_copy;
    }
}

void dw_direct_task(const dw_call *call, const dw_region *region, dw_part part, char *workspace)
{
    const dw_plan *plan = call->plan;
    const dwconv_problem *p = &plan->problem;
    const int64_t item = plan->item_bytes, vector = plan->kernels->vector_lanes;
    const int64_t first = part.across % region->panels * region->panel_lanes;
    const int64_t last = dw_min(first + region->panel_lanes, plan->out_channels);
    band s = {.call = call, .region = region, .part = part};
    s.batch_item = part.across / region->panels * region->items;
    s.items = dw_min(region->items, p->batch - s.batch_item);
    if (!region->packs_weights) {
        s.lane = first;
        s.lanes = last - first;
        s.w = call->w + first * item;
        s.bias = call->bias ? call->bias + first * item : NULL;
        s.w_tap = call->w_tap;
        s.w_column = (ptrdiff_t)vector;
        walk_band(&s);
        return;
    }

    const char *x = call->x + (s.batch_item * plan->x.batch + first) * item;
    const char *y = call->y + (s.batch_item * plan->y.batch + first) * item;
    const int64_t head = dw_min(dw_unaligned_head(x, plan->x.step * item, vector * item, item), last - first);
    s.stream = dw_output_exceeds(plan, p->kernel_size > DW_FLAT_TAPS ? DW_STREAM_BYTES : DW_CLAIMED_STREAM_BYTES)
               && (uintptr_t)(y + head * item) % (uintptr_t)(vector * item) == 0
               && plan->y.step % vector == 0 && (s.items == 1 || plan->y.batch % vector == 0);
    const bool wraps = p->stride == 1 && p->dilation == 1 && last - first == plan->x.step && plan->y.step == plan->x.step;
    const int64_t wrap = wraps ? head : 0, end = last + wrap;
    s.lane = first + wrap;
    s.head = head - wrap;

    _Alignas(DW_ALIGN) char bias[BIAS_BYTES];
    const int64_t vector_bytes = vector * item, column_bytes = p->kernel_size * vector_bytes;
    int64_t columns = HELD_AT / column_bytes;
    s.bias_copy = bias;
    if (columns * vector_bytes > BIAS_BYTES) {
        if (wrap > 0 && call->bias)
            columns = HELD_AT / (column_bytes + vector_bytes);
        s.bias_copy = workspace + columns * column_bytes;
    }
    const int64_t all = dw_ceil_div(end - s.lane - s.head, vector) + (s.head > 0);
    columns = dw_ceil_div(all, dw_ceil_div(all, columns)); /* bands of equal width */
    s.w = workspace;
    s.w_tap = (ptrdiff_t)vector;
    s.w_column = (ptrdiff_t)(p->kernel_size * vector);
    for (; s.lane < end; s.lane += s.lanes, s.head = 0) {
        s.lanes = dw_min((columns - (s.head > 0)) * vector + s.head, end - s.lane);
        s.wrap = s.lane + s.lanes == end ? wrap : 0;
        pack(&s, workspace);
        walk_band(&s);
    }
}
