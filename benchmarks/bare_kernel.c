/* SPDX-License-Identifier: BSD-3-Clause
 *
 * Times dwconv_forward() in a loop of C, for overhead.py: what a call would take without Python.
 * The functions come as pointers, which the compiled module hands out; dwconv is not linked.
 */
#define _POSIX_C_SOURCE 200112L
#include <stdint.h>
#include <stdlib.h>
#include <time.h>

#include "dwconv.h"

typedef dwconv_status plan_function(dwconv_plan *, const dwconv_problem *, const char *);
typedef size_t workspace_function(const dwconv_plan *, int);
typedef dwconv_status forward_function(const dwconv_plan *, const void *, const void *,
                                       const void *, const dwconv_activation *, void *,
                                       const dwconv_exec *);

/* Seconds per call on one thread, or -1 if the problem is refused or there is no memory.
 * Stride, dilation and depth multiplier are 1, nothing is padded; float32, channels_last. */
double bare_kernel(plan_function *plan_init, workspace_function *workspace_size,
                   forward_function *forward, int64_t in_steps, int64_t channels,
                   int64_t kernel_size, const float *x, const float *w, const float *bias,
                   float *y, long calls)
{
    dwconv_problem problem = {0};
    problem.batch = problem.depth_multiplier = problem.stride = problem.dilation = 1;
    problem.in_steps = in_steps;
    problem.channels = channels;
    problem.kernel_size = kernel_size;
    problem.out_steps = in_steps - kernel_size + 1;
    problem.layout = DWCONV_CHANNELS_LAST;
    problem.dtype = DWCONV_F32;
    dwconv_plan plan;
    if (plan_init(&plan, &problem, NULL) != DWCONV_OK)
        return -1;

    dwconv_exec exec = {0};
    exec.workspace_bytes = workspace_size(&plan, 1);
    exec.workspace = malloc(exec.workspace_bytes + 1);
    if (!exec.workspace)
        return -1;
    dwconv_status status = DWCONV_OK;
    struct timespec start, end;
    clock_gettime(CLOCK_MONOTONIC, &start);
    for (long i = 0; i < calls && status == DWCONV_OK; i++)
        status = forward(&plan, x, w, bias, NULL, y, &exec);
    clock_gettime(CLOCK_MONOTONIC, &end);
    free(exec.workspace);
    double seconds = (double)(end.tv_sec - start.tv_sec);
    seconds += 1e-9 * (double)(end.tv_nsec - start.tv_nsec);
    return status == DWCONV_OK ? seconds / (double)calls : -1;
}
