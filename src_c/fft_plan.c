/* SPDX-License-Identifier: BSD-3-Clause
 *
 * Convolution by FFT: how a plan is cut into transforms, and the factors of the transforms. */
#include "cpu.h"
#include "fft.h"

#include <math.h>
#include <string.h>

enum {
    LEAST_LOG2 = 4,  /* two passes of two steps */
    MOST_LOG2 = 40,
    MOST_DOUBLINGS = 6 /* longest transforms that are considered, against the shortest */
};

int64_t dw_fft_tile_cost(const dw_fft_cut *cut)
{
    return cut->points * (DW_FFT_STEP_COST * cut->log2_points + DW_FFT_MOVE_COST) / 16;
}

int64_t dw_fft_spectrum_cost(const dw_fft_cut *cut) { return dw_fft_tile_cost(cut) / 2; }

dw_fft_group dw_fft_group_of(const dw_plan *plan, const dw_fft_cut *cut, int64_t group)
{
    dw_fft_group g = {.channel = group * cut->across};
    g.channels = dw_min(cut->across, plan->out_channels - g.channel);
    g.beside = plan->kernels->vector_lanes / g.channels;
    g.tiles = dw_ceil_div(cut->sequences, g.beside);
    return g;
}

/* Taps that meet the input; if there are none, one that does not. */
static void find_taps(const dwconv_problem *p, dw_fft_cut *cut)
{
    const int64_t last_step = (p->out_steps - 1) * p->stride;
    cut->first_tap = dw_clamp(dw_ceil_div(p->pad_left - last_step, p->dilation), 0, p->kernel_size - 1);
    const int64_t end = dw_clamp(dw_ceil_div(p->in_steps + p->pad_left, p->dilation), 0, p->kernel_size);
    cut->taps = dw_max(end - cut->first_tap, 1);
}

/* Cuts for transforms of 2 * points numbers, so many channels across. */
static dw_fft_cut cut_for(const dw_plan *plan, int log2_points, int64_t across)
{
    const dwconv_problem *p = &plan->problem;
    const int64_t common = dw_gcd(p->stride, p->dilation);
    dw_fft_cut cut = {.log2_points = log2_points, .points = INT64_C(1) << log2_points, .across = across};
    find_taps(p, &cut);
    cut.phases = dw_min(p->dilation / common, p->out_steps);
    cut.step = p->stride / common;
    const int64_t outputs = dw_ceil_div(p->out_steps, cut.phases);
    cut.kept = dw_min((2 * cut.points - cut.taps) / cut.step + 1, outputs);
    if (cut.kept < outputs && cut.kept > 8 * plan->kernels->vector_lanes) /* so that blocks begin alike */
        cut.kept -= cut.kept % plan->kernels->vector_lanes;
    if (cut.kept == 1)
        cut.step = 1; /* whatever follows */
    cut.blocks = dw_ceil_div(outputs, cut.kept);
    cut.sequences = p->batch * cut.phases * cut.blocks;
    cut.groups = dw_ceil_div(plan->out_channels, across);
    return cut;
}

/* In double, because products of anybody's sizes would overflow. */
static double cost_of(const dw_plan *plan, const dw_fft_cut *cut)
{
    const dw_fft_group first = dw_fft_group_of(plan, cut, 0), last = dw_fft_group_of(plan, cut, cut->groups - 1);
    const double tiles = (double)(cut->groups - 1) * (double)first.tiles + (double)last.tiles;
    const double far = cut->points * 2 * plan->kernels->vector_lanes * plan->item_bytes > DW_FFT_NEAR_BYTES ? DW_FFT_FAR_PERCENT / 100.0 : 1;
    return far * (tiles * (double)dw_fft_tile_cost(cut) + (double)cut->groups * (double)dw_fft_spectrum_cost(cut));
}

bool dw_fft_cut_of(const dw_plan *plan, dw_fft_cut *best)
{
    const dwconv_problem *p = &plan->problem;
    const int64_t side_by_side = dw_min(plan->out_channels, plan->kernels->vector_lanes);
    const uint64_t state = dw_fp_state_get();
    double least = INFINITY;
    find_taps(p, best);
    int shortest = LEAST_LOG2;
    while (shortest <= MOST_LOG2 && (INT64_C(2) << shortest) < best->taps)
        shortest++;
    for (int log2 = shortest; log2 <= dw_min(shortest + MOST_DOUBLINGS, MOST_LOG2); log2++) {
        dw_fft_cut cut = cut_for(plan, log2, side_by_side);
        double cost = cost_of(plan, &cut);
        if (cost < least) {
            least = cost;
            *best = cut;
        }
        if (side_by_side > 1 && p->layout == DWCONV_CHANNELS_FIRST) {
            const dw_fft_cut one = cut_for(plan, log2, 1);
            cost = cost_of(plan, &one);
            if (cost < least) {
                least = cost;
                *best = one;
            }
        }
        if (cut.blocks == 1)
            break;
    }
    dw_fp_state_set(state);
    return shortest <= MOST_LOG2;
}

/* What a table begins with. */
typedef struct header {
    uint64_t magic;
    int32_t log2_points, most_steps, item_bytes, reserved;
} header;

#define TABLE_MAGIC UINT64_C(0x6477636f6e766666) /* "dwconvff" */

/* Steps of each pass: two in the last one; as many as the registers allow before. */
static int passes_of(const dw_plan *plan, int log2_points, int8_t *steps)
{
    int left = log2_points - 2, passes = 0;
    while (left > 0) {
        const int most = plan->kernels->fft_steps;
        steps[passes] = left % 2 == 1 || (most == 3 && left >= 3 && left != 4) ? 3 : 2;
        left -= steps[passes++];
    }
    steps[passes++] = 2;
    return passes;
}

static size_t numbers_of(const int8_t *steps, int passes)
{
    size_t numbers = 0, blocks = 1;
    for (int p = 0; p < passes; p++) {
        numbers += blocks * DW_FFT_FACTORS(1 << steps[p]);
        blocks <<= steps[p];
    }
    return numbers;
}

size_t dwconv_fft_table_size(const dwconv_plan *opaque)
{
    const dw_plan *plan = dw_plan_of(opaque);
    dw_fft_cut cut;
    int8_t steps[DW_FFT_PASSES];
    if (!plan || plan->regions_used == 0 || !dw_fft_cut_of(plan, &cut))
        return 0;
    const int passes = passes_of(plan, cut.log2_points, steps);
    return sizeof(header) + numbers_of(steps, passes) * (size_t)plan->item_bytes;
}

/* Tangent and cosine of pi * numerator / 2^log2. */
static void put_factor(const dw_plan *plan, void *numbers, size_t at, uint64_t numerator, int log2)
{
    /* The angle less its whole quarter turns, which is exact but for the factor pi. */
    const uint64_t quarter = UINT64_C(1) << (log2 - 1);
    const double angle = (double)(numerator % quarter) * ldexp(3.14159265358979323846, -log2);
    double cosine = cos(angle), sine = sin(angle);
    for (uint64_t quarters = numerator / quarter % 4; quarters > 0; quarters--) {
        const double turned = -sine;
        sine = cosine;
        cosine = turned;
    }
    if (plan->item_bytes == 4) {
        ((float *)numbers)[at] = (float)(sine / cosine);
        ((float *)numbers)[at + 1] = (float)cosine;
    } else {
        ((double *)numbers)[at] = sine / cosine;
        ((double *)numbers)[at + 1] = cosine;
    }
}

dwconv_status dwconv_fft_table_init(const dwconv_plan *opaque, void *table)
{
    const dw_plan *plan = dw_plan_of(opaque);
    dw_fft_cut cut;
    int8_t steps[DW_FFT_PASSES];
    if (!opaque)
        return DWCONV_ERROR_NULL;
    if (!plan)
        return DWCONV_ERROR_PLAN;
    if (plan->regions_used == 0)
        return DWCONV_OK;
    if (!table)
        return DWCONV_ERROR_NULL;
    if (!dw_fft_cut_of(plan, &cut))
        return DWCONV_ERROR_OVERFLOW;

    const uint64_t state = dw_fp_state_get();
    dw_fp_state_set(dw_fp_state_default(state));
    const int passes = passes_of(plan, cut.log2_points, steps);
    const header head = {TABLE_MAGIC, cut.log2_points, plan->kernels->fft_steps, plan->item_bytes, 0};
    memcpy(table, &head, sizeof head);
    char *numbers = (char *)table + sizeof head;
    int level = 0;
    for (int p = 0; p < passes; p++) {
        const int R = 1 << steps[p], count = DW_FFT_FACTORS(R) / 2;
        for (uint64_t block = 0; block < UINT64_C(1) << level; block++) {
            /* phi of the block is pi * phi / 2^(level + 2) */
            uint64_t phi = 1;
            for (int l = 0; l < level; l++)
                if (block >> (level - 1 - l) & 1)
                    phi += UINT64_C(1) << (l + 2);
            const int log2 = level + 2 + steps[p] - 1; /* of the unit of phi / 2 or phi / 4 */
            for (int i = 0; i < count; i++)
                put_factor(plan, numbers, ((size_t)block * (size_t)count + (size_t)i) * 2,
                           i < R - 1 ? phi * (uint64_t)(i + 1) : phi + (UINT64_C(1) << (log2 - 2)), log2);
        }
        numbers += ((size_t)1 << level) * (size_t)count * 2 * (size_t)plan->item_bytes;
        level += steps[p];
    }
    dw_fp_state_set(state);
    return DWCONV_OK;
}

bool dw_fft_use_table(const dw_plan *plan, const dw_fft_cut *cut, const void *table, dw_fft *job)
{
    const header head = {TABLE_MAGIC, cut->log2_points, plan->kernels->fft_steps, plan->item_bytes, 0};
    if (memcmp(table, &head, sizeof head) != 0)
        return false;
    job->points = (ptrdiff_t)cut->points;
    job->passes = passes_of(plan, cut->log2_points, job->steps);
    const char *numbers = (const char *)table + sizeof head;
    for (int p = 0; p < job->passes; p++) {
        job->factors[p] = numbers;
        const size_t before = numbers_of(job->steps, p + 1);
        numbers = (const char *)table + sizeof head + before * (size_t)plan->item_bytes;
    }
    return true;
}
