/* SPDX-License-Identifier: BSD-3-Clause */
#include "cases.h"

#include <float.h>
#include <math.h>
#include <string.h>

enum { SMALL_WORK = 200 * 1000, LARGE_WORK = 4 * 1000 * 1000 }; /* multiply-adds */

static const int64_t channel_counts[] = {1,  2,  3,  4,  5,  7,  8,  9,  12, 15, 16,
                                         17, 23, 31, 32, 33, 47, 63, 64, 65, 127, 128, 130};
static const int64_t multipliers[] = {1, 2, 2, 3, 4, 4, 8, 16};
static const int64_t kernel_sizes[] = {1, 2, 3, 4, 5, 6, 7, 8, 9, 12, 15, 16, 17, 31, 33, 63, 64, 65, 130};
static const int64_t step_counts[] = {0,  1,  2,  3,  4,  5,  7,  8,  9,  15, 16,  17,
                                      31, 32, 33, 63, 64, 65, 66, 95, 96, 97, 127, 128, 129, 200};

static const dwconv_activation activations[] = {
    {DWCONV_LINEAR, 0, 0, 0},
    {DWCONV_CLIP, 0, 0, INFINITY},
    {DWCONV_CLIP, 0, 0, 6},
    {DWCONV_CLIP, 0, -1, 1},
    {DWCONV_LEAKY_RELU, 0, 0.25, 0},
    {DWCONV_LEAKY_RELU, 0, 0.2, 0},
    {DWCONV_LEAKY_RELU, 0, -1.5, 0},
    {DWCONV_HARD_SIGMOID, 0, 0, 0},
    {DWCONV_HARD_SILU, 0, 0, 0},
};

static int64_t min64(int64_t a, int64_t b) { return a < b ? a : b; }
static int64_t max64(int64_t a, int64_t b) { return a > b ? a : b; }

/* Taps of a dilated kernel, from the first to the last. */
static int64_t span_of(const dwconv_problem *p) { return (p->kernel_size - 1) * p->dilation + 1; }

/* Padding and output length as the frameworks choose them, or anything at all. */
static void random_padding(rng *r, dwconv_problem *p)
{
    const int64_t span = span_of(p), same = (p->in_steps + p->stride - 1) / p->stride;
    switch (rng_between(r, 0, 4)) {
    case 0: /* valid */
        p->pad_left = 0;
        p->out_steps = p->in_steps < span ? 0 : (p->in_steps - span) / p->stride + 1;
        break;
    case 1: /* same */
        p->out_steps = same;
        p->pad_left = max64((same - 1) * p->stride + span - p->in_steps, 0) / 2;
        break;
    case 2: /* causal */
        p->out_steps = same;
        p->pad_left = span - 1;
        break;
    case 3: /* outputs on both sides that see padding only */
        p->pad_left = rng_between(r, 0, span + 3 * p->stride);
        p->out_steps = same + rng_between(r, 0, span / p->stride + 9);
        break;
    default: /* cropped */
        p->pad_left = -rng_between(r, 0, p->in_steps + 2);
        p->out_steps = rng_between(r, 0, same + 3);
    }
}

static void random_strides(rng *r, dwconv_problem *p)
{
    if (rng_one_in(r, 2))
        return;
    const shape packed = shape_of(p);
    p->x_row_stride = packed.x_row_length + rng_between(r, 0, 9);
    p->y_row_stride = packed.y_row_length + rng_between(r, 0, 9);
    if (rng_one_in(r, 2)) {
        p->x_batch_stride = max64(packed.x_rows * p->x_row_stride + rng_between(r, 0, 19), 1);
        p->y_batch_stride = max64(packed.y_rows * p->y_row_stride + rng_between(r, 0, 19), 1);
    }
}

/* Halves one size after the other until the case is small enough. */
static void cut_to(dwconv_problem *p, int64_t work)
{
    int64_t *const sizes[] = {&p->batch, &p->channels, &p->in_steps, &p->kernel_size};
    for (int i = 0;; i++) {
        const int64_t lanes = p->batch * p->channels * p->depth_multiplier;
        if (lanes * (2 * p->in_steps + 300) <= CASE_MAX_ELEMENTS &&
            lanes * (p->in_steps / p->stride + 1) * p->kernel_size <= work)
            return;
        *sizes[i % 4] = (*sizes[i % 4] + 1) / 2;
    }
}

test_case case_random(uint64_t seed, int large)
{
    rng r = {seed};
    test_case c;
    memset(&c, 0, sizeof c);
    c.seed = seed;
    dwconv_problem *p = &c.problem;
    p->layout = (int32_t)rng_between(&r, 0, 1);
    p->dtype = (int32_t)rng_between(&r, 0, 1);
    p->batch = rng_one_in(&r, 64) ? 0 : rng_between(&r, 1, 3);
    p->channels = rng_one_in(&r, 64) ? 0 : RNG_PICK(&r, channel_counts);
    p->depth_multiplier = rng_one_in(&r, 2) ? 1 : RNG_PICK(&r, multipliers);
    p->kernel_size = RNG_PICK(&r, kernel_sizes);
    p->stride = rng_one_in(&r, 2) ? 1 : rng_between(&r, 1, 4);
    p->dilation = rng_one_in(&r, 2) ? 1 : rng_one_in(&r, 8) ? rng_between(&r, 5, 100) : rng_between(&r, 1, 4);
    p->in_steps = RNG_PICK(&r, step_counts);
    if (rng_one_in(&r, 3)) /* about as long as the kernel */
        p->in_steps = max64(span_of(p) + rng_between(&r, -3, 40), 0);
    if (rng_one_in(&r, 32)) /* hardly any two outputs overlap */
        p->stride = rng_between(&r, span_of(p), 2 * span_of(p) + 3);

    if (large && rng_one_in(&r, 2))
        p->in_steps = rng_between(&r, 200, 6000);
    else if (large)
        p->channels = rng_between(&r, 130, 1100);

    cut_to(p, large ? LARGE_WORK : SMALL_WORK);
    random_padding(&r, p);
    p->out_steps = min64(p->out_steps, 2 * p->in_steps + 300);
    random_strides(&r, p);
    const shape s = shape_of(p);
    if (max64(s.x_elements, s.y_elements) > CASE_MAX_ELEMENTS)
        p->x_row_stride = p->x_batch_stride = p->y_row_stride = p->y_batch_stride = 0;

    c.has_bias = (int)rng_between(&r, 0, 1);
    c.values = (values)rng_between(&r, UNIT, SPECIAL);
    if (rng_one_in(&r, 2))
        c.activation = RNG_PICK(&r, activations);
    return c;
}

const char *case_line(const test_case *c)
{
    static char line[1024];
    static const char *const value_names[] = {"UNIT", "WIDE", "INTEGER", "SPECIAL"};
    const dwconv_problem *p = &c->problem;
    snprintf(line, sizeof line,
             "{.problem = {.batch = %" PRId64 ", .in_steps = %" PRId64 ", .channels = %" PRId64
             ", .depth_multiplier = %" PRId64 ", .kernel_size = %" PRId64 ", .stride = %" PRId64
             ", .dilation = %" PRId64 ", .pad_left = %" PRId64 ", .out_steps = %" PRId64
             ", .x_batch_stride = %" PRId64 ", .x_row_stride = %" PRId64 ", .y_batch_stride = %" PRId64
             ", .y_row_stride = %" PRId64 ", .layout = %s, .dtype = %s}, .activation = {%d, 0, %g, %g}"
             ", .has_bias = %d, .values = %s, .seed = UINT64_C(0x%" PRIx64 ")},",
             p->batch, p->in_steps, p->channels, p->depth_multiplier, p->kernel_size, p->stride, p->dilation,
             p->pad_left, p->out_steps, p->x_batch_stride, p->x_row_stride, p->y_batch_stride, p->y_row_stride,
             p->layout == DWCONV_CHANNELS_FIRST ? "DWCONV_CHANNELS_FIRST" : "DWCONV_CHANNELS_LAST",
             p->dtype == DWCONV_F64 ? "DWCONV_F64" : "DWCONV_F32", c->activation.kind, c->activation.alpha,
             c->activation.beta, c->has_bias, value_names[c->values], c->seed);
    return line;
}

static int64_t extent(int64_t batch, int64_t batch_stride, int64_t rows, int64_t row, int64_t length)
{
    return batch && rows && length ? (batch - 1) * batch_stride + (rows - 1) * row + length : 0;
}

shape shape_of(const dwconv_problem *p)
{
    const int first = p->layout == DWCONV_CHANNELS_FIRST;
    shape s;
    s.item = p->dtype == DWCONV_F64 ? sizeof(double) : sizeof(float);
    s.out_channels = p->channels * p->depth_multiplier;

    s.x_rows = first ? p->channels : p->in_steps;
    s.x_row_length = first ? p->in_steps : p->channels;
    s.x_row = p->x_row_stride ? p->x_row_stride : s.x_row_length;
    s.x_batch = p->x_batch_stride ? p->x_batch_stride : s.x_rows * s.x_row;
    s.x_step = first ? 1 : s.x_row;
    s.x_channel = first ? s.x_row : 1;
    s.x_elements = extent(p->batch, s.x_batch, s.x_rows, s.x_row, s.x_row_length);

    s.y_rows = first ? s.out_channels : p->out_steps;
    s.y_row_length = first ? p->out_steps : s.out_channels;
    s.y_row = p->y_row_stride ? p->y_row_stride : s.y_row_length;
    s.y_batch = p->y_batch_stride ? p->y_batch_stride : s.y_rows * s.y_row;
    s.y_step = first ? 1 : s.y_row;
    s.y_channel = first ? s.y_row : 1;
    s.y_elements = extent(p->batch, s.y_batch, s.y_rows, s.y_row, s.y_row_length);
    return s;
}

void arrays_create(arrays *a, size_t bytes_each)
{
    arena_create(&a->x, bytes_each);
    arena_create(&a->w, bytes_each);
    arena_create(&a->bias, bytes_each);
    arena_create(&a->y, bytes_each);
    arena_create(&a->workspace, bytes_each);
}

static double special(rng *r, int32_t dtype)
{
    const int is_float = dtype == DWCONV_F32;
    const double largest = is_float ? FLT_MAX : DBL_MAX;
    const double normal = is_float ? FLT_MIN : DBL_MIN;
    const double tiny = is_float ? 0x1p-149 : 0x1p-1074;
    const double list[] = {NAN, INFINITY, largest, normal, tiny, 0.0, 13 * tiny, largest / 2};
    const double value = RNG_PICK(r, list);
    return rng_one_in(r, 2) ? -value : value;
}

static double random_value(rng *r, values kind, int32_t dtype)
{
    switch (kind) {
    case WIDE:
        return ldexp(rng_unit(r), (int)rng_between(r, -30, 30));
    case INTEGER:
        return (double)rng_between(r, -127, 127); /* 2^24 / 127^2 = 1040 taps stay exact in float */
    case SPECIAL:
        if (rng_one_in(r, 12))
            return special(r, dtype);
        break;
    case UNIT:
        break;
    }
    return rng_unit(r);
}

static void put(void *array, int32_t dtype, int64_t i, double value)
{
    if (dtype == DWCONV_F64)
        ((double *)array)[i] = value;
    else
        ((float *)array)[i] = (float)value;
}

double element_of(const void *array, int32_t dtype, int64_t i)
{
    return dtype == DWCONV_F64 ? ((const double *)array)[i] : ((const float *)array)[i];
}

static void fill_block(rng *r, arena *a, const test_case *c, int64_t elements, int at_end, size_t item)
{
    void *data = arena_place(a, (size_t)elements * item, at_end);
    for (int64_t i = 0; i < elements; i++)
        put(data, c->problem.dtype, i, random_value(r, c->values, c->problem.dtype));
    arena_make_read_only(a);
}

void arrays_fill(arrays *a, const test_case *c, int at_end)
{
    const dwconv_problem *p = &c->problem;
    const shape s = shape_of(p);
    rng r = {c->seed ^ UINT64_C(0xda7a)};

    if (a->x.data) /* forget the forbidden gaps of the case before */
        arena_allow(a->x.data, a->x.used);
    unsigned char *x = arena_place(&a->x, (size_t)s.x_elements * s.item, at_end);
    for (int64_t i = 0; i < s.x_elements; i++)
        put(x, p->dtype, i, NAN);
    arena_forbid(x, a->x.used);
    for (int64_t b = 0; s.x_elements && b < p->batch; b++)
        for (int64_t row = 0; row < s.x_rows; row++) {
            const int64_t start = b * s.x_batch + row * s.x_row;
            arena_allow(x + (size_t)start * s.item, (size_t)s.x_row_length * s.item);
            for (int64_t i = 0; i < s.x_row_length; i++)
                put(x, p->dtype, start + i, random_value(&r, c->values, p->dtype));
        }
    arena_make_read_only(&a->x);
    fill_block(&r, &a->w, c, p->kernel_size * s.out_channels, at_end, s.item);
    fill_block(&r, &a->bias, c, s.out_channels, at_end, s.item);
}

void arrays_clear_y(arrays *a, const test_case *c, int at_end)
{
    const shape s = shape_of(&c->problem);
    arena_place(&a->y, (size_t)s.y_elements * s.item, at_end);
}

void arrays_fill_dy(arrays *a, const test_case *c, int at_end)
{
    const shape s = shape_of(&c->problem);
    rng r = {c->seed ^ UINT64_C(0xd1)};
    unsigned char *dy = arena_place(&a->y, (size_t)s.y_elements * s.item, at_end);
    for (int64_t b = 0; s.y_elements && b < c->problem.batch; b++)
        for (int64_t row = 0; row < s.y_rows; row++)
            for (int64_t i = 0; i < s.y_row_length; i++)
                put(dy, c->problem.dtype, b * s.y_batch + row * s.y_row + i,
                    random_value(&r, c->values, c->problem.dtype));
    arena_make_read_only(&a->y);
}

int arrays_are_intact(const arrays *a, const test_case *c)
{
    const shape s = shape_of(&c->problem);
    int intact = arena_is_intact(&a->x) && arena_is_intact(&a->w) && arena_is_intact(&a->bias) &&
                 arena_is_intact(&a->y) && arena_is_intact(&a->workspace);
    size_t done = 0; /* bytes of y looked at so far */
    for (int64_t b = 0; s.y_elements && b < c->problem.batch; b++)
        for (int64_t row = 0; row < s.y_rows; row++) {
            const size_t start = (size_t)(b * s.y_batch + row * s.y_row) * s.item;
            for (; done < start; done++)
                intact &= a->y.data[done] == ARENA_PATTERN;
            done = start + (size_t)s.y_row_length * s.item;
        }
    return intact;
}
