/* SPDX-License-Identifier: BSD-3-Clause
 *
 * The gradient of the input is a convolution of dy, so the ways of the forward pass compute it.
 *
 *     dx[b, j, c] = sum_m sum_k dy[b, i, c*M + m] * w[k, c, m]     for the i with i*stride + k*dilation - pad_left = j
 *
 * Input steps that are equal modulo the stride meet the same taps: those k with k*dilation = j + pad_left modulo the
 * stride, which are P = stride / gcd(stride, dilation) apart.  For each of these phases, with n such taps, the kernel
 * read backwards gives an undilated or dilated convolution of stride 1 over dy, which writes every stride-th step of
 * dx.  Its plan is made here for each call; that costs less than a microsecond.  The multiplier becomes a sum over
 * neighbouring lanes (pairs.c, panel.c). */
#include "internal.h"

#include <string.h>

/* What phase number k0 computes: input steps first_step, first_step + stride, ... from taps k0, k0 + P, ... */
typedef struct phase {
    int64_t first_step, steps, taps;
    int64_t apart; /* steps of dy from one of these taps to the next */
    int64_t newest; /* step of dy that first_step meets with tap k0 */
} phase;

static int64_t tap_step_of(const dwconv_problem *p) { return p->stride / dw_gcd(p->stride, p->dilation); }

static int64_t phases_of(const dwconv_problem *p) { return dw_min(tap_step_of(p), p->kernel_size); }

static phase phase_of(const dwconv_problem *p, int64_t k0)
{
    phase f;
    f.first_step = (k0 * p->dilation - p->pad_left) % p->stride;
    if (f.first_step < 0)
        f.first_step += p->stride;
    f.steps = f.first_step < p->in_steps ? (p->in_steps - f.first_step - 1) / p->stride + 1 : 0;
    f.taps = (p->kernel_size - k0 - 1) / tap_step_of(p) + 1;
    f.apart = p->dilation / dw_gcd(p->stride, p->dilation);
    f.newest = (f.first_step + p->pad_left - k0 * p->dilation) / p->stride;
    return f;
}

/* The convolution of dy that gives the phase. */
static dw_plan derive(const dw_plan *plan, phase f)
{
    const dwconv_problem *p = &plan->problem;
    dw_plan derived = {
        .problem = {
            .batch = p->batch, .in_steps = p->out_steps, .channels = plan->out_channels, .depth_multiplier = 1,
            .kernel_size = f.taps, .stride = 1, .dilation = f.apart, .pad_left = (f.taps - 1) * f.apart - f.newest,
            .out_steps = f.steps, .layout = p->layout, .dtype = p->dtype,
        },
        .table = plan->table,
        .kernels = plan->kernels,
        .x = plan->y,
        .y = {plan->x.batch, f.steps > 1 ? plan->x.step * (ptrdiff_t)p->stride : plan->x.step, plan->x.channel},
        .out_channels = plan->out_channels,
        .lane_sum = p->depth_multiplier,
        .item_bytes = plan->item_bytes,
    };
    dw_schedule(&derived);
    return derived;
}

/* The call that computes phase k0, whose plan is `derived`. */
static dw_call call_of(const dw_plan *plan, const dw_plan *derived, phase f, int64_t k0, const void *dy, const void *w,
                       void *dx)
{
    const int64_t tap_step = f.taps > 1 ? tap_step_of(&plan->problem) : 0, last_tap = k0 + (f.taps - 1) * tap_step;
    return (dw_call){
        .plan = derived,
        .x = dy,
        .w = (const char *)w + last_tap * plan->out_channels * plan->item_bytes,
        .w_tap = (ptrdiff_t)(-tap_step * plan->out_channels),
        .y = (char *)dx + f.first_step * plan->x.step * plan->item_bytes,
    };
}

int dw_input_gradients(const dw_plan *plan, dw_plan *derived, dw_call *calls, const void *dy, const void *w, void *dx)
{
    const int64_t phases = phases_of(&plan->problem);
    if (phases > DW_MOST_INPUTS || phases < plan->problem.stride)
        return 0;
    for (int64_t k0 = 0; k0 < phases; k0++) {
        const phase f = phase_of(&plan->problem, k0);
        if (f.steps == 0)
            return 0;
        derived[k0] = derive(plan, f);
        calls[k0] = call_of(plan, &derived[k0], f, k0, dy, w, dx);
    }
    return (int)phases;
}

/* Threads of the phase with most work. */
static int most_threads(const dw_plan *plan, int max_threads)
{
    const dwconv_problem *p = &plan->problem;
    const int64_t steps = dw_ceil_div(p->in_steps, p->stride), taps = dw_ceil_div(p->kernel_size, tap_step_of(p));
    const int64_t outputs = dw_min(p->batch * steps * p->channels, INT32_MAX) * dw_min(p->depth_multiplier, INT32_MAX);
    return dw_threads_for(outputs, taps, max_threads);
}

size_t dwconv_backward_input_workspace_size(const dwconv_plan *opaque, int max_threads)
{
    const dw_plan *plan = dw_plan_of(opaque);
    if (!plan || plan->regions_used == 0)
        return 0;
    return (size_t)most_threads(plan, max_threads) * DW_WORKSPACE_BYTES + DW_ALIGN;
}

static void clear(const dw_plan *plan, char *dx)
{
    const dwconv_problem *p = &plan->problem;
    const bool last = p->layout == DWCONV_CHANNELS_LAST;
    const int64_t rows = last ? p->in_steps : p->channels, length = last ? p->channels : p->in_steps;
    const ptrdiff_t row = last ? plan->x.step : plan->x.channel;
    for (int64_t b = 0; b < p->batch && length > 0; b++)
        for (int64_t r = 0; r < rows; r++)
            memset(dx + (b * plan->x.batch + r * row) * plan->item_bytes, 0, (size_t)(length * plan->item_bytes));
}

dwconv_status dwconv_backward_input(const dwconv_plan *opaque, const void *dy, const void *w, void *dx,
                                    const dwconv_exec *exec)
{
    const dw_plan *plan = dw_plan_of(opaque);
    if (!opaque)
        return DWCONV_ERROR_NULL;
    if (!plan)
        return DWCONV_ERROR_PLAN;
    const dwconv_problem *p = &plan->problem;
    if (p->batch == 0 || p->channels == 0 || p->in_steps == 0)
        return DWCONV_OK; /* dx has no elements */
    if (!dx || (plan->regions_used > 0 && (!dy || !w)))
        return DWCONV_ERROR_NULL;
    if (!exec)
        exec = &dw_one_thread;
    const size_t bytes = dwconv_backward_input_workspace_size(opaque, exec->max_threads);
    if (bytes > 0 && (!exec->workspace || exec->workspace_bytes < bytes))
        return DWCONV_ERROR_WORKSPACE;

    const int64_t phases = plan->regions_used > 0 ? phases_of(p) : 0;
    if (phases < p->stride) /* some steps meet no tap */
        clear(plan, dx);
    for (int64_t k0 = 0; k0 < phases; k0++) {
        const phase f = phase_of(p, k0);
        if (f.steps == 0)
            continue;
        const dw_plan derived = derive(plan, f);
        dw_call call = call_of(plan, &derived, f, k0, dy, w, dx);
        const dwconv_status status = dw_execute(&call, exec);
        if (status != DWCONV_OK)
            return status;
    }
    return DWCONV_OK;
}
