/* SPDX-License-Identifier: BSD-3-Clause
 *
 * AVX2 with FMA: the vocabulary of simd_scalar.h over 32-byte vectors; tails are masked moves. */
#if defined(__clang__)
#pragma clang attribute push(__attribute__((target("avx2,fma"))), apply_to = function)
#elif defined(__GNUC__)
#pragma GCC push_options
#pragma GCC target("avx2,fma")
#endif

enum { LANES_F32 = 8, LANES_F64 = 4 };
#if defined(__GNUC__) || defined(__clang__)
#define DW_HOLD(v) __asm__("" : "+x"(v))
#define DW_PREFETCH_STORE(address) __asm__ volatile("prefetchw %0" : : "m"(*(const char *)(address)))
#else
#define DW_HOLD(v) ((void)0)
#endif
#define DW_REGISTERS 16
#define DW_MASKED_TAILS 1
#define DW_HAS_BUNDLES 1 /* a row of sequences is as wide as a transpose of them is worth */
#define DW_STREAM_FENCE() _mm_sfence()
typedef __m256 vec_f32;
typedef __m256d vec_f64;
typedef __m256 mask_f32;
typedef __m256d mask_f64;

/* The first n of a vector's elements: a window into ones followed by zeros. */
static inline __m256i tail_mask_f32(ptrdiff_t n)
{
    static const int32_t ones[16] = {-1, -1, -1, -1, -1, -1, -1, -1};
    return _mm256_loadu_si256((const __m256i *)(const void *)(ones + 8 - n));
}
static inline __m256i tail_mask_f64(ptrdiff_t n) { return tail_mask_f32(2 * n); }

static inline vec_f32 zero_f32(void) { return _mm256_setzero_ps(); }
static inline vec_f32 set1_f32(float v) { return _mm256_set1_ps(v); }
static inline vec_f32 load_f32(const float *p) { return _mm256_loadu_ps(p); }
static inline void store_f32(float *p, vec_f32 v) { _mm256_storeu_ps(p, v); }
static inline void stream_f32(float *p, vec_f32 v) { _mm256_stream_ps(p, v); }
static inline vec_f32 load_tail_f32(const float *p, ptrdiff_t n)
{
    return n < LANES_F32 ? _mm256_maskload_ps(p, tail_mask_f32(n)) : load_f32(p);
}
static inline void store_tail_f32(float *p, vec_f32 v, ptrdiff_t n)
{
    if (n < LANES_F32)
        _mm256_maskstore_ps(p, tail_mask_f32(n), v);
    else
        store_f32(p, v);
}
static inline vec_f32 load_window_f32(const float *p, ptrdiff_t from, ptrdiff_t to)
{
    return _mm256_maskload_ps(p, _mm256_andnot_si256(tail_mask_f32(from), tail_mask_f32(to)));
}
static inline vec_f32 mul_f32(vec_f32 a, vec_f32 b) { return _mm256_mul_ps(a, b); }
static inline vec_f32 fma_f32(vec_f32 a, vec_f32 b, vec_f32 c) { return _mm256_fmadd_ps(a, b, c); }
static inline vec_f32 above_f32(vec_f32 z, vec_f32 lo) { return _mm256_max_ps(lo, z); }
static inline vec_f32 below_f32(vec_f32 z, vec_f32 hi) { return _mm256_min_ps(hi, z); }
static inline vec_f32 add_f32(vec_f32 a, vec_f32 b) { return _mm256_add_ps(a, b); }
static inline vec_f32 sub_f32(vec_f32 a, vec_f32 b) { return _mm256_sub_ps(a, b); }
static inline vec_f32 div_f32(vec_f32 a, vec_f32 b) { return _mm256_div_ps(a, b); }
static inline vec_f32 fnma_f32(vec_f32 a, vec_f32 b, vec_f32 c) { return _mm256_fnmadd_ps(a, b, c); }
static inline vec_f32 fnma_exact_f32(vec_f32 a, vec_f32 b, vec_f32 c) { return fnma_f32(a, b, c); }
static inline mask_f32 less_f32(vec_f32 a, vec_f32 b) { return _mm256_cmp_ps(a, b, _CMP_LT_OQ); }
static inline vec_f32 select_f32(mask_f32 m, vec_f32 a, vec_f32 b) { return _mm256_blendv_ps(b, a, m); }
static inline vec_f32 div_where_f32(mask_f32 m, vec_f32 a, vec_f32 b, vec_f32 c)
{
    return select_f32(m, div_f32(a, b), c);
}
static inline vec_f32 abs_f32(vec_f32 a) { return _mm256_andnot_ps(set1_f32(-0.0f), a); }
static inline vec_f32 copysign_f32(vec_f32 a, vec_f32 s)
{
    return _mm256_or_ps(abs_f32(a), _mm256_and_ps(set1_f32(-0.0f), s));
}
static inline vec_f32 exponent_f32(vec_f32 y)
{
    return _mm256_castsi256_ps(_mm256_slli_epi32(_mm256_castps_si256(y), 23));
}
static inline vec_f32 even_f32(vec_f32 a, vec_f32 b)
{
    const __m256d pairs = _mm256_castps_pd(_mm256_shuffle_ps(a, b, 0x88));
    return _mm256_castpd_ps(_mm256_permute4x64_pd(pairs, 0xd8));
}
static inline vec_f32 odd_f32(vec_f32 a, vec_f32 b)
{
    const __m256d pairs = _mm256_castps_pd(_mm256_shuffle_ps(a, b, 0xdd));
    return _mm256_castpd_ps(_mm256_permute4x64_pd(pairs, 0xd8));
}
static inline vec_f32 woven_low_f32(vec_f32 a, vec_f32 b)
{
    return _mm256_permute2f128_ps(_mm256_unpacklo_ps(a, b), _mm256_unpackhi_ps(a, b), 0x20);
}
static inline vec_f32 woven_high_f32(vec_f32 a, vec_f32 b)
{
    return _mm256_permute2f128_ps(_mm256_unpacklo_ps(a, b), _mm256_unpackhi_ps(a, b), 0x31);
}
static inline vec_f32 columns_f32(vec_f32 v, const int n)
{
    if (n == 2)
        return _mm256_permutevar8x32_ps(v, _mm256_setr_epi32(0, 2, 4, 6, 1, 3, 5, 7));
    if (n == 4)
        return _mm256_permutevar8x32_ps(v, _mm256_setr_epi32(0, 4, 1, 5, 2, 6, 3, 7));
    return v;
}
static inline vec_f32 load_repeated_f32(const float *p, const int n)
{
    if (n == 2)
        return _mm256_castsi256_ps(_mm256_broadcastq_epi64(_mm_loadl_epi64((const __m128i *)(const void *)p)));
    if (n == 4)
        return _mm256_insertf128_ps(_mm256_castps128_ps256(_mm_loadu_ps(p)), _mm_loadu_ps(p), 1);
    return set1_f32(*p);
}
static inline void leave_f32(void) {}

static inline void transpose_f32(vec_f32 *v)
{
    vec_f32 t[8];
#pragma GCC unroll 4
    for (int i = 0; i < 8; i += 2) {
        t[i] = _mm256_unpacklo_ps(v[i], v[i + 1]);
        t[i + 1] = _mm256_unpackhi_ps(v[i], v[i + 1]);
    }
#pragma GCC unroll 2
    for (int i = 0; i < 8; i += 4) {
        v[i] = _mm256_shuffle_ps(t[i], t[i + 2], 0x44);
        v[i + 1] = _mm256_shuffle_ps(t[i], t[i + 2], 0xee);
        v[i + 2] = _mm256_shuffle_ps(t[i + 1], t[i + 3], 0x44);
        v[i + 3] = _mm256_shuffle_ps(t[i + 1], t[i + 3], 0xee);
    }
#pragma GCC unroll 4
    for (int i = 0; i < 4; i++) {
        t[i] = _mm256_permute2f128_ps(v[i], v[i + 4], 0x20);
        t[i + 4] = _mm256_permute2f128_ps(v[i], v[i + 4], 0x31);
    }
#pragma GCC unroll 8
    for (int i = 0; i < 8; i++)
        v[i] = t[i];
}

static inline vec_f64 zero_f64(void) { return _mm256_setzero_pd(); }
static inline vec_f64 set1_f64(double v) { return _mm256_set1_pd(v); }
static inline vec_f64 load_f64(const double *p) { return _mm256_loadu_pd(p); }
static inline void store_f64(double *p, vec_f64 v) { _mm256_storeu_pd(p, v); }
static inline void stream_f64(double *p, vec_f64 v) { _mm256_stream_pd(p, v); }
static inline vec_f64 load_tail_f64(const double *p, ptrdiff_t n)
{
    return n < LANES_F64 ? _mm256_maskload_pd(p, tail_mask_f64(n)) : load_f64(p);
}
static inline void store_tail_f64(double *p, vec_f64 v, ptrdiff_t n)
{
    if (n < LANES_F64)
        _mm256_maskstore_pd(p, tail_mask_f64(n), v);
    else
        store_f64(p, v);
}
static inline vec_f64 load_window_f64(const double *p, ptrdiff_t from, ptrdiff_t to)
{
    return _mm256_maskload_pd(p, _mm256_andnot_si256(tail_mask_f64(from), tail_mask_f64(to)));
}
static inline vec_f64 mul_f64(vec_f64 a, vec_f64 b) { return _mm256_mul_pd(a, b); }
static inline vec_f64 fma_f64(vec_f64 a, vec_f64 b, vec_f64 c) { return _mm256_fmadd_pd(a, b, c); }
static inline vec_f64 above_f64(vec_f64 z, vec_f64 lo) { return _mm256_max_pd(lo, z); }
static inline vec_f64 below_f64(vec_f64 z, vec_f64 hi) { return _mm256_min_pd(hi, z); }
static inline vec_f64 add_f64(vec_f64 a, vec_f64 b) { return _mm256_add_pd(a, b); }
static inline vec_f64 sub_f64(vec_f64 a, vec_f64 b) { return _mm256_sub_pd(a, b); }
static inline vec_f64 div_f64(vec_f64 a, vec_f64 b) { return _mm256_div_pd(a, b); }
static inline vec_f64 fnma_f64(vec_f64 a, vec_f64 b, vec_f64 c) { return _mm256_fnmadd_pd(a, b, c); }
static inline vec_f64 fnma_exact_f64(vec_f64 a, vec_f64 b, vec_f64 c) { return fnma_f64(a, b, c); }
static inline mask_f64 less_f64(vec_f64 a, vec_f64 b) { return _mm256_cmp_pd(a, b, _CMP_LT_OQ); }
static inline vec_f64 select_f64(mask_f64 m, vec_f64 a, vec_f64 b) { return _mm256_blendv_pd(b, a, m); }
static inline vec_f64 div_where_f64(mask_f64 m, vec_f64 a, vec_f64 b, vec_f64 c)
{
    return select_f64(m, div_f64(a, b), c);
}
static inline vec_f64 abs_f64(vec_f64 a) { return _mm256_andnot_pd(set1_f64(-0.0), a); }
static inline vec_f64 copysign_f64(vec_f64 a, vec_f64 s)
{
    return _mm256_or_pd(abs_f64(a), _mm256_and_pd(set1_f64(-0.0), s));
}
static inline vec_f64 exponent_f64(vec_f64 y)
{
    return _mm256_castsi256_pd(_mm256_slli_epi64(_mm256_castpd_si256(y), 52));
}
static inline vec_f64 even_f64(vec_f64 a, vec_f64 b) { return _mm256_permute4x64_pd(_mm256_unpacklo_pd(a, b), 0xd8); }
static inline vec_f64 odd_f64(vec_f64 a, vec_f64 b) { return _mm256_permute4x64_pd(_mm256_unpackhi_pd(a, b), 0xd8); }
static inline vec_f64 woven_low_f64(vec_f64 a, vec_f64 b)
{
    return _mm256_permute2f128_pd(_mm256_unpacklo_pd(a, b), _mm256_unpackhi_pd(a, b), 0x20);
}
static inline vec_f64 woven_high_f64(vec_f64 a, vec_f64 b)
{
    return _mm256_permute2f128_pd(_mm256_unpacklo_pd(a, b), _mm256_unpackhi_pd(a, b), 0x31);
}
static inline vec_f64 columns_f64(vec_f64 v, const int n) { return n == 2 ? _mm256_permute4x64_pd(v, 0xd8) : v; }
static inline vec_f64 load_repeated_f64(const double *p, const int n)
{
    if (n == 2)
        return _mm256_insertf128_pd(_mm256_castpd128_pd256(_mm_loadu_pd(p)), _mm_loadu_pd(p), 1);
    return set1_f64(*p);
}
static inline void leave_f64(void) {}

static inline void transpose_f64(vec_f64 *v)
{
    const vec_f64 a = _mm256_unpacklo_pd(v[0], v[1]), b = _mm256_unpackhi_pd(v[0], v[1]);
    const vec_f64 c = _mm256_unpacklo_pd(v[2], v[3]), d = _mm256_unpackhi_pd(v[2], v[3]);
    v[0] = _mm256_permute2f128_pd(a, c, 0x20);
    v[1] = _mm256_permute2f128_pd(b, d, 0x20);
    v[2] = _mm256_permute2f128_pd(a, c, 0x31);
    v[3] = _mm256_permute2f128_pd(b, d, 0x31);
}
