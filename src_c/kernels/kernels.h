/* SPDX-License-Identifier: BSD-3-Clause
 *
 * The contract between the drivers and the kernels: one dw_table for each instruction set, filled by
 * instantiate.h.  All distances are in elements; `row` is the distance between two rows. */
#ifndef DWCONV_KERNELS_H
#define DWCONV_KERNELS_H

#include <stddef.h>
#include <stdint.h>

/* The convolution of a block of rows.
 *
 *     y[i*y_row + l] = act(init[i*init_row + l] + sum_k x[x_at + i*x_row + k*x_tap + l] * w[c*w_column + k*w_tap + j])
 *
 * for rows i and lanes l, taps ascending.  Lane l is number j of column c: columns are whole vectors, but for the last
 * and, if head > 0, the first, which then has `head` lanes.  With clip set, tap k of row i takes part only if
 * 0 <= start + i*advance + k*dilation < limit, and no other element of x is touched.
 * Offsets into x are unsigned and may wrap on the way to a valid element, never at one. */
typedef struct dw_rows {
    const void *x, *w, *init; /* init NULL: zeros */
    void *y;
    size_t x_at, x_row, x_tap, x_phase;
    ptrdiff_t w_tap, w_column, init_row, y_row, y_phase;
    ptrdiff_t rows, lanes, taps, head;
    ptrdiff_t repeat; /* conv_repeated: lanes for each element of x */
    ptrdiff_t phases; /* the same so many times, x_phase and y_phase further each time; 0 means once */
    int clip;
    int block;  /* rows at a time where they share input: 1, 2, 4, 8, 12 or 16 */
    int stream; /* write past the caches; y must be aligned to a vector after `head` lanes, and so its rows; see fence */
    int kind;   /* of the activation: dwconv_activation_kind */
    double alpha, beta;
    int64_t start, advance, dilation, limit;
} dw_rows;

/* The convolution of one sequence whose steps are neighbours in memory, with few taps (at most DW_FLAT_TAPS).
 *
 *     y[i] = act(init[0] + sum_k x[i + k*x_tap] * w[k*w_tap]),  taps ascending */
typedef struct dw_line {
    const void *x, *w, *init; /* init NULL: zero */
    void *y;
    ptrdiff_t x_tap, w_tap, taps, steps;
    int stream; /* write past the caches; y must be aligned to a vector; see fence */
    int kind;
    double alpha, beta;
} dw_line;

/* The convolution of sequences whose steps are neighbours in memory, with 2 to DW_FLAT_TAPS taps, the last of them at most
 * a vector of steps after the first.
 *
 *     y[l*y_line + i] = act(init[l] + sum_k x[l*x_line + x_at + i + k*x_tap] * w[k*w_tap + l]),  taps ascending
 *
 * for lines l and steps i.  Tap k of step i takes part only if 0 <= start + i + k*x_tap < limit. */
typedef struct dw_lines {
    const void *x, *w, *init; /* init NULL: zeros */
    void *y;
    size_t x_at;
    ptrdiff_t x_tap, x_line, y_line, w_tap;
    ptrdiff_t taps, steps, lines;
    int kind;
    double alpha, beta;
    int64_t start, limit;
} dw_lines;

/* The convolution of one sequence whose steps are neighbours in memory, with many taps.
 *
 *     y[i] = init[0] + sum_k x[start + i + k*x_tap] * w[k],  taps ascending
 *
 * for steps i.  Tap k of step i takes part only if 0 <= start + i + k*x_tap < limit.  x is that of input step 0, and bit j
 * of exist[at] says whether input step at + j exists.  long_lines.c chooses how many vectors of results are walked in
 * step: `count` for each of `streams`, `live` of them at a time. */
typedef struct dw_line_streams {
    const void *x, *w, *init; /* init NULL: zero */
    void *y;
    const uint16_t *exist;
    ptrdiff_t x_tap, taps, steps;
    int64_t start, limit;
    ptrdiff_t period, apart; /* taps after which x is read again, for a vector of results so much further */
    ptrdiff_t count;
    int live, streams;
} dw_line_streams;

/* The convolution of sequences whose steps are neighbours in memory, a vector of them at a time.
 *
 *     y[y_at[l] + i] = init[l] + sum_k x[x_at[l] + start + i*stride + k*dilation] * w[k*vector_lanes + l],  taps ascending
 *
 * for rows i, at least bundle_rows of them, and lanes l.  Tap k of row i takes part only if
 * 0 <= start + i*stride + k*dilation < limit.  The tile has room for tile_rows steps of vector_lanes sequences, which is
 * more than twice what bundle_rows rows need. */
typedef struct dw_bundle {
    const void *x, *w, *init; /* whole vectors; init NULL: zeros */
    void *y, *tile;
    const ptrdiff_t *x_at, *y_at;
    ptrdiff_t lanes, taps, rows, stride, dilation, tile_rows;
    int64_t start, limit;
} dw_bundle;

/* An elementwise function over a block of rows; source and destination may be the same. */
typedef struct dw_activate {
    const void *source;
    void *target;
    ptrdiff_t source_row, target_row, rows, lanes;
    int kind; /* dwconv_activation_kind, not DWCONV_LINEAR */
    double alpha, beta;
} dw_activate;

/* The gradient of an activation, whose kind is one of those of dwconv_activation_backward.
 *
 *     dz[i] = dy[i] * derivative of the activation at z[i]
 *
 * for i < count.  As it leaves memory idle, as many elements from `reads` and `writes` on are brought near meanwhile, unless
 * they are NULL. */
typedef struct dw_activation_gradient {
    const void *z, *dy;
    void *dz;
    const void *reads[2], *writes;
    ptrdiff_t count;
    int kind;
} dw_activation_gradient;

/* The correlation of two blocks of rows over time, for the weight gradient.
 *
 *     sums[k*sums_tap + l] += sum_i x[x_at + k*x_tap + i*x_step + l] * y[i*y_step + l]
 *     bias_sums[l] += sum_i y[i*y_step + l]        unless NULL
 *
 * for taps k (at most DW_GRADIENT_TAPS) and lanes l, i ascending.  With clip set, step i of tap k takes part only if
 * 0 <= start + i*stride + k*dilation < limit, and no other element of x is touched.  Offsets into x may wrap as those
 * of dw_rows.  The last `wrap` lanes, fewer than a vector, are those that begin the rows: for them, l - x_step and l - y_step
 * take the place of l in x and y.  Lanes are whole vectors then, and x_step, y_step those of neighbouring rows; no pairs.
 * With `pairs`, y and the sums have two lanes, 2l and 2l + 1, for each lane l of x; `lanes` counts those of x. */
typedef struct dw_correlate {
    const void *x, *y;
    void *sums, *bias_sums;
    size_t x_at, x_tap, x_step;
    ptrdiff_t y_step, sums_tap;
    ptrdiff_t taps, steps, lanes, wrap;
    int clip, pairs;
    int64_t start, stride, dilation, limit;
} dw_correlate;

/* The same for sequences whose steps are neighbours in memory, at most a vector of them side by side:
 *
 *     sums[k*sums_tap + l] += sum_i x[x_at[l] + i + ahead + k] * y[y_at[l] + i]
 *     bias_sums[l] += sum_i y[y_at[l] + i]        unless NULL
 *
 * for lanes l and steps i from first to last - 1, ascending.  Step i of tap k takes part only if 0 <= i + ahead + k < limit.
 * Of the sums, whole vectors are read and written.  If `input` is not NULL, the convolution of y that it says is done on the
 * way: stride and dilation are 1, the lanes are the same, its x and x_at are y and y_at, what its rows need of y lies before
 * `last`, and its tile is not used.
 * The sequences of the next call are probably x_following and y_following elements further; they are not touched.
 * The tile, aligned to a vector, has room for two times tile_rows steps of vector_lanes sequences, more than four vectors of
 * steps more than either has taps. */
typedef struct dw_correlate_bundle {
    const void *x, *y;
    void *sums, *bias_sums, *tile;
    const ptrdiff_t *x_at, *y_at;
    const dw_bundle *input;
    ptrdiff_t lanes, taps, sums_tap, tile_rows;
    ptrdiff_t x_following, y_following;
    int64_t first, last, ahead, limit;
} dw_correlate_bundle;

/* The correlation of sequences whose steps are neighbours in memory, with few taps (at most DW_FLAT_TAPS), in chains
 * of every W-th step, W = DW_ALIGN / sizeof(element):
 *
 *     sums[(l*(taps+1) + k)*W + j]    += sum_i x[l*x_line + x_at + i + k*x_tap] * y[l*y_line + i]
 *     sums[(l*(taps+1) + taps)*W + j] += sum_i y[l*y_line + i]
 *
 * for lines l, taps k and i = j, j + W, ... < steps, ascending.  Step i of tap k takes part only if
 * 0 <= start + i + k*x_tap < limit, and no other element of x is touched. */
typedef struct dw_correlate_lines {
    const void *x, *y;
    void *sums;
    size_t x_at;
    ptrdiff_t x_tap, x_line, y_line;
    ptrdiff_t taps, steps, lines;
    int64_t start, limit;
} dw_correlate_lines;

/* One row whose last input row has just come.
 *
 *     y[l] = act(init[l] + sum_{k < taps-1} row(k)[l] * w[k*w_tap + l] + frame[l] * w[(taps-1)*w_tap + l])
 *     kept[l] = frame[l]
 *
 * for lanes l, taps ascending; row(k) is x + k*x_tap for k < turn, turned + (k - turn)*x_tap from there on; kind is
 * DWCONV_LINEAR, DWCONV_CLIP or DWCONV_SILU.  No two arrays overlap, but kept may be one of the rows. */
typedef struct dw_step {
    const void *x, *turned, *frame, *w, *init; /* init NULL: zeros */
    void *kept, *y;
    ptrdiff_t x_tap, w_tap, lanes, taps, turn;
    int kind;
    double alpha, beta;
} dw_step;

/* A tile of W = vector_lanes real sequences, of 2 * points numbers each: row j has numbers j of all sequences and, W elements
 * further, numbers j + points.  Its transform takes `steps[p]`, 2 or 3, steps of halving in pass p, 2 in the last one;
 * fft.c makes the factors of a pass, DW_FFT_FACTORS(1 << steps[p]) numbers for each of its blocks. */
enum { DW_FFT_PASSES = 32 };
#define DW_FFT_FACTORS(R) ((R) == 8 ? 16 : 6)
typedef struct dw_fft {
    void *tile; /* aligned to a vector */
    ptrdiff_t points;
    int passes; /* at least 2 */
    int8_t steps[DW_FFT_PASSES];
    const void *factors[DW_FFT_PASSES];
    const void *spectrum; /* of the filters: a tile as fft_spectrum makes it, or with one_filter `points` pairs of it */
    int one_filter;
    const void *init; /* a vector */
    int real; /* imaginary parts of the filters are zeros, and not in the tile */
} dw_fft;

typedef struct dw_kernels {
    ptrdiff_t vector_lanes;
    ptrdiff_t most_reuse; /* conv_rows reads a row once for several results if x_row is at most so many x_tap */
    int fft_steps; /* steps of an FFT in one pass: 2 or 3 */
    void (*conv_rows)(const dw_rows *job);
    void (*activate)(const dw_activate *job);
    void (*conv_line)(const dw_line *job);
    /* Makes what was written past the caches visible to other threads: once for each task, because it waits. */
    void (*fence)(void);
    /* tile[i*tile_row + l] = x[at[l] + offset + i*step].  Whole vectors of the tile are written. */
    void (*gather_lanes)(const void *x, const ptrdiff_t *at, ptrdiff_t offset, ptrdiff_t step, void *tile,
                         ptrdiff_t tile_row, ptrdiff_t rows, ptrdiff_t lanes);
    /* y[at[l] + offset + i*step] = tile[i*tile_row + l] */
    void (*scatter_lanes)(const void *tile, ptrdiff_t tile_row, void *y, const ptrdiff_t *at, ptrdiff_t offset,
                          ptrdiff_t step, ptrdiff_t rows, ptrdiff_t lanes);
    /* tile[i*tile_row + j] = x[i*x_row + (skip + j) / repeat] */
    void (*repeat_lanes)(const void *x, ptrdiff_t x_row, ptrdiff_t skip, ptrdiff_t repeat, void *tile,
                         ptrdiff_t tile_row, ptrdiff_t rows, ptrdiff_t lanes);
    void (*activation_gradient)(const dw_activation_gradient *job);
    /* tile[i*tile_row + g] = tile[i*tile_row + g*sum] + ... + tile[i*tile_row + g*sum + sum-1], in this order */
    void (*sum_lanes)(void *tile, ptrdiff_t tile_row, ptrdiff_t rows, ptrdiff_t groups, ptrdiff_t sum);
    void (*correlate)(const dw_correlate *job);
    void (*correlate_lines)(const dw_correlate_lines *job);
    /* target[k*target_row + l] = the sum of the chains of line l, tap k: those in the upper half are added to those in
     * the lower, and so on.  The sums lie as in dw_correlate_lines, with so many rows for each line. */
    void (*add_chains)(const void *sums, ptrdiff_t rows, ptrdiff_t lines, void *target, ptrdiff_t target_row);
    /* target[i*target_row + l] = a[i*a_row + l] + target[i*target_row + l] */
    void (*add_rows)(const void *a, ptrdiff_t a_row, void *target, ptrdiff_t target_row, ptrdiff_t rows, ptrdiff_t lanes);
    void (*conv_step)(const dw_step *job);
    /* Rows of w cut in columns as conv_rows takes them: row k of column c at tile + (c*rows + k) vectors */
    void (*split_columns)(const void *w, ptrdiff_t w_row, void *tile, ptrdiff_t rows, ptrdiff_t lanes,
                          ptrdiff_t head);
    /* conv_rows for a depth multiplier of two: lane l stands for channels 2l and 2l + 1 of y and init, and of x as well if
     * `sums`; then y has one lane for both, which is their sum.  Whole columns of weights come from pack_pairs, a vector for
     * the first and one for the second of each pair, or, if `sums`, two as they lie: w_tap is 2 vectors, w_column as many
     * for each tap.  No head, no phases, no stream; rows are checked as if clip were set. */
    void (*conv_pairs)(const dw_rows *job, int sums);
    void (*pack_pairs)(const void *w, ptrdiff_t w_tap, void *tile, ptrdiff_t taps, ptrdiff_t lanes, int sums);
    /* conv_rows where lane l reads x at l / repeat instead of l, for a power of two up to DW_ALIGN bytes of lanes.  x may be
     * read up to the end of the last vector of lanes.  Of weights, each vector of lanes is as regroup makes it.  No head, no
     * phases, no stream. */
    void (*conv_repeated)(const dw_rows *job);
    void (*regroup)(void *tile, ptrdiff_t tile_row, ptrdiff_t rows, ptrdiff_t lanes, ptrdiff_t repeat);
    ptrdiff_t bundle_rows; /* of a block of conv_bundle, a multiple of vector_lanes */
    void (*conv_bundle)(const dw_bundle *job); /* NULL where vectors are too narrow for it to pay */
    void (*correlate_bundle)(const dw_correlate_bundle *job); /* NULL likewise */
    void (*conv_lines)(const dw_lines *job); /* NULL where registers cannot be shifted */
    void (*conv_line_streams)(const dw_line_streams *job); /* NULL where there are no masks */
    /* The tile becomes the spectrum of its sequences, divided by `points`. */
    void (*fft_spectrum)(const dw_fft *job);
    /* Each sequence s becomes init + sum_k s[i + k] * w[k], where s[i + 2*points] is -s[i]; whether all of it is finite. */
    int (*fft_convolve)(const dw_fft *job);
} dw_kernels;

typedef struct dw_table {
    const char *name;
    uint32_t cpu_features; /* DW_CPU_* bits it needs */
    int has_fma;
    dw_kernels f32, f64;
} dw_table;

extern const dw_table dw_table_scalar, dw_table_sse2, dw_table_avx2, dw_table_avx512, dw_table_neon;

#endif
