/* SPDX-License-Identifier: BSD-3-Clause
 *
 * How exact the fused activations are: the error of every function against a wider type, in units in the last place
 * (ULP) of the result's type, subnormal results included.
 *
 *     ulp [--isa NAME] [--only FUNCTION] [--step N] [--part I/N] [--limit ULP]     float: every N-th of 2^32 inputs
 *     ulp --double [--samples N] ...                                               double: N samples
 *     ulp --hash ...                                                               hashes alone, quickly
 *
 * One line for each function and instruction set: the largest error, its argument, and a hash of all results, which
 * is equal where the bits are.  Parts split the inputs, so that several processes can share them.  The exit status
 * tells whether an error exceeded the limit (default: none), or a NaN, an infinity or the sign of a zero was
 * wrong. */
#include "../../src_c/dispatch.h"

#include <float.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define R double
#define M(name) name
#define W(name) name##_wide
#include "ulp_reference.tmpl.h"
#undef R
#undef M
#undef W
#define R long double
#define M(name) name##l
#define W(name) name##_widest
#include "ulp_reference.tmpl.h"
#undef R
#undef M
#undef W

static const struct function {
    const char *name;
    int kind;
    double alpha, beta;
} functions[] = {
    {"relu", DWCONV_CLIP, 0, INFINITY},
    {"relu6", DWCONV_CLIP, 0, 6},
    {"leaky_relu", DWCONV_LEAKY_RELU, 0.2, 0},
    {"hard_sigmoid", DWCONV_HARD_SIGMOID, 0, 0},
    {"hard_silu", DWCONV_HARD_SILU, 0, 0},
    {"hard_tanh", DWCONV_CLIP, -1, 1},
    {"sigmoid", DWCONV_SIGMOID, 0, 0},
    {"silu", DWCONV_SILU, 0, 0},
    {"tanh", DWCONV_TANH, 0, 0},
    {"gelu", DWCONV_GELU, 0, 0},
    {"gelu_tanh", DWCONV_GELU_TANH, 0, 0},
    {"exponential", DWCONV_EXPONENTIAL, 0, 0},
    {"elu", DWCONV_ELU, 1, 0},
    {"elu_0.3", DWCONV_ELU, 0.3, 0},
    {"selu", DWCONV_SELU, 0, 0},
    {"celu_0.7", DWCONV_CELU, 0.7, 0},
    {"softplus", DWCONV_SOFTPLUS, 0, 0},
    {"log_sigmoid", DWCONV_LOG_SIGMOID, 0, 0},
    {"mish", DWCONV_MISH, 0, 0},
    {"softsign", DWCONV_SOFTSIGN, 0, 0},
    {"soft_shrink", DWCONV_SOFT_SHRINK, 0.5, 0},
    {"hard_shrink", DWCONV_HARD_SHRINK, 0.5, 0},
    {"threshold", DWCONV_THRESHOLD, 1, -2},
    {"sparse_sigmoid", DWCONV_SPARSE_SIGMOID, 0, 0},
    {"sparse_plus", DWCONV_SPARSE_PLUS, 0, 0},
};
enum { FUNCTIONS = (int)(sizeof functions / sizeof *functions), BLOCK = 1 << 12 };

typedef struct options {
    const char *isa, *only;
    uint64_t step, part, parts, samples;
    double limit;
    int wide, hash_only;
} options;

typedef struct result {
    double worst, at, got;
    uint64_t hash, count, wrong;
    double wrong_at;
} result;

static uint64_t mix(uint64_t h) /* splitmix64 */
{
    h += UINT64_C(0x9e3779b97f4a7c15);
    h = (h ^ h >> 30) * UINT64_C(0xbf58476d1ce4e5b9);
    h = (h ^ h >> 27) * UINT64_C(0x94d049bb133111eb);
    return h ^ h >> 31;
}

static double unit(uint64_t i) { return (double)(mix(i) >> 11) * 0x1p-53; }

static const double specials[] = {
    0,     INFINITY, NAN,   DBL_TRUE_MIN, DBL_MIN, DBL_MAX, FLT_TRUE_MIN, FLT_MIN, FLT_MAX, 0x1p-30, 0.5, 1,
    2,     3,        6,     10,           14.5,    20,      38.5,         40,      88.72283, 88.72284, 100, 103.97,
    110.2, 709.78,   709.79, 745,         745.2,   752,     756,          1e4,     1 - 0x1p-24, 3 - 0x1p-22,
};
enum { SPECIALS = 2 * (int)(sizeof specials / sizeof *specials) };
static double special(int i) { return i % 2 ? -specials[i / 2] : specials[i / 2]; }

/* Arguments as a network makes them, all exponents, and the tails. */
static double sample(uint64_t i)
{
    const double u = unit(2 * i), v = unit(2 * i + 1) - 0.5;
    const uint64_t bits = mix(i);
    double z;
    switch (i % 5) {
    case 0: return 8 * v;
    case 1: return 100 * v;
    case 2: return 1600 * v;
    case 3: return ldexp(v, (int)(80 * u) - 70);
    }
    memcpy(&z, &bits, sizeof z);
    return z;
}

/* Fills a block; returns how many. `*next` walks over the inputs. */
static int fill_f32(const options *o, uint64_t *next, float *z)
{
    int n = 0;
    for (; n < BLOCK && *next < SPECIALS; n++)
        z[n] = (float)special((int)(*next)++);
    for (; n < BLOCK; n++, *next += 1) {
        const uint64_t pattern = ((*next - SPECIALS) * o->parts + o->part) * o->step;
        if (pattern >> 32)
            break;
        const uint32_t bits = (uint32_t)pattern;
        memcpy(&z[n], &bits, sizeof bits);
    }
    return n;
}

static int fill_f64(const options *o, uint64_t *next, double *z)
{
    int n = 0;
    for (; n < BLOCK && *next < SPECIALS; n++)
        z[n] = special((int)(*next)++);
    for (; n < BLOCK && *next - SPECIALS < o->samples / o->parts; n++, *next += 1)
        z[n] = sample((*next - SPECIALS) * o->parts + o->part);
    return n;
}

static int sign_of(long double v) { return signbit(v) != 0; }

/* Distance in ULP; negative if a NaN, an infinity or the sign of a zero is wrong. */
static double distance_f32(float y, double exact)
{
    if (exact != exact || y != y)
        return exact != exact && y != y ? 0 : -1;
    if (fabs(exact) >= 0x1.ffffffp127)
        exact = copysign(INFINITY, exact);
    if (isinf(exact) && isinf(y))
        return sign_of(exact) == sign_of(y) ? 0 : -1;
    if (y == 0 && sign_of(y) != sign_of(exact))
        return -1;
    /* The first number too large stands for infinity. */
    const double got = isinf(y) ? copysign(0x1p128, y) : y;
    exact = isinf(exact) ? copysign(0x1p128, exact) : exact;
    uint64_t bits;
    memcpy(&bits, &exact, sizeof bits);
    const uint64_t field = bits >> 52 & 0x7ff, lowest = 1023 - 126; /* exponent, and that of the least normal float */
    bits = (1023 + (23 + 1023 - (field < lowest ? lowest : field))) << 52; /* 1 / ulp */
    double scale;
    memcpy(&scale, &bits, sizeof scale);
    return fabs(got - exact) * scale;
}

static double distance_f64(double y, long double exact)
{
    if (exact != exact || y != y)
        return exact != exact && y != y ? 0 : -1;
    if (fabsl(exact) >= (long double)DBL_MAX + 0x1p969L)
        exact = copysignl(INFINITY, exact);
    if (isinf(exact) || isinf(y))
        return (double)exact == y ? 0 : -1;
    if (y == 0 && sign_of(y) != sign_of(exact))
        return -1;
    int exponent;
    frexpl(exact, &exponent);
    if (exact == 0 || exponent < DBL_MIN_EXP)
        exponent = DBL_MIN_EXP;
    return (double)ldexpl(fabsl(y - exact), DBL_MANT_DIG - exponent);
}

static void count(result *r, double z, double y, double distance, uint64_t bits)
{
    r->hash += mix(bits + (r->count++ << 33));
    if (distance < 0) {
        r->wrong_at = z;
        r->wrong++;
    } else if (distance > r->worst) {
        r->worst = distance;
        r->at = z;
        r->got = y;
    }
}

static result check(const options *o, const dw_table *table, const struct function *f)
{
    static float z32[BLOCK], y32[BLOCK];
    static double z64[BLOCK], y64[BLOCK];
    result r = {0};
    uint64_t next = 0;
    dw_activate job = {.rows = 1, .kind = f->kind, .alpha = f->alpha, .beta = f->beta};
    for (;;) {
        const int n = o->wide ? fill_f64(o, &next, z64) : fill_f32(o, &next, z32);
        if (n == 0)
            return r;
        job.lanes = job.source_row = job.target_row = n;
        job.source = o->wide ? (const void *)z64 : z32;
        job.target = o->wide ? (void *)y64 : y32;
        (o->wide ? table->f64 : table->f32).activate(&job);
        for (int i = 0; i < n; i++) {
            uint64_t bits = 1; /* any NaN */
            uint32_t bits32;
            if (o->wide) {
                if (y64[i] == y64[i])
                    memcpy(&bits, &y64[i], sizeof bits);
                const long double exact =
                    o->hash_only ? 0 : reference_widest(f->kind, z64[i], f->alpha, f->beta);
                count(&r, z64[i], y64[i], o->hash_only ? 0 : distance_f64(y64[i], exact), bits);
            } else {
                memcpy(&bits32, &y32[i], sizeof bits32);
                if (y32[i] == y32[i])
                    bits = (uint64_t)bits32 << 1;
                const double exact =
                    o->hash_only ? 0 : reference_wide(f->kind, z32[i], (float)f->alpha, (float)f->beta);
                count(&r, z32[i], y32[i], o->hash_only ? 0 : distance_f32(y32[i], exact), bits);
            }
        }
    }
}

static options parse(int argc, char **argv)
{
    options o = {.step = 1, .parts = 1, .samples = 1000000, .limit = INFINITY};
    for (int i = 1; i < argc; i++) {
        const char *name = argv[i], *value = i + 1 < argc ? argv[i + 1] : "";
        if (strcmp(name, "--double") == 0 || strcmp(name, "--hash") == 0) {
            *(name[2] == 'd' ? &o.wide : &o.hash_only) = 1;
            continue;
        }
        i++;
        if (strcmp(name, "--isa") == 0)
            o.isa = value;
        else if (strcmp(name, "--only") == 0)
            o.only = value;
        else if (strcmp(name, "--step") == 0)
            o.step = strtoull(value, NULL, 10);
        else if (strcmp(name, "--samples") == 0)
            o.samples = strtoull(value, NULL, 10);
        else if (strcmp(name, "--limit") == 0)
            o.limit = strtod(value, NULL);
        else if (strcmp(name, "--part") != 0 ||
                 sscanf(value, "%llu/%llu", (unsigned long long *)&o.part, (unsigned long long *)&o.parts) != 2)
            name = NULL;
        if (!name || o.step < 1 || o.parts < 1 || o.part >= o.parts) {
            fprintf(stderr, "cannot use %s %s\n", argv[i - 1], value);
            exit(2);
        }
    }
    return o;
}

int main(int argc, char **argv)
{
    const options o = parse(argc, argv);
    int failed = 0, checked = 0;
    for (int i = 0; dwconv_isa_name(i); i++) {
        const dw_table *table = dw_find_table(dwconv_isa_name(i));
        if (o.isa && strcmp(o.isa, table->name) != 0)
            continue;
        for (int j = 0; j < FUNCTIONS; j++) {
            const struct function *f = &functions[j];
            if (o.only && strcmp(o.only, f->name) != 0)
                continue;
            const result r = check(&o, table, f);
            printf("%-7s %-15s %7.4f ULP at %-24a (%.9g -> %.9g)  %016llx\n", table->name, f->name, r.worst, r.at,
                   r.at, r.got, (unsigned long long)r.hash);
            if (r.wrong)
                printf("        %s: %llu wrong NaN, infinity or sign, last at %a\n", f->name,
                       (unsigned long long)r.wrong, r.wrong_at);
            fflush(stdout);
            failed |= r.wrong != 0 || r.worst > o.limit;
            checked++;
        }
    }
    return failed || !checked;
}
