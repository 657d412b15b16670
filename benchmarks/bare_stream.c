/* SPDX-License-Identifier: BSD-3-Clause
 *
 * Times dwconv_stream_step() in a loop of C, for streaming.py: what a step would take without Python.
 * The functions come as pointers, which the compiled module hands out; dwconv is not linked.
 */
#define _POSIX_C_SOURCE 200112L
#include <stdint.h>
#include <stdlib.h>
#include <time.h>

#include "dwconv.h"

typedef dwconv_status init_function(dwconv_stream *, const dwconv_stream_problem *, const char *);
typedef size_t size_function(const dwconv_stream *);
typedef dwconv_status reset_function(const dwconv_stream *, void *, int64_t);
typedef dwconv_status step_function(const dwconv_stream *, void *, const void *, const void *,
                                    const void *, const dwconv_activation *, void *,
                                    const dwconv_exec *);

/* Seconds per step of a causal stream with silu, or -1 if it is refused or there is no memory. */
double bare_stream(init_function *init, size_function *state_size, reset_function *reset,
                   step_function *step, int64_t channels, int64_t kernel_size, const float *x,
                   const float *w, const float *bias, float *y, long calls)
{
    dwconv_stream_problem problem = {0};
    problem.batch = problem.depth_multiplier = problem.stride = problem.dilation = 1;
    problem.channels = channels;
    problem.kernel_size = kernel_size;
    problem.pad_left = kernel_size - 1;
    problem.layout = DWCONV_CHANNELS_LAST;
    problem.dtype = DWCONV_F32;
    dwconv_stream stream;
    if (init(&stream, &problem, NULL) != DWCONV_OK)
        return -1;
    void *memory = malloc(state_size(&stream) + 64);
    if (!memory)
        return -1;
    void *state = (char *)memory + (64 - (uintptr_t)memory % 64) % 64;
    const dwconv_activation silu = {.kind = DWCONV_SILU};
    dwconv_status status = reset(&stream, state, -1);
    struct timespec start, end;
    clock_gettime(CLOCK_MONOTONIC, &start);
    for (long i = 0; i < calls && status == DWCONV_OK; i++)
        status = step(&stream, state, x, w, bias, &silu, y, NULL);
    clock_gettime(CLOCK_MONOTONIC, &end);
    free(memory);
    double seconds = (double)(end.tv_sec - start.tv_sec);
    seconds += 1e-9 * (double)(end.tv_nsec - start.tv_nsec);
    return status == DWCONV_OK ? seconds / (double)calls : -1;
}
