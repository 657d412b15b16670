/* SPDX-License-Identifier: BSD-3-Clause
 *
 * Sequences that are contiguous in time, a vector of them side by side: lanes are sequences.
 *
 * Steps of x become rows of a tile, LANES steps at a time, when the next block of R results needs them; the block is
 * summed in registers, all taps, and leaves them as steps of y again.  So the tile is read while it is near, and
 * results are stored once.
 *
 * Row r of a block at tap k needs row r*STRIDE + k*DILATION of the tile.  Where both are small and known to the
 * compiler, a row is loaded once for all results that need it.  In a block at an end of the sequences, rows of the tile
 * that are no input step are passed over. */

#ifdef DW_HAS_BUNDLES
#if DW_REGISTERS >= 32
enum { V(bundle_rows) = 16, V(bundle_taps) = 8 };
#else
enum { V(bundle_rows) = 8, V(bundle_taps) = 4 };
#endif

/* acc[r] += x[r*STRIDE + k*DILATION] * w[k] for k < TAPS; with CHECK only for the rows of the tile that are an input step,
 * when the first of them is number `at`. */
DW_INLINE void V(bundle_block)(VEC *acc, const T *x, const T *w, int64_t at, int64_t limit, const int TAPS,
                               const int STRIDE, const int DILATION, const int CHECK)
{
    VEC weight[V(bundle_taps)];
    DW_UNROLL
    for (int k = 0; k < TAPS; k++)
        weight[k] = V(load)(w + k * LANES);
    DW_UNROLL
    for (int row = 0; row <= (V(bundle_rows) - 1) * STRIDE + (TAPS - 1) * DILATION; row++) {
        if (CHECK && (uint64_t)(at + row) >= (uint64_t)limit)
            continue;
        VEC value = V(load)(x + row * LANES);
        DW_HOLD(value); /* or it would be loaded again for every use */
        DW_UNROLL
        for (int k = 0; k < TAPS; k++) {
            const int r = (row - k * DILATION) / STRIDE;
            if (row >= k * DILATION && (row - k * DILATION) % STRIDE == 0 && r < V(bundle_rows))
                acc[r] = V(fma)(value, weight[k], acc[r]);
        }
    }
}

/* The same for one tap and any stride. */
DW_INLINE void V(bundle_tap)(VEC *acc, const T *x, const T *w, int64_t at, int64_t limit, ptrdiff_t stride, const int CHECK)
{
    const VEC weight = V(load)(w);
    DW_UNROLL
    for (int r = 0; r < V(bundle_rows); r++, x += stride * LANES, at += stride)
        if (!CHECK || (uint64_t)at < (uint64_t)limit)
            acc[r] = V(fma)(V(load)(x), weight, acc[r]);
}

/* All taps of a block whose first row has tap 0 at input step `at`, which is x. */
DW_INLINE void V(sum_bundle)(const dw_bundle *job, VEC *acc, const T *x, int64_t at, const int STRIDE, const int DILATION,
                             const int CHECK)
{
    enum { TAPS = V(bundle_taps), HALF = TAPS / 2 };
    const ptrdiff_t d = STRIDE > 0 ? DILATION : job->dilation;
    const int64_t limit = job->limit;
    const T *w = job->w;
    ptrdiff_t k = job->taps;
    if (STRIDE > 0) {
        for (; k >= TAPS; k -= TAPS, x += TAPS * d * LANES, at += TAPS * d, w += TAPS * LANES) {
            DW_OPAQUE(x); /* or rows that blocks have in common would stay in registers, and sums would not */
            V(bundle_block)(acc, x, w, at, limit, TAPS, STRIDE, DILATION, CHECK);
        }
        DW_OPAQUE(x);
        if (k >= HALF) {
            V(bundle_block)(acc, x, w, at, limit, HALF, STRIDE, DILATION, CHECK);
            k -= HALF, x += HALF * d * LANES, at += HALF * d, w += HALF * LANES;
            DW_OPAQUE(x);
        }
    }
    for (; k > 0; k--, x += d * LANES, at += d, w += LANES)
        V(bundle_tap)(acc, x, w, at, limit, STRIDE > 0 ? STRIDE : job->stride, CHECK);
}

/* Rows of a block become steps of y. */
DW_INLINE void V(leave_block)(const dw_bundle *job, VEC *acc, ptrdiff_t row)
{
    T *const y = (T *)job->y + row;
    DW_UNROLL
    for (int part = 0; part < V(bundle_rows); part += LANES) {
        V(transpose)(acc + part);
        if (job->lanes == LANES) {
            DW_UNROLL
            for (int l = 0; l < LANES; l++)
                V(store)(y + job->y_at[l] + part, acc[part + l]);
        } else {
            DW_UNROLL
            for (int l = 0; l < LANES; l++)
                if (l < job->lanes)
                    V(store)(y + job->y_at[l] + part, acc[part + l]);
        }
    }
}

/* The results from `row` on of a block whose first one has tap 0 at input step `start`, which is x. */
DW_INLINE void V(convolve_block)(const dw_bundle *job, const T *x, int64_t start, ptrdiff_t row, const int STRIDE,
                                 const int DILATION)
{
    enum { R = V(bundle_rows) };
    const int64_t reach = (R - 1) * (int64_t)job->stride + (job->taps - 1) * (int64_t)job->dilation + 1;
    VEC acc[R];
    const VEC init = job->init ? V(load)(job->init) : V(zero)();
    DW_UNROLL
    for (int r = 0; r < R; r++)
        acc[r] = init;
    if (start >= 0 && start + reach <= job->limit)
        V(sum_bundle)(job, acc, x, start, STRIDE, DILATION, 0);
    else
        V(sum_bundle)(job, acc, x, start, STRIDE, DILATION, 1);
    V(leave_block)(job, acc, row);
}

/* Where the second block begins, if the first begins with row 0: with a vector of memory, if the lanes agree about those
 * and there are so many blocks that one more does not matter. */
DW_INLINE ptrdiff_t V(second_block)(const dw_bundle *job)
{
    enum { R = V(bundle_rows), ENOUGH = 12 * R };
    const ptrdiff_t head = job->rows < ENOUGH ? 0 : V(aligned_step)(job->y, job->y_at, job->lanes);
    return head > 0 ? R - LANES + head : R;
}

DW_INLINE void V(convolve_bundle)(const dw_bundle *job, const int STRIDE, const int DILATION)
{
    enum { R = V(bundle_rows) };
    const int64_t reach = (R - 1) * (int64_t)job->stride + (job->taps - 1) * (int64_t)job->dilation + 1;
    const ptrdiff_t apart = job->lanes > 1 ? job->x_at[1] - job->x_at[0] : 0;
    V(view) x = V(open_view)(job->x, job->x_at, job->lanes, job->limit, job->tile, job->tile_rows, job->start,
                             job->start + (job->rows - 1) * job->stride + (job->taps - 1) * job->dilation + 1, LANES * apart);
    for (ptrdiff_t row = 0, next = V(second_block)(job); row < job->rows; row = next, next += R) {
        if (row > job->rows - R) /* some rows twice, which is faster than few at a time */
            row = job->rows - R;
        const int64_t start = job->start + row * job->stride;
        V(convolve_block)(job, V(show)(&x, start, start + reach), start, row, STRIDE, DILATION);
    }
}

static void V(conv_bundle)(const dw_bundle *job)
{
    if (job->stride == 1 && job->dilation == 1)
        V(convolve_bundle)(job, 1, 1);
    else if (job->stride == 2 && job->dilation == 1)
        V(convolve_bundle)(job, 2, 1);
    else if (job->stride == 1 && job->dilation == 2)
        V(convolve_bundle)(job, 1, 2);
    else
        V(convolve_bundle)(job, 0, 0);
    V(leave)();
}
#endif
