/* SPDX-License-Identifier: BSD-3-Clause
 *
 * Arrays of more than 2^31 elements: nearly all of them never touched, so that they cost address space only. */
#define _GNU_SOURCE /* MAP_ANONYMOUS, MAP_NORESERVE */

#include "dwconv.h"
#include "test.h"

#include <string.h>
#include <sys/mman.h>

#define G (INT64_C(1) << 30)

static const dwconv_problem problems[] = {
    /* rows far apart */
    {.batch = 2, .in_steps = 3, .channels = 17, .depth_multiplier = 1, .kernel_size = 2, .stride = 1, .dilation = 1,
     .pad_left = 1, .out_steps = 3, .x_row_stride = G + 3, .y_row_stride = 17, .x_batch_stride = 3 * G + 9},
    {.batch = 1, .in_steps = 70, .channels = 4, .depth_multiplier = 1, .kernel_size = 3, .stride = 1, .dilation = 1,
     .pad_left = 1, .out_steps = 70, .x_row_stride = G + 1, .y_row_stride = G + 5, .layout = DWCONV_CHANNELS_FIRST},
    {.batch = 1, .in_steps = 70, .channels = 4, .depth_multiplier = 2, .kernel_size = 31, .stride = 1, .dilation = 1,
     .pad_left = 15, .out_steps = 70, .x_row_stride = G - 1, .y_row_stride = G / 2 + 1,
     .layout = DWCONV_CHANNELS_FIRST},
    /* output rows far apart */
    {.batch = 1, .in_steps = 4, .channels = 9, .depth_multiplier = 1, .kernel_size = 3, .stride = 1, .dilation = 1,
     .pad_left = 1, .out_steps = 4, .y_row_stride = G},
    /* a signal longer than 2^31 steps, looked at here and there */
    {.batch = 1, .in_steps = 3 * G + 11, .channels = 1, .depth_multiplier = 1, .kernel_size = 5, .stride = G / 4 + 7,
     .dilation = G / 8 + 1, .pad_left = G / 8, .out_steps = 12},
    {.batch = 1, .in_steps = 3 * G + 11, .channels = 1, .depth_multiplier = 2, .kernel_size = 5, .stride = G / 4 + 7,
     .dilation = G / 8 + 1, .pad_left = G / 8, .out_steps = 12, .layout = DWCONV_CHANNELS_FIRST},
    /* everything is cropped but the last steps */
    {.batch = 1, .in_steps = 3 * G, .channels = 1, .depth_multiplier = 1, .kernel_size = 3, .stride = 1,
     .dilation = 1, .pad_left = -3 * G + 100, .out_steps = 110},
};

static float *x, *y;
static const size_t map_bytes = (size_t)4 * G * sizeof(float) * 2;

static float *reserve(void)
{
    void *map = mmap(NULL, map_bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    return map == MAP_FAILED ? NULL : map;
}

static int64_t nonzero(int64_t stride, int64_t packed) { return stride ? stride : packed; }

/* A small integer for each element of x. */
static float value_at(int64_t i) { return (float)(i % 19 - 9); }

/* Visits the taps of every output in the plainest way: gives x its values, or compares y. */
static void walk(const dwconv_problem *p, const float *w, const char *isa, int compare)
{
    const int first = p->layout == DWCONV_CHANNELS_FIRST;
    const int64_t out_channels = p->channels * p->depth_multiplier;
    const int64_t x_rows = first ? p->channels : p->in_steps, y_rows = first ? out_channels : p->out_steps;
    const int64_t x_row = nonzero(p->x_row_stride, first ? p->in_steps : p->channels);
    const int64_t y_row = nonzero(p->y_row_stride, first ? p->out_steps : out_channels);
    const int64_t x_batch = nonzero(p->x_batch_stride, x_rows * x_row);
    const int64_t y_batch = nonzero(p->y_batch_stride, y_rows * y_row);
    for (int64_t b = 0; b < p->batch; b++)
        for (int64_t i = 0; i < p->out_steps; i++)
            for (int64_t o = 0; o < out_channels; o++) {
                const int64_t c = o / p->depth_multiplier;
                float sum = 0;
                for (int64_t k = 0; k < p->kernel_size; k++) {
                    const int64_t t = i * p->stride + k * p->dilation - p->pad_left;
                    if (t < 0 || t >= p->in_steps)
                        continue;
                    const int64_t at = b * x_batch + (first ? c * x_row + t : t * x_row + c);
                    if (!compare)
                        x[at] = value_at(at);
                    sum += value_at(at) * w[k * out_channels + o];
                }
                const int64_t at = b * y_batch + (first ? o * y_row + i : i * y_row + o);
                if (compare)
                    CHECK(y[at] == sum, "problem %td, %s: y[%" PRId64 ", %" PRId64 ", %" PRId64 "] = %g, not %g",
                          p - problems, isa, b, i, o, y[at], sum);
            }
}

int main(void)
{
    static char workspace[1 << 18];
    float w[31 * 17];
    for (int i = 0; i < 31 * 17; i++)
        w[i] = (float)(i % 7 - 3);
    x = reserve();
    y = reserve();
    if (!x || !y) {
        printf("test_huge: skipped, no %zu GiB of address space to be had\n", 2 * map_bytes >> 30);
        return 0;
    }
    for (size_t i = 0; i < sizeof problems / sizeof *problems; i++)
        for (int j = 0; dwconv_isa_name(j); j++) {
            const char *isa = dwconv_isa_name(j);
            const dwconv_exec exec = {.max_threads = 2, .workspace = workspace, .workspace_bytes = sizeof workspace};
            dwconv_plan plan;
            madvise(x, map_bytes, MADV_DONTNEED);
            madvise(y, map_bytes, MADV_DONTNEED);
            walk(&problems[i], w, isa, 0);
            dwconv_status status = dwconv_plan_init(&plan, &problems[i], isa);
            if (status == DWCONV_OK)
                status = dwconv_forward(&plan, x, w, NULL, NULL, y, &exec);
            CHECK(status == DWCONV_OK, "problem %zu, %s: %s", i, isa, dwconv_status_string(status));
            walk(&problems[i], w, isa, 1);
        }
    return test_finish("test_huge");
}
