/* SPDX-License-Identifier: BSD-3-Clause
 *
 * The gradients of every usable instruction set on random cases, in guarded memory: promise P2 against long double,
 * the same bits for all sets with fused multiply-add and for all without, whatever the threads.
 *
 *     test_backward [CASES [SEED]]     CASES random cases (default 500), from SEED on */
#include "cases.h"
#include "runners.h"

#include <fenv.h>
#include <float.h>
#include <math.h>
#include <string.h>

enum {
    ARENA_BYTES = CASE_MAX_ELEMENTS * sizeof(double) + (64 << 10),
    WORKER_BYTES = 256 << 10,
    CASES_PER_LARGE = 100
};

static arrays memory;
static arena gradients[3]; /* dx, dw, dbias */
static unsigned char *z, *in_steps_of[3]; /* the output without activation; gradients made one after the other */
static unsigned char *first[2][3]; /* of the instruction sets without and with fma */
static const char *const names[3] = {"dx", "dw", "dbias"};

/* A sum and the sum of the magnitudes of its terms. */
typedef struct sum {
    long double value, size;
    int64_t terms;
} sum;

static void add(sum *s, long double term)
{
    s->value += term;
    s->size += fabsl(term);
    s->terms++;
}

static int is_near(const test_case *c, double got, const sum *s, long double factor)
{
    const int is_float = c->problem.dtype == DWCONV_F32;
    const long double u = is_float ? FLT_EPSILON / 2 : DBL_EPSILON / 2, tiny = is_float ? 0x1p-149L : 0x1p-1074L;
    return fabsl(got - s->value) <= factor * u * s->size + (long double)s->terms * tiny;
}

/* The step of x that tap k of output step i meets; false if there is none. */
static int meets(const dwconv_problem *p, int64_t i, int64_t k, int64_t *step)
{
    const __int128 at = (__int128)i * p->stride + (__int128)k * p->dilation - p->pad_left;
    *step = (int64_t)at;
    return at >= 0 && at < p->in_steps;
}

static double x_of(const test_case *c, const shape *s, int64_t b, int64_t step, int64_t channel)
{
    return element_of(memory.x.data, c->problem.dtype, b * s->x_batch + step * s->x_step + channel * s->x_channel);
}

static double dy_of(const test_case *c, const shape *s, int64_t b, int64_t i, int64_t channel)
{
    return element_of(memory.y.data, c->problem.dtype, b * s->y_batch + i * s->y_step + channel * s->y_channel);
}

static void check_dx(const test_case *c, const shape *s, const char *line)
{
    static sum row[4096];
    const dwconv_problem *p = &c->problem;
    for (int64_t b = 0; b < p->batch; b++)
        for (int64_t channel = 0; channel < p->channels; channel++) {
            if (p->in_steps > 4096)
                return;
            memset(row, 0, sizeof row);
            for (int64_t i = 0; i < p->out_steps; i++)
                for (int64_t k = 0, step; k < p->kernel_size; k++)
                    for (int64_t m = 0; m < p->depth_multiplier && meets(p, i, k, &step); m++) {
                        const int64_t o = channel * p->depth_multiplier + m;
                        add(&row[step], (long double)dy_of(c, s, b, i, o)
                                            * element_of(memory.w.data, p->dtype, k * s->out_channels + o));
                    }
            for (int64_t step = 0; step < p->in_steps; step++) {
                const int64_t at = b * s->x_batch + step * s->x_step + channel * s->x_channel;
                CHECK(is_near(c, element_of(gradients[0].data, p->dtype, at), &row[step], (long double)row[step].terms + 2),
                      "%s: dx[%" PRId64 ", step %" PRId64 ", channel %" PRId64 "]", line, b, step, channel);
            }
        }
}

static void check_weights(const test_case *c, const shape *s, const char *line)
{
    const dwconv_problem *p = &c->problem;
    const long double terms = (long double)(p->batch * p->out_steps), chain = fminl(terms, 512);
    const long double factor = terms > 0 ? chain + log2l(terms / chain) + 3 : 0;
    for (int64_t o = 0; o < s->out_channels; o++) {
        sum bias = {0};
        for (int64_t b = 0; b < p->batch; b++)
            for (int64_t i = 0; i < p->out_steps; i++)
                add(&bias, dy_of(c, s, b, i, o));
        CHECK(is_near(c, element_of(gradients[2].data, p->dtype, o), &bias, factor), "%s: dbias[%" PRId64 "]", line, o);
        for (int64_t k = 0; k < p->kernel_size; k++) {
            sum weight = {0};
            for (int64_t b = 0; b < p->batch; b++)
                for (int64_t i = 0, step; i < p->out_steps; i++)
                    if (meets(p, i, k, &step))
                        add(&weight, (long double)x_of(c, s, b, step, o / p->depth_multiplier) * dy_of(c, s, b, i, o));
            CHECK(is_near(c, element_of(gradients[1].data, p->dtype, k * s->out_channels + o), &weight, factor),
                  "%s: dw[tap %" PRId64 ", channel %" PRId64 "]", line, k, o);
        }
    }
}

/* Whether the gaps of dx are untouched. */
static int gaps_are_intact(const test_case *c, const shape *s)
{
    const arena *dx = &gradients[0];
    size_t done = 0;
    int intact = arena_is_intact(dx) && arena_is_intact(&gradients[1]) && arena_is_intact(&gradients[2]);
    for (int64_t b = 0; s->x_elements && b < c->problem.batch; b++)
        for (int64_t row = 0; row < s->x_rows; row++) {
            const size_t start = (size_t)(b * s->x_batch + row * s->x_row) * s->item;
            for (; done < start; done++)
                intact &= dx->data[done] == ARENA_PATTERN;
            done = start + (size_t)s->x_row_length * s->item;
        }
    return intact;
}

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
    static const int thread_counts[] = {0, 1, 2, 3, 7};
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
    const int64_t elements[3] = {s.x_elements, c->problem.kernel_size * s.out_channels, s.out_channels};
    for (int i = 0; i < 3; i++)
        arena_place(&gradients[i], (size_t)elements[i] * s.item, (int)rng_between(r, 0, 1));

    dwconv_exec exec = {.max_threads = RNG_PICK(r, thread_counts)};
    if (rng_one_in(r, 2))
        exec.runner = rng_one_in(r, 8) ? &threads_runner : &shuffling_runner;
    feclearexcept(FE_ALL_EXCEPT);
    exec.workspace_bytes = dwconv_backward_input_workspace_size(&plan, exec.max_threads);
    exec.workspace = arena_place(&memory.workspace, exec.workspace_bytes, (int)rng_between(r, 0, 1));
    dwconv_status status = dwconv_backward_input(&plan, memory.y.data, memory.w.data, gradients[0].data, &exec);
    CHECK(status == DWCONV_OK, "%s: dx: %s", line, dwconv_status_string(status));
    CHECK(arena_is_intact(&memory.workspace), "%s: dx: wrote outside the workspace", line);
    exec.workspace_bytes = dwconv_backward_weight_workspace_size(&plan, exec.max_threads);
    CHECK(exec.workspace_bytes <= (size_t)(exec.max_threads > 1 ? exec.max_threads : 1) * WORKER_BYTES + 64,
          "%s: workspace of %zu bytes for %d threads", line, exec.workspace_bytes, exec.max_threads);
    exec.workspace = arena_place(&memory.workspace, exec.workspace_bytes, (int)rng_between(r, 0, 1));
    status = dwconv_backward_weight(&plan, memory.x.data, memory.y.data, gradients[1].data, gradients[2].data, &exec);
    CHECK(status == DWCONV_OK, "%s: dw: %s", line, dwconv_status_string(status));
    for (int i = 0; i < 3; i++) {
        memcpy(in_steps_of[i], gradients[i].data, (size_t)elements[i] * s.item);
        arena_place(&gradients[i], (size_t)elements[i] * s.item, (int)rng_between(r, 0, 1));
    }
    exec.workspace_bytes = dwconv_backward_workspace_size(&plan, exec.max_threads);
    exec.workspace = arena_place(&memory.workspace, exec.workspace_bytes, (int)rng_between(r, 0, 1));
    status = dwconv_backward(&plan, memory.x.data, memory.w.data, memory.y.data, gradients[0].data, gradients[1].data,
                             gradients[2].data, &exec);
    CHECK(status == DWCONV_OK, "%s: at once: %s", line, dwconv_status_string(status));
    CHECK(arena_is_intact(&memory.workspace), "%s: at once: wrote outside the workspace", line);
    CHECK(fetestexcept(FE_ALL_EXCEPT) == 0, "%s: floating-point flags raised", line);
    for (int i = 0; i < 3; i++)
        CHECK(same_numbers(gradients[i].data, in_steps_of[i], c->problem.dtype, elements[i]),
              "%s: %s at once has other bits than alone", line, names[i]);
    CHECK(arrays_are_intact(&memory, c) && gaps_are_intact(c, &s), "%s: wrote outside of an array", line);

    for (int i = 0; i < 3; i++) {
        if (seen[has_fma])
            CHECK(same_numbers(gradients[i].data, first[has_fma][i], c->problem.dtype, elements[i]),
                  "%s: %s has other bits than with the first such instruction set", line, names[i]);
        else
            memcpy(first[has_fma][i], gradients[i].data, (size_t)elements[i] * s.item);
    }
    if (!seen[has_fma] && c->values != SPECIAL) {
        check_dx(c, &s, line);
        check_weights(c, &s, line);
    }
    seen[has_fma] = 1;
}

/* All gradients of an activated convolution at once: the bits of the functions for one after the other. */
static void check_one_walk(const test_case *c, const char *isa, rng *r)
{
    static const int kinds[] = {DWCONV_SIGMOID, DWCONV_SILU, DWCONV_TANH};
    static const int thread_counts[] = {0, 1, 2, 3, 7};
    char line[1200];
    snprintf(line, sizeof line, "%s /* %s, one walk */", case_line(c), isa);
    arena_on_fault(line);
    const dwconv_problem packed = c->problem;
    dwconv_plan plan;
    dwconv_exec exec = {.max_threads = RNG_PICK(r, thread_counts)};
    if (packed.x_row_stride != 0 || packed.y_row_stride != 0 || dwconv_plan_init(&plan, &packed, isa) != DWCONV_OK)
        return;
    exec.workspace_bytes = dwconv_backward_activated_workspace_size(&plan, exec.max_threads);
    if (exec.workspace_bytes == 0)
        return;
    const size_t threads = exec.max_threads > 1 ? (size_t)exec.max_threads : 1;
    CHECK(exec.workspace_bytes <= threads * WORKER_BYTES + 64, "%s: workspace of %zu bytes", line, exec.workspace_bytes);
    const dwconv_activation activation = {.kind = RNG_PICK(r, kinds)};
    const shape s = shape_of(&packed);
    const int64_t outputs = packed.batch * packed.out_steps * s.out_channels;
    const int64_t elements[3] = {s.x_elements, packed.kernel_size * s.out_channels, s.out_channels};
    unsigned char *scratch = malloc((size_t)4 * WORKER_BYTES);
    const dwconv_exec alone = {.max_threads = 1, .workspace = scratch, .workspace_bytes = (size_t)4 * WORKER_BYTES};
    const void *bias = c->has_bias ? memory.bias.data : NULL;
    for (int i = 0; i < 3; i++)
        arena_place(&gradients[i], (size_t)elements[i] * s.item, (int)rng_between(r, 0, 1));
    dwconv_forward(&plan, memory.x.data, memory.w.data, bias, NULL, z, &alone);
    dwconv_activation_backward(&activation, packed.dtype, outputs, z, memory.y.data, z, isa, NULL);
    dwconv_backward_input(&plan, z, memory.w.data, in_steps_of[0], &alone);
    dwconv_backward_weight(&plan, memory.x.data, z, in_steps_of[1], in_steps_of[2], &alone);
    exec.workspace = arena_place(&memory.workspace, exec.workspace_bytes, (int)rng_between(r, 0, 1));
    const dwconv_status status = dwconv_backward_activated(&plan, memory.x.data, memory.w.data, bias, &activation,
                                                           memory.y.data, gradients[0].data, gradients[1].data,
                                                           gradients[2].data, &exec);
    CHECK(status == DWCONV_OK, "%s: %s", line, dwconv_status_string(status));
    CHECK(arena_is_intact(&memory.workspace), "%s: wrote outside the workspace", line);
    for (int i = 0; i < 3; i++)
        CHECK(same_numbers(gradients[i].data, in_steps_of[i], packed.dtype, elements[i]),
              "%s: %s has other bits than in steps", line, names[i]);
    free(scratch);
}

static void check_case(const test_case *c)
{
    int seen[2] = {0, 0};
    rng r = {~c->seed};
    static const int places[] = {0, 1, 8, 16, 48};
    const char *isa;
    arrays_fill(&memory, c, RNG_PICK(&r, places));
    arrays_fill_dy(&memory, c, RNG_PICK(&r, places));
    for (int i = 0; (isa = dwconv_isa_name(i)) != NULL; i++)
        check_isa(c, isa, &r, seen);
    for (int i = 0; (isa = dwconv_isa_name(i)) != NULL; i++)
        check_one_walk(c, isa, &r);
}

/* Sizes and addresses that a caller may get wrong. */
static void check_bad_calls(void)
{
    const dwconv_problem p = {.batch = 1, .in_steps = 9, .channels = 3, .depth_multiplier = 1, .kernel_size = 3,
                              .stride = 1, .dilation = 1, .pad_left = 1, .out_steps = 9};
    double x[27], w[9], dw[9], dbias[3];
    dwconv_plan plan, none;
    memset(&none, 0, sizeof none);
    memset(x, 0, sizeof x);
    memset(w, 0, sizeof w);
    CHECK(dwconv_plan_init(&plan, &p, NULL) == DWCONV_OK, "plan");
    CHECK(dwconv_backward_input(NULL, x, w, x, NULL) == DWCONV_ERROR_NULL, "no plan");
    CHECK(dwconv_backward_input(&none, x, w, x, NULL) == DWCONV_ERROR_PLAN, "plan of zeros");
    CHECK(dwconv_backward_input(&plan, NULL, w, x, NULL) == DWCONV_ERROR_NULL, "no dy");
    CHECK(dwconv_backward_input(&plan, x, w, NULL, NULL) == DWCONV_ERROR_NULL, "no dx");
    CHECK(dwconv_backward_input(&plan, x, w, x, NULL) == DWCONV_ERROR_WORKSPACE, "no workspace");
    CHECK(dwconv_backward_weight(NULL, x, x, dw, dbias, NULL) == DWCONV_ERROR_NULL, "no plan");
    CHECK(dwconv_backward_weight(&none, x, x, dw, dbias, NULL) == DWCONV_ERROR_PLAN, "plan of zeros");
    CHECK(dwconv_backward_weight(&plan, NULL, x, dw, dbias, NULL) == DWCONV_ERROR_NULL, "no x");
    CHECK(dwconv_backward_weight(&plan, x, NULL, dw, dbias, NULL) == DWCONV_ERROR_NULL, "no dy");
    CHECK(dwconv_backward_weight(&plan, x, x, NULL, NULL, NULL) == DWCONV_OK, "nothing wanted");
    CHECK(dwconv_backward_weight(&plan, x, x, dw, dbias, NULL) == DWCONV_ERROR_WORKSPACE, "no workspace");
    CHECK(dwconv_backward(NULL, x, w, x, x, dw, dbias, NULL) == DWCONV_ERROR_NULL, "no plan");
    CHECK(dwconv_backward(&none, x, w, x, x, dw, dbias, NULL) == DWCONV_ERROR_PLAN, "plan of zeros");
    CHECK(dwconv_backward(&plan, NULL, w, x, x, dw, dbias, NULL) == DWCONV_ERROR_NULL, "no x");
    CHECK(dwconv_backward(&plan, x, NULL, x, x, dw, dbias, NULL) == DWCONV_ERROR_NULL, "no w");
    CHECK(dwconv_backward(&plan, x, w, NULL, x, dw, dbias, NULL) == DWCONV_ERROR_NULL, "no dy");
    CHECK(dwconv_backward(&plan, x, w, x, x, dw, dbias, NULL) == DWCONV_ERROR_WORKSPACE, "no workspace");
    CHECK(dwconv_backward_workspace_size(NULL, 1) == 0, "size");
    CHECK(dwconv_backward_input_workspace_size(NULL, 1) == 0 && dwconv_backward_weight_workspace_size(NULL, 1) == 0, "size");

    dwconv_activation silu = {.kind = DWCONV_SILU}, mish = {.kind = DWCONV_MISH};
    CHECK(dwconv_backward_activated_workspace_size(&plan, 1) == 0 && dwconv_backward_activated_workspace_size(NULL, 1) == 0,
          "rows of 24 bytes, no plan");
    CHECK(dwconv_backward_activated(&plan, x, w, NULL, &silu, x, x, dw, dbias, NULL) == DWCONV_ERROR_SIZE, "not offered");
    CHECK(dwconv_backward_activated(&plan, x, w, NULL, &mish, x, x, dw, dbias, NULL) == DWCONV_ERROR_ACTIVATION, "mish");
    CHECK(dwconv_backward_activated(&plan, x, w, NULL, NULL, x, x, dw, dbias, NULL) == DWCONV_ERROR_NULL, "no activation");
    CHECK(dwconv_backward_activated(&none, x, w, NULL, &silu, x, x, dw, dbias, NULL) == DWCONV_ERROR_PLAN, "zeros");
    CHECK(dwconv_activation_backward(NULL, DWCONV_F64, 9, w, w, dw, NULL, NULL) == DWCONV_ERROR_NULL, "no activation");
    CHECK(dwconv_activation_backward(&mish, DWCONV_F64, 9, w, w, dw, NULL, NULL) == DWCONV_ERROR_ACTIVATION, "mish");
    CHECK(dwconv_activation_backward(&silu, 7, 9, w, w, dw, NULL, NULL) == DWCONV_ERROR_DTYPE, "dtype");
    CHECK(dwconv_activation_backward(&silu, DWCONV_F64, -1, w, w, dw, NULL, NULL) == DWCONV_ERROR_SIZE, "count");
    CHECK(dwconv_activation_backward(&silu, DWCONV_F64, 9, NULL, w, dw, NULL, NULL) == DWCONV_ERROR_NULL, "no z");
    CHECK(dwconv_activation_backward(&silu, DWCONV_F64, 9, w, w, dw, "none", NULL) == DWCONV_ERROR_ISA, "isa");
    CHECK(dwconv_activation_backward(&silu, DWCONV_F64, 0, NULL, NULL, NULL, NULL, NULL) == DWCONV_OK, "nothing");
}

/* The derivatives of sigmoid, silu and tanh, with tails, in place, on every instruction set. */
static void check_activations(void)
{
    enum { COUNT = 20011 };
    static double z[COUNT], dy[COUNT], dz[COUNT];
    static const int kinds[] = {DWCONV_SIGMOID, DWCONV_SILU, DWCONV_TANH};
    const char *isa;
    rng r = {5};
    for (int i = 0; i < COUNT; i++) {
        z[i] = 40 * rng_unit(&r);
        dy[i] = rng_unit(&r);
    }
    for (int n = 0; (isa = dwconv_isa_name(n)) != NULL; n++)
        for (int k = 0; k < 3; k++) {
            const dwconv_activation activation = {.kind = kinds[k]};
            const dwconv_exec exec = {.max_threads = 3};
            memcpy(dz, z, sizeof z);
            CHECK(dwconv_activation_backward(&activation, DWCONV_F64, COUNT, dz, dy, dz, isa, &exec) == DWCONV_OK, "%s", isa);
            for (int i = 0; i < COUNT; i++) {
                const long double s = 1 / (1 + expl(-(long double)z[i])), rest = 1 / (1 + expl((long double)z[i]));
                const long double cosh = coshl(z[i]);
                const long double want = k == 0 ? s * rest : k == 1 ? s * (1 + z[i] * rest) : 1 / (cosh * cosh);
                CHECK(fabsl(dz[i] - dy[i] * want) <= 1e-15L * fabsl(dy[i]), "%s: kind %d at %.17g", isa, kinds[k], z[i]);
            }
        }
}

int main(int argc, char **argv)
{
    const long cases = argc > 1 ? strtol(argv[1], NULL, 0) : 500;
    const uint64_t seed = argc > 2 ? strtoull(argv[2], NULL, 0) : 5000;
    arrays_create(&memory, ARENA_BYTES);
    for (int i = 0; i < 3; i++) {
        arena_create(&gradients[i], ARENA_BYTES);
        first[0][i] = malloc(ARENA_BYTES);
        first[1][i] = malloc(ARENA_BYTES);
        in_steps_of[i] = malloc(ARENA_BYTES);
        if (!first[0][i] || !first[1][i] || !in_steps_of[i])
            return 2;
    }
    z = malloc(ARENA_BYTES);
    if (!z)
        return 2;
    check_bad_calls();
    check_activations();
    for (long i = 0; i < cases; i++) {
        const uint64_t own_seed = seed + (uint64_t)i;
        const test_case c = case_random(own_seed, own_seed % CASES_PER_LARGE == 0);
        check_case(&c);
    }
    return test_finish("test_backward");
}
