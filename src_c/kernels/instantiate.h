/* SPDX-License-Identifier: BSD-3-Clause
 *
 * Included once by each shim in isa/, inside its target region and after its vocabulary: turns the templates
 * into functions for float and double and fills the table.  Inside a template T is the element type, VEC its
 * vector, LANES the elements of one, and V(name) the function of that name for this type. */

#if defined(__GNUC__) || defined(__clang__)
#ifndef DW_INLINE /* like DW_UNROLL, defined from outside where sanitizers would take minutes for inlined code */
#define DW_INLINE static inline __attribute__((always_inline))
#endif
#define DW_NOINLINE __attribute__((noinline))
#define DW_OPAQUE(i) __asm__("" : "+r"(i))
#define DW_ASSUME(condition) ((condition) ? (void)0 : __builtin_unreachable())
#define DW_PREFETCH(address) __builtin_prefetch((const void *)(address), 0, 2) /* into the second-level cache */
#define DW_PREFETCH_WRITE(address) __builtin_prefetch((const void *)(address), 1, 2)
#ifndef DW_PREFETCH_STORE /* into the first-level cache, to be written */
#define DW_PREFETCH_STORE(address) __builtin_prefetch((const void *)(address), 1, 3)
#endif
#if defined(__clang__)
#define DW_UNROLL _Pragma("clang loop unroll(full)")
#elif !defined(DW_UNROLL)
#define DW_UNROLL _Pragma("GCC unroll 64")
#endif
#else
#define DW_INLINE static __forceinline
#define DW_NOINLINE __declspec(noinline)
#define DW_OPAQUE(i) ((void)0)
#define DW_PREFETCH(address) ((void)(address))
#define DW_PREFETCH_WRITE(address) ((void)(address))
#define DW_PREFETCH_STORE(address) ((void)(address))
#define DW_ASSUME(condition) __assume(condition)
#define DW_UNROLL
#endif

/* Largest distance of two rows, in taps, at which they share what they read: it takes that many times four weights. */
#if DW_REGISTERS >= 32
#define DW_MOST_REUSE 4
#define DW_TALL_REUSE 4 /* and of many taps, in blocks of many rows */
#define DW_FFT_STEPS 3 /* eight complex numbers are sixteen vectors */
#else
#define DW_MOST_REUSE 2
#define DW_TALL_REUSE 1
#define DW_FFT_STEPS 2
#endif

/* Where the sums of a short kernel go: to y, past the caches, through an activation. */
enum { DW_PLAIN, DW_STREAM, DW_ACTIVATED };

#define T float
#define VEC vec_f32
#define LANES LANES_F32
#define V(name) name##_f32
#include "activate.tmpl.h"
#include "short_rows.tmpl.h"
#include "tall_rows.tmpl.h"
#include "conv_rows.tmpl.h"
#include "activation_gradient.tmpl.h"
#include "lanes.tmpl.h"
#include "view.tmpl.h"
#include "bundle.tmpl.h"
#include "correlate_bundle.tmpl.h"
#include "weight_gradient.tmpl.h"
#include "pair_rows.tmpl.h"
#include "repeated_rows.tmpl.h"
#include "lines.tmpl.h"
#include "long_lines.tmpl.h"
#include "line_gradient.tmpl.h"
#include "step.tmpl.h"
#include "fft.tmpl.h"
#undef T
#undef VEC
#undef LANES
#undef V

#define T double
#define VEC vec_f64
#define LANES LANES_F64
#define V(name) name##_f64
#include "activate.tmpl.h"
#include "short_rows.tmpl.h"
#include "tall_rows.tmpl.h"
#include "conv_rows.tmpl.h"
#include "activation_gradient.tmpl.h"
#include "lanes.tmpl.h"
#include "view.tmpl.h"
#include "bundle.tmpl.h"
#include "correlate_bundle.tmpl.h"
#include "weight_gradient.tmpl.h"
#include "pair_rows.tmpl.h"
#include "repeated_rows.tmpl.h"
#include "lines.tmpl.h"
#include "long_lines.tmpl.h"
#include "line_gradient.tmpl.h"
#include "step.tmpl.h"
#include "fft.tmpl.h"
#undef T
#undef VEC
#undef LANES
#undef V

#ifdef DW_HAS_BUNDLES
#define DW_BUNDLES(S) bundle_rows_##S, conv_bundle_##S, correlate_bundle_##S
#else
#define DW_BUNDLES(S) 0, NULL, NULL
#endif
#ifdef DW_HAS_SHIFTS
#define DW_CONV_LINES(S) conv_lines_##S, conv_line_streams_##S
#else
#define DW_CONV_LINES(S) NULL, NULL
#endif

const dw_table DW_TABLE = {
    .name = DW_NAME,
    .cpu_features = DW_FEATURES,
    .has_fma = DW_HAS_FMA,
    .f32 = {LANES_F32, DW_MOST_REUSE, DW_FFT_STEPS, conv_rows_f32, activate_f32, conv_line_f32, fence_f32, gather_lanes_f32,
            scatter_lanes_f32, repeat_lanes_f32, activation_gradient_f32, sum_lanes_f32, correlate_f32, correlate_lines_f32,
            add_chains_f32, add_rows_f32, conv_step_f32, split_columns_f32, conv_pairs_f32, pack_pairs_f32, conv_repeated_f32, regroup_f32,
            DW_BUNDLES(f32), DW_CONV_LINES(f32), fft_spectrum_f32, fft_convolve_f32},
    .f64 = {LANES_F64, DW_MOST_REUSE, DW_FFT_STEPS, conv_rows_f64, activate_f64, conv_line_f64, fence_f64, gather_lanes_f64,
            scatter_lanes_f64, repeat_lanes_f64, activation_gradient_f64, sum_lanes_f64, correlate_f64, correlate_lines_f64,
            add_chains_f64, add_rows_f64, conv_step_f64, split_columns_f64, conv_pairs_f64, pack_pairs_f64, conv_repeated_f64, regroup_f64,
            DW_BUNDLES(f64), DW_CONV_LINES(f64), fft_spectrum_f64, fft_convolve_f64},
};
