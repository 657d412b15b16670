/* SPDX-License-Identifier: BSD-3-Clause
 *
 * SSE2, the baseline of x86-64: the vocabulary of simd_scalar.h over 16-byte vectors.  No fused multiply-add: fma
 * rounds twice.  Tails go through a small copy. */
#include <string.h>

enum { LANES_F32 = 4, LANES_F64 = 2 };
#if defined(__GNUC__) || defined(__clang__)
#define DW_HOLD(v) __asm__("" : "+x"(v))
#else
#define DW_HOLD(v) ((void)0)
#endif
#define DW_REGISTERS 16
#define DW_MASKED_TAILS 0
#define DW_STREAM_FENCE() _mm_sfence()
typedef __m128 vec_f32;
typedef __m128d vec_f64;
typedef __m128 mask_f32;
typedef __m128d mask_f64;

static inline vec_f32 zero_f32(void) { return _mm_setzero_ps(); }
static inline vec_f32 set1_f32(float v) { return _mm_set1_ps(v); }
static inline vec_f32 load_f32(const float *p) { return _mm_loadu_ps(p); }
static inline void store_f32(float *p, vec_f32 v) { _mm_storeu_ps(p, v); }
static inline void stream_f32(float *p, vec_f32 v) { _mm_stream_ps(p, v); }
static inline vec_f32 load_tail_f32(const float *p, ptrdiff_t n)
{
    float t[4] = {0};
    memcpy(t, p, (size_t)n * sizeof *p);
    return _mm_loadu_ps(t);
}
static inline void store_tail_f32(float *p, vec_f32 v, ptrdiff_t n)
{
    float t[4];
    _mm_storeu_ps(t, v);
    memcpy(p, t, (size_t)n * sizeof *p);
}
static inline vec_f32 load_window_f32(const float *p, ptrdiff_t from, ptrdiff_t to)
{
    float t[4] = {0};
    for (ptrdiff_t i = from; i < to; i++)
        t[i] = p[i];
    return _mm_loadu_ps(t);
}
static inline vec_f32 mul_f32(vec_f32 a, vec_f32 b) { return _mm_mul_ps(a, b); }
static inline vec_f32 fma_f32(vec_f32 a, vec_f32 b, vec_f32 c) { return _mm_add_ps(_mm_mul_ps(a, b), c); }
static inline vec_f32 above_f32(vec_f32 z, vec_f32 lo) { return _mm_max_ps(lo, z); }
static inline vec_f32 below_f32(vec_f32 z, vec_f32 hi) { return _mm_min_ps(hi, z); }
static inline vec_f32 add_f32(vec_f32 a, vec_f32 b) { return _mm_add_ps(a, b); }
static inline vec_f32 sub_f32(vec_f32 a, vec_f32 b) { return _mm_sub_ps(a, b); }
static inline vec_f32 div_f32(vec_f32 a, vec_f32 b) { return _mm_div_ps(a, b); }
static inline vec_f32 fnma_f32(vec_f32 a, vec_f32 b, vec_f32 c) { return _mm_sub_ps(c, _mm_mul_ps(a, b)); }
/* Dekker, "A floating-point technique for extending the available precision", 1971: products of half-width parts
 * are exact. */
static inline vec_f32 fnma_exact_f32(vec_f32 a, vec_f32 b, vec_f32 c)
{
    const vec_f32 half = _mm_castsi128_ps(_mm_set1_epi32(-0x1000)), p = _mm_mul_ps(a, b);
    const vec_f32 a1 = _mm_and_ps(a, half), a0 = _mm_sub_ps(a, a1);
    const vec_f32 b1 = _mm_and_ps(b, half), b0 = _mm_sub_ps(b, b1);
    vec_f32 e = _mm_sub_ps(_mm_mul_ps(a1, b1), p);
    e = _mm_add_ps(_mm_add_ps(e, _mm_mul_ps(a1, b0)), _mm_mul_ps(a0, b1));
    e = _mm_add_ps(e, _mm_mul_ps(a0, b0));
    return _mm_sub_ps(_mm_sub_ps(c, p), e);
}
static inline mask_f32 less_f32(vec_f32 a, vec_f32 b) { return _mm_cmplt_ps(a, b); }
static inline vec_f32 select_f32(mask_f32 m, vec_f32 a, vec_f32 b)
{
    return _mm_or_ps(_mm_and_ps(m, a), _mm_andnot_ps(m, b));
}
static inline vec_f32 div_where_f32(mask_f32 m, vec_f32 a, vec_f32 b, vec_f32 c)
{
    return select_f32(m, div_f32(a, b), c);
}
static inline vec_f32 abs_f32(vec_f32 a) { return _mm_andnot_ps(set1_f32(-0.0f), a); }
static inline vec_f32 copysign_f32(vec_f32 a, vec_f32 s)
{
    return _mm_or_ps(abs_f32(a), _mm_and_ps(set1_f32(-0.0f), s));
}
static inline vec_f32 exponent_f32(vec_f32 y)
{
    return _mm_castsi128_ps(_mm_slli_epi32(_mm_castps_si128(y), 23));
}
static inline vec_f32 even_f32(vec_f32 a, vec_f32 b) { return _mm_shuffle_ps(a, b, 0x88); }
static inline vec_f32 odd_f32(vec_f32 a, vec_f32 b) { return _mm_shuffle_ps(a, b, 0xdd); }
static inline vec_f32 woven_low_f32(vec_f32 a, vec_f32 b) { return _mm_unpacklo_ps(a, b); }
static inline vec_f32 woven_high_f32(vec_f32 a, vec_f32 b) { return _mm_unpackhi_ps(a, b); }
static inline vec_f32 columns_f32(vec_f32 v, const int n) { return n == 2 ? _mm_shuffle_ps(v, v, 0xd8) : v; }
static inline vec_f32 load_repeated_f32(const float *p, const int n)
{
    if (n == 2)
        return _mm_castsi128_ps(_mm_shuffle_epi32(_mm_loadl_epi64((const __m128i *)(const void *)p), 0x44));
    return set1_f32(*p);
}
static inline void leave_f32(void) {}
static inline void transpose_f32(vec_f32 *v) { _MM_TRANSPOSE4_PS(v[0], v[1], v[2], v[3]); }

static inline vec_f64 zero_f64(void) { return _mm_setzero_pd(); }
static inline vec_f64 set1_f64(double v) { return _mm_set1_pd(v); }
static inline vec_f64 load_f64(const double *p) { return _mm_loadu_pd(p); }
static inline void store_f64(double *p, vec_f64 v) { _mm_storeu_pd(p, v); }
static inline void stream_f64(double *p, vec_f64 v) { _mm_stream_pd(p, v); }
static inline vec_f64 load_tail_f64(const double *p, ptrdiff_t n)
{
    double t[2] = {0};
    memcpy(t, p, (size_t)n * sizeof *p);
    return _mm_loadu_pd(t);
}
static inline void store_tail_f64(double *p, vec_f64 v, ptrdiff_t n)
{
    double t[2];
    _mm_storeu_pd(t, v);
    memcpy(p, t, (size_t)n * sizeof *p);
}
static inline vec_f64 load_window_f64(const double *p, ptrdiff_t from, ptrdiff_t to)
{
    double t[2] = {0};
    for (ptrdiff_t i = from; i < to; i++)
        t[i] = p[i];
    return _mm_loadu_pd(t);
}
static inline vec_f64 mul_f64(vec_f64 a, vec_f64 b) { return _mm_mul_pd(a, b); }
static inline vec_f64 fma_f64(vec_f64 a, vec_f64 b, vec_f64 c) { return _mm_add_pd(_mm_mul_pd(a, b), c); }
static inline vec_f64 above_f64(vec_f64 z, vec_f64 lo) { return _mm_max_pd(lo, z); }
static inline vec_f64 below_f64(vec_f64 z, vec_f64 hi) { return _mm_min_pd(hi, z); }
static inline vec_f64 add_f64(vec_f64 a, vec_f64 b) { return _mm_add_pd(a, b); }
static inline vec_f64 sub_f64(vec_f64 a, vec_f64 b) { return _mm_sub_pd(a, b); }
static inline vec_f64 div_f64(vec_f64 a, vec_f64 b) { return _mm_div_pd(a, b); }
static inline vec_f64 fnma_f64(vec_f64 a, vec_f64 b, vec_f64 c) { return _mm_sub_pd(c, _mm_mul_pd(a, b)); }
/* Dekker, "A floating-point technique for extending the available precision", 1971: products of half-width parts
 * are exact. */
static inline vec_f64 fnma_exact_f64(vec_f64 a, vec_f64 b, vec_f64 c)
{
    const vec_f64 half = _mm_castsi128_pd(_mm_set1_epi64x(-0x8000000)), p = _mm_mul_pd(a, b);
    const vec_f64 a1 = _mm_and_pd(a, half), a0 = _mm_sub_pd(a, a1);
    const vec_f64 b1 = _mm_and_pd(b, half), b0 = _mm_sub_pd(b, b1);
    vec_f64 e = _mm_sub_pd(_mm_mul_pd(a1, b1), p);
    e = _mm_add_pd(_mm_add_pd(e, _mm_mul_pd(a1, b0)), _mm_mul_pd(a0, b1));
    e = _mm_add_pd(e, _mm_mul_pd(a0, b0));
    return _mm_sub_pd(_mm_sub_pd(c, p), e);
}
static inline mask_f64 less_f64(vec_f64 a, vec_f64 b) { return _mm_cmplt_pd(a, b); }
static inline vec_f64 select_f64(mask_f64 m, vec_f64 a, vec_f64 b)
{
    return _mm_or_pd(_mm_and_pd(m, a), _mm_andnot_pd(m, b));
}
static inline vec_f64 div_where_f64(mask_f64 m, vec_f64 a, vec_f64 b, vec_f64 c)
{
    return select_f64(m, div_f64(a, b), c);
}
static inline vec_f64 abs_f64(vec_f64 a) { return _mm_andnot_pd(set1_f64(-0.0), a); }
static inline vec_f64 copysign_f64(vec_f64 a, vec_f64 s)
{
    return _mm_or_pd(abs_f64(a), _mm_and_pd(set1_f64(-0.0), s));
}
static inline vec_f64 exponent_f64(vec_f64 y)
{
    return _mm_castsi128_pd(_mm_slli_epi64(_mm_castpd_si128(y), 52));
}
static inline vec_f64 even_f64(vec_f64 a, vec_f64 b) { return _mm_unpacklo_pd(a, b); }
static inline vec_f64 odd_f64(vec_f64 a, vec_f64 b) { return _mm_unpackhi_pd(a, b); }
static inline vec_f64 woven_low_f64(vec_f64 a, vec_f64 b) { return _mm_unpacklo_pd(a, b); }
static inline vec_f64 woven_high_f64(vec_f64 a, vec_f64 b) { return _mm_unpackhi_pd(a, b); }
static inline vec_f64 columns_f64(vec_f64 v, const int n) { return (void)n, v; }
static inline vec_f64 load_repeated_f64(const double *p, const int n) { return (void)n, set1_f64(*p); }
static inline void leave_f64(void) {}
static inline void transpose_f64(vec_f64 *v)
{
    const vec_f64 a = _mm_unpacklo_pd(v[0], v[1]);
    v[1] = _mm_unpackhi_pd(v[0], v[1]);
    v[0] = a;
}
