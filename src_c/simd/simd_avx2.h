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
typedef __m256 vec_f32;
typedef __m256d vec_f64;

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
static inline vec_f32 mul_f32(vec_f32 a, vec_f32 b) { return _mm256_mul_ps(a, b); }
static inline vec_f32 fma_f32(vec_f32 a, vec_f32 b, vec_f32 c) { return _mm256_fmadd_ps(a, b, c); }
static inline vec_f32 above_f32(vec_f32 z, vec_f32 lo) { return _mm256_max_ps(lo, z); }
static inline vec_f32 below_f32(vec_f32 z, vec_f32 hi) { return _mm256_min_ps(hi, z); }
static inline vec_f32 select_negative_f32(vec_f32 z, vec_f32 a, vec_f32 b)
{
    return _mm256_blendv_ps(b, a, _mm256_cmp_ps(z, _mm256_setzero_ps(), _CMP_LT_OQ));
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
static inline vec_f64 mul_f64(vec_f64 a, vec_f64 b) { return _mm256_mul_pd(a, b); }
static inline vec_f64 fma_f64(vec_f64 a, vec_f64 b, vec_f64 c) { return _mm256_fmadd_pd(a, b, c); }
static inline vec_f64 above_f64(vec_f64 z, vec_f64 lo) { return _mm256_max_pd(lo, z); }
static inline vec_f64 below_f64(vec_f64 z, vec_f64 hi) { return _mm256_min_pd(hi, z); }
static inline vec_f64 select_negative_f64(vec_f64 z, vec_f64 a, vec_f64 b)
{
    return _mm256_blendv_pd(b, a, _mm256_cmp_pd(z, _mm256_setzero_pd(), _CMP_LT_OQ));
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
