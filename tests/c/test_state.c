/* SPDX-License-Identifier: BSD-3-Clause
 *
 * Nobody else's state: rounding mode, flush-to-zero, traps, flags and errno stay as the caller had them, and do not
 * show in the result. */
#define _GNU_SOURCE /* feenableexcept */

#include "dwconv.h"
#include "test.h"

#include <errno.h>
#include <fenv.h>
#include <math.h>
#include <string.h>
#if defined(__x86_64__)
#include <xmmintrin.h>
#endif

enum { STEPS = 200, CHANNELS = 40, TAPS = 9, OUTPUTS = STEPS * CHANNELS };

/* One problem for each way the core may take. */
static const dwconv_problem problems[] = {
    {.batch = 1, .in_steps = STEPS, .channels = CHANNELS, .depth_multiplier = 1, .kernel_size = 3, .stride = 1,
     .dilation = 1, .pad_left = 1, .out_steps = STEPS},
    {.batch = 1, .in_steps = STEPS, .channels = CHANNELS / 2, .depth_multiplier = 2, .kernel_size = TAPS, .stride = 1,
     .dilation = 2, .pad_left = 9, .out_steps = STEPS},
    {.batch = 1, .in_steps = STEPS, .channels = CHANNELS, .depth_multiplier = 1, .kernel_size = 3, .stride = 1,
     .dilation = 1, .pad_left = 1, .out_steps = STEPS, .layout = DWCONV_CHANNELS_FIRST},
};

typedef void (*change)(void);

static void nothing(void) {}
static void round_up(void) { fesetround(FE_UPWARD); }
static void round_to_zero(void) { fesetround(FE_TOWARDZERO); }

#if defined(__x86_64__)
static void flush_to_zero(void) { _mm_setcsr(_mm_getcsr() | 0x8040); /* FTZ and DAZ */ }
#elif defined(__aarch64__)
static void flush_to_zero(void)
{
    uint64_t control;
    __asm__ volatile("mrs %0, fpcr" : "=r"(control));
    __asm__ volatile("msr fpcr, %0" ::"r"(control | UINT64_C(1) << 24));
}
#endif

#if defined(__x86_64__)
static void trap(void) { feenableexcept(FE_INVALID | FE_OVERFLOW | FE_DIVBYZERO); }
#endif

static const struct {
    const char *name;
    change apply;
} changes[] = {
    {"nothing", nothing},
    {"round up", round_up},
    {"round to zero", round_to_zero},
#if defined(__x86_64__) || defined(__aarch64__)
    {"flush to zero", flush_to_zero},
#endif
#if defined(__x86_64__)
    {"traps", trap},
#endif
};

/* Numbers that overflow, cancel, give NaN and end below the normal range. */
static void fill(float *x, float *w)
{
    rng r = {5};
    for (int i = 0; i < OUTPUTS; i++)
        x[i] = (float)(rng_unit(&r) * (rng_one_in(&r, 5) ? 0x1p-70 : rng_one_in(&r, 50) ? 0x1p100 : 1));
    x[OUTPUTS / 2] = INFINITY;
    for (int i = 0; i < TAPS * CHANNELS; i++)
        w[i] = (float)(rng_unit(&r) * (rng_one_in(&r, 5) ? 0x1p-70 : rng_one_in(&r, 50) ? 0x1p100 : 1));
}

static void check_one(const dwconv_problem *p, const char *isa, const char *name, change apply, float *y)
{
    static float x[OUTPUTS], w[TAPS * CHANNELS];
    static char workspace[1 << 18];
    fill(x, w);
    const dwconv_activation leaky = {DWCONV_LEAKY_RELU, 0, 0x1p-60, 0};
    const dwconv_exec exec = {.max_threads = 2, .workspace = workspace, .workspace_bytes = sizeof workspace};
    dwconv_plan plan;

    fenv_t caller;
    fegetenv(&caller);
    apply();
    feclearexcept(FE_ALL_EXCEPT);
    feraiseexcept(FE_UNDERFLOW);
    errno = 4711;
    const int flags = fetestexcept(FE_ALL_EXCEPT), rounding = fegetround();
#if defined(__x86_64__)
    const unsigned int state = _mm_getcsr();
#endif
    const dwconv_status made = dwconv_plan_init(&plan, p, isa);
    const dwconv_status done = dwconv_forward(&plan, x, w, NULL, &leaky, y, &exec);
#if defined(__x86_64__)
    const int same_state = _mm_getcsr() == state;
#else
    const int same_state = 1;
#endif
    const int flags_after = fetestexcept(FE_ALL_EXCEPT), rounding_after = fegetround(), error = errno;
    fesetenv(&caller);

    CHECK(made == DWCONV_OK && done == DWCONV_OK, "%s, %s", isa, name);
    CHECK(flags_after == flags, "%s, %s: flags 0x%x became 0x%x", isa, name, flags, flags_after);
    CHECK(rounding_after == rounding && same_state, "%s, %s: control word changed", isa, name);
    CHECK(error == 4711, "%s, %s: errno is %d", isa, name, error);
}

static void check_isa(const char *isa)
{
    static float plain[OUTPUTS], y[OUTPUTS];
    for (size_t i = 0; i < sizeof problems / sizeof *problems; i++) {
        check_one(&problems[i], isa, "plain", nothing, plain);
        int subnormal = 0, special = 0;
        for (int j = 0; j < OUTPUTS; j++) {
            subnormal += fpclassify(plain[j]) == FP_SUBNORMAL;
            special += !isfinite(plain[j]);
        }
        CHECK(subnormal && special, "%s, problem %zu: %d subnormal, %d special outputs", isa, i, subnormal, special);
        for (size_t j = 0; j < sizeof changes / sizeof *changes; j++) {
            check_one(&problems[i], isa, changes[j].name, changes[j].apply, y);
            CHECK(memcmp(y, plain, sizeof y) == 0, "%s, problem %zu: '%s' shows in the result", isa, i,
                  changes[j].name);
        }
    }
}

int main(void)
{
    for (int i = 0; dwconv_isa_name(i); i++)
        check_isa(dwconv_isa_name(i));
    return test_finish("test_state");
}
