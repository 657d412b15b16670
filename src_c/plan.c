/* SPDX-License-Identifier: BSD-3-Clause
 *
 * The one place that checks a problem, and the questions a caller may ask about a plan. */
#include "cpu.h"
#include "dispatch.h"

#include <string.h>

/* Steps and extents stay below this, so that sums of a few of them cannot overflow. */
#define LIMIT (INT64_MAX / 8)

/* *result = a * b for a, b >= 0; false if it exceeds LIMIT. */
static bool multiply(int64_t a, int64_t b, int64_t *result)
{
    if (a != 0 && b > LIMIT / a)
        return false;
    *result = a * b;
    return true;
}

/* One array of `batch` items of `rows` rows of `length` elements: fills in packed strides, checks given ones. */
static dwconv_status check_array(int64_t batch, int64_t rows, int64_t length, int64_t item, int64_t *batch_stride,
                                 int64_t *row_stride)
{
    int64_t extent, total;
    if (*row_stride == 0)
        *row_stride = length;
    if (*row_stride < length)
        return DWCONV_ERROR_STRIDE;
    if (batch == 0 || rows == 0 || length == 0)
        return DWCONV_OK; /* nothing will be touched */
    if (!multiply(rows - 1, *row_stride, &extent))
        return DWCONV_ERROR_OVERFLOW;
    extent += length;
    if (*batch_stride == 0 && !multiply(rows, *row_stride, batch_stride))
        return DWCONV_ERROR_OVERFLOW;
    if (*batch_stride < extent && batch > 1)
        return DWCONV_ERROR_STRIDE;
    if (extent > LIMIT || !multiply(batch - 1, *batch_stride, &total) || total > LIMIT - extent)
        return DWCONV_ERROR_OVERFLOW;
    if (!multiply(total + extent, item, &total) || (uint64_t)total > (uint64_t)PTRDIFF_MAX)
        return DWCONV_ERROR_OVERFLOW;
    return DWCONV_OK;
}

static dwconv_status check_sizes(const dwconv_problem *p)
{
    int64_t reach, last, out_channels, weights;
    if (p->batch < 0 || p->in_steps < 0 || p->channels < 0 || p->out_steps < 0)
        return DWCONV_ERROR_SIZE;
    if (p->kernel_size < 1 || p->stride < 1 || p->dilation < 1 || p->depth_multiplier < 1)
        return DWCONV_ERROR_SIZE;
    if (p->pad_left > LIMIT || p->pad_left < -LIMIT || p->in_steps > LIMIT)
        return DWCONV_ERROR_OVERFLOW;
    if (!multiply(p->kernel_size - 1, p->dilation, &reach))
        return DWCONV_ERROR_OVERFLOW;
    if (p->out_steps > 0 && !multiply(p->out_steps - 1, p->stride, &last))
        return DWCONV_ERROR_OVERFLOW;
    if (!multiply(p->channels, p->depth_multiplier, &out_channels)
        || !multiply(out_channels, p->kernel_size, &weights) || !multiply(weights, 8, &weights)
        || (uint64_t)weights > (uint64_t)PTRDIFF_MAX)
        return DWCONV_ERROR_OVERFLOW;
    if (p->layout != DWCONV_CHANNELS_LAST && p->layout != DWCONV_CHANNELS_FIRST)
        return DWCONV_ERROR_LAYOUT;
    if (p->dtype != DWCONV_F32 && p->dtype != DWCONV_F64)
        return DWCONV_ERROR_DTYPE;
    return DWCONV_OK;
}

dwconv_status dw_plan_with(dwconv_plan *opaque, const dwconv_problem *problem, const dw_table *table)
{
    dw_plan plan = {0};
    dwconv_status status;
    plan.problem = *problem;
    dwconv_problem *p = &plan.problem;
    if ((status = check_sizes(p)) != DWCONV_OK)
        return status;
    plan.table = table;
    if (!table)
        return DWCONV_ERROR_ISA;
    plan.kernels = p->dtype == DWCONV_F32 ? &plan.table->f32 : &plan.table->f64;
    plan.item_bytes = p->dtype == DWCONV_F32 ? 4 : 8;
    plan.out_channels = p->channels * p->depth_multiplier;
    plan.lane_sum = 1;

    const bool last = p->layout == DWCONV_CHANNELS_LAST;
    status = check_array(p->batch, last ? p->in_steps : p->channels, last ? p->channels : p->in_steps,
                         plan.item_bytes, &p->x_batch_stride, &p->x_row_stride);
    if (status != DWCONV_OK)
        return status;
    status = check_array(p->batch, last ? p->out_steps : plan.out_channels, last ? plan.out_channels : p->out_steps,
                         plan.item_bytes, &p->y_batch_stride, &p->y_row_stride);
    if (status != DWCONV_OK)
        return status;
    plan.x = (dw_strides){(ptrdiff_t)p->x_batch_stride, last ? (ptrdiff_t)p->x_row_stride : 1,
                          last ? 1 : (ptrdiff_t)p->x_row_stride};
    plan.y = (dw_strides){(ptrdiff_t)p->y_batch_stride, last ? (ptrdiff_t)p->y_row_stride : 1,
                          last ? 1 : (ptrdiff_t)p->y_row_stride};
    if (p->batch > 0 && plan.out_channels > 0 && p->out_steps > 0)
        dw_schedule(&plan);
    plan.magic = DW_PLAN_MAGIC;
    memset(opaque, 0, sizeof *opaque);
    memcpy(opaque, &plan, sizeof plan);
    return DWCONV_OK;
}

dwconv_status dwconv_plan_init(dwconv_plan *opaque, const dwconv_problem *problem, const char *isa)
{
    if (!opaque || !problem)
        return DWCONV_ERROR_NULL;
    return dw_plan_with(opaque, problem, dw_find_table(isa));
}

double dwconv_work(const dwconv_plan *opaque)
{
    const dw_plan *plan = dw_plan_of(opaque);
    if (!plan)
        return 0;
    const dwconv_problem *p = &plan->problem;
    const uint64_t state = dw_fp_state_get();
    const double work
        = (double)p->batch * (double)p->out_steps * (double)plan->out_channels * (double)p->kernel_size;
    dw_fp_state_set(state);
    return work;
}

const char *dwconv_plan_isa(const dwconv_plan *opaque)
{
    const dw_plan *plan = dw_plan_of(opaque);
    return plan ? plan->table->name : NULL;
}

const char *dwconv_version(void) { return DWCONV_VERSION_STRING; }

const char *dwconv_status_string(dwconv_status status)
{
    switch (status) {
    case DWCONV_OK: return "success";
    case DWCONV_ERROR_NULL: return "a required pointer is NULL";
    case DWCONV_ERROR_SIZE: return "a size is negative, or kernel size, stride, dilation or multiplier is below 1";
    case DWCONV_ERROR_OVERFLOW: return "a size, extent or byte count is too large";
    case DWCONV_ERROR_STRIDE: return "a batch or row stride is smaller than what it must step over";
    case DWCONV_ERROR_LAYOUT: return "unknown layout";
    case DWCONV_ERROR_DTYPE: return "unknown dtype";
    case DWCONV_ERROR_ISA: return "unknown instruction set, or not supported by this CPU";
    case DWCONV_ERROR_ACTIVATION: return "unknown activation, or unusable parameters";
    case DWCONV_ERROR_WORKSPACE: return "the workspace is missing or too small";
    case DWCONV_ERROR_PLAN: return "the plan is not initialised";
    case DWCONV_ERROR_STREAM: return "the stream or its state is not initialised";
    case DWCONV_ERROR_FLUSHED: return "the sequence has ended by a flush; reset it first";
    case DWCONV_STOPPED: return "the call was stopped";
    }
    return "unknown status";
}
