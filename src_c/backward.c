/* SPDX-License-Identifier: BSD-3-Clause
 *
 * All gradients of a convolution in one call.  Sequences that are contiguous in time, with few taps, are at the speed of
 * memory: there, the tasks of the weight gradient convolve dy for dx as well, some lines at a time, so that dy comes from
 * memory once (backward_weight_lines.c).  Everything else is the two gradients one after the other. */
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
static bool takes_one_walk(const dw_plan *plan, dw_plan *derived)
{
    dw_region *r = &derived->regions[0];
    if (!dw_gradient_takes_lines(plan) || derived->regions_used != 1 || (r->way != DW_FLAT && r->way != DW_LINES))
        return false;
    r->panel_lanes = lines_at_a_time(plan);
    r->panels = dw_ceil_div(plan->out_channels, r->panel_lanes);
    r->tasks_across = plan->problem.batch * r->panels;
    return true;
}

/* Whether the tasks of the weight gradient keep all threads busy. */
static bool has_enough_tasks(const dw_plan *plan, int64_t taps, int max_threads)
{
    const int threads = dw_gradient_threads(plan, taps, max_threads);
    const dw_gradient_cuts c = dw_gradient_cut(plan, taps, false, max_threads);
    return c.panels * c.spans >= 2 * threads || c.panels * c.spans % threads == 0;
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
    dw_plan derived;
    const int64_t taps = dw ? plan->problem.kernel_size : 0;
    if (dx && (dw || dbias) && plan->regions_used > 0 && plan->problem.stride == 1 && plan->problem.in_steps > 0
        && has_enough_tasks(plan, taps, exec->max_threads)) {
        const dw_call input = dw_input_gradient(plan, &derived, dy, w, dx);
        if (takes_one_walk(plan, &derived)) {
            dw_gradient_call call = {
                .plan = plan, .x = x, .dy = dy, .dw = dw, .dbias = dbias, .taps = taps, .input = &input,
            };
            dw_gradient_execute(&call, exec);
            return DWCONV_OK;
        }
    }
    const dwconv_status status = dx ? dwconv_backward_input(opaque, dy, w, dx, exec) : DWCONV_OK;
    return status == DWCONV_OK ? dwconv_backward_weight(opaque, x, dy, dw, dbias, exec) : status;
}
