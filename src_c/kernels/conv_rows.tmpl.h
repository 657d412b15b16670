/* SPDX-License-Identifier: BSD-3-Clause
 *
 * The micro-kernel: blocks of R rows times one vector of lanes, accumulators in registers over all taps.
 *
 * Row r of a block at tap k needs input row r*REUSE + k (in units of one tap), so neighbouring rows share input.
 * `block` therefore walks input rows, not taps: it loads each of the (R-1)*REUSE + TAPS input rows once and feeds
 * it to every accumulator it meets.  Seen from one accumulator the taps still arrive in ascending order, which
 * is the promise the same bits rest on.  REUSE 1: stride 1; 2: stride 2; 0: any distance, nothing is shared.
 *
 * Taps leave the input only at the first and last rows of a problem.  There, the few taps that are inside for some
 * rows of a block and outside for others are checked: each input row once where rows are shared, each (row, tap)
 * otherwise. */

DW_INLINE VEC V(load_part)(const T *p, ptrdiff_t n, const int tail)
{
    return tail ? V(load_tail)(p, n) : V(load)(p);
}

/* Offsets may have wrapped around on the way; at an element they are right. */
DW_INLINE const T *V(offset)(const T *x, size_t at)
{
    return x + (ptrdiff_t)at;
}

/* Input rows of a block that exist: those numbered [lo, hi). */
typedef struct V(inside) {
    ptrdiff_t lo, hi;
} V(inside);

/* acc[r] += x[r*REUSE + k] * w[k] for k < TAPS; with CHECK only for the input rows that are inside. */
DW_INLINE void V(block)(VEC *acc, const T *x, size_t x_tap, const T *w, ptrdiff_t w_tap, V(inside) inside,
                        const int R, const int TAPS, const int REUSE, const int CHECK)
{
    VEC weight[4];
    DW_UNROLL
    for (int k = 0; k < TAPS; k++)
        weight[k] = V(load)(w + k * w_tap);
    DW_UNROLL
    for (int row = 0; row < (R - 1) * REUSE + TAPS; row++) {
        if (CHECK && (row < inside.lo || row >= inside.hi))
            continue;
        const VEC value = V(load)(x + (ptrdiff_t)(row * x_tap));
        DW_UNROLL
        for (int k = 0; k < TAPS; k++) {
            const int r = (row - k) / REUSE;
            if (row >= k && (row - k) % REUSE == 0 && r < R)
                acc[r] = V(fma)(value, weight[k], acc[r]);
        }
    }
}

/* acc[r] += x[r*x_row] * w, one tap, nothing shared */
DW_INLINE void V(single)(VEC *acc, const T *x, size_t x_row, const T *w, ptrdiff_t lanes, const int R,
                         const int tail)
{
    const VEC weight = V(load_part)(w, lanes, tail);
    DW_UNROLL
    for (int r = 0; r < R; r++)
        acc[r] = V(fma)(V(load_part)(x + (ptrdiff_t)(r * x_row), lanes, tail), weight, acc[r]);
}

/* Taps of a block that all rows see: [full_lo, full_hi); that some row sees: [lo, hi). */
typedef struct V(taps) {
    ptrdiff_t lo, full_lo, full_hi, hi;
} V(taps);

DW_INLINE V(taps) V(taps_of)(const dw_rows *job, ptrdiff_t row, ptrdiff_t rows)
{
    V(taps) t = {0, 0, job->taps, job->taps};
    if (job->clip) {
        const int64_t first = job->start + row * job->advance;
        const int64_t last = first + (rows - 1) * job->advance;
        t.lo = (ptrdiff_t)dw_clamp(dw_ceil_div(-last, job->dilation), 0, job->taps);
        t.hi = (ptrdiff_t)dw_clamp(dw_ceil_div(job->limit - first, job->dilation), t.lo, job->taps);
        t.full_lo = (ptrdiff_t)dw_clamp(dw_ceil_div(-first, job->dilation), t.lo, t.hi);
        t.full_hi = (ptrdiff_t)dw_clamp(dw_ceil_div(job->limit - last, job->dilation), t.full_lo, t.hi);
    }
    return t;
}

/* Taps [from, to) of a block, each (row, tap) checked. */
DW_INLINE void V(clipped)(VEC *acc, const dw_rows *job, ptrdiff_t row, ptrdiff_t lane, ptrdiff_t lanes,
                          ptrdiff_t from, ptrdiff_t to, const int R, const int tail)
{
    const T *x = job->x;
    const T *w = (const T *)job->w + lane;
    for (ptrdiff_t k = from; k < to; k++) {
        const VEC weight = V(load_part)(w + k * job->w_tap, lanes, tail);
        DW_UNROLL
        for (int r = 0; r < R; r++) {
            const int64_t step = job->start + (row + r) * job->advance + k * job->dilation;
            if (step >= 0 && step < job->limit) {
                const size_t at = job->x_at + (size_t)(row + r) * job->x_row + (size_t)k * job->x_tap + (size_t)lane;
                acc[r] = V(fma)(V(load_part)(x + (ptrdiff_t)at, lanes, tail), weight, acc[r]);
            }
        }
    }
}

/* Taps [from, to) of a block whose rows share input rows. */
DW_INLINE void V(shared)(VEC *acc, const dw_rows *job, ptrdiff_t row, ptrdiff_t lane, ptrdiff_t from, ptrdiff_t to,
                         const int R, const int REUSE, const int CHECK)
{
    if (from >= to)
        return;
    const T *x = job->x;
    const T *w = (const T *)job->w + from * job->w_tap + lane;
    size_t at = job->x_at + (size_t)row * job->x_row + (size_t)from * job->x_tap + (size_t)lane;
    V(inside) inside = {0, 0};
    if (CHECK) {
        const int64_t start = job->start + row * job->advance + from * job->dilation;
        inside.lo = (ptrdiff_t)dw_ceil_div(-start, job->dilation);
        inside.hi = (ptrdiff_t)dw_ceil_div(job->limit - start, job->dilation);
    }
    ptrdiff_t k = to - from;
    for (; k >= 4; k -= 4, at += 4 * job->x_tap, w += 4 * job->w_tap, inside.lo -= 4, inside.hi -= 4)
        V(block)(acc, V(offset)(x, at), job->x_tap, w, job->w_tap, inside, R, 4, REUSE, CHECK);
    switch (k) {
    case 3: V(block)(acc, V(offset)(x, at), job->x_tap, w, job->w_tap, inside, R, 3, REUSE, CHECK); break;
    case 2: V(block)(acc, V(offset)(x, at), job->x_tap, w, job->w_tap, inside, R, 2, REUSE, CHECK); break;
    case 1: V(block)(acc, V(offset)(x, at), job->x_tap, w, job->w_tap, inside, R, 1, REUSE, CHECK); break;
    }
}

/* R rows from `row`, one vector of lanes from `lane` (the last `lanes` of them if tail). */
DW_INLINE void V(column)(const dw_rows *job, V(taps) t, ptrdiff_t row, ptrdiff_t lane, ptrdiff_t lanes,
                         const int R, const int REUSE, const int tail)
{
    VEC acc[8];
    if (job->init) {
        const T *init = (const T *)job->init + row * job->init_row + lane;
        DW_UNROLL
        for (int r = 0; r < R; r++)
            acc[r] = V(load_part)(init + r * job->init_row, lanes, tail);
    } else {
        DW_UNROLL
        for (int r = 0; r < R; r++)
            acc[r] = V(zero)();
    }

    if (REUSE) {
        V(shared)(acc, job, row, lane, t.lo, t.full_lo, R, REUSE, 1);
        V(shared)(acc, job, row, lane, t.full_lo, t.full_hi, R, REUSE, 0);
        V(shared)(acc, job, row, lane, t.full_hi, t.hi, R, REUSE, 1);
    } else {
        V(clipped)(acc, job, row, lane, lanes, t.lo, t.full_lo, R, tail);
        size_t at = job->x_at + (size_t)row * job->x_row + (size_t)t.full_lo * job->x_tap + (size_t)lane;
        const T *w = (const T *)job->w + t.full_lo * job->w_tap + lane;
        for (ptrdiff_t k = t.full_lo; k < t.full_hi; k++, at += job->x_tap, w += job->w_tap)
            V(single)(acc, V(offset)((const T *)job->x, at), job->x_row, w, lanes, R, tail);
        V(clipped)(acc, job, row, lane, lanes, t.full_hi, t.hi, R, tail);
    }

    T *y = (T *)job->y + row * job->y_row + lane;
    DW_UNROLL
    for (int r = 0; r < R; r++) {
        if (tail)
            V(store_tail)(y + r * job->y_row, acc[r], lanes);
        else
            V(store)(y + r * job->y_row, acc[r]);
    }
}

/* R rows over all lanes. */
DW_INLINE void V(row_block)(const dw_rows *job, ptrdiff_t row, const int R, const int REUSE)
{
    const V(taps) t = V(taps_of)(job, row, R);
    ptrdiff_t lane = 0;
    for (; lane + LANES <= job->lanes; lane += LANES)
        V(column)(job, t, row, lane, LANES, R, REUSE, 0);
    if (lane < job->lanes)
        V(column)(job, t, row, lane, job->lanes - lane, R, 0, 1);
}

/* Fewer than eight rows: what is left at the end of a block. */
DW_INLINE void V(last_rows)(const dw_rows *job, ptrdiff_t row, const int REUSE)
{
    if ((job->rows - row) & 4) {
        V(row_block)(job, row, 4, REUSE);
        row += 4;
    }
    if ((job->rows - row) & 2) {
        V(row_block)(job, row, 2, REUSE);
        row += 2;
    }
    if ((job->rows - row) & 1)
        V(row_block)(job, row, 1, 1);
}

static void V(conv_rows)(const dw_rows *job)
{
    ptrdiff_t row = 0;
    if (job->x_row == job->x_tap) {
        for (; row + 8 <= job->rows; row += 8)
            V(row_block)(job, row, 8, 1);
        V(last_rows)(job, row, 1);
    } else if (job->x_row == 2 * job->x_tap) {
        for (; row + 8 <= job->rows; row += 8)
            V(row_block)(job, row, 8, 2);
        V(last_rows)(job, row, 0);
    } else {
        for (; row + 8 <= job->rows; row += 8)
            V(row_block)(job, row, 8, 0);
        V(last_rows)(job, row, 0);
    }
    V(leave)();
}
