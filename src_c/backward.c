/* SPDX-License-Identifier: BSD-3-Clause
 *
 * All gradients of a convolution in one call.  Where sequences are contiguous in time, the tasks of the weight gradient
 * convolve dy for dx as well, so that dy comes from memory once: with few taps some lines at a time
 * (backward_weight_lines.c), with many from the rows it was transposed to (kernels/correlate_bundle.tmpl.h).  So do tasks
 * that read all channels of a batch item in place, with many taps, a chunk of time at a time.  Everything else is the two
 * gradients one after the other. */
#include "backward_weight.h"

/* Lines that are walked together: a divisor of those of a task. */
static int64_t lines_at_a_time(const dw_plan *plan)
{
    int64_t lines = DW_GRADIENT_LINES_BYTES / plan->item_bytes;
    while (lines > 1 && lines * plan->problem.out_steps * plan->item_bytes > DW_GRADIENT_WALK_BYTES)
        lines /= 2;
    return lines;
}

/* Whether dx is one convolution along time, of whose region a task has as many lines as are walked together. */
static bool takes_lines(const dw_plan *plan, dw_plan *derived)
{
    dw_region *r = &derived->regions[0];
    if (!dw_gradient_takes_lines(plan) || derived->regions_used != 1 || (r->way != DW_FLAT && r->way != DW_LINES))
        return false;
    r->panel_lanes = lines_at_a_time(plan);
    r->panels = dw_ceil_div(plan->out_channels, r->panel_lanes);
    r->tasks_across = plan->problem.batch * r->panels;
    return true;
}

/* Whether dx is convolved from the steps of dy that the weight gradient has transposed: where the lanes of a task are
 * channels of one batch item and fill vectors, tiles have room, and each chunk of time has a block of dx at least. */
static bool takes_bundles(const dw_plan *plan, const dw_plan *derived, const dw_gradient_cuts *c)
{
    const dwconv_problem *p = &plan->problem;
    const int64_t rows = plan->kernels->bundle_rows, vector = plan->kernels->vector_lanes;
    if (!c->bundles || c->side > 1 || derived->regions_used != 1 || derived->regions[0].way != DW_BUNDLE)
        return false;
    if ((p->kernel_size + 4 * vector) * vector * plan->item_bytes > DW_VIEW_BYTES
        || plan->out_channels * 8 < dw_round_up(plan->out_channels, vector) * 7)
        return false;
    const int64_t last = (c->chunks - 1) * c->chunk_steps - p->pad_left; /* of dx, the first of the last chunk */
    return c->chunks == 1 || (c->chunk_steps - p->pad_left >= rows && p->in_steps - last >= rows);
}

/* Whether dx is some convolutions, of each of which a task has a batch item, in place. */
static bool takes_rows(const dw_gradient_cuts *c, const dw_plan *derived, int inputs)
{
    bool all = c->walks;
    for (int n = 0; n < inputs; n++) {
        const dw_region *r = &derived[n].regions[0];
        all = all && derived[n].regions_used == 1 && (r->way == DW_DIRECT || r->way == DW_PAIRS) && r->phases == 1
              && r->tasks_across == derived[n].problem.batch;
    }
    return all;
}

size_t dwconv_backward_workspace_size(const dwconv_plan *plan, int max_threads)
{
    const size_t input = dwconv_backward_input_workspace_size(plan, max_threads);
    const size_t weight = dwconv_backward_weight_workspace_size(plan, max_threads);
    return input > weight ? input : weight;
}

dwconv_status dwconv_backward(const dwconv_plan *opaque, const void *x, const void *w, const void *dy, void *dx, void *dw,
                              void *dbias, const dwconv_exec *exec)
{
    const dw_plan *plan = dw_plan_of(opaque);
    if (!opaque)
        return DWCONV_ERROR_NULL;
    if (!plan)
        return DWCONV_ERROR_PLAN;
    if (!exec)
        exec = &dw_one_thread;
    if (plan->regions_used > 0 && (dx || dw || dbias)) {
        const size_t bytes = dwconv_backward_workspace_size(opaque, exec->max_threads);
        if (!dy || (dx && !w) || (dw && !x && plan->problem.in_steps > 0))
            return DWCONV_ERROR_NULL;
        if (bytes > 0 && (!exec->workspace || exec->workspace_bytes < bytes))
            return DWCONV_ERROR_WORKSPACE;
    }
    dw_plan derived[DW_MOST_INPUTS];
    dw_call input[DW_MOST_INPUTS];
    const int64_t taps = dw ? plan->problem.kernel_size : 0;
    if (dx && (dw || dbias) && plan->regions_used > 0 && plan->problem.in_steps > 0) {
        const int inputs = dw_input_gradients(plan, derived, input, dy, w, dx);
        const dw_gradient_cuts cuts = dw_gradient_cut(plan, taps, false, exec->max_threads);
        const bool along_time = inputs == 1 && plan->problem.stride == 1
                                && (takes_lines(plan, derived) || takes_bundles(plan, derived, &cuts));
        const int threads = dw_gradient_threads(plan, taps, exec->max_threads);
        if (inputs > 0 && dw_gradient_shares_well(cuts.panels * cuts.spans, threads)
            && (along_time || takes_rows(&cuts, derived, inputs))) {
            dw_gradient_call call = {
                .plan = plan, .x = x, .dy = dy, .dw = dw, .dbias = dbias, .taps = taps, .input = input,
                .inputs = inputs,
            };
            return dw_gradient_execute(&call, exec);
        }
    }
    const dwconv_status status = dx ? dwconv_backward_input(opaque, dy, w, dx, exec) : DWCONV_OK;
    return status == DWCONV_OK ? dwconv_backward_weight(opaque, x, dy, dw, dbias, exec) : status;
}
