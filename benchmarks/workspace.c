/* SPDX-License-Identifier: BSD-3-Clause
 *
 * Asks the compiled core how much memory a forward call works in, for memory.py.  The core allocates
 * nothing else: what it needs is handed to it, in this size.
 */
#include "dwconv.h"

typedef dwconv_status plan_function(dwconv_plan *, const dwconv_problem *, const char *);
typedef size_t workspace_function(const dwconv_plan *, int);

/* Bytes on so many threads, or -1 if the problem is refused.  sizes: batch, in_steps, channels,
 * depth_multiplier, kernel_size, stride, dilation, pad_left, out_steps, as in dwconv_problem. */
int64_t workspace_of(plan_function *plan_init, workspace_function *workspace_size,
                     const int64_t sizes[9], int channels_first, int double_precision, int threads)
{
    dwconv_problem problem = {0};
    problem.batch = sizes[0], problem.in_steps = sizes[1], problem.channels = sizes[2];
    problem.depth_multiplier = sizes[3], problem.kernel_size = sizes[4];
    problem.stride = sizes[5], problem.dilation = sizes[6];
    problem.pad_left = sizes[7], problem.out_steps = sizes[8];
    problem.layout = channels_first ? DWCONV_CHANNELS_FIRST : DWCONV_CHANNELS_LAST;
    problem.dtype = double_precision ? DWCONV_F64 : DWCONV_F32;
    dwconv_plan plan;
    if (plan_init(&plan, &problem, NULL) != DWCONV_OK)
        return -1;
    return (int64_t)workspace_size(&plan, threads);
}
