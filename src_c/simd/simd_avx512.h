/* SPDX-License-Identifier: BSD-3-Clause
 *
 * AVX-512 (F, BW, DQ, VL): the vocabulary of simd_scalar.h over 64-byte vectors; tails are masks. */
#if defined(__clang__)
#pragma clang attribute push(__attribute__((target("avx512f,avx512bw,avx512dq,avx512vl,avx2,fma"))), apply_to = function)
#elif defined(__GNUC__)
#pragma GCC push_options
#pragma GCC target("avx512f,avx512bw,avx512dq,avx512vl,avx2,fma")
#endif

enum { LANES_F32 = 16, LANES_F64 = 8 };
#if defined(__GNUC__) || defined(__clang__)
#define DW_HOLD(v) __asm__("" : "+v"(v))
#define DW_PREFETCH_STORE(address) __asm__ volatile("prefetchw %0" : : "m"(*(const char *)(address)))
#else
#define DW_HOLD(v) ((void)0)
#endif
#define DW_REGISTERS 32
#define DW_MASKED_TAILS 1 /* a part of a vector loads as fast as a whole one */
#define DW_STREAM_FENCE() _mm_sfence()
#define DW_HAS_BUNDLES 1
#define DW_HAS_SHIFTS 1 /* shift_of, shifted, window, load_where, fma_where */
typedef __m512 vec_f32;
typedef __m512d vec_f64;
typedef __mmask16 mask_f32;
typedef __mmask8 mask_f64;

static inline __mmask16 tail_mask_f32(ptrdiff_t n) { return (__mmask16)((1u << n) - 1); }
static inline __mmask8 tail_mask_f64(ptrdiff_t n) { return (__mmask8)((1u << n) - 1); }

static inline vec_f32 zero_f32(void) { return _mm512_setzero_ps(); }
static inline vec_f32 set1_f32(float v) { return _mm512_set1_ps(v); }
static inline vec_f32 load_f32(const float *p) { return _mm512_loadu_ps(p); }
static inline void store_f32(float *p, vec_f32 v) { _mm512_storeu_ps(p, v); }
static inline void stream_f32(float *p, vec_f32 v) { _mm512_stream_ps(p, v); }
static inline vec_f32 load_tail_f32(const float *p, ptrdiff_t n) { return _mm512_maskz_loadu_ps(tail_mask_f32(n), p); }
static inline void store_tail_f32(float *p, vec_f32 v, ptrdiff_t n) { _mm512_mask_storeu_ps(p, tail_mask_f32(n), v); }
static inline vec_f32 load_window_f32(const float *p, ptrdiff_t from, ptrdiff_t to)
{
    return _mm512_maskz_loadu_ps((__mmask16)(tail_mask_f32(to) & ~tail_mask_f32(from)), p);
}
static inline __m512i shift_of_f32(ptrdiff_t n)
{
    const __m512i first = _mm512_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15);
    return _mm512_add_epi32(first, _mm512_set1_epi32((int)n));
}
static inline vec_f32 shifted_f32(vec_f32 a, vec_f32 b, __m512i shift) { return _mm512_permutex2var_ps(a, shift, b); }
static inline vec_f32 mul_f32(vec_f32 a, vec_f32 b) { return _mm512_mul_ps(a, b); }
static inline vec_f32 fma_f32(vec_f32 a, vec_f32 b, vec_f32 c) { return _mm512_fmadd_ps(a, b, c); }
static inline mask_f32 window_f32(ptrdiff_t from, ptrdiff_t to)
{
    return (mask_f32)(tail_mask_f32(to) & ~tail_mask_f32(from));
}
static inline vec_f32 load_where_f32(mask_f32 m, const float *p) { return _mm512_maskz_loadu_ps(m, p); }
static inline vec_f32 fma_where_f32(mask_f32 m, vec_f32 a, vec_f32 b, vec_f32 c)
{
    return _mm512_mask3_fmadd_ps(a, b, c, m);
}
static inline vec_f32 above_f32(vec_f32 z, vec_f32 lo) { return _mm512_max_ps(lo, z); }
static inline vec_f32 below_f32(vec_f32 z, vec_f32 hi) { return _mm512_min_ps(hi, z); }
static inline vec_f32 add_f32(vec_f32 a, vec_f32 b) { return _mm512_add_ps(a, b); }
static inline vec_f32 sub_f32(vec_f32 a, vec_f32 b) { return _mm512_sub_ps(a, b); }
static inline vec_f32 div_f32(vec_f32 a, vec_f32 b) { return _mm512_div_ps(a, b); }
static inline vec_f32 fnma_f32(vec_f32 a, vec_f32 b, vec_f32 c) { return _mm512_fnmadd_ps(a, b, c); }
static inline vec_f32 fnma_exact_f32(vec_f32 a, vec_f32 b, vec_f32 c) { return fnma_f32(a, b, c); }
static inline mask_f32 less_f32(vec_f32 a, vec_f32 b) { return _mm512_cmp_ps_mask(a, b, _CMP_LT_OQ); }
static inline vec_f32 select_f32(mask_f32 m, vec_f32 a, vec_f32 b) { return _mm512_mask_mov_ps(b, m, a); }
static inline vec_f32 div_where_f32(mask_f32 m, vec_f32 a, vec_f32 b, vec_f32 c)
{
    return _mm512_mask_div_ps(c, m, a, b);
}
static inline vec_f32 abs_f32(vec_f32 a) { return _mm512_abs_ps(a); }
static inline vec_f32 copysign_f32(vec_f32 a, vec_f32 s)
{
    const __m512i sign = _mm512_castps_si512(_mm512_set1_ps(-0.0f));
    return _mm512_castsi512_ps(_mm512_ternarylogic_epi32(sign, _mm512_castps_si512(s), _mm512_castps_si512(a), 0xca));
}
static inline vec_f32 exponent_f32(vec_f32 y)
{
    return _mm512_castsi512_ps(_mm512_slli_epi32(_mm512_castps_si512(y), 23));
}
static inline vec_f32 even_f32(vec_f32 a, vec_f32 b)
{
    const __m512i at = _mm512_setr_epi32(0, 2, 4, 6, 8, 10, 12, 14, 16, 18, 20, 22, 24, 26, 28, 30);
    return _mm512_permutex2var_ps(a, at, b);
}
static inline vec_f32 odd_f32(vec_f32 a, vec_f32 b)
{
    const __m512i at = _mm512_setr_epi32(1, 3, 5, 7, 9, 11, 13, 15, 17, 19, 21, 23, 25, 27, 29, 31);
    return _mm512_permutex2var_ps(a, at, b);
}
static inline vec_f32 woven_low_f32(vec_f32 a, vec_f32 b)
{
    const __m512i at = _mm512_setr_epi32(0, 16, 1, 17, 2, 18, 3, 19, 4, 20, 5, 21, 6, 22, 7, 23);
    return _mm512_permutex2var_ps(a, at, b);
}
static inline vec_f32 woven_high_f32(vec_f32 a, vec_f32 b)
{
    const __m512i at = _mm512_setr_epi32(8, 24, 9, 25, 10, 26, 11, 27, 12, 28, 13, 29, 14, 30, 15, 31);
    return _mm512_permutex2var_ps(a, at, b);
}
static inline vec_f32 columns_f32(vec_f32 v, const int n)
{
    if (n == 2)
        return _mm512_permutexvar_ps(_mm512_setr_epi32(0, 2, 4, 6, 8, 10, 12, 14, 1, 3, 5, 7, 9, 11, 13, 15), v);
    if (n == 4)
        return _mm512_permutexvar_ps(_mm512_setr_epi32(0, 4, 8, 12, 1, 5, 9, 13, 2, 6, 10, 14, 3, 7, 11, 15), v);
    if (n == 8)
        return _mm512_permutexvar_ps(_mm512_setr_epi32(0, 8, 1, 9, 2, 10, 3, 11, 4, 12, 5, 13, 6, 14, 7, 15), v);
    return v;
}
static inline vec_f32 load_repeated_f32(const float *p, const int n)
{
    if (n == 2)
        return _mm512_castsi512_ps(_mm512_broadcastq_epi64(_mm_loadl_epi64((const __m128i *)(const void *)p)));
    if (n == 4)
        return _mm512_broadcast_f32x4(_mm_loadu_ps(p));
    if (n == 8)
        return _mm512_broadcast_f32x8(_mm256_loadu_ps(p));
    return set1_f32(*p);
}
static inline void leave_f32(void) {}

/* Three rounds of exchanges, at distances of 1, 2 (inside 128-bit groups), then the groups themselves twice. */
static inline void transpose_f32(vec_f32 *v)
{
    vec_f32 t[16];
#pragma GCC unroll 8
    for (int i = 0; i < 16; i += 2) {
        t[i] = _mm512_unpacklo_ps(v[i], v[i + 1]);
        t[i + 1] = _mm512_unpackhi_ps(v[i], v[i + 1]);
    }
#pragma GCC unroll 4
    for (int i = 0; i < 16; i += 4) {
        v[i] = _mm512_castpd_ps(_mm512_unpacklo_pd(_mm512_castps_pd(t[i]), _mm512_castps_pd(t[i + 2])));
        v[i + 1] = _mm512_castpd_ps(_mm512_unpackhi_pd(_mm512_castps_pd(t[i]), _mm512_castps_pd(t[i + 2])));
        v[i + 2] = _mm512_castpd_ps(_mm512_unpacklo_pd(_mm512_castps_pd(t[i + 1]), _mm512_castps_pd(t[i + 3])));
        v[i + 3] = _mm512_castpd_ps(_mm512_unpackhi_pd(_mm512_castps_pd(t[i + 1]), _mm512_castps_pd(t[i + 3])));
    }
#pragma GCC unroll 4
    for (int i = 0; i < 4; i++) {
        t[i] = _mm512_shuffle_f32x4(v[i], v[i + 4], 0x88);
        t[i + 4] = _mm512_shuffle_f32x4(v[i], v[i + 4], 0xdd);
        t[i + 8] = _mm512_shuffle_f32x4(v[i + 8], v[i + 12], 0x88);
        t[i + 12] = _mm512_shuffle_f32x4(v[i + 8], v[i + 12], 0xdd);
    }
#pragma GCC unroll 4
    for (int i = 0; i < 4; i++) {
        v[i] = _mm512_shuffle_f32x4(t[i], t[i + 8], 0x88);
        v[i + 8] = _mm512_shuffle_f32x4(t[i], t[i + 8], 0xdd);
        v[i + 4] = _mm512_shuffle_f32x4(t[i + 4], t[i + 12], 0x88);
        v[i + 12] = _mm512_shuffle_f32x4(t[i + 4], t[i + 12], 0xdd);
    }
}

static inline vec_f64 zero_f64(void) { return _mm512_setzero_pd(); }
static inline vec_f64 set1_f64(double v) { return _mm512_set1_pd(v); }
static inline vec_f64 load_f64(const double *p) { return _mm512_loadu_pd(p); }
static inline void store_f64(double *p, vec_f64 v) { _mm512_storeu_pd(p, v); }
static inline void stream_f64(double *p, vec_f64 v) { _mm512_stream_pd(p, v); }
static inline vec_f64 load_tail_f64(const double *p, ptrdiff_t n) { return _mm512_maskz_loadu_pd(tail_mask_f64(n), p); }
static inline void store_tail_f64(double *p, vec_f64 v, ptrdiff_t n) { _mm512_mask_storeu_pd(p, tail_mask_f64(n), v); }
static inline vec_f64 load_window_f64(const double *p, ptrdiff_t from, ptrdiff_t to)
{
    return _mm512_maskz_loadu_pd((__mmask8)(tail_mask_f64(to) & ~tail_mask_f64(from)), p);
}
static inline __m512i shift_of_f64(ptrdiff_t n)
{
    return _mm512_add_epi64(_mm512_setr_epi64(0, 1, 2, 3, 4, 5, 6, 7), _mm512_set1_epi64((long long)n));
}
static inline vec_f64 shifted_f64(vec_f64 a, vec_f64 b, __m512i shift) { return _mm512_permutex2var_pd(a, shift, b); }
static inline vec_f64 mul_f64(vec_f64 a, vec_f64 b) { return _mm512_mul_pd(a, b); }
static inline vec_f64 fma_f64(vec_f64 a, vec_f64 b, vec_f64 c) { return _mm512_fmadd_pd(a, b, c); }
static inline mask_f64 window_f64(ptrdiff_t from, ptrdiff_t to)
{
    return (mask_f64)(tail_mask_f64(to) & ~tail_mask_f64(from));
}
static inline vec_f64 load_where_f64(mask_f64 m, const double *p) { return _mm512_maskz_loadu_pd(m, p); }
static inline vec_f64 fma_where_f64(mask_f64 m, vec_f64 a, vec_f64 b, vec_f64 c)
{
    return _mm512_mask3_fmadd_pd(a, b, c, m);
}
static inline vec_f64 above_f64(vec_f64 z, vec_f64 lo) { return _mm512_max_pd(lo, z); }
static inline vec_f64 below_f64(vec_f64 z, vec_f64 hi) { return _mm512_min_pd(hi, z); }
static inline vec_f64 add_f64(vec_f64 a, vec_f64 b) { return _mm512_add_pd(a, b); }
static inline vec_f64 sub_f64(vec_f64 a, vec_f64 b) { return _mm512_sub_pd(a, b); }
static inline vec_f64 div_f64(vec_f64 a, vec_f64 b) { return _mm512_div_pd(a, b); }
static inline vec_f64 fnma_f64(vec_f64 a, vec_f64 b, vec_f64 c) { return _mm512_fnmadd_pd(a, b, c); }
static inline vec_f64 fnma_exact_f64(vec_f64 a, vec_f64 b, vec_f64 c) { return fnma_f64(a, b, c); }
static inline mask_f64 less_f64(vec_f64 a, vec_f64 b) { return _mm512_cmp_pd_mask(a, b, _CMP_LT_OQ); }
static inline vec_f64 select_f64(mask_f64 m, vec_f64 a, vec_f64 b) { return _mm512_mask_mov_pd(b, m, a); }
static inline vec_f64 div_where_f64(mask_f64 m, vec_f64 a, vec_f64 b, vec_f64 c)
{
    return _mm512_mask_div_pd(c, m, a, b);
}
static inline vec_f64 abs_f64(vec_f64 a) { return _mm512_abs_pd(a); }
static inline vec_f64 copysign_f64(vec_f64 a, vec_f64 s)
{
    const __m512i sign = _mm512_castpd_si512(_mm512_set1_pd(-0.0));
    return _mm512_castsi512_pd(_mm512_ternarylogic_epi64(sign, _mm512_castpd_si512(s), _mm512_castpd_si512(a), 0xca));
}
static inline vec_f64 exponent_f64(vec_f64 y)
{
    return _mm512_castsi512_pd(_mm512_slli_epi64(_mm512_castpd_si512(y), 52));
}
static inline vec_f64 even_f64(vec_f64 a, vec_f64 b)
{
    const __m512i at = _mm512_setr_epi64(0, 2, 4, 6, 8, 10, 12, 14);
    return _mm512_permutex2var_pd(a, at, b);
}
static inline vec_f64 odd_f64(vec_f64 a, vec_f64 b)
{
    const __m512i at = _mm512_setr_epi64(1, 3, 5, 7, 9, 11, 13, 15);
    return _mm512_permutex2var_pd(a, at, b);
}
static inline vec_f64 woven_low_f64(vec_f64 a, vec_f64 b)
{
    const __m512i at = _mm512_setr_epi64(0, 8, 1, 9, 2, 10, 3, 11);
    return _mm512_permutex2var_pd(a, at, b);
}
static inline vec_f64 woven_high_f64(vec_f64 a, vec_f64 b)
{
    const __m512i at = _mm512_setr_epi64(4, 12, 5, 13, 6, 14, 7, 15);
    return _mm512_permutex2var_pd(a, at, b);
}
static inline vec_f64 columns_f64(vec_f64 v, const int n)
{
    if (n == 2)
        return _mm512_permutexvar_pd(_mm512_setr_epi64(0, 2, 4, 6, 1, 3, 5, 7), v);
    if (n == 4)
        return _mm512_permutexvar_pd(_mm512_setr_epi64(0, 4, 1, 5, 2, 6, 3, 7), v);
    return v;
}
static inline vec_f64 load_repeated_f64(const double *p, const int n)
{
    if (n == 2)
        return _mm512_broadcast_f64x2(_mm_loadu_pd(p));
    if (n == 4)
        return _mm512_broadcast_f64x4(_mm256_loadu_pd(p));
    return set1_f64(*p);
}
static inline void leave_f64(void) {}

static inline void transpose_f64(vec_f64 *v)
{
    vec_f64 t[8];
#pragma GCC unroll 4
    for (int i = 0; i < 8; i += 2) {
        t[i] = _mm512_unpacklo_pd(v[i], v[i + 1]);
        t[i + 1] = _mm512_unpackhi_pd(v[i], v[i + 1]);
    }
#pragma GCC unroll 2
    for (int i = 0; i < 2; i++) {
        v[i] = _mm512_shuffle_f64x2(t[i], t[i + 2], 0x88);
        v[i + 2] = _mm512_shuffle_f64x2(t[i], t[i + 2], 0xdd);
        v[i + 4] = _mm512_shuffle_f64x2(t[i + 4], t[i + 6], 0x88);
        v[i + 6] = _mm512_shuffle_f64x2(t[i + 4], t[i + 6], 0xdd);
    }
#pragma GCC unroll 2
    for (int i = 0; i < 2; i++) {
        t[i] = _mm512_shuffle_f64x2(v[i], v[i + 4], 0x88);
        t[i + 4] = _mm512_shuffle_f64x2(v[i], v[i + 4], 0xdd);
        t[i + 2] = _mm512_shuffle_f64x2(v[i + 2], v[i + 6], 0x88);
        t[i + 6] = _mm512_shuffle_f64x2(v[i + 2], v[i + 6], 0xdd);
    }
#pragma GCC unroll 8
    for (int i = 0; i < 8; i++)
        v[i] = t[i];
}
