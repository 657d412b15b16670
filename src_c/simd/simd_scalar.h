/* SPDX-License-Identifier: BSD-3-Clause
 *
 * Plain C, four lanes wide so that tiling and tails are exercised on every machine, and the definition of the
 * vocabulary that every simd_*.h has, for each type:
 *
 *   zero set1 load store            unaligned, whole vectors
 *   load_tail store_tail            the first n elements, 0 < n <= LANES, and no other; missing ones load as 0
 *   mul fma                         fma(a, b, c) = a*b + c, rounded once where the CPU can
 *   above(z, lo) below(z, hi)       lo > z ? lo : z and hi < z ? hi : z; keep NaN and the sign of zero
 *   select_negative(z, a, b)        z < 0 ? a : b
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

#define SCALAR_VOCABULARY(T, S, FMA)                                                                                 \
    typedef struct vec_##S {                                                                                         \
        T at[4];                                                                                                     \
    } vec_##S;                                                                                                       \
    static inline vec_##S zero_##S(void) { return (vec_##S){{0, 0, 0, 0}}; }                                         \
    static inline vec_##S set1_##S(T v) { return (vec_##S){{v, v, v, v}}; }                                          \
    static inline vec_##S load_##S(const T *p) { return (vec_##S){{p[0], p[1], p[2], p[3]}}; }                       \
    static inline void store_##S(T *p, vec_##S v) { memcpy(p, v.at, sizeof v.at); }                                  \
    static inline vec_##S load_tail_##S(const T *p, ptrdiff_t n)                                                     \
    {                                                                                                                \
        vec_##S v = zero_##S();                                                                                      \
        memcpy(v.at, p, (size_t)n * sizeof *p);                                                                      \
        return v;                                                                                                    \
    }                                                                                                                \
    static inline void store_tail_##S(T *p, vec_##S v, ptrdiff_t n) { memcpy(p, v.at, (size_t)n * sizeof *p); }      \
    static inline vec_##S mul_##S(vec_##S a, vec_##S b)                                                              \
    {                                                                                                                \
        return (vec_##S){{a.at[0] * b.at[0], a.at[1] * b.at[1], a.at[2] * b.at[2], a.at[3] * b.at[3]}};              \
    }                                                                                                                \
    static inline vec_##S fma_##S(vec_##S a, vec_##S b, vec_##S c)                                                   \
    {                                                                                                                \
        return (vec_##S){{FMA(a.at[0], b.at[0], c.at[0]), FMA(a.at[1], b.at[1], c.at[1]),                            \
                          FMA(a.at[2], b.at[2], c.at[2]), FMA(a.at[3], b.at[3], c.at[3])}};                          \
    }                                                                                                                \
    static inline vec_##S above_##S(vec_##S z, vec_##S lo)                                                           \
    {                                                                                                                \
        for (int i = 0; i < 4; i++)                                                                                  \
            z.at[i] = lo.at[i] > z.at[i] ? lo.at[i] : z.at[i];                                                       \
        return z;                                                                                                    \
    }                                                                                                                \
    static inline vec_##S below_##S(vec_##S z, vec_##S hi)                                                           \
    {                                                                                                                \
        for (int i = 0; i < 4; i++)                                                                                  \
            z.at[i] = hi.at[i] < z.at[i] ? hi.at[i] : z.at[i];                                                       \
        return z;                                                                                                    \
    }                                                                                                                \
    static inline vec_##S select_negative_##S(vec_##S z, vec_##S a, vec_##S b)                                       \
    {                                                                                                                \
        for (int i = 0; i < 4; i++)                                                                                  \
            z.at[i] = z.at[i] < 0 ? a.at[i] : b.at[i];                                                               \
        return z;                                                                                                    \
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

SCALAR_VOCABULARY(float, f32, SCALAR_FMA_F32)
SCALAR_VOCABULARY(double, f64, SCALAR_FMA_F64)
#undef SCALAR_VOCABULARY
