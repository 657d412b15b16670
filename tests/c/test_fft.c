/* SPDX-License-Identifier: BSD-3-Clause
 *
 * The convolution by FFT of every usable instruction set on random cases, in guarded memory, against the definition.
 *
 *     test_fft [CASES [SEED]]     CASES random cases (default 500), from SEED on
 *     test_fft 1 SEED             one case again */
#include "cases.h"
#include "runners.h"

#include <fenv.h>
#include <math.h>
#include <string.h>

enum {
    ARENA_BYTES = CASE_MAX_ELEMENTS * sizeof(double) + (64 << 10),
    SCRATCH_BYTES = 48 << 20
};

static arrays memory;
static arena table;
static double y_of_one_thread[ARENA_BYTES / sizeof(double)];

/* The definition, and how far a result may be from it: 8 log2(n) u |x| |w|, the norms those of a channel and of a filter, as
 * n is at most 2^20 here. */
static double largest_error(const test_case *c, const void *y, int *finite)
{
    const dwconv_problem *p = &c->problem;
    const shape s = shape_of(p);
    const double u = p->dtype == DWCONV_F32 ? 0x1p-24 : 0x1p-53;
    double worst = 0;
    *finite = 1;
    for (int64_t b = 0; b < p->batch; b++)
        for (int64_t o = 0; o < s.out_channels; o++) {
            const int64_t at_x = b * s.x_batch + o / p->depth_multiplier * s.x_channel;
            double squares_x = 0, squares_w = 0;
            const double bias = c->has_bias ? element_of(memory.bias.data, p->dtype, o) : 0;
            for (int64_t t = 0; t < p->in_steps; t++)
                squares_x += pow(element_of(memory.x.data, p->dtype, at_x + t * s.x_step), 2);
            for (int64_t k = 0; k < p->kernel_size; k++)
                squares_w += pow(element_of(memory.w.data, p->dtype, k * s.out_channels + o), 2);
            const double bound = u * (160 * sqrt(squares_x) * sqrt(squares_w) + 2 * fabs(bias));
            for (int64_t i = 0; i < p->out_steps; i++) {
                double sum = bias;
                for (int64_t k = 0; k < p->kernel_size; k++) {
                    const __int128 t = (__int128)i * p->stride + (__int128)k * p->dilation - p->pad_left;
                    if (t >= 0 && t < p->in_steps)
                        sum += element_of(memory.x.data, p->dtype, at_x + (int64_t)t * s.x_step) *
                               element_of(memory.w.data, p->dtype, k * s.out_channels + o);
                }
                const double got = element_of(y, p->dtype, b * s.y_batch + o * s.y_channel + i * s.y_step);
                *finite &= isfinite(got) != 0;
                if (bound > 0 || got != sum)
                    worst = fmax(worst, fabs(got - sum) / bound);
            }
        }
    return worst;
}

static void check_isa(const test_case *c, const char *isa, rng *r)
{
    char line[1200];
    snprintf(line, sizeof line, "%s /* %s */", case_line(c), isa);
    arena_on_fault(line);
    dwconv_plan plan;
    CHECK(dwconv_plan_init(&plan, &c->problem, isa) == DWCONV_OK, "%s", line);
    const size_t table_bytes = dwconv_fft_table_size(&plan);
    arena_place(&table, table_bytes, 1);
    CHECK(dwconv_fft_table_init(&plan, table.data) == DWCONV_OK, "%s", line);
    arena_make_read_only(&table);

    const size_t bytes = shape_of(&c->problem).y_elements * shape_of(&c->problem).item;
    static const int thread_counts[] = {1, 2, 3, 7};
    for (int i = 0; i < 2; i++) {
        dwconv_exec exec = {.max_threads = i ? RNG_PICK(r, thread_counts) : 1};
        if (i && rng_one_in(r, 2))
            exec.runner = rng_one_in(r, 8) ? &threads_runner : &shuffling_runner;
        exec.workspace_bytes = dwconv_fft_workspace_size(&plan, exec.max_threads);
        exec.workspace = arena_place(&memory.workspace, exec.workspace_bytes, (int)rng_between(r, 0, 1));
        arrays_clear_y(&memory, c, (int)rng_between(r, 0, 1));
        int finite = -1;
        const int asked = (int)rng_between(r, 0, 1);
        feclearexcept(FE_ALL_EXCEPT);
        const dwconv_status status =
            dwconv_fft_forward(&plan, table.data, memory.x.data, memory.w.data, c->has_bias ? memory.bias.data : NULL,
                               memory.y.data, asked ? &finite : NULL, &exec);
        const int flags = fetestexcept(FE_ALL_EXCEPT);
        CHECK(status == DWCONV_OK, "%s: %s", line, dwconv_status_string(status));
        CHECK(flags == 0, "%s: floating-point flags 0x%x raised", line, flags);
        CHECK(arrays_are_intact(&memory, c), "%s: wrote outside y", line);
        if (c->values == SPECIAL) {
            int is_finite = 1;
            (void)largest_error(c, memory.y.data, &is_finite);
            CHECK(!asked || is_finite || finite == 0, "%s: not finite, but said to be", line);
        } else if (i == 0) {
            int is_finite;
            const double error = largest_error(c, memory.y.data, &is_finite);
            CHECK(error <= 1, "%s: %g times the bound", line, error);
            CHECK(!asked || finite == 1, "%s: said not to be finite", line);
            memcpy(y_of_one_thread, memory.y.data, bytes);
        } else {
            CHECK(memcmp(y_of_one_thread, memory.y.data, bytes) == 0, "%s: other bits with %d threads", line, exec.max_threads);
        }
    }
}

/* Many short kernels, some long ones; batches and channels that fill vectors in all ways. */
static test_case fft_case(uint64_t seed)
{
    test_case c = case_random(seed, seed % 40 == 0);
    rng r = {seed ^ UINT64_C(0xff7)};
    dwconv_problem *p = &c.problem;
    c.activation.kind = DWCONV_LINEAR;
    if (c.values == WIDE) /* smaller numbers drown */
        c.values = UNIT;
    if (rng_one_in(&r, 8)) {
        p->batch = rng_between(&r, 1, 2);
        p->channels = rng_between(&r, 1, 20);
        p->depth_multiplier = rng_one_in(&r, 2) ? 1 : 2;
        p->kernel_size = rng_between(&r, 100, 700);
        p->dilation = rng_between(&r, 1, 2);
        p->in_steps = rng_between(&r, 1, 1500);
        p->pad_left = rng_between(&r, -20, p->kernel_size);
        p->out_steps = rng_between(&r, 0, 1500 / p->stride);
        p->x_batch_stride = p->x_row_stride = p->y_batch_stride = p->y_row_stride = 0;
    }
    return c;
}

static void check_errors(void)
{
    const dwconv_problem problem = {.batch = 1, .in_steps = 100, .channels = 2, .depth_multiplier = 1, .kernel_size = 50,
                                    .stride = 1, .dilation = 1, .out_steps = 51};
    dwconv_problem other = problem;
    float x[200] = {0}, w[100] = {0}, y[102];
    dwconv_plan plan, longer, none = {{0}};
    other.kernel_size = 5000;
    CHECK(dwconv_plan_init(&plan, &problem, NULL) == DWCONV_OK, "plan");
    CHECK(dwconv_plan_init(&longer, &other, NULL) == DWCONV_OK, "plan");
    void *factors = malloc(dwconv_fft_table_size(&plan)), *others = malloc(dwconv_fft_table_size(&longer));
    dwconv_exec exec = {.workspace_bytes = dwconv_fft_workspace_size(&plan, 1)};
    exec.workspace = malloc(exec.workspace_bytes);
    CHECK(dwconv_fft_table_init(&plan, factors) == DWCONV_OK && dwconv_fft_table_init(&longer, others) == DWCONV_OK, "table");
    CHECK(dwconv_fft_table_init(NULL, factors) == DWCONV_ERROR_NULL, "no plan");
    CHECK(dwconv_fft_table_init(&plan, NULL) == DWCONV_ERROR_NULL, "no table");
    CHECK(dwconv_fft_table_init(&none, factors) == DWCONV_ERROR_PLAN, "not a plan");
    CHECK(dwconv_fft_table_size(&none) == 0 && dwconv_fft_workspace_size(&none, 1) == 0, "sizes of no plan");
    CHECK(dwconv_fft_forward(&plan, factors, x, w, NULL, y, NULL, &exec) == DWCONV_OK, "call");
    CHECK(dwconv_fft_forward(NULL, factors, x, w, NULL, y, NULL, &exec) == DWCONV_ERROR_NULL, "no plan");
    CHECK(dwconv_fft_forward(&none, factors, x, w, NULL, y, NULL, &exec) == DWCONV_ERROR_PLAN, "not a plan");
    CHECK(dwconv_fft_forward(&plan, others, x, w, NULL, y, NULL, &exec) == DWCONV_ERROR_PLAN, "another plan's table");
    CHECK(dwconv_fft_forward(&plan, NULL, x, w, NULL, y, NULL, &exec) == DWCONV_ERROR_NULL, "no table");
    CHECK(dwconv_fft_forward(&plan, factors, NULL, w, NULL, y, NULL, &exec) == DWCONV_ERROR_NULL, "no x");
    CHECK(dwconv_fft_forward(&plan, factors, x, NULL, NULL, y, NULL, &exec) == DWCONV_ERROR_NULL, "no w");
    CHECK(dwconv_fft_forward(&plan, factors, x, w, NULL, NULL, NULL, &exec) == DWCONV_ERROR_NULL, "no y");
    CHECK(dwconv_fft_forward(&plan, factors, x, w, NULL, y, NULL, NULL) == DWCONV_ERROR_WORKSPACE, "no workspace");
    exec.workspace_bytes--;
    CHECK(dwconv_fft_forward(&plan, factors, x, w, NULL, y, NULL, &exec) == DWCONV_ERROR_WORKSPACE, "small workspace");
    free(exec.workspace);
    free(factors);
    free(others);
}

int main(int argc, char **argv)
{
    const long cases = argc > 1 ? strtol(argv[1], NULL, 0) : 500;
    const uint64_t seed = argc > 2 ? strtoull(argv[2], NULL, 0) : 1000;
    arrays_create(&memory, ARENA_BYTES);
    arena_create(&memory.workspace, SCRATCH_BYTES); /* instead of a smaller one */
    arena_create(&table, 4 << 20);
    check_errors();
    for (long i = 0; i < cases; i++) {
        const test_case c = fft_case(seed + (uint64_t)i);
        rng r = {~c.seed};
        const char *isa;
        arrays_fill(&memory, &c, (int)rng_between(&r, 0, 1));
        for (int n = 0; (isa = dwconv_isa_name(n)) != NULL; n++)
            check_isa(&c, isa, &r);
    }
    return test_finish("test_fft");
}
