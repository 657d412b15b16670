/* SPDX-License-Identifier: BSD-3-Clause
 *
 * All gradients of a convolution with an activation in one walk: channels_last, few taps, stride 1, where every pass over
 * the arrays costs more than its arithmetic.
 *
 * The tasks are those of the weight gradient, with some channels and a span of chunks of time.  A chunk is walked in
 * blocks of steps, and these strip by strip, so small that all of it stays in the first-level cache: z, the output before
 * the activation, is computed again into a tile, becomes dz = dy * activation'(z) there, and is met by x for the sums over
 * time and by the kernel for the rows of dx whose last tap it is.  Meanwhile the next block of the strip is asked for.
 *
 * Strips begin where lines of x do (an unaligned load or store costs two); the lanes before the first of them, the `head`,
 * lie in a vector of their own in the tile and the sums.
 *
 * Each strip has a tile of its own, which begins with the steps before the block that these rows need, too; at the
 * beginning of a chunk they are computed once more, so that chunks do not depend on each other.  The chains of all results
 * are those of dwconv_forward, dwconv_activation_backward, dwconv_backward_input and dwconv_backward_weight. */
#include "backward_weight.h"

#include <string.h>

static int64_t reach_of(const dwconv_problem *p) { return (p->kernel_size - 1) * p->dilation; }

bool dw_gradient_takes_activated(const dw_plan *plan)
{
    const dwconv_problem *p = &plan->problem;
    return p->layout == DWCONV_CHANNELS_LAST && p->depth_multiplier == 1 && p->stride == 1
           && p->channels * plan->item_bytes >= DW_ALIGN && p->kernel_size <= DW_DIRECT_TAPS
           && p->dilation <= DW_ACTIVATED_REACH && reach_of(p) <= DW_ACTIVATED_REACH;
}

static ptrdiff_t strip_lanes(const dw_plan *plan) { return DW_ACTIVATED_STRIP_BYTES / plan->item_bytes; }

/* Elements of a row of the tile of a strip, and of all of them: whole vectors of every instruction set, one for a head. */
static ptrdiff_t tile_row(const dw_plan *plan) { return strip_lanes(plan) + DW_ALIGN / plan->item_bytes; }

static ptrdiff_t tile_size(const dw_plan *plan)
{
    return (ptrdiff_t)(reach_of(&plan->problem) + DW_ACTIVATED_BLOCK) * tile_row(plan);
}

static ptrdiff_t tile_bytes(const dw_plan *plan, const dw_gradient_cuts *c)
{
    return (ptrdiff_t)dw_ceil_div(c->panel_lanes, strip_lanes(plan)) * tile_size(plan) * plan->item_bytes;
}

ptrdiff_t dw_gradient_activated_bytes(const dw_plan *plan, const dw_gradient_cuts *c)
{
    return tile_bytes(plan, c) + (ptrdiff_t)(plan->problem.kernel_size * c->tile_row) * plan->item_bytes;
}

/* Some channels of a batch item, the first `head` of which lie before a boundary. */
typedef struct strip {
    const dw_gradient_call *call;
    const dw_plan *plan;
    ptrdiff_t item, row; /* of the tile */
    int64_t b;
    ptrdiff_t channel, channels, head;
    char *tile, *w, *sums; /* where the first of the channels is */
} strip;

ptrdiff_t dw_gradient_activated_head(const dw_gradient_call *call)
{
    const dw_plan *plan = call->plan;
    const int64_t item = plan->item_bytes, batch = plan->problem.batch > 1 ? plan->x.batch * item : 0;
    const int64_t vector = plan->kernels->vector_lanes * item;
    const int64_t head = batch % vector ? 0 : dw_unaligned_head(call->x, plan->x.step * item, vector, item);
    return (ptrdiff_t)dw_min(head, plan->out_channels);
}

void dw_gradient_pack_activated(const dw_gradient_call *call, ptrdiff_t channel, ptrdiff_t channels, ptrdiff_t head,
                                char *tile)
{
    const dw_plan *plan = call->plan;
    plan->kernels->split_columns(call->activated->w + channel * plan->item_bytes, (ptrdiff_t)plan->out_channels,
                                 tile + tile_bytes(plan, &call->cuts), (ptrdiff_t)plan->problem.kernel_size, channels, head);
}

/* What both convolutions have in common: `rows` rows whose first taps lie at steps start, start + 1, ... of so many. */
static dw_rows rows_of(const strip *s, int64_t start, int64_t rows, int64_t limit)
{
    const dwconv_problem *p = &s->plan->problem;
    const ptrdiff_t vector = s->plan->kernels->vector_lanes, taps = (ptrdiff_t)p->kernel_size;
    return (dw_rows){
        .w = s->w, .w_tap = vector, .w_column = taps * vector,
        .rows = (ptrdiff_t)rows, .phases = 1, .lanes = s->channels, .head = s->head, .taps = taps,
        .block = DW_ROW_BLOCK,
        .clip = start < 0 || start + rows - 1 + reach_of(p) >= limit,
        .start = start, .advance = 1, .dilation = p->dilation, .limit = limit,
    };
}

/* dz from z, of step i and some lanes, while the step that is as many as a block further on is asked for. */
static void multiply(const strip *s, int64_t i, char *z, ptrdiff_t lane, ptrdiff_t lanes)
{
    const dw_plan *plan = s->plan;
    const dwconv_problem *p = &plan->problem;
    const ptrdiff_t x_lane = (ptrdiff_t)(s->b * plan->x.batch) + s->channel + lane;
    const ptrdiff_t y_lane = (ptrdiff_t)(s->b * plan->y.batch) + s->channel + lane;
    const int64_t later = i + DW_ACTIVATED_BLOCK, read = later + reach_of(p) - p->pad_left, written = later - p->pad_left;
    dw_activation_gradient job = {
        .z = z + lane * s->item, .dy = s->call->dy + (y_lane + i * plan->y.step) * s->item, .dz = z + lane * s->item,
        .count = lanes, .kind = s->call->activated->kind,
    };
    if (s->call->activated->dx && later < p->out_steps && read >= 0 && read < p->in_steps && written >= 0) {
        job.reads[0] = s->call->dy + (y_lane + later * plan->y.step) * s->item;
        job.reads[1] = s->call->x + (x_lane + read * plan->x.step) * s->item;
        job.writes = s->call->activated->dx + (x_lane + written * plan->x.step) * s->item;
    }
    plan->kernels->activation_gradient(&job);
}

/* dz of steps [from, to), in rows of the tile from number `at` on. */
static void differentiate(const strip *s, int64_t from, int64_t to, int64_t at)
{
    const dw_plan *plan = s->plan;
    const dwconv_problem *p = &plan->problem;
    const dw_activated *activated = s->call->activated;
    const int64_t start = from - p->pad_left;
    if (from >= to)
        return;
    char *z = s->tile + at * s->row * s->item;
    dw_rows job = rows_of(s, start, to - from, p->in_steps);
    job.x = s->call->x;
    job.x_at = (size_t)s->b * (size_t)plan->x.batch + (size_t)start * (size_t)plan->x.step + (size_t)s->channel;
    job.x_row = (size_t)plan->x.step;
    job.x_tap = (size_t)p->dilation * (size_t)plan->x.step;
    job.init = activated->bias ? activated->bias + s->channel * s->item : NULL;
    job.y = z;
    job.y_row = s->row;
    plan->kernels->conv_rows(&job);
    for (int64_t i = from; i < to; i++) {
        if (s->head > 0)
            multiply(s, i, z, 0, s->head);
        multiply(s, i, z, s->head, s->channels - s->head);
        z += s->row * s->item;
    }
}

/* dx of input steps [from, to), whose taps lie in the tile, row 0 of which is step `first` of dz. */
static void convolve_back(const strip *s, int64_t from, int64_t to, int64_t first)
{
    const dw_plan *plan = s->plan;
    const dwconv_problem *p = &plan->problem;
    const int64_t start = from + p->pad_left - reach_of(p);
    if (from >= to)
        return;
    dw_rows job = rows_of(s, start, to - from, p->out_steps);
    job.x = s->tile;
    job.x_at = (size_t)(start - first) * (size_t)s->row;
    job.x_row = (size_t)s->row;
    job.x_tap = (size_t)p->dilation * (size_t)s->row;
    job.w = s->w + (p->kernel_size - 1) * job.w_tap * s->item;
    job.w_tap = -job.w_tap;
    job.y = s->call->activated->dx + (s->b * plan->x.batch + from * plan->x.step + s->channel) * s->item;
    job.y_row = plan->x.step;
    plan->kernels->conv_rows(&job);
}

/* The products of steps [from, to), in the tile behind those before them, and of some lanes are added to the sums. */
static void correlate(const strip *s, int64_t from, int64_t to, ptrdiff_t lane, ptrdiff_t lanes, char *sums)
{
    const dw_plan *plan = s->plan;
    const dwconv_problem *p = &plan->problem;
    const int64_t start = from - p->pad_left;
    const ptrdiff_t row = s->call->cuts.tile_row;
    const dw_correlate job = {
        .x = s->call->x,
        .x_at = (size_t)s->b * (size_t)plan->x.batch + (size_t)start * (size_t)plan->x.step + (size_t)(s->channel + lane),
        .x_tap = (size_t)p->dilation * (size_t)plan->x.step, .x_step = (size_t)plan->x.step,
        .y = s->tile + (reach_of(p) * s->row + lane) * s->item, .y_step = s->row,
        .sums = sums, .sums_tap = row, .bias_sums = sums + p->kernel_size * row * s->item,
        .taps = (ptrdiff_t)p->kernel_size, .steps = (ptrdiff_t)(to - from), .lanes = lanes,
        .clip = start < 0 || start + (to - from) - 1 + reach_of(p) >= p->in_steps,
        .start = start, .stride = 1, .dilation = p->dilation, .limit = p->in_steps,
    };
    plan->kernels->correlate(&job);
}

/* A block of a strip: steps [from, to), and rows [row, known) of dx. */
static void walk_block(const strip *s, int64_t from, int64_t to, int64_t row, int64_t known)
{
    const int64_t reach = reach_of(&s->plan->problem);
    const ptrdiff_t row_bytes = s->row * s->item, vector = s->plan->kernels->vector_lanes;
    differentiate(s, from, to, reach);
    if (s->call->dw || s->call->dbias) {
        if (s->head > 0)
            correlate(s, from, to, 0, s->head, s->sums);
        correlate(s, from, to, s->head, s->channels - s->head, s->sums + (s->head > 0 ? vector * s->item : 0));
    }
    if (s->call->activated->dx) {
        convolve_back(s, row, known, from - reach);
        for (char *kept = s->tile; kept < s->tile + reach * row_bytes; kept += row_bytes)
            memcpy(kept, kept + (to - from) * row_bytes, (size_t)(s->channels * s->item));
    }
}

void dw_gradient_sum_activated(const dw_gradient_call *call, int64_t unit, ptrdiff_t channel, ptrdiff_t channels,
                               ptrdiff_t head, char *tile, char *sums)
{
    const dw_plan *plan = call->plan;
    const dwconv_problem *p = &plan->problem;
    const dw_gradient_cuts *c = &call->cuts;
    const ptrdiff_t item = plan->item_bytes, vector = plan->kernels->vector_lanes, taps = (ptrdiff_t)p->kernel_size;
    const ptrdiff_t gap = head > 0 ? vector - head : 0; /* between the head and the other sums */
    const int64_t reach = reach_of(p), chunk = unit / p->batch;
    const int64_t first = chunk * c->chunk_steps, end = dw_min(first + c->chunk_steps, p->out_steps);
    /* Each row of dx belongs to the chunk in which its last tap lies; those of no tap, to the first or last one. */
    int64_t row = chunk == 0 ? 0 : dw_clamp(first - p->pad_left, 0, p->in_steps), known;
    memset(sums, 0, (size_t)((taps + 1) * c->tile_row * item));
    for (int64_t i = first, to; i < end; i = to, row = known) {
        to = dw_min(i + DW_ACTIVATED_BLOCK, end);
        known = to == p->out_steps ? p->in_steps : dw_clamp(to - p->pad_left, row, p->in_steps);
        char *own_tile = tile;
        for (ptrdiff_t lane = 0, lanes; lane < channels; lane += lanes, own_tile += tile_size(plan) * item) {
            const ptrdiff_t own_head = lane == 0 ? head : 0;
            lanes = dw_min(strip_lanes(plan) + own_head, channels - lane);
            const strip s = {
                .call = call, .plan = plan, .item = item, .row = tile_row(plan), .b = unit % p->batch,
                .channel = channel + lane, .channels = lanes, .head = own_head,
                .tile = own_tile + (own_head > 0 ? gap * item : 0),
                .w = tile + tile_bytes(plan, c) + (lane + (lane > 0 ? gap : 0)) * taps * item,
                .sums = sums + (lane + (lane > 0 ? gap : 0)) * item,
            };
            if (i == first)
                differentiate(&s, dw_max(first - reach, 0), first, dw_max(reach - first, 0));
            walk_block(&s, i, to, row, known);
        }
    }
    for (ptrdiff_t k = 0; gap > 0 && k <= taps; k++, sums += c->tile_row * item)
        memmove(sums + head * item, sums + vector * item, (size_t)((channels - head) * item));
}

size_t dwconv_backward_activated_workspace_size(const dwconv_plan *opaque, int max_threads)
{
    const dw_plan *plan = dw_plan_of(opaque);
    return plan && plan->regions_used > 0 && dw_gradient_takes_activated(plan)
               ? dw_gradient_scratch_size(plan, plan->problem.kernel_size, true, max_threads)
               : 0;
}

dwconv_status dwconv_backward_activated(const dwconv_plan *opaque, const void *x, const void *w, const void *bias,
                                        const dwconv_activation *activation, const void *dy, void *dx, void *dw,
                                        void *dbias, const dwconv_exec *exec)
{
    const dw_plan *plan = dw_plan_of(opaque);
    if (!opaque || !activation)
        return DWCONV_ERROR_NULL;
    if (!plan)
        return DWCONV_ERROR_PLAN;
    if (!dw_has_activation_gradient(activation->kind))
        return DWCONV_ERROR_ACTIVATION;
    const size_t bytes = dwconv_backward_activated_workspace_size(opaque, exec ? exec->max_threads : 1);
    if (bytes == 0)
        return DWCONV_ERROR_SIZE;
    if (!w || !dy || (!x && plan->problem.in_steps > 0))
        return DWCONV_ERROR_NULL;
    if (!exec || !exec->workspace || exec->workspace_bytes < bytes)
        return DWCONV_ERROR_WORKSPACE;
    if (!dx && !dw && !dbias)
        return DWCONV_OK;
    const dw_activated activated = {.w = w, .bias = bias, .dx = dx, .kind = activation->kind};
    dw_gradient_call call = {
        .plan = plan, .x = x, .dy = dy, .dw = dw, .dbias = dbias, .taps = plan->problem.kernel_size,
        .activated = &activated,
    };
    return dw_gradient_execute(&call, exec);
}
