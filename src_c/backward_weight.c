/* SPDX-License-Identifier: BSD-3-Clause
 *
 * The gradients of kernel and bias: sums over batch and time.
 *
 *     dw[k, c, m]    = sum_b sum_i x[b, i*stride + k*dilation - pad_left, c] * dy[b, i, c*M + m]
 *     dbias[c*M + m] = sum_b sum_i dy[b, i, c*M + m]
 *
 * Output steps are cut in chunks of at most DW_CHUNK_STEPS, by the shape alone.  Within a chunk each sum is one chain
 * of fused multiply-adds, steps ascending; chunks are numbered batch items first, and their sums are added in pairs,
 * pairs of pairs, and so on, as in a binary counter.  Sequences that are contiguous in time, with few taps, have W
 * chains, of every W-th step each, and chunks W times as long, or of so many batch items; W is the number of elements
 * in 64 bytes.  Nothing else enters a result, so it does not depend on tiles, threads or vector width.
 *
 * A span of chunks that is not everything leaves its sum in the workspace, and the caller's thread adds those up. */
#include "backward_weight.h"
#include "cpu.h"
#include "parallel.h"

#include <string.h>

enum { MOST_LEVELS = 64 };

void dw_gradient_store(const dw_gradient_call *call, const char *sums, ptrdiff_t sums_row, char *target, ptrdiff_t rows,
                       ptrdiff_t lanes)
{
    call->plan->kernels->repeat_lanes(sums, sums_row, 0, 1, target, (ptrdiff_t)call->plan->out_channels, rows, lanes);
}

/* Adds up the spans as `push` and `collapse` would have, had there been one. */
static void add_spans(const dw_gradient_call *call)
{
    const dw_plan *plan = call->plan;
    const dw_gradient_cuts *c = &call->cuts;
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
    if (call->dw)
        dw_gradient_store(call, sums, row, call->dw, (ptrdiff_t)call->taps, row);
    if (call->dbias)
        dw_gradient_store(call, sums + call->taps * row * plan->item_bytes, row, call->dbias, 1, row);
    dw_fp_state_set(state);
}

size_t dw_gradient_scratch_size(const dw_plan *plan, int64_t taps, bool activated, int max_threads)
{
    const dw_gradient_cuts c = dw_gradient_cut(plan, taps, activated, max_threads);
    const size_t span_bytes = (size_t)((taps + 1) * plan->out_channels * plan->item_bytes);
    return (size_t)dw_gradient_threads(plan, taps, max_threads) * dw_gradient_worker_bytes(plan, &c)
           + (c.spans > 1 ? (size_t)c.spans * span_bytes : 0) + DW_ALIGN;
}

dwconv_status dw_gradient_execute(dw_gradient_call *call, const dwconv_exec *exec)
{
    call->cuts = dw_gradient_cut(call->plan, call->taps, call->activated != NULL, exec->max_threads);
    call->worker_bytes = dw_gradient_worker_bytes(call->plan, &call->cuts);
    const dw_gradient_cuts *c = &call->cuts;
    const int threads = dw_gradient_threads(call->plan, call->taps, exec->max_threads);
    call->workspace = dw_align(exec->workspace);
    call->span_sums = call->workspace + (size_t)threads * call->worker_bytes;
    const dwconv_status status = dw_run(exec, dw_gradient_task, call, c->panels * c->groups * c->spans, threads);
    if (status == DWCONV_OK && c->spans > 1)
        add_spans(call);
    return status;
}

size_t dwconv_backward_weight_workspace_size(const dwconv_plan *opaque, int max_threads)
{
    const dw_plan *plan = dw_plan_of(opaque);
    if (!plan || plan->regions_used == 0)
        return 0;
    const size_t whole = dw_gradient_scratch_size(plan, plan->problem.kernel_size, false, max_threads);
    const size_t bias_only = dw_gradient_scratch_size(plan, 0, false, max_threads);
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

    dw_gradient_call call = {
        .plan = plan, .x = x, .dy = dy, .dw = dw, .dbias = dbias, .taps = dw ? p->kernel_size : 0,
    };
    return dw_gradient_execute(&call, exec);
}
