/* SPDX-License-Identifier: BSD-3-Clause
 *
 * Convolution by FFT: overlap-save (Oppenheim and Schafer, Discrete-Time Signal Processing, section 8.7.3).
 *
 * Of the circular correlation of N input steps with K taps, N - K + 1 outputs are right.  So outputs are cut into blocks of
 * at most that many, each made from N input steps; neighbouring blocks read K - 1 steps twice.  Blocks are
 * transformed W at a time, W the lanes of a vector: the same block of W channels, or blocks of one channel or of a few.
 *
 * A task computes the spectra of the filters of a group of channels, and then tile by tile its share of their
 * sequences.  Every lane is computed alone, so results do not depend on what is beside it. */
#include "cpu.h"
#include "fft.h"
#include "parallel.h"

#include <stdatomic.h>
#include <string.h>

typedef struct fft_call {
    const dw_plan *plan;
    dw_fft_cut cut;
    dw_fft job; /* without memory */
    const char *x, *w, *bias;
    char *y, *workspace;
    int64_t chunks; /* of the tiles of a group */
    bool only_finite;
    atomic_bool unsound; /* some output is not finite */
} fft_call;

/* A tile: lane s*channels + c is channel c of sequence s. */
typedef struct tile {
    const fft_call *call;
    const dw_plan *plan;
    dw_fft_group group;
    char *data;
    ptrdiff_t item, vector, row; /* bytes of an element, of a vector, of a row */
    ptrdiff_t lanes;
    int sequences;
    ptrdiff_t x_at[DW_FFT_MOST_LANES]; /* of the first row that exists */
    ptrdiff_t y_at[DW_FFT_MOST_LANES];
    int64_t from[DW_FFT_MOST_LANES], to[DW_FFT_MOST_LANES]; /* rows of a sequence whose input step exists */
    int64_t kept[DW_FFT_MOST_LANES];                        /* its outputs */
} tile;

static int64_t tile_bytes(const dw_plan *plan, const dw_fft_cut *cut)
{
    return cut->points * 2 * plan->kernels->vector_lanes * plan->item_bytes + 2 * DW_ALIGN; /* a vector to spare */
}

/* A tile, the spectra, and a vector of bias. */
static int64_t worker_bytes(const dw_plan *plan, const dw_fft_cut *cut)
{
    return 2 * tile_bytes(plan, cut) + 2 * DW_ALIGN;
}

/* Where number `row` of the sequences lies: the second half is the imaginary parts. */
static char *row_of(const tile *t, int64_t row)
{
    const int64_t points = t->call->cut.points;
    return row < points ? t->data + row * t->row : t->data + (row - points) * t->row + t->vector;
}

/* The rows of a range that are real parts, and those that are imaginary: fewer than two of them may exist. */
static int parts_of(const tile *t, int64_t from, int64_t to, int64_t bounds[3])
{
    const int64_t points = t->call->cut.points;
    int n = 0;
    bounds[n++] = from;
    if (from < points && points < to)
        bounds[n++] = points;
    if (from < to)
        bounds[n++] = to;
    return n - 1;
}

static void clear_rows(const tile *t, int64_t from, int64_t to)
{
    for (int64_t row = from; row < to; row++)
        memset(row_of(t, row), 0, (size_t)t->vector);
}

/* The taps of each sequence's channels, for a transform of their own.  If they are few, imaginary parts are left out. */
static void pack_filters(const tile *t, bool real)
{
    const dw_plan *plan = t->plan;
    int64_t bounds[3];
    const bool whole = t->group.channels * t->group.beside * t->item == t->vector;
    const int64_t filled = whole && real ? t->call->cut.taps : 0;
    memset(t->data + filled * t->row, 0, (size_t)((t->call->cut.points - filled) * t->row));
    const int parts = parts_of(t, 0, t->call->cut.taps, bounds);
    for (int i = 0; i < parts; i++)
        for (int64_t s = 0; s < t->group.beside; s++)
            plan->kernels->repeat_lanes(
                t->call->w + ((t->call->cut.first_tap + bounds[i]) * plan->out_channels + t->group.channel) * t->item, (ptrdiff_t)plan->out_channels, 0, 1,
                row_of(t, bounds[i]) + s * t->group.channels * t->item, t->row / t->item,
                (ptrdiff_t)(bounds[i + 1] - bounds[i]), (ptrdiff_t)t->group.channels);
}

/* The spectra of the group's filters; where it is one channel, of lane 0 only. */
static void transform_filters(tile *t, dw_fft *job, char *spectrum)
{
    char *const data = t->data;
    job->one_filter = t->group.channels == 1;
    if (!job->one_filter)
        t->data = spectrum;
    job->real = t->call->cut.taps <= job->points;
    pack_filters(t, job->real);
    job->tile = t->data;
    t->plan->kernels->fft_spectrum(job);
    t->data = data;
    for (int64_t i = 0; job->one_filter && i < 2 * job->points; i++)
        memcpy(spectrum + i * t->item, data + i * t->vector, (size_t)t->item);
    job->spectrum = spectrum;
    job->tile = data;
}

/* Which sequences are in tile number `number`. */
static void find_sequences(tile *t, int64_t number)
{
    const dw_plan *plan = t->plan;
    const dwconv_problem *p = &plan->problem;
    const dw_fft_cut *cut = &t->call->cut;
    const int64_t outputs = dw_ceil_div(p->out_steps, cut->phases), first = number * t->group.beside;
    t->sequences = (int)dw_min(t->group.beside, cut->sequences - first);
    t->lanes = (ptrdiff_t)(t->sequences * t->group.channels);
    for (int s = 0; s < t->sequences; s++) {
        const int64_t block = (first + s) / (p->batch * cut->phases), rest = (first + s) % (p->batch * cut->phases);
        const int64_t b = rest / cut->phases, phase = rest % cut->phases;
        const int64_t missing = phase + (outputs - 1) * cut->phases >= p->out_steps; /* phases differ by one output */
        const int64_t step = phase + block * cut->kept * cut->phases;
        t->kept[s] = dw_clamp(outputs - missing - block * cut->kept, 0, cut->kept);
        t->from[s] = t->to[s] = 0;
        if (t->kept[s] == 0)
            continue;
        const int64_t start = step * p->stride - p->pad_left + cut->first_tap * p->dilation, rows = 2 * cut->points;
        t->from[s] = dw_clamp(dw_ceil_div(-start, p->dilation), 0, rows);
        t->to[s] = dw_clamp(dw_ceil_div(p->in_steps - start, p->dilation), t->from[s], rows);
        ptrdiff_t x = 0;
        if (t->from[s] < t->to[s])
            x = (ptrdiff_t)(b * plan->x.batch + (start + t->from[s] * p->dilation) * plan->x.step);
        for (int64_t c = 0; c < t->group.channels; c++) {
            const int64_t lane = s * t->group.channels + c, channel = t->group.channel + c;
            t->x_at[lane] = x + (ptrdiff_t)(channel / p->depth_multiplier) * plan->x.channel;
            t->y_at[lane] = (ptrdiff_t)(b * plan->y.batch + channel * plan->y.channel + step * plan->y.step);
        }
    }
}

/* Elements from row to row of the input; where there is one row, anything. */
static ptrdiff_t advance_of(const tile *t, int64_t rows)
{
    return rows > 1 ? (ptrdiff_t)t->plan->problem.dilation * t->plan->x.step : 1;
}

static bool has_transposes(const tile *t)
{
    return t->plan->problem.layout == DWCONV_CHANNELS_FIRST || t->group.channels == 1;
}

/* Rows of channels, for one sequence after the other. */
static void pack_rows(const tile *t)
{
    const ptrdiff_t multiplier = (ptrdiff_t)t->plan->problem.depth_multiplier;
    bool whole = t->lanes * t->item == t->vector;
    for (int s = 0; s < t->sequences; s++)
        whole &= t->from[s] == 0 && t->to[s] == 2 * t->call->cut.points;
    if (!whole)
        memset(t->data, 0, (size_t)(t->call->cut.points * t->row));
    for (int s = 0; s < t->sequences; s++) {
        const ptrdiff_t advance = advance_of(t, t->to[s] - t->from[s]), lane = s * (ptrdiff_t)t->group.channels;
        int64_t bounds[3];
        const int parts = parts_of(t, t->from[s], t->to[s], bounds);
        for (int i = 0; i < parts; i++)
            t->plan->kernels->repeat_lanes(
                t->call->x + (t->x_at[lane] + (bounds[i] - t->from[s]) * advance) * t->item, advance,
                (ptrdiff_t)t->group.channel % multiplier, multiplier, row_of(t, bounds[i]) + lane * t->item, t->row / t->item,
                (ptrdiff_t)(bounds[i + 1] - bounds[i]), (ptrdiff_t)t->group.channels);
    }
}

/* Rows [from, to) of one lane, from the input. */
static void pack_lane(const tile *t, ptrdiff_t lane, int64_t from, int64_t to)
{
    const int64_t first = t->from[lane / t->group.channels];
    const ptrdiff_t advance = advance_of(t, to - first);
    for (int64_t row = from; row < to; row++)
        memcpy(row_of(t, row) + lane * t->item, t->call->x + (t->x_at[lane] + (row - first) * advance) * t->item, (size_t)t->item);
}

/* Sequences by transposes.  Most have nearly all rows in common; what those at the ends of the input lack or have beside is put
 * right lane by lane. */
static void pack_transposed(const tile *t)
{
    const ptrdiff_t channels = (ptrdiff_t)t->group.channels;
    int64_t most = 0, from = 0, to = 2 * t->call->cut.points, bounds[3];
    int usual = -1;
    for (int s = 0; s < t->sequences; s++)
        most = dw_max(most, t->to[s] - t->from[s]);
    for (int s = 0; s < t->sequences; s++)
        if (t->to[s] - t->from[s] >= most - most / 8) {
            usual = s;
            from = dw_max(from, t->from[s]);
            to = dw_min(to, t->to[s]);
        }
    if (from >= to || most == 0)
        from = to = 0;
    if (from == to || t->lanes * t->item < t->vector) {
        memset(t->data, 0, (size_t)(t->call->cut.points * t->row));
    } else {
        clear_rows(t, 0, from);
        clear_rows(t, to, 2 * t->call->cut.points);
    }
    const ptrdiff_t advance = advance_of(t, most);
    ptrdiff_t at[DW_FFT_MOST_LANES];
    bool has_all[DW_FFT_MOST_LANES] = {false};
    for (int s = 0; s < t->sequences; s++) {
        has_all[s] = t->from[s] <= from && to <= t->to[s];
        const int there = has_all[s] ? s : usual;
        for (ptrdiff_t c = 0; c < channels; c++)
            at[s * channels + c] = t->x_at[there * channels + c] + (ptrdiff_t)(from - t->from[there]) * advance;
    }
    const int parts = parts_of(t, from, to, bounds);
    for (int i = 0; i < parts; i++)
        t->plan->kernels->gather_lanes(t->call->x, at, (ptrdiff_t)(bounds[i] - from) * advance, advance, row_of(t, bounds[i]),
                                       t->row / t->item, (ptrdiff_t)(bounds[i + 1] - bounds[i]), t->lanes);
    for (ptrdiff_t lane = 0; lane < t->lanes; lane++) {
        const ptrdiff_t s = lane / channels;
        if (has_all[s]) {
            pack_lane(t, lane, t->from[s], from == to ? t->to[s] : from);
            pack_lane(t, lane, from == to ? t->to[s] : to, t->to[s]);
        } else {
            for (int64_t row = from; row < to; row++)
                memset(row_of(t, row) + lane * t->item, 0, (size_t)t->item);
            pack_lane(t, lane, t->from[s], t->to[s]);
        }
    }
}

/* Outputs [from, to) of each block, which lie in one half of the rows, of sequences [s, s + sequences). */
static void unpack_part(const tile *t, int s, int sequences, int64_t from, int64_t to)
{
    const dw_fft_cut *cut = &t->call->cut;
    const ptrdiff_t lane = s * (ptrdiff_t)t->group.channels, advance = (ptrdiff_t)cut->phases * t->plan->y.step;
    const ptrdiff_t row = (ptrdiff_t)cut->step * (t->row / t->item);
    const char *source = row_of(t, from * cut->step) + lane * t->item;
    if (has_transposes(t)) {
        t->plan->kernels->scatter_lanes(source, row, t->call->y, t->y_at + lane, (ptrdiff_t)from * advance, advance,
                                        (ptrdiff_t)(to - from), sequences * (ptrdiff_t)t->group.channels);
        return;
    }
    for (int i = 0; i < sequences; i++, source += t->group.channels * t->item)
        t->plan->kernels->repeat_lanes(
            source, row, 0, 1, t->call->y + (t->y_at[lane + i * t->group.channels] + (ptrdiff_t)from * advance) * t->item, advance,
            (ptrdiff_t)(to - from), (ptrdiff_t)t->group.channels);
}

static void unpack(const tile *t)
{
    const dw_fft_cut *cut = &t->call->cut;
    const int64_t half = dw_ceil_div(cut->points, cut->step); /* outputs that are real parts */
    for (int s = 0, end; s < t->sequences; s = end) {
        for (end = s + 1; end < t->sequences && t->kept[end] == t->kept[s];)
            end++;
        if (t->kept[s] > 0)
            unpack_part(t, s, end - s, 0, dw_min(half, t->kept[s]));
        if (t->kept[s] > half)
            unpack_part(t, s, end - s, half, t->kept[s]);
    }
}

static void run_task(void *argument, int64_t index, int worker)
{
    fft_call *call = argument;
    const dw_plan *plan = call->plan;
    tile t = {.call = call, .plan = plan, .item = plan->item_bytes};
    t.group = dw_fft_group_of(plan, &call->cut, index / call->chunks);
    t.vector = plan->kernels->vector_lanes * t.item;
    t.row = 2 * t.vector;
    const int64_t chunk = index % call->chunks;
    const int64_t first = t.group.tiles * chunk / call->chunks, last = t.group.tiles * (chunk + 1) / call->chunks;
    if (first == last || atomic_load_explicit(&call->unsound, memory_order_relaxed))
        return;

    const uint64_t state = dw_fp_state_get();
    dw_fp_state_set(dw_fp_state_default(state));
    t.data = call->workspace + (size_t)worker * (size_t)worker_bytes(plan, &call->cut);
    char *spectrum = t.data + tile_bytes(plan, &call->cut), *init = spectrum + tile_bytes(plan, &call->cut);
    dw_fft job = call->job;
    job.init = init;
    memset(init, 0, (size_t)t.vector);
    const size_t bias_bytes = (size_t)(t.group.channels * t.item);
    for (int64_t s = 0; call->bias && s < t.group.beside; s++)
        memcpy(init + (size_t)s * bias_bytes, call->bias + t.group.channel * t.item, bias_bytes);
    transform_filters(&t, &job, spectrum);
    for (int64_t number = first; number < last; number++) {
        find_sequences(&t, number);
        if (has_transposes(&t))
            pack_transposed(&t);
        else
            pack_rows(&t);
        if (!plan->kernels->fft_convolve(&job) && call->only_finite) {
            atomic_store_explicit(&call->unsound, true, memory_order_relaxed);
            break;
        }
        unpack(&t);
    }
    dw_fp_state_set(state);
}

/* Threads that are worth starting; *chunks: into how many parts the tiles of each group are cut for them, and so that none
 * takes too long. */
static int threads_for(const dw_plan *plan, const dw_fft_cut *cut, int max_threads, int64_t *chunks)
{
    const int64_t tiles = dw_fft_group_of(plan, cut, 0).tiles, one = dw_fft_tile_cost(cut);
    const int64_t enough = dw_max(DW_FFT_THREAD_COST / one, 1); /* tiles worth a thread */
    const int64_t most = dw_allowed_threads(max_threads);
    const int64_t worth = tiles / enough >= most ? most : cut->groups * tiles / enough;
    const int64_t threads = dw_clamp(worth, 1, dw_max(most, 1));
    *chunks = 1;
    if (threads > 1 && cut->groups % threads != 0 && cut->groups < threads * DW_TASKS_PER_THREAD)
        *chunks = dw_clamp(dw_ceil_div(threads * DW_TASKS_PER_THREAD, cut->groups), 1, tiles);
    *chunks = dw_max(*chunks, dw_min(tiles / dw_max(DW_TASK_WORK / one, 1), tiles));
    return (int)dw_min(threads, cut->groups * *chunks);
}

size_t dwconv_fft_workspace_size(const dwconv_plan *opaque, int max_threads)
{
    const dw_plan *plan = dw_plan_of(opaque);
    dw_fft_cut cut;
    int64_t chunks;
    if (!plan || plan->regions_used == 0 || !dw_fft_cut_of(plan, &cut))
        return 0;
    return (size_t)threads_for(plan, &cut, max_threads, &chunks) * (size_t)worker_bytes(plan, &cut) + DW_ALIGN;
}

dwconv_status dwconv_fft_forward(const dwconv_plan *opaque, const void *table, const void *x, const void *w,
                                 const void *bias, void *y, int *finite, const dwconv_exec *exec)
{
    const dw_plan *plan = dw_plan_of(opaque);
    if (!opaque)
        return DWCONV_ERROR_NULL;
    if (!plan)
        return DWCONV_ERROR_PLAN;
    if (finite)
        *finite = 1;
    if (plan->regions_used == 0)
        return DWCONV_OK; /* y has no elements */
    if (!table || !w || !y || (!x && plan->problem.in_steps > 0))
        return DWCONV_ERROR_NULL;
    fft_call call = {.plan = plan, .x = x, .w = w, .bias = bias, .y = y, .only_finite = finite != NULL};
    if (!dw_fft_cut_of(plan, &call.cut))
        return DWCONV_ERROR_OVERFLOW;
    if (!dw_fft_use_table(plan, &call.cut, table, &call.job))
        return DWCONV_ERROR_PLAN;
    if (!exec)
        exec = &dw_one_thread;
    const int threads = threads_for(plan, &call.cut, exec->max_threads, &call.chunks);
    if (!exec->workspace || exec->workspace_bytes < (size_t)threads * (size_t)worker_bytes(plan, &call.cut) + DW_ALIGN)
        return DWCONV_ERROR_WORKSPACE;
    call.workspace = dw_align(exec->workspace);
    const dwconv_status status = dw_run(exec, run_task, &call, call.cut.groups * call.chunks, threads);
    if (finite)
        *finite = !atomic_load_explicit(&call.unsound, memory_order_relaxed);
    return status;
}
