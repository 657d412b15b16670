/* SPDX-License-Identifier: BSD-3-Clause
 *
 * The micro-kernel for few taps: their number is known to the compiler, so that a block of rows is one straight line
 * of loads, multiply-adds and stores, at the speed of memory.  Whole vectors, at least a block of rows and taps inside the
 * input only; conv_rows does the rest.  The order of the additions is that of conv_rows. */

/* R rows of one vector of lanes from element i of x.  SHARED: row r at tap k is input row r + k. */
DW_INLINE void V(short_column)(const dw_rows *job, size_t i, const T *w, VEC start, T *y, const int R, const int TAPS,
                               const int SHARED, const int END)
{
    const T *x = job->x;
    const size_t x_row = job->x_row, x_tap = job->x_tap;
    const ptrdiff_t w_tap = job->w_tap, y_row = job->y_row;
    VEC acc[8], weight[8];
    DW_UNROLL
    for (int r = 0; r < R; r++)
        acc[r] = start;
    DW_UNROLL
    for (int k = 0; k < TAPS; k++)
        weight[k] = V(load)(w + k * w_tap);
    if (SHARED) {
        DW_UNROLL
        for (int row = 0; row < R - 1 + TAPS; row++, i += x_tap) {
            DW_OPAQUE(i);
            VEC value = V(load)(x + (ptrdiff_t)i);
            DW_HOLD(value);
            DW_UNROLL
            for (int k = 0; k < TAPS; k++)
                if (row >= k && row - k < R)
                    acc[row - k] = V(fma)(value, weight[k], acc[row - k]);
        }
    } else {
        DW_UNROLL
        for (int k = 0; k < TAPS; k++, i += x_tap) {
            size_t at = i;
            DW_UNROLL
            for (int r = 0; r < R; r++, at += x_row) {
                DW_OPAQUE(at);
                acc[r] = V(fma)(V(load)(x + (ptrdiff_t)at), weight[k], acc[r]);
            }
        }
    }
    if (END == DW_ACTIVATED) {
        V(put_activated)(job, acc, y, LANES, R, 0);
        return;
    }
    DW_UNROLL
    for (int r = 0; r < R; r++)
        if (END == DW_STREAM)
            V(stream)(y + r * y_row, acc[r]);
        else
            V(store)(y + r * y_row, acc[r]);
}

/* All rows, of which there are R at least: some twice in the end, which is faster than few at a time. */
DW_INLINE void V(short_blocks)(const dw_rows *job, const int R, const int TAPS, const int SHARED, const int END)
{
    const T *const init = job->init;
    const ptrdiff_t lanes = job->lanes, w_column = job->w_column, y_row = job->y_row;
    const int stream = END == DW_STREAM || (END == DW_ACTIVATED && job->stream);
    for (ptrdiff_t row = 0; row < job->rows; row += R) {
        row = dw_min(row, job->rows - R);
        size_t i = job->x_at + (size_t)row * job->x_row;
        T *y = (T *)job->y + row * y_row;
        ptrdiff_t left = job->phases;
        do {
            const T *w = job->w;
            for (ptrdiff_t lane = 0; lane < lanes; lane += LANES, w += w_column) {
                if (!stream) {
                    DW_UNROLL
                    for (int r = 0; r < R; r++)
                        DW_PREFETCH_STORE((uintptr_t)(y + lane + r * y_row) + DW_STORE_AHEAD_BYTES);
                }
                V(short_column)(job, i + (size_t)lane, w, init ? V(load)(init + lane) : V(zero)(), y + lane, R, TAPS,
                                SHARED, END);
            }
            i += job->x_phase;
            y += job->y_phase;
        } while (--left > 0);
    }
}

#define DW_SHORT(TAPS)                                                                                              \
    static void V(short_rows_##TAPS)(const dw_rows *job)                                                            \
    {                                                                                                               \
        if (job->x_row != job->x_tap && job->kind != DWCONV_LINEAR)                                                 \
            V(short_blocks)(job, 8, TAPS, 0, DW_ACTIVATED);                                                         \
        else if (job->x_row != job->x_tap)                                                                          \
            V(short_blocks)(job, 8, TAPS, 0, DW_PLAIN);                                                             \
        else if (job->kind != DWCONV_LINEAR)                                                                        \
            V(short_blocks)(job, 8, TAPS, 1, DW_ACTIVATED);                                                         \
        else if (job->stream)                                                                                       \
            V(short_blocks)(job, 8, TAPS, 1, DW_STREAM);                                                            \
        else                                                                                                        \
            V(short_blocks)(job, 8, TAPS, 1, DW_PLAIN);                                                             \
    }
/* Fewer rows, where that is better (dw_rows.block). */
#define DW_SHORT_FEW(TAPS, R)                                                                                       \
    static void V(short_rows_##TAPS##_by_##R)(const dw_rows *job)                                                   \
    {                                                                                                               \
        if (job->stream)                                                                                            \
            V(short_blocks)(job, R, TAPS, 1, DW_STREAM);                                                            \
        else                                                                                                        \
            V(short_blocks)(job, R, TAPS, 1, DW_PLAIN);                                                             \
    }
DW_SHORT(2)
DW_SHORT(3)
DW_SHORT(4)
DW_SHORT(5)
DW_SHORT(6)
DW_SHORT(7)
DW_SHORT(8)
DW_SHORT_FEW(2, 1)
DW_SHORT_FEW(2, 2)
DW_SHORT_FEW(2, 4)
DW_SHORT_FEW(3, 1)
DW_SHORT_FEW(3, 2)
DW_SHORT_FEW(3, 4)
DW_SHORT_FEW(4, 1)
DW_SHORT_FEW(4, 2)
DW_SHORT_FEW(4, 4)
DW_SHORT_FEW(5, 1)
DW_SHORT_FEW(5, 2)
DW_SHORT_FEW(5, 4)
#undef DW_SHORT
#undef DW_SHORT_FEW

/* The kernel for so many taps and the rows it takes at a time, or NULL. */
static void (*V(short_kernel)(const dw_rows *job, ptrdiff_t *rows))(const dw_rows *)
{
    static void (*const eight[])(const dw_rows *) = {V(short_rows_2), V(short_rows_3), V(short_rows_4), V(short_rows_5),
                                                     V(short_rows_6), V(short_rows_7), V(short_rows_8)};
    static void (*const few[][4])(const dw_rows *) = {
        {V(short_rows_2_by_1), V(short_rows_3_by_1), V(short_rows_4_by_1), V(short_rows_5_by_1)},
        {V(short_rows_2_by_2), V(short_rows_3_by_2), V(short_rows_4_by_2), V(short_rows_5_by_2)},
        {V(short_rows_2_by_4), V(short_rows_3_by_4), V(short_rows_4_by_4), V(short_rows_5_by_4)},
    };
    const ptrdiff_t taps = job->taps;
    if (taps < 2 || taps > 8 || job->clip || (job->init && job->init_row != 0))
        return NULL;
    if (job->block < 8 && job->x_row == job->x_tap && taps <= 5 && job->kind == DWCONV_LINEAR) {
        *rows = job->block;
        return few[job->block / 2][taps - 2];
    }
    *rows = 8;
    return eight[taps - 2];
}

/* Steps are lanes, and the weights stay in registers from the first step to the last.  KIND: an activation that is done
 * there, too; sums for another one wait on the stack. */
DW_INLINE void V(short_line)(const dw_line *job, const int TAPS, const int END, const int KIND)
{
    const T *x = job->x, *const w = job->w;
    T *y = job->y;
    const ptrdiff_t tap = job->x_tap, steps = job->steps;
    const VEC start = job->init ? V(set1)(*(const T *)job->init) : V(zero)();
    VEC weight[8];
    (void)x, (void)w, (void)tap, (void)weight;
    DW_UNROLL
    for (int k = 0; k < TAPS; k++)
        weight[k] = V(set1)(w[k * job->w_tap]);
    _Alignas(64) T sums[8 * LANES]; /* waiting for the activation */
    ptrdiff_t i = 0, waiting = 0;
    for (; i + LANES <= steps; i += LANES) {
        VEC acc = start;
        if (END == DW_STREAM || (END == DW_ACTIVATED && job->stream))
            DW_PREFETCH((uintptr_t)(x + i) + DW_LINE_AHEAD_BYTES);
        DW_UNROLL
        for (int k = 0; k < TAPS; k++)
            acc = V(fma)(V(load)(x + i + k * tap), weight[k], acc);
        acc = V(usual)(acc, job->alpha, job->beta, KIND);
        if (END == DW_ACTIVATED) {
            V(store)(sums + waiting * LANES, acc);
            if (++waiting < 8 && i + 2 * LANES <= steps)
                continue;
            V(activations)[job->kind](sums, LANES, y + i - (waiting - 1) * LANES, LANES, waiting, job->stream, job->alpha,
                                      job->beta);
            waiting = 0;
        } else if (END == DW_STREAM)
            V(stream)(y + i, acc);
        else
            V(store)(y + i, acc);
    }
    if (i < steps) {
        VEC acc = start;
        DW_UNROLL
        for (int k = 0; k < TAPS; k++)
            acc = V(fma)(V(load_tail)(x + i + k * tap, steps - i), weight[k], acc);
        acc = V(usual)(acc, job->alpha, job->beta, KIND);
        if (END == DW_ACTIVATED) {
            V(store)(sums, acc);
            V(activations)[job->kind](sums, LANES, sums, LANES, 1, 0, job->alpha, job->beta);
            acc = V(load)(sums);
        }
        V(store_tail)(y + i, acc, steps - i);
    }
}

#define DW_LINE_OF(TAPS, KIND)                                                                                      \
    if (job->stream)                                                                                                \
        V(short_line)(job, TAPS, DW_STREAM, KIND);                                                                  \
    else                                                                                                            \
        V(short_line)(job, TAPS, DW_PLAIN, KIND)
#define DW_LINE(TAPS)                                                                                               \
    case TAPS:                                                                                                      \
        switch (job->kind) {                                                                                        \
        case DWCONV_LINEAR: DW_LINE_OF(TAPS, DWCONV_LINEAR); break;                                                 \
        case DWCONV_CLIP: DW_LINE_OF(TAPS, DWCONV_CLIP); break;                                                     \
        case DWCONV_SILU: DW_LINE_OF(TAPS, DWCONV_SILU); break;                                                     \
        default: V(short_line)(job, TAPS, DW_ACTIVATED, DWCONV_LINEAR); break;                                      \
        }                                                                                                           \
        break;

static void V(conv_line)(const dw_line *job)
{
    switch (job->taps) {
        DW_LINE(0)
        DW_LINE(1)
        DW_LINE(2)
        DW_LINE(3)
        DW_LINE(4)
        DW_LINE(5)
        DW_LINE(6)
        DW_LINE(7)
        DW_LINE(8)
    }
    V(leave)();
}
#undef DW_LINE
#undef DW_LINE_OF
