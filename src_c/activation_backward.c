/* SPDX-License-Identifier: BSD-3-Clause
 *
 * The gradient of an activation: elementwise, in parts that leave the first-level cache once. */
#include "cpu.h"
#include "dispatch.h"
#include "internal.h"
#include "parallel.h"

bool dw_has_activation_gradient(int kind)
{
    return kind == DWCONV_SIGMOID || kind == DWCONV_SILU || kind == DWCONV_TANH;
}

enum { PART = 8192 }; /* elements of a task */

typedef struct gradient_call {
    const struct dw_kernels *kernels;
    const char *z, *dy;
    char *dz;
    int64_t count;
    ptrdiff_t item;
    int kind;
} gradient_call;

static void run_task(void *argument, int64_t index, int worker)
{
    const gradient_call *call = argument;
    const ptrdiff_t at = (ptrdiff_t)index * PART * call->item;
    const int64_t count = dw_min(PART, call->count - index * PART);
    const uint64_t state = dw_fp_state_get();
    (void)worker;
    dw_fp_state_set(dw_fp_state_default(state));
    const dw_activation_gradient job = {
        .z = call->z + at, .dy = call->dy + at, .dz = call->dz + at, .count = (ptrdiff_t)count, .kind = call->kind,
    };
    call->kernels->activation_gradient(&job);
    dw_fp_state_set(state);
}

dwconv_status dwconv_activation_backward(const dwconv_activation *activation, int32_t dtype, int64_t count,
                                         const void *z, const void *dy, void *dz, const char *isa,
                                         const dwconv_exec *exec)
{
    if (!activation)
        return DWCONV_ERROR_NULL;
    if (!dw_has_activation_gradient(activation->kind))
        return DWCONV_ERROR_ACTIVATION;
    if (dtype != DWCONV_F32 && dtype != DWCONV_F64)
        return DWCONV_ERROR_DTYPE;
    if (count < 0)
        return DWCONV_ERROR_SIZE;
    const dw_table *table = dw_find_table(isa);
    if (!table)
        return DWCONV_ERROR_ISA;
    if (count == 0)
        return DWCONV_OK;
    if (!z || !dy || !dz)
        return DWCONV_ERROR_NULL;
    gradient_call call = {
        .kernels = dtype == DWCONV_F32 ? &table->f32 : &table->f64, .z = z, .dy = dy, .dz = dz, .count = count,
        .item = dtype == DWCONV_F32 ? 4 : 8, .kind = activation->kind,
    };
    if (!exec)
        exec = &dw_one_thread;
    const int threads = dw_threads_for(count, DW_OUTPUT_COST, exec->max_threads);
    return dw_run(exec, run_task, &call, dw_ceil_div(count, PART), threads);
}
