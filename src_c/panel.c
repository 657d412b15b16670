/* SPDX-License-Identifier: BSD-3-Clause
 *
 * Panels: lanes are any independent output sequences, side by side in a small tile.
 *
 * A lane is one output channel of one batch item (and of one time segment, where channels are few).  The task packs
 * the input its lanes need into a tile, one row per step, and runs the kernel on the tile.  That takes care of
 * every layout, of the depth multiplier (in the tile, or in registers from a tile of narrower rows), of C below the vector
 * width and of rows that would collide in the cache.
 *
 *     x tile  [units][tile_row]  a unit is one input step (natural) or one dilation's worth of steps
 *     w tile  [taps][tile_row]
 *     y tile  [rows][tile_row]   only where lanes are not neighbours in y
 *
 * Row i, tap k of a phase reads unit i*row_units + k*tap_units.  Kernels with more taps than fit are done in groups of
 * taps, ascending; accumulators rest in y meanwhile, which does not round. */
#include "internal.h"
#include "tiles.h"

#include <string.h>

/* Lanes that are neighbours in w, and for channels_last in x and y: one batch item, one segment. */
typedef struct run {
    ptrdiff_t lane, lanes, channel; /* first lane of the panel, count, first output channel */
} run;

typedef struct panel {
    const dw_call *call;
    const dw_plan *plan;
    const dw_kernels *kernels;
    const dw_region *region;
    ptrdiff_t item, tile_row, lanes;
    ptrdiff_t repeat, x_row; /* lanes for each element of the x tile, elements of a row of it */
    ptrdiff_t all_lanes;
    ptrdiff_t w_lanes, w_column; /* lanes in the weight tile, and from one vector of lanes to the next */
    ptrdiff_t sum, summand; /* neighbouring lanes that make one result; first of them that is being added */
    ptrdiff_t x_at[DW_MAX_PANEL_LANES], y_at[DW_MAX_PANEL_LANES]; /* of each lane, at step 0 */
    run runs[DW_MAX_PANEL_LANES];
    int runs_used;
    bool in_place; /* results go straight to y */
    bool x_in_place; /* rows of x serve as they are: nothing is packed */
    char *x_tile, *w_tile, *y_tile, *bias_tile;
    int64_t row_units, tap_units, unit_steps;
    int64_t inner_phases; /* natural: phases walked inside one tile */
    int64_t have_lo, have_hi; /* units in the x tile, of `have_start` */
    int64_t have_start, have_tap;
} panel;

static void copy_lanes(const panel *p, const char *source, ptrdiff_t source_row, char *target, ptrdiff_t target_row,
                       ptrdiff_t rows, ptrdiff_t lanes)
{
    p->kernels->repeat_lanes(source, source_row, 0, 1, target, target_row, rows, lanes);
}

static void find_lanes(panel *p, int64_t first)
{
    const dw_plan *plan = p->plan;
    const int64_t multiplier = plan->problem.depth_multiplier, sum = dw_summed_lanes(plan);
    const int64_t channels = plan->out_channels / plan->lane_sum * sum; /* that are lanes at the same time */
    int64_t o = first % channels, sequence = first / channels;
    int results = 0;
    for (ptrdiff_t lane = 0; lane < p->lanes; sequence++, o = 0) {
        const int64_t b = sequence % plan->problem.batch, segment = sequence / plan->problem.batch;
        const int64_t steps = segment * p->region->segment_steps;
        const ptrdiff_t x = (ptrdiff_t)(b * plan->x.batch + steps * plan->problem.stride * plan->x.step);
        const ptrdiff_t y = (ptrdiff_t)(b * plan->y.batch + steps * plan->y.step);
        run *r = &p->runs[p->runs_used++];
        int64_t result = o / sum, channel = result * plan->lane_sum, summand = 0; /* a panel begins with a result */
        *r = (run){lane, (ptrdiff_t)dw_min(p->lanes - lane, channels - o), (ptrdiff_t)channel};
        for (; o < channels && lane < p->lanes; o++, lane++, channel++) {
            p->x_at[lane / p->repeat] = x + (ptrdiff_t)(channel / multiplier) * plan->x.channel;
            if (summand == 0)
                p->y_at[results++] = y + (ptrdiff_t)result * plan->y.channel;
            if (++summand == sum) {
                result++;
                channel += plan->lane_sum - sum;
                summand = 0;
            }
        }
    }
}

static void pack_weights(panel *p, int64_t tap, int64_t taps)
{
    if (p->have_tap == tap)
        return;
    const ptrdiff_t w_tap = p->call->w_tap;
    for (int i = 0; i < p->runs_used && p->runs[i].lane < p->w_lanes; i++) {
        const run *r = &p->runs[i];
        copy_lanes(p, p->call->w + (tap * w_tap + r->channel) * p->item, w_tap, p->w_tile + r->lane * p->item,
                   p->tile_row, (ptrdiff_t)taps, r->lanes);
    }
    if (p->repeat > 1)
        p->kernels->regroup(p->w_tile, p->tile_row, (ptrdiff_t)taps, p->w_lanes, p->repeat);
    p->have_tap = tap;
}

static void pack_bias(panel *p)
{
    for (int i = 0; p->call->bias && i < p->runs_used; i++)
        memcpy(p->bias_tile + p->runs[i].lane * p->item, p->call->bias + p->runs[i].channel * p->item,
               (size_t)(p->runs[i].lanes * p->item));
}

/* Fills tile rows [row, row + rows) with the input at steps step, step + unit_steps, ... */
static void pack_steps(const panel *p, int64_t step, ptrdiff_t row, ptrdiff_t rows)
{
    const dw_plan *plan = p->plan;
    const ptrdiff_t multiplier = (ptrdiff_t)plan->problem.depth_multiplier / p->repeat;
    char *tile = p->x_tile + row * p->x_row * p->item;
    const ptrdiff_t offset = (ptrdiff_t)step * plan->x.step, advance = (ptrdiff_t)p->unit_steps * plan->x.step;
    if (plan->problem.layout == DWCONV_CHANNELS_FIRST || advance == 1) {
        p->kernels->gather_lanes(p->call->x, p->x_at, offset, advance, tile, p->x_row, rows, p->lanes / p->repeat);
        return;
    }
    for (int i = 0; i < p->runs_used; i++) {
        const run *r = &p->runs[i];
        const ptrdiff_t lane = r->lane / p->repeat;
        p->kernels->repeat_lanes(p->call->x + (p->x_at[lane] + offset) * p->item, advance, r->channel % multiplier,
                                 multiplier, tile + lane * p->item, p->x_row, rows, r->lanes / p->repeat);
    }
}

/* Makes units [lo, hi) of the walk from input step `start` present in the tile, keeping what it already holds.
 * Units outside the input stay undefined: clipping never reads them. */
static void pack_units(panel *p, int64_t start, int64_t lo, int64_t hi)
{
    int64_t from = lo;
    if (p->have_start == start && p->have_lo <= lo && lo < p->have_hi) {
        const ptrdiff_t row_bytes = p->x_row * p->item;
        memmove(p->x_tile, p->x_tile + (lo - p->have_lo) * row_bytes, (size_t)((p->have_hi - lo) * row_bytes));
        from = p->have_hi;
    }
    const int64_t limit = p->plan->problem.in_steps;
    const int64_t first = dw_max(from, dw_ceil_div(-start, p->unit_steps));
    const int64_t last = dw_min(hi, dw_ceil_div(limit - start, p->unit_steps));
    if (first < last)
        pack_steps(p, start + first * p->unit_steps, (ptrdiff_t)(first - lo), (ptrdiff_t)(last - first));
    p->have_start = start;
    p->have_lo = lo;
    p->have_hi = dw_max(hi, from);
}

/* Rows [row, row + rows) with taps [tap, tap + taps); the tile holds exactly what they need. */
static void convolve(const panel *p, const dw_walk *walk, int64_t row, int64_t rows, int64_t tap, int64_t taps,
                     char *y, ptrdiff_t y_row)
{
    const dwconv_problem *problem = &p->plan->problem;
    const int64_t inner = dw_min(p->inner_phases, rows);
    const int64_t advance = walk->advance;
    const int64_t start = walk->start + row * advance + tap * problem->dilation;
    const int64_t reach = (rows - 1) * advance + (taps - 1) * problem->dilation;
    const bool more = tap > 0 || p->summand > 0; /* the sums so far are in y */
    const bool last = tap + taps == problem->kernel_size; /* sums over lanes have no activation */
    for (int64_t i = 0; i < inner; i++) {
        char *target = y + i * y_row * p->item;
        dw_rows job = {
            .x = p->x_tile,
            .x_at = (size_t)(i * p->row_units * p->x_row),
            .x_row = (size_t)(inner * p->row_units * p->x_row),
            .x_tap = (size_t)(p->tap_units * p->x_row),
            .w = p->w_tile,
            .w_tap = p->tile_row,
            .w_column = p->w_column,
            .block = DW_TALL_ROWS,
            .init = more ? target : p->call->bias ? p->bias_tile : NULL,
            .init_row = more ? (ptrdiff_t)inner * y_row : 0,
            .y = target,
            .y_row = (ptrdiff_t)inner * y_row,
            .rows = (ptrdiff_t)((rows - i - 1) / inner + 1),
            .lanes = p->lanes,
            .taps = (ptrdiff_t)taps,
            .repeat = p->repeat,
            .kind = last ? p->call->activation.kind : DWCONV_LINEAR,
            .alpha = p->call->activation.alpha,
            .beta = p->call->activation.beta,
            .clip = start < 0 || start + reach >= problem->in_steps,
            .start = start + i * advance,
            .advance = inner * advance,
            .dilation = problem->dilation,
            .limit = problem->in_steps,
        };
        if (p->x_in_place) {
            const size_t step = (size_t)p->plan->x.step;
            job.x = p->call->x;
            job.x_at = (size_t)p->x_at[0] + (size_t)start * step;
            job.x_row = (size_t)advance * step;
            job.x_tap = (size_t)problem->dilation * step;
        }
        if (p->repeat > 1)
            p->kernels->conv_repeated(&job);
        else
            p->kernels->conv_rows(&job);
    }
}

/* Lanes [summand, summand + sum) of each result, where not all fit at once; a panel is one result then. */
static void choose_summands(panel *p, ptrdiff_t summand)
{
    const ptrdiff_t further = summand - p->summand;
    for (ptrdiff_t lane = 0; lane < p->sum; lane++)
        p->x_at[lane] += further * p->plan->x.channel;
    p->runs[0].channel += further;
    p->lanes = p->runs[0].lanes = (ptrdiff_t)dw_min(p->sum, p->plan->lane_sum - summand);
    p->summand = summand;
    p->have_tap = -1;
    p->have_hi = p->have_lo;
}

static void unpack(const panel *p, int64_t step, int64_t rows)
{
    const dw_plan *plan = p->plan;
    const ptrdiff_t offset = (ptrdiff_t)step * plan->y.step;
    const ptrdiff_t advance = (ptrdiff_t)p->region->phases * plan->y.step;
    const ptrdiff_t sum = p->sum;
    if (sum > 1)
        p->kernels->sum_lanes(p->y_tile, p->tile_row, (ptrdiff_t)rows, p->all_lanes / sum, sum);
    if (plan->problem.layout == DWCONV_CHANNELS_FIRST || advance == 1) {
        p->kernels->scatter_lanes(p->y_tile, p->tile_row, p->call->y, p->y_at, offset, advance, (ptrdiff_t)rows,
                                  p->all_lanes / sum);
        return;
    }
    for (int i = 0; i < p->runs_used; i++) {
        const ptrdiff_t first = p->runs[i].lane / sum, end = i + 1 < p->runs_used ? p->runs[i + 1].lane : p->all_lanes;
        copy_lanes(p, p->y_tile + first * p->item, p->tile_row, p->call->y + (p->y_at[first] + offset) * p->item,
                   advance, (ptrdiff_t)rows, end / sum - first);
    }
}

/* All taps of a block of rows, in groups that fit the tiles. */
static void convolve_block(panel *p, const dw_walk *walk, int64_t row, int64_t rows, int64_t block_taps, char *y,
                           ptrdiff_t y_row)
{
    const int64_t kernel_size = p->plan->problem.kernel_size;
    for (int64_t tap = 0; tap < kernel_size; tap += block_taps) {
        const int64_t taps = dw_min(block_taps, kernel_size - tap);
        const int64_t lo = row * p->row_units + tap * p->tap_units;
        pack_weights(p, tap, taps);
        if (!p->x_in_place)
            pack_units(p, walk->start, lo, lo + (rows - 1) * p->row_units + (taps - 1) * p->tap_units + 1);
        convolve(p, walk, row, rows, tap, taps, y, y_row);
    }
}

/* Rows and taps of one block, such that what they read fits the x tile. */
static void size_block(const panel *p, int64_t *rows, int64_t *taps)
{
    const ptrdiff_t row_bytes = p->tile_row * p->item;
    const int64_t x_rows = DW_X_TILE_BYTES / (p->x_row * p->item), inner = p->inner_phases;
    const int64_t most_taps = dw_min(p->plan->problem.kernel_size, DW_W_TILE_BYTES / row_bytes);
    const int64_t block = inner * DW_ROW_BLOCK;
    int64_t n = 0, k = most_taps;
    if ((k - 1) * p->tap_units < x_rows)
        n = (x_rows - (k - 1) * p->tap_units - 1) / p->row_units + 1;
    if (n < block || k < p->plan->problem.kernel_size) { /* half the tile for rows, half for taps */
        n = (x_rows / 2 - 1) / p->row_units + 1;
        k = dw_clamp((x_rows - (n - 1) * p->row_units - 1) / p->tap_units + 1, 1, most_taps);
    }
    if (!p->in_place)
        n = dw_min(n, DW_Y_TILE_BYTES / row_bytes);
    *rows = n > block ? n / block * block : n;
    /* Groups of equal size, in fours like the kernel's. */
    const int64_t groups = dw_ceil_div(p->plan->problem.kernel_size, k);
    *taps = dw_min(k, dw_ceil_div(dw_ceil_div(p->plan->problem.kernel_size, groups), 4) * 4);
}

void dw_panel_task(const dw_call *call, const dw_region *region, dw_part part, char *workspace)
{
    const dw_plan *plan = call->plan;
    const dwconv_problem *problem = &plan->problem;
    panel p = {.call = call, .plan = plan, .kernels = plan->kernels, .region = region, .item = plan->item_bytes};
    const int64_t first = part.across * region->panel_lanes;
    p.all_lanes = p.lanes = (ptrdiff_t)dw_min(region->panel_lanes, region->lanes - first);
    p.tile_row = (ptrdiff_t)dw_round_up(region->panel_lanes, DW_ALIGN / p.item);
    p.sum = (ptrdiff_t)dw_summed_lanes(plan);
    p.repeat = plan->lane_sum == 1 && dw_repeats(plan) ? (ptrdiff_t)problem->depth_multiplier : 1;
    p.x_row = (ptrdiff_t)dw_round_up(p.tile_row / p.repeat, DW_ALIGN / p.item);
    find_lanes(&p, first);
    const ptrdiff_t vector = plan->kernels->vector_lanes;
    const bool alike = plan->lane_sum == 1 && vector % plan->out_channels == 0; /* channels of one vector and the next */
    p.w_lanes = alike ? vector : p.tile_row;
    p.w_column = alike ? 0 : vector;
    p.in_place = plan->y.channel == 1 && problem->layout == DWCONV_CHANNELS_LAST && p.runs_used == 1 && p.sum == 1;
    /* Sums over neighbouring lanes: a gradient whose multiplier is one already, so that only the sums need a tile. */
    p.x_in_place = problem->layout == DWCONV_CHANNELS_LAST && !region->natural && problem->depth_multiplier == 1
                   && p.sum > 1 && p.sum == plan->lane_sum && p.runs_used == 1
                   && dw_cache_lines(dw_row_bytes(plan, problem->dilation)) >= 64;
    p.x_tile = workspace;
    p.w_tile = p.x_tile + DW_X_TILE_BYTES;
    p.y_tile = p.w_tile + DW_W_TILE_BYTES;
    p.bias_tile = p.y_tile + DW_Y_TILE_BYTES;
    p.have_tap = -1;
    pack_bias(&p);

    int64_t block_rows, block_taps;
    if (region->natural) {
        p.unit_steps = 1;
        p.tap_units = problem->dilation;
        p.row_units = problem->stride;
        p.inner_phases = region->inner_phases;
    } else {
        p.unit_steps = problem->dilation;
        p.tap_units = 1;
        p.row_units = region->row_units;
        p.inner_phases = 1;
    }
    size_block(&p, &block_rows, &block_taps);

    for (int64_t phase = 0; phase < region->phases; phase++) {
        const dw_walk walk = dw_walk_of(plan, region, phase);
        const int64_t end = dw_min(part.last_row, walk.rows);
        for (int64_t row = part.first_row; row < end; row += block_rows) {
            const int64_t rows = dw_min(block_rows, end - row);
            const int64_t step = walk.first_step + row * region->phases;
            char *y = p.y_tile;
            ptrdiff_t y_row = p.tile_row;
            if (p.in_place) {
                y = call->y + (p.y_at[0] + step * plan->y.step) * p.item;
                y_row = (ptrdiff_t)region->phases * plan->y.step;
            }
            for (int64_t summand = 0; summand < plan->lane_sum; summand += p.sum) {
                if (summand != p.summand)
                    choose_summands(&p, (ptrdiff_t)summand);
                convolve_block(&p, &walk, row, rows, block_taps, y, y_row);
            }
            if (p.summand > 0)
                choose_summands(&p, 0);
            if (!p.in_place)
                unpack(&p, step, rows);
        }
    }
}
