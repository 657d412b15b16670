/* SPDX-License-Identifier: BSD-3-Clause
 *
 * What the files of the core share: the layout of a plan, and integer helpers. */
#ifndef DWCONV_INTERNAL_H
#define DWCONV_INTERNAL_H

#include "include/dwconv.h"
#include "kernels/kernels.h"
#include "tiles.h"

#include <stdbool.h>

/* The seven ways to walk over a problem; each file of that name explains one. */
typedef enum dw_way { DW_DIRECT, DW_PANEL, DW_FLAT, DW_LINES, DW_BUNDLE, DW_PAIRS, DW_REPEATED } dw_way;

/* Where an element is: base + batch*b + step*t + channel*c, in elements. */
typedef struct dw_strides {
    ptrdiff_t batch, step, channel;
} dw_strides;

/* A range of output steps that is walked in one way.
 *
 * Output row i of phase p is step  first + p + i*phases  (segment q adds q*segment_steps); its tap k reads input
 * step  (that step)*stride - pad_left + k*dilation.  Rows of one phase that are neighbours share input rows as if
 * the problem had no dilation: that is what phases are for. */
typedef struct dw_region {
    int64_t first, steps;     /* output steps [first, first + steps), per segment */
    int64_t segments;         /* equal cuts of time walked side by side as lanes; 1 unless channels are few */
    int64_t segment_steps;    /* distance of two segments */
    int64_t phases;
    int64_t lanes;            /* PANEL: segments * batch * channels * multiplier; BUNDLE: without segments */
    int64_t panel_lanes;      /* lanes of one task; FLAT: its channels */
    int64_t panels;           /* DIRECT, FLAT, LINES: panels of a batch item; PANEL: of all lanes */
    int64_t tasks_across;     /* tasks side by side; forward.c cuts them further in time */
    int64_t inner_phases;     /* PANEL, natural: phases that share a tile */
    int64_t row_units;        /* PANEL, not natural: tile rows from one row of a phase to the next */
    int32_t way;
    int32_t natural;          /* PANEL: 1 = tile rows are consecutive input steps, 0 = every dilation-th */
    int32_t packs_weights;    /* DIRECT */
    int32_t items;            /* DIRECT, FLAT: batch items of one task */
} dw_region;

enum { DW_MAX_REGIONS = 4 };

typedef struct dw_plan {
    uint64_t magic;
    dwconv_problem problem;
    const struct dw_table *table;
    const struct dw_kernels *kernels; /* the table's kernels for this dtype */
    dw_strides x, y;
    int64_t out_channels;
    int64_t lane_sum; /* a result is the sum over this many neighbouring output channels; 1 but for backward_input.c */
    int32_t item_bytes, regions_used;
    dw_region regions[DW_MAX_REGIONS];
} dw_plan;

_Static_assert(sizeof(dw_plan) <= sizeof(dwconv_plan), "dwconv_plan is too small");

#define DW_PLAN_MAGIC UINT64_C(0x6477636f6e763031) /* "dwconv01" */

/* One task: number `across` of a region, rows [first_row, last_row) of every phase. */
typedef struct dw_part {
    int64_t across, first_row, last_row;
} dw_part;

/* One call of dwconv_forward, as the tasks see it. */
typedef struct dw_call {
    const dw_plan *plan;
    const char *x, *w, *bias;
    char *y;
    ptrdiff_t w_tap; /* elements from a tap to the next: negative where the kernel is read backwards */
    dwconv_activation activation;
    char *workspace; /* 64-byte aligned; DW_WORKSPACE_BYTES for each worker */
    int64_t chunks[DW_MAX_REGIONS], cut_rows[DW_MAX_REGIONS]; /* parts of each region in time, multiples of so many rows */
} dw_call;

/* One-thread execution, for callers that give none. */
extern const dwconv_exec dw_one_thread;

static inline int64_t dw_min(int64_t a, int64_t b) { return a < b ? a : b; }
static inline int64_t dw_max(int64_t a, int64_t b) { return a > b ? a : b; }
static inline int64_t dw_clamp(int64_t v, int64_t lo, int64_t hi) { return v < lo ? lo : v > hi ? hi : v; }

static inline int64_t dw_round_up(int64_t v, int64_t unit) { return (v + unit - 1) / unit * unit; }

static inline int64_t dw_gcd(int64_t a, int64_t b)
{
    while (b) {
        const int64_t r = a % b;
        a = b;
        b = r;
    }
    return a;
}

/* Quotients for b > 0 and any a, rounded towards plus and minus infinity. */
static inline int64_t dw_ceil_div(int64_t a, int64_t b) { return a / b + (a % b > 0); }
static inline int64_t dw_floor_div(int64_t a, int64_t b) { return a / b - (a % b < 0); }

/* Rows [0, n) whose taps all lie inside the input, when row i starts at input step first + i*advance and reaches
 * `reach` steps further: [*lo, *hi), possibly empty. */
static inline void dw_interior(int64_t first, int64_t advance, int64_t reach, int64_t limit, int64_t n,
                               int64_t *lo, int64_t *hi)
{
    *lo = dw_clamp(dw_ceil_div(-first, advance), 0, n);
    *hi = limit - reach <= first ? 0 : dw_floor_div(limit - reach - first - 1, advance) + 1;
    *hi = dw_clamp(*hi, *lo, n);
}

/* Taps [from, to) of an output step are inside the input, and so they are for all steps before `until`. */
typedef struct dw_taps {
    int64_t from, to, until;
} dw_taps;

/* For stride 1. */
static inline dw_taps dw_taps_at(const dwconv_problem *p, int64_t step)
{
    dw_taps t = {.until = INT64_MAX};
    t.from = dw_clamp(dw_ceil_div(p->pad_left - step, p->dilation), 0, p->kernel_size);
    t.to = dw_clamp(dw_ceil_div(p->in_steps + p->pad_left - step, p->dilation), t.from, p->kernel_size);
    if (t.from > 0) /* until tap from - 1 enters */
        t.until = dw_max(p->pad_left - (t.from - 1) * p->dilation, step + 1);
    if (t.to > t.from) /* until tap to - 1 leaves */
        t.until = dw_min(t.until, p->in_steps + p->pad_left - (t.to - 1) * p->dilation);
    return t;
}

/* How a phase of a region lies in time. */
typedef struct dw_walk {
    int64_t first_step; /* output step of row 0 */
    int64_t start;      /* input step of row 0, tap 0 */
    int64_t advance;    /* input steps from row to row */
    int64_t rows;
} dw_walk;

static inline dw_walk dw_walk_of(const dw_plan *plan, const dw_region *region, int64_t phase)
{
    const dwconv_problem *p = &plan->problem;
    dw_walk w;
    w.first_step = region->first + phase;
    w.start = w.first_step * p->stride - p->pad_left;
    w.rows = region->steps > phase ? (region->steps - phase - 1) / region->phases + 1 : 0;
    w.advance = w.rows > 1 ? region->phases * p->stride : 1;
    return w;
}

/* Lanes that are summed in the end: all of lane_sum if they fit half a panel, otherwise that many, and the others
 * are added to them lane by lane. */
static inline int64_t dw_summed_lanes(const dw_plan *plan)
{
    return dw_min(plan->lane_sum, DW_PANEL_BYTES / 2 / plan->item_bytes);
}

/* plan.c: dwconv_plan_init with these kernels, which takes no look at the CPU. */
dwconv_status dw_plan_with(dwconv_plan *plan, const dwconv_problem *problem, const struct dw_table *table);
/* Lines of the first-level cache (64 sets of 8, as most have) that rows this far apart can occupy. */
static inline int64_t dw_cache_lines(int64_t row_bytes)
{
    int64_t sets = 64;
    if (row_bytes % DW_ALIGN == 0)
        for (int64_t lines = row_bytes / DW_ALIGN; sets > 1 && lines % 2 == 0; lines /= 2)
            sets /= 2;
    return 8 * sets;
}

/* Bytes between input rows so many steps apart; of rows further apart than anything real, some such number. */
static inline int64_t dw_row_bytes(const dw_plan *plan, int64_t steps)
{
    const int64_t most = INT64_C(1) << 40, step = dw_max(plan->x.step, 1);
    return dw_min(steps, most / step) * plan->x.step * plan->item_bytes;
}

/* Whether conv_repeated takes the multiplier. */
static inline bool dw_repeats(const dw_plan *plan)
{
    const int64_t multiplier = plan->problem.depth_multiplier;
    return multiplier > 1 && multiplier <= DW_ALIGN / plan->item_bytes && (multiplier & (multiplier - 1)) == 0;
}

/* Whether results should be written past the caches, because they would not stay there anyway. */
static inline bool dw_output_exceeds(const dw_plan *plan, int64_t bytes)
{
    const dwconv_problem *p = &plan->problem;
    return p->batch * p->out_steps * plan->out_channels * plan->item_bytes > bytes;
}
static inline bool dw_output_is_large(const dw_plan *plan)
{
    return dw_output_exceeds(plan, DW_STREAM_BYTES);
}

/* schedule.c chooses ways and tiles; direct.c, pairs.c, repeated.c, panel.c, flat.c and lines.c run one task each. */
void dw_schedule(dw_plan *plan);
void dw_direct_task(const dw_call *call, const dw_region *region, dw_part part, char *workspace);
void dw_panel_task(const dw_call *call, const dw_region *region, dw_part part, char *workspace);
void dw_pairs_task(const dw_call *call, const dw_region *region, dw_part part, char *workspace);
void dw_repeated_task(const dw_call *call, const dw_region *region, dw_part part, char *workspace);
void dw_flat_task(const dw_call *call, const dw_region *region, dw_part part, char *workspace);
void dw_lines_task(const dw_call *call, const dw_region *region, dw_part part, char *workspace);

/* bundle.c: a task, and whether its tiles have room for the problem. */
void dw_bundle_task(const dw_call *call, const dw_region *region, dw_part part, char *workspace);
bool dw_bundle_has_room(const dw_plan *plan);

/* long_lines.c: a task of lines with more than DW_FLAT_TAPS taps; how many one has, none if the taps are too many. */
void dw_long_lines_task(const dw_call *call, const dw_region *region, dw_part part, char *workspace);
int64_t dw_long_lines_of_a_task(const dw_plan *plan);

/* flat.c: channels side by side, rows and blocks of them, for schedule.c. */
int64_t dw_flat_channels(const dw_plan *plan);
int64_t dw_flat_row(const dw_plan *plan);
int64_t dw_flat_block(const dw_plan *plan);

/* direct.c: called before the tasks of a call, and whenever something else has used the workspaces, which hold no weights of
 * that call then. */
void dw_direct_begin(char *workspace, int workers);

/* direct.c: elements before the first aligned vector of every row of a matrix; 0 if its rows are aligned differently. */
int64_t dw_unaligned_head(const char *first, int64_t row_bytes, int64_t vector_bytes, int64_t item);

/* forward.c: threads worth starting for outputs of so many taps each; scratch of a plan; all tasks of a call whose
 * plan has outputs. */
int dw_threads_for(int64_t outputs, int64_t taps, int max_threads);
size_t dw_scratch_size(const dw_plan *plan, int max_threads);
dwconv_status dw_execute(dw_call *call, const dwconv_exec *exec);

/* The first aligned byte of a workspace, which has DW_ALIGN bytes to spare. */
static inline char *dw_align(void *workspace)
{
    return (char *)workspace + (DW_ALIGN - (uintptr_t)workspace % DW_ALIGN) % DW_ALIGN;
}

bool dw_activation_is_usable(const dwconv_activation *activation);

/* backward_input.c: the calls whose results are dx, and their plans; how many there are, 0 if that is not so simple. */
enum { DW_MOST_INPUTS = 2 };
int dw_input_gradients(const dw_plan *plan, dw_plan *derived, dw_call *calls, const void *dy, const void *w, void *dx);

/* activation_backward.c */
bool dw_has_activation_gradient(int kind);

static inline const dw_plan *dw_plan_of(const dwconv_plan *plan)
{
    const dw_plan *p = (const dw_plan *)(const void *)plan;
    return p && p->magic == DW_PLAN_MAGIC ? p : NULL;
}

#endif
