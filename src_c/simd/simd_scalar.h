/* SPDX-License-Identifier: BSD-3-Clause
 *
 * Plain C, four lanes wide so that tiling and tails are exercised on every machine, and the definition of the
 * vocabulary that every simd_*.h has, for each type:
 *
 *   zero set1 load store            unaligned, whole vectors
 *   stream                          store past the caches, aligned; DW_STREAM_FENCE() makes such stores visible
 *   load_tail store_tail            the first n elements, 0 < n <= LANES, and no other; missing ones load as 0
 *   load_window                     elements from <= i < to, 0 <= from <= to <= LANES, and no other; zeros elsewhere
 *   add sub mul div                 rounded once
 *   fma(a, b, c) fnma(a, b, c)      c + a*b and c - a*b, rounded once where the CPU can
 *   fnma_exact(a, b, c)             c - a*b where a*b is almost c: rounded once everywhere (the product must not
 *                                   overflow, nor be so small that its lower half is subnormal)
 *   above(z, lo) below(z, hi)       lo > z ? lo : z and hi < z ? hi : z; keep NaN and the sign of zero
 *   less(a, b) select(m, a, b)      a < b, false for NaN; m ? a : b
 *   div_where(m, a, b, c)           m ? a / b : c
 *   shift_of(n) shifted(a, b, shift) elements n, n+1, ... of a followed by b, 0 <= n <= LANES; only with DW_HAS_SHIFTS
 *   window(from, to)                mask of the lanes from <= i < to; only with DW_HAS_SHIFTS, as these:
 *   load_where(m, p)                elements of the mask, and no other; zeros elsewhere
 *   fma_where(m, a, b, c)           fma in the lanes of the mask, c in the others
 *   abs(a) copysign(a, s)           bit operations; the magnitude of a with the sign of s
 *   exponent(y)                     the lowest bits of y shifted into its exponent field, zeros below
 *   even(a, b) odd(a, b)            elements 0, 2, 4, ... or 1, 3, 5, ... of a followed by b, and back:
 *   woven_low(a, b) woven_high(a, b)  the first LANES, or the others, of a[0], b[0], a[1], b[1], ...
 *   columns(a, n)                   elements 0, n, 2n, ..., 1, n + 1, ..., for a constant n that divides LANES
 *   load_repeated(p, n)             elements 0 .. n - 1 of p, and no other, again and again; n likewise
 *   transpose                       LANES vectors of LANES elements, in place
 *   leave                           called before code of another set runs */
#include <math.h>
#include <string.h>

/* A call into libm would be many times slower and is not the same bits as nothing else: only with hardware. */
#if defined(__FP_FAST_FMAF) && defined(__FP_FAST_FMA)
#define SCALAR_HAS_FMA 1
#define SCALAR_FMA_F32(a, b, c) fmaf(a, b, c)
#define SCALAR_FMA_F64(a, b, c) fma(a, b, c)
#else
#define SCALAR_HAS_FMA 0
#define SCALAR_FMA_F32(a, b, c) ((a) * (b) + (c))
#define SCALAR_FMA_F64(a, b, c) ((a) * (b) + (c))
#endif

enum { LANES_F32 = 4, LANES_F64 = 4 };
#define DW_HOLD(v) ((void)0)
#define DW_REGISTERS 16
#define DW_MASKED_TAILS 0
#define DW_STREAM_FENCE() ((void)0)

/* c - a*b for a*b close to c.  In double, products of floats are exact. */
static inline float scalar_fnma_exact_f32(float a, float b, float c) { return (float)((double)c - (double)a * b); }

/* The upper half of a significand. */
static inline double scalar_upper_half(double a)
{
    uint64_t bits;
    memcpy(&bits, &a, sizeof bits);
    bits &= ~(uint64_t)0x7ffffff;
    memcpy(&a, &bits, sizeof a);
    return a;
}

/* Dekker, "A floating-point technique for extending the available precision", 1971: products of halves are exact. */
static inline double scalar_fnma_exact_f64(double a, double b, double c)
{
#if SCALAR_HAS_FMA
    return fma(-a, b, c);
#else
    const double a1 = scalar_upper_half(a), a0 = a - a1, b1 = scalar_upper_half(b), b0 = b - b1;
    const double p = a * b, e = ((a1 * b1 - p) + a1 * b0 + a0 * b1) + a0 * b0;
    return (c - p) - e;
#endif
}

/* A function on vectors that computes `expression` for each lane i. */
#define LANEWISE(S, declaration, expression)                                                                         \
    static inline vec_##S declaration                                                                                \
    {                                                                                                                \
        vec_##S v;                                                                                                   \
        for (int i = 0; i < 4; i++)                                                                                  \
            v.at[i] = expression;                                                                                    \
        return v;                                                                                                    \
    }

#define SCALAR_VOCABULARY(T, S, BITS, EXPONENT_BIT, FMA, ABS, COPYSIGN)                                              \
    typedef struct vec_##S {                                                                                         \
        T at[4];                                                                                                     \
    } vec_##S;                                                                                                       \
    typedef struct mask_##S {                                                                                        \
        int at[4];                                                                                                   \
    } mask_##S;                                                                                                      \
    static inline T scalar_exponent_##S(T y)                                                                         \
    {                                                                                                                \
        BITS bits;                                                                                                   \
        memcpy(&bits, &y, sizeof y);                                                                                 \
        bits <<= EXPONENT_BIT;                                                                                       \
        memcpy(&y, &bits, sizeof y);                                                                                 \
        return y;                                                                                                    \
    }                                                                                                                \
    LANEWISE(S, zero_##S(void), 0)                                                                                   \
    LANEWISE(S, set1_##S(T a), a)                                                                                    \
    LANEWISE(S, load_##S(const T *p), p[i])                                                                          \
    static inline void store_##S(T *p, vec_##S v) { memcpy(p, v.at, sizeof v.at); }                                  \
    static inline void stream_##S(T *p, vec_##S v) { store_##S(p, v); }                                              \
    static inline vec_##S load_tail_##S(const T *p, ptrdiff_t n)                                                     \
    {                                                                                                                \
        vec_##S v = zero_##S();                                                                                      \
        memcpy(v.at, p, (size_t)n * sizeof *p);                                                                      \
        return v;                                                                                                    \
    }                                                                                                                \
    static inline vec_##S load_window_##S(const T *p, ptrdiff_t from, ptrdiff_t to)                                  \
    {                                                                                                                \
        vec_##S v = zero_##S();                                                                                      \
        for (ptrdiff_t i = from; i < to; i++)                                                                        \
            v.at[i] = p[i];                                                                                          \
        return v;                                                                                                    \
    }                                                                                                                \
    static inline void store_tail_##S(T *p, vec_##S v, ptrdiff_t n) { memcpy(p, v.at, (size_t)n * sizeof *p); }      \
    LANEWISE(S, add_##S(vec_##S a, vec_##S b), a.at[i] + b.at[i])                                                    \
    LANEWISE(S, sub_##S(vec_##S a, vec_##S b), a.at[i] - b.at[i])                                                    \
    LANEWISE(S, mul_##S(vec_##S a, vec_##S b), a.at[i] * b.at[i])                                                    \
    LANEWISE(S, div_##S(vec_##S a, vec_##S b), a.at[i] / b.at[i])                                                    \
    LANEWISE(S, fma_##S(vec_##S a, vec_##S b, vec_##S c), FMA(a.at[i], b.at[i], c.at[i]))                            \
    LANEWISE(S, fnma_##S(vec_##S a, vec_##S b, vec_##S c), FMA(-a.at[i], b.at[i], c.at[i]))                          \
    LANEWISE(S, fnma_exact_##S(vec_##S a, vec_##S b, vec_##S c), scalar_fnma_exact_##S(a.at[i], b.at[i], c.at[i]))   \
    LANEWISE(S, above_##S(vec_##S z, vec_##S lo), lo.at[i] > z.at[i] ? lo.at[i] : z.at[i])                           \
    LANEWISE(S, below_##S(vec_##S z, vec_##S hi), hi.at[i] < z.at[i] ? hi.at[i] : z.at[i])                           \
    LANEWISE(S, select_##S(mask_##S m, vec_##S a, vec_##S b), m.at[i] ? a.at[i] : b.at[i])                           \
    LANEWISE(S, div_where_##S(mask_##S m, vec_##S a, vec_##S b, vec_##S c),                                          \
             m.at[i] ? a.at[i] / b.at[i] : c.at[i])                                                                  \
    LANEWISE(S, abs_##S(vec_##S a), ABS(a.at[i]))                                                                    \
    LANEWISE(S, copysign_##S(vec_##S a, vec_##S s), COPYSIGN(a.at[i], s.at[i]))                                      \
    LANEWISE(S, exponent_##S(vec_##S y), scalar_exponent_##S(y.at[i]))                                               \
    LANEWISE(S, even_##S(vec_##S a, vec_##S b), i < 2 ? a.at[2 * i] : b.at[2 * i - 4])                               \
    LANEWISE(S, odd_##S(vec_##S a, vec_##S b), i < 2 ? a.at[2 * i + 1] : b.at[2 * i - 3])                            \
    LANEWISE(S, woven_low_##S(vec_##S a, vec_##S b), i % 2 ? b.at[i / 2] : a.at[i / 2])                              \
    LANEWISE(S, woven_high_##S(vec_##S a, vec_##S b), i % 2 ? b.at[2 + i / 2] : a.at[2 + i / 2])                     \
    LANEWISE(S, columns_##S(vec_##S a, const int n), n == 2 ? a.at[i % 2 * 2 + i / 2] : a.at[i])                    \
    LANEWISE(S, load_repeated_##S(const T *p, const int n), p[i % n])                                               \
    static inline mask_##S less_##S(vec_##S a, vec_##S b)                                                            \
    {                                                                                                                \
        mask_##S m;                                                                                                  \
        for (int i = 0; i < 4; i++)                                                                                  \
            m.at[i] = a.at[i] < b.at[i];                                                                             \
        return m;                                                                                                    \
    }                                                                                                                \
    static inline void transpose_##S(vec_##S *v)                                                                     \
    {                                                                                                                \
        for (int i = 0; i < 4; i++)                                                                                  \
            for (int j = 0; j < i; j++) {                                                                            \
                const T t = v[i].at[j];                                                                              \
                v[i].at[j] = v[j].at[i];                                                                             \
                v[j].at[i] = t;                                                                                      \
            }                                                                                                        \
    }                                                                                                                \
    static inline void leave_##S(void) {}

SCALAR_VOCABULARY(float, f32, uint32_t, 23, SCALAR_FMA_F32, fabsf, copysignf)
SCALAR_VOCABULARY(double, f64, uint64_t, 52, SCALAR_FMA_F64, fabs, copysign)
#undef SCALAR_VOCABULARY
#undef LANEWISE
