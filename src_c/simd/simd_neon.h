/* SPDX-License-Identifier: BSD-3-Clause
 *
 * NEON, the baseline of aarch64: the vocabulary of simd_scalar.h over 16-byte vectors.  above and
 * below are compares and selects, because the max and min of NEON order zeros. */
#include <string.h>

enum { LANES_F32 = 4, LANES_F64 = 2 };
#if defined(__GNUC__) || defined(__clang__)
#define DW_HOLD(v) __asm__("" : "+w"(v))
#else
#define DW_HOLD(v) ((void)0)
#endif
#define DW_REGISTERS 32
#define DW_MASKED_TAILS 0
#define DW_STREAM_FENCE() ((void)0)
typedef float32x4_t vec_f32;
typedef float64x2_t vec_f64;
typedef uint32x4_t mask_f32;
typedef uint64x2_t mask_f64;

static inline vec_f32 zero_f32(void) { return vdupq_n_f32(0); }
static inline vec_f32 set1_f32(float v) { return vdupq_n_f32(v); }
static inline vec_f32 load_f32(const float *p) { return vld1q_f32(p); }
static inline void store_f32(float *p, vec_f32 v) { vst1q_f32(p, v); }
static inline void stream_f32(float *p, vec_f32 v) { vst1q_f32(p, v); }
static inline vec_f32 load_tail_f32(const float *p, ptrdiff_t n)
{
    float t[4] = {0};
    memcpy(t, p, (size_t)n * sizeof *p);
    return vld1q_f32(t);
}
static inline void store_tail_f32(float *p, vec_f32 v, ptrdiff_t n)
{
    float t[4];
    vst1q_f32(t, v);
    memcpy(p, t, (size_t)n * sizeof *p);
}
static inline vec_f32 load_window_f32(const float *p, ptrdiff_t from, ptrdiff_t to)
{
    float t[4] = {0};
    for (ptrdiff_t i = from; i < to; i++)
        t[i] = p[i];
    return vld1q_f32(t);
}
static inline vec_f32 mul_f32(vec_f32 a, vec_f32 b) { return vmulq_f32(a, b); }
static inline vec_f32 fma_f32(vec_f32 a, vec_f32 b, vec_f32 c) { return vfmaq_f32(c, a, b); }
static inline vec_f32 above_f32(vec_f32 z, vec_f32 lo) { return vbslq_f32(vcgtq_f32(lo, z), lo, z); }
static inline vec_f32 below_f32(vec_f32 z, vec_f32 hi) { return vbslq_f32(vcltq_f32(hi, z), hi, z); }
static inline vec_f32 add_f32(vec_f32 a, vec_f32 b) { return vaddq_f32(a, b); }
static inline vec_f32 sub_f32(vec_f32 a, vec_f32 b) { return vsubq_f32(a, b); }
static inline vec_f32 div_f32(vec_f32 a, vec_f32 b) { return vdivq_f32(a, b); }
static inline vec_f32 fnma_f32(vec_f32 a, vec_f32 b, vec_f32 c) { return vfmsq_f32(c, a, b); }
static inline vec_f32 fnma_exact_f32(vec_f32 a, vec_f32 b, vec_f32 c) { return fnma_f32(a, b, c); }
static inline mask_f32 less_f32(vec_f32 a, vec_f32 b) { return vcltq_f32(a, b); }
static inline vec_f32 select_f32(mask_f32 m, vec_f32 a, vec_f32 b) { return vbslq_f32(m, a, b); }
static inline vec_f32 div_where_f32(mask_f32 m, vec_f32 a, vec_f32 b, vec_f32 c)
{
    return select_f32(m, div_f32(a, b), c);
}
static inline vec_f32 abs_f32(vec_f32 a) { return vabsq_f32(a); }
static inline vec_f32 copysign_f32(vec_f32 a, vec_f32 s) { return vbslq_f32(vdupq_n_u32(UINT32_C(1) << 31), s, a); }
static inline vec_f32 exponent_f32(vec_f32 y)
{
    return vreinterpretq_f32_u32(vshlq_n_u32(vreinterpretq_u32_f32(y), 23));
}
static inline vec_f32 even_f32(vec_f32 a, vec_f32 b) { return vuzp1q_f32(a, b); }
static inline vec_f32 odd_f32(vec_f32 a, vec_f32 b) { return vuzp2q_f32(a, b); }
static inline vec_f32 woven_low_f32(vec_f32 a, vec_f32 b) { return vzip1q_f32(a, b); }
static inline vec_f32 woven_high_f32(vec_f32 a, vec_f32 b) { return vzip2q_f32(a, b); }
static inline vec_f32 columns_f32(vec_f32 v, const int n) { return n == 2 ? vzip1q_f32(v, vextq_f32(v, v, 2)) : v; }
static inline vec_f32 load_repeated_f32(const float *p, const int n)
{
    return n == 2 ? vcombine_f32(vld1_f32(p), vld1_f32(p)) : vdupq_n_f32(*p);
}
static inline void leave_f32(void) {}
static inline void transpose_f32(vec_f32 *v)
{
    const float32x4x2_t ab = vtrnq_f32(v[0], v[1]), cd = vtrnq_f32(v[2], v[3]);
    v[0] = vcombine_f32(vget_low_f32(ab.val[0]), vget_low_f32(cd.val[0]));
    v[1] = vcombine_f32(vget_low_f32(ab.val[1]), vget_low_f32(cd.val[1]));
    v[2] = vcombine_f32(vget_high_f32(ab.val[0]), vget_high_f32(cd.val[0]));
    v[3] = vcombine_f32(vget_high_f32(ab.val[1]), vget_high_f32(cd.val[1]));
}

static inline vec_f64 zero_f64(void) { return vdupq_n_f64(0); }
static inline vec_f64 set1_f64(double v) { return vdupq_n_f64(v); }
static inline vec_f64 load_f64(const double *p) { return vld1q_f64(p); }
static inline void store_f64(double *p, vec_f64 v) { vst1q_f64(p, v); }
static inline void stream_f64(double *p, vec_f64 v) { vst1q_f64(p, v); }
static inline vec_f64 load_tail_f64(const double *p, ptrdiff_t n)
{
    double t[2] = {0};
    memcpy(t, p, (size_t)n * sizeof *p);
    return vld1q_f64(t);
}
static inline void store_tail_f64(double *p, vec_f64 v, ptrdiff_t n)
{
    double t[2];
    vst1q_f64(t, v);
    memcpy(p, t, (size_t)n * sizeof *p);
}
static inline vec_f64 load_window_f64(const double *p, ptrdiff_t from, ptrdiff_t to)
{
    double t[2] = {0};
    for (ptrdiff_t i = from; i < to; i++)
        t[i] = p[i];
    return vld1q_f64(t);
}
static inline vec_f64 mul_f64(vec_f64 a, vec_f64 b) { return vmulq_f64(a, b); }
static inline vec_f64 fma_f64(vec_f64 a, vec_f64 b, vec_f64 c) { return vfmaq_f64(c, a, b); }
static inline vec_f64 above_f64(vec_f64 z, vec_f64 lo) { return vbslq_f64(vcgtq_f64(lo, z), lo, z); }
static inline vec_f64 below_f64(vec_f64 z, vec_f64 hi) { return vbslq_f64(vcltq_f64(hi, z), hi, z); }
static inline vec_f64 add_f64(vec_f64 a, vec_f64 b) { return vaddq_f64(a, b); }
static inline vec_f64 sub_f64(vec_f64 a, vec_f64 b) { return vsubq_f64(a, b); }
static inline vec_f64 div_f64(vec_f64 a, vec_f64 b) { return vdivq_f64(a, b); }
static inline vec_f64 fnma_f64(vec_f64 a, vec_f64 b, vec_f64 c) { return vfmsq_f64(c, a, b); }
static inline vec_f64 fnma_exact_f64(vec_f64 a, vec_f64 b, vec_f64 c) { return fnma_f64(a, b, c); }
static inline mask_f64 less_f64(vec_f64 a, vec_f64 b) { return vcltq_f64(a, b); }
static inline vec_f64 select_f64(mask_f64 m, vec_f64 a, vec_f64 b) { return vbslq_f64(m, a, b); }
static inline vec_f64 div_where_f64(mask_f64 m, vec_f64 a, vec_f64 b, vec_f64 c)
{
    return select_f64(m, div_f64(a, b), c);
}
static inline vec_f64 abs_f64(vec_f64 a) { return vabsq_f64(a); }
static inline vec_f64 copysign_f64(vec_f64 a, vec_f64 s) { return vbslq_f64(vdupq_n_u64(UINT64_C(1) << 63), s, a); }
static inline vec_f64 exponent_f64(vec_f64 y)
{
    return vreinterpretq_f64_u64(vshlq_n_u64(vreinterpretq_u64_f64(y), 52));
}
static inline vec_f64 even_f64(vec_f64 a, vec_f64 b) { return vuzp1q_f64(a, b); }
static inline vec_f64 odd_f64(vec_f64 a, vec_f64 b) { return vuzp2q_f64(a, b); }
static inline vec_f64 woven_low_f64(vec_f64 a, vec_f64 b) { return vzip1q_f64(a, b); }
static inline vec_f64 woven_high_f64(vec_f64 a, vec_f64 b) { return vzip2q_f64(a, b); }
static inline vec_f64 columns_f64(vec_f64 v, const int n) { return (void)n, v; }
static inline vec_f64 load_repeated_f64(const double *p, const int n) { return (void)n, set1_f64(*p); }
static inline void leave_f64(void) {}
static inline void transpose_f64(vec_f64 *v)
{
    const vec_f64 a = vzip1q_f64(v[0], v[1]);
    v[1] = vzip2q_f64(v[0], v[1]);
    v[0] = a;
}
