/* SPDX-License-Identifier: BSD-3-Clause
 *
 * The forward pass of every usable instruction set on random cases, in guarded memory, against the definition.
 *
 *     test_forward [CASES [SEED]]     CASES random cases (default 2000), from SEED on
 *     test_forward 1 SEED             one case again */
#include "reference.h"
#include "runners.h"

#include <fenv.h>
#include <math.h>
#include <string.h>

enum {
    ARENA_BYTES = CASE_MAX_ELEMENTS * sizeof(double) + (64 << 10),
    CASES_PER_LARGE = 250
};

/* Kinds of input on which convolutions have failed elsewhere. */
static const test_case fixed_cases[] = {
    /* output shorter than its padding; T < pad */
    {.problem = {.batch = 1, .in_steps = 2, .channels = 9, .depth_multiplier = 1, .kernel_size = 9, .stride = 1,
                 .dilation = 1, .pad_left = 4, .out_steps = 2}, .values = INTEGER, .seed = 1},
    /* nothing but padding: y is the bias */
    {.problem = {.batch = 2, .in_steps = 0, .channels = 5, .depth_multiplier = 2, .kernel_size = 3, .stride = 1,
                 .dilation = 1, .pad_left = 1, .out_steps = 70}, .has_bias = 1, .values = SPECIAL, .seed = 2},
    /* strides and dilations over 2^31 and near the end of the range */
    {.problem = {.batch = 1, .in_steps = 40, .channels = 3, .depth_multiplier = 1, .kernel_size = 5, .stride = 1,
                 .dilation = INT64_C(1) << 31, .pad_left = INT64_C(1) << 32, .out_steps = 40}, .values = UNIT, .seed = 3},
    {.problem = {.batch = 1, .in_steps = 40, .channels = 3, .depth_multiplier = 1, .kernel_size = 3, .stride =
                 INT64_C(1) << 55, .dilation = 1, .pad_left = 1, .out_steps = 2}, .values = UNIT, .seed = 4},
    {.problem = {.batch = 1, .in_steps = 40, .channels = 3, .depth_multiplier = 1, .kernel_size = 1, .stride =
                 INT64_C(1) << 59, .dilation = INT64_C(1) << 59, .pad_left = -39, .out_steps = 1,
                 .layout = DWCONV_CHANNELS_FIRST}, .values = UNIT, .seed = 5},
    {.problem = {.batch = 1, .in_steps = 40, .channels = 20, .depth_multiplier = 1, .kernel_size = 2, .stride = 7,
                 .dilation = INT64_C(1) << 59, .pad_left = 0, .out_steps = 6}, .values = UNIT, .seed = 6},
    {.problem = {.batch = 1, .in_steps = 40, .channels = 20, .depth_multiplier = 1, .kernel_size = 2, .stride = 7,
                 .dilation = 1, .pad_left = -(INT64_C(1) << 59), .out_steps = 6}, .has_bias = 1, .values = UNIT,
     .seed = 7},
    /* a kernel much longer than any tile; one channel, many channels */
    {.problem = {.batch = 1, .in_steps = 2100, .channels = 1, .depth_multiplier = 1, .kernel_size = 1025, .stride = 1,
                 .dilation = 1, .pad_left = 512, .out_steps = 2100}, .has_bias = 1, .values = INTEGER, .seed = 8},
    {.problem = {.batch = 1, .in_steps = 3, .channels = 5003, .depth_multiplier = 1, .kernel_size = 3, .stride = 1,
                 .dilation = 1, .pad_left = 1, .out_steps = 3}, .has_bias = 1, .values = INTEGER, .seed = 9},
    {.problem = {.batch = 1, .in_steps = 20011, .channels = 1, .depth_multiplier = 3, .kernel_size = 9, .stride = 1,
                 .dilation = 16, .pad_left = 64, .out_steps = 20011, .layout = DWCONV_CHANNELS_FIRST},
     .values = INTEGER, .seed = 10},
    {.problem = {.batch = 1, .in_steps = 20011, .channels = 2, .depth_multiplier = 1, .kernel_size = 31, .stride = 2,
                 .dilation = 3, .pad_left = 0, .out_steps = 9000}, .values = WIDE, .seed = 11},
};

static arrays memory;
static double first_y[2][ARENA_BYTES / sizeof(double)]; /* of the instruction sets without and with fma */

/* Any thread count and runner: they must not be visible in the result. */
static void random_exec(rng *r, const dwconv_plan *plan, dwconv_exec *exec)
{
    static const int thread_counts[] = {0, 1, 2, 3, 7};
    memset(exec, 0, sizeof *exec);
    exec->max_threads = RNG_PICK(r, thread_counts);
    if (rng_one_in(r, 2))
        exec->runner = rng_one_in(r, 8) ? &threads_runner : &shuffling_runner;
    exec->workspace_bytes = dwconv_workspace_size(plan, exec->max_threads);
    exec->workspace = arena_place(&memory.workspace, exec->workspace_bytes, (int)rng_between(r, 0, 1));
}

/* Whether two arrays hold the same bits; any NaN equals any NaN. */
static int same_numbers(const void *a, const void *b, int32_t dtype, int64_t elements)
{
    for (int64_t i = 0; i < elements; i++) {
        const double u = element_of(a, dtype, i), v = element_of(b, dtype, i);
        if (memcmp(&u, &v, sizeof u) != 0 && !(isnan(u) && isnan(v)))
            return 0;
    }
    return 1;
}

static void check_isa(const test_case *c, const char *isa, rng *r, int seen[2])
{
    char line[1200];
    snprintf(line, sizeof line, "%s /* %s */", case_line(c), isa);
    arena_on_fault(line);

    dwconv_plan plan;
    const dwconv_status made = dwconv_plan_init(&plan, &c->problem, isa);
    CHECK(made == DWCONV_OK, "%s: %s", line, dwconv_status_string(made));
    if (made != DWCONV_OK)
        return;
    const int has_fma = dwconv_isa_has_fma(isa);
    const shape s = shape_of(&c->problem);
    dwconv_exec exec;
    random_exec(r, &plan, &exec);
    arrays_clear_y(&memory, c, (int)rng_between(r, 0, 1));

    feclearexcept(FE_ALL_EXCEPT);
    const dwconv_status status =
        dwconv_forward(&plan, memory.x.data, memory.w.data, c->has_bias ? memory.bias.data : NULL,
                       c->activation.kind == DWCONV_LINEAR ? NULL : &c->activation, memory.y.data, &exec);
    const int flags = fetestexcept(FE_ALL_EXCEPT);

    CHECK(status == DWCONV_OK, "%s: %s", line, dwconv_status_string(status));
    CHECK(flags == 0, "%s: floating-point flags 0x%x raised", line, flags);
    CHECK(arrays_are_intact(&memory, c), "%s: wrote outside y", line);
    if (seen[has_fma]) {
        CHECK(same_numbers(memory.y.data, first_y[has_fma], c->problem.dtype, s.y_elements),
              "%s: other bits than the first such instruction set", line);
        return;
    }
    const char *what = reference_compare(c, &memory, has_fma);
    CHECK(what == NULL, "%s: %s", line, what);
    memcpy(first_y[has_fma], memory.y.data, memory.y.used);
    seen[has_fma] = 1;
}

static void check_case(const test_case *c)
{
    int seen[2] = {0, 0};
    rng r = {~c->seed};
    const char *isa;
    arrays_fill(&memory, c, (int)rng_between(&r, 0, 1));
    for (int i = 0; (isa = dwconv_isa_name(i)) != NULL; i++)
        check_isa(c, isa, &r, seen);
}

/* The fixed cases in both dtypes. */
static void check_fixed_cases(void)
{
    for (size_t i = 0; i < sizeof fixed_cases / sizeof *fixed_cases; i++) {
        test_case c = fixed_cases[i];
        c.problem.dtype = DWCONV_F32;
        check_case(&c);
        c.problem.dtype = DWCONV_F64;
        check_case(&c);
    }
}

int main(int argc, char **argv)
{
    const long cases = argc > 1 ? strtol(argv[1], NULL, 0) : 2000;
    const uint64_t seed = argc > 2 ? strtoull(argv[2], NULL, 0) : 1000;
    arrays_create(&memory, ARENA_BYTES);
    check_fixed_cases();
    for (long i = 0; i < cases; i++) {
        const uint64_t own_seed = seed + (uint64_t)i;
        const test_case c = case_random(own_seed, own_seed % CASES_PER_LARGE == 0);
        check_case(&c);
    }
    return test_finish("test_forward");
}
