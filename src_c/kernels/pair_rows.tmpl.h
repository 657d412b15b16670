/* SPDX-License-Identifier: BSD-3-Clause
 *
 * The micro-kernel for a depth multiplier of two: each lane stands for a pair of output channels, of which the first ones
 * have a vector of sums of their own and the second ones another.
 *
 * Forward, both vectors meet the same x, so that one load serves twice as many multiply-adds as in conv_rows, and nothing
 * is repeated; they are woven into each other on the way to y.  In the gradient of the input (SUMS) x is dy, with two
 * lanes for each of the results, which are the sums of neighbours: there, the two vectors are neighbours in memory as they
 * lie, and so are their weights.
 *
 * R rows; row r at tap k needs input row r*REUSE + k as in conv_rows.  REUSE 0: any distance, one tap after the other,
 * rows and taps are checked, which also does the ends of the input and parts of vectors. */

#if DW_REGISTERS >= 32
#define DW_PAIR_ROWS 8
#define DW_PAIR_TAPS 4
#else
#define DW_PAIR_ROWS 4
#define DW_PAIR_TAPS 1
#endif

/* Weights as conv_pairs takes them. */
static void V(pack_pairs)(const void *w, ptrdiff_t w_tap, void *tile, ptrdiff_t taps, ptrdiff_t lanes, int sums)
{
    T *target = tile;
    for (ptrdiff_t lane = 0; lane < lanes; lane += LANES)
        for (ptrdiff_t k = 0; k < taps; k++, target += 2 * LANES) {
            const T *source = (const T *)w + k * w_tap + 2 * lane;
            VEC first, second;
            if (lane + LANES <= lanes)
                V(load_pairs)(&first, &second, source, LANES, 0);
            else
                V(load_pairs)(&first, &second, source, lanes - lane, 1);
            V(store)(target, sums ? V(woven_low)(first, second) : first);
            V(store)(target + LANES, sums ? V(woven_high)(first, second) : second);
        }
    V(leave)();
}

/* One vector of lanes of a block of rows: the address of its x and how many of it exist, its weights. */
typedef struct V(pair_place) {
    ptrdiff_t row, lane, lanes;
    uintptr_t x;
    const T *w;
} V(pair_place);

/* The vectors of x at an address: two with SUMS, else one that serves twice. */
DW_INLINE void V(load_pair)(VEC *value, uintptr_t at, ptrdiff_t n, const int SUMS, const int tail)
{
    const T *const x = (const T *)at;
    if (!tail || (SUMS && 2 * n >= LANES))
        value[0] = V(load)(x);
    else
        value[0] = V(load_tail)(x, SUMS ? 2 * n : n);
    value[1] = value[0];
    if (SUMS && !tail)
        value[1] = V(load)(x + LANES);
    else if (SUMS)
        value[1] = 2 * n > LANES ? V(load_tail)(x + LANES, 2 * n - LANES) : V(zero)();
}

/* Taps of a block whose rows share what they read, all of which are inside the input. */
DW_INLINE void V(pair_taps)(VEC *acc, uintptr_t x, V(stride) x_tap, const T *w, const int R, const int TAPS, const int REUSE,
                            const int SUMS)
{
    VEC weight[8];
    DW_UNROLL
    for (int k = 0; k < 2 * TAPS; k++)
        weight[k] = V(load)(w + k * LANES);
    DW_UNROLL
    for (int row = 0; row < (R - 1) * REUSE + TAPS; row++) {
        VEC value[2];
        V(load_pair)(value, (uintptr_t)V(row_at)(&x, x_tap, row), LANES, SUMS, 0);
        DW_HOLD(value[0]); /* or it would be loaded again for every use */
        if (SUMS)
            DW_HOLD(value[1]);
        DW_UNROLL
        for (int k = 0; k < TAPS; k++) {
            const int r = (row - k) / REUSE;
            if (row >= k && (row - k) % REUSE == 0 && r < R) {
                acc[2 * r] = V(fma)(value[0], weight[2 * k], acc[2 * r]);
                acc[2 * r + 1] = V(fma)(SUMS ? value[1] : value[0], weight[2 * k + 1], acc[2 * r + 1]);
            }
        }
    }
}

/* The sums of a block to y. */
DW_INLINE void V(put_pairs)(const dw_rows *job, V(pair_place) at, VEC *acc, const int R, const int SUMS, const int tail)
{
    const ptrdiff_t y_row = job->y_row;
    T *const y = (T *)job->y + at.row * y_row + (SUMS ? at.lane : 2 * at.lane);
    if (SUMS) {
        DW_UNROLL
        for (int r = 0; r < R; r++) {
            const VEC sum = V(add)(V(even)(acc[2 * r], acc[2 * r + 1]), V(odd)(acc[2 * r], acc[2 * r + 1]));
            if (tail)
                V(store_tail)(y + r * y_row, sum, at.lanes);
            else
                V(store)(y + r * y_row, sum);
        }
        return;
    }
    if (job->kind == DWCONV_LINEAR) {
        DW_UNROLL
        for (int r = 0; r < R; r++)
            V(store_pairs)(y + r * y_row, acc[2 * r], acc[2 * r + 1], at.lanes, tail);
        return;
    }
    const ptrdiff_t low = dw_min(2 * at.lanes, LANES), high = 2 * at.lanes - low;
    VEC woven[2][DW_PAIR_ROWS];
    DW_UNROLL
    for (int r = 0; r < R; r++) {
        woven[0][r] = V(woven_low)(acc[2 * r], acc[2 * r + 1]);
        woven[1][r] = V(woven_high)(acc[2 * r], acc[2 * r + 1]);
    }
    if (low == LANES)
        V(put_activated)(job, woven[0], y, LANES, R, 0);
    else
        V(put_activated)(job, woven[0], y, low, R, 1);
    if (high == LANES)
        V(put_activated)(job, woven[1], y + LANES, LANES, R, 0);
    else if (high > 0)
        V(put_activated)(job, woven[1], y + LANES, high, R, 1);
}

DW_INLINE void V(pair_column)(const dw_rows *job, V(pair_place) at, const int R, const int REUSE, const int SUMS, const int tail)
{
    const V(stride) x_tap = V(stride_of)(job->x_tap);
    const ptrdiff_t taps = job->taps;
    const T *w = at.w;
    VEC acc[2 * DW_PAIR_ROWS];
    acc[0] = acc[1] = V(zero)();
    if (job->init)
        V(load_pairs)(&acc[0], &acc[1], (const T *)job->init + 2 * at.lane, at.lanes, tail);
    DW_UNROLL
    for (int r = 1; r < R; r++) {
        acc[2 * r] = acc[0];
        acc[2 * r + 1] = acc[1];
    }
    if (REUSE) {
        ptrdiff_t k = taps;
        for (; k >= DW_PAIR_TAPS; k -= DW_PAIR_TAPS, at.x += DW_PAIR_TAPS * x_tap.one, w += 2 * DW_PAIR_TAPS * LANES)
            V(pair_taps)(acc, at.x, x_tap, w, R, DW_PAIR_TAPS, REUSE, SUMS);
        if (DW_PAIR_TAPS > 2 && k == 3)
            V(pair_taps)(acc, at.x, x_tap, w, R, 3, REUSE, SUMS);
        else if (DW_PAIR_TAPS > 2 && k == 2)
            V(pair_taps)(acc, at.x, x_tap, w, R, 2, REUSE, SUMS);
        else if (DW_PAIR_TAPS > 1 && k == 1)
            V(pair_taps)(acc, at.x, x_tap, w, R, 1, REUSE, SUMS);
    } else {
        int64_t start = job->start + at.row * job->advance;
        for (ptrdiff_t k = 0; k < taps; k++, at.x += x_tap.one, w += 2 * LANES, start += job->dilation) {
            const VEC weight[2] = {V(load)(w), V(load)(w + LANES)};
            DW_UNROLL
            for (int r = 0; r < R; r++) {
                const int64_t step = start + r * job->advance;
                if (step < 0 || step >= job->limit)
                    continue;
                VEC value[2];
                V(load_pair)(value, at.x + (size_t)r * job->x_row * sizeof(T), at.lanes, SUMS, tail);
                acc[2 * r] = V(fma)(value[0], weight[0], acc[2 * r]);
                acc[2 * r + 1] = V(fma)(value[1], weight[1], acc[2 * r + 1]);
            }
        }
    }
    V(put_pairs)(job, at, acc, R, SUMS, tail);
}

/* Rows [row, row + R) of all lanes. */
#define DW_PAIR_BLOCK(NAME, R, REUSE, SUMS)                                                                         \
    static DW_NOINLINE void V(NAME)(const dw_rows *job, ptrdiff_t row)                                              \
    {                                                                                                               \
        V(pair_place) at = {.row = row, .lanes = LANES, .w = job->w};                                               \
        const uintptr_t x = (uintptr_t)job->x + (job->x_at + (size_t)row * job->x_row) * sizeof(T);                 \
        for (; at.lane < job->lanes; at.lane += LANES, at.w += job->w_column) {                                     \
            at.x = x + (uintptr_t)(SUMS ? 2 * at.lane : at.lane) * sizeof(T);                                       \
            if (at.lane + LANES <= job->lanes) {                                                                    \
                V(pair_column)(job, at, R, REUSE, SUMS, 0);                                                         \
                continue;                                                                                           \
            }                                                                                                       \
            at.lanes = job->lanes - at.lane;                                                                        \
            V(pair_column)(job, at, R, 0, SUMS, 1);                                                                 \
        }                                                                                                           \
    }
DW_PAIR_BLOCK(pairs_by_1, DW_PAIR_ROWS, 1, 0)
DW_PAIR_BLOCK(pairs_by_2, DW_PAIR_ROWS, 2, 0)
DW_PAIR_BLOCK(pairs_apart, DW_PAIR_ROWS, 0, 0)
DW_PAIR_BLOCK(pairs_single, 1, 0, 0)
DW_PAIR_BLOCK(pair_sums_by_1, DW_PAIR_ROWS, 1, 1)
DW_PAIR_BLOCK(pair_sums_apart, DW_PAIR_ROWS, 0, 1)
DW_PAIR_BLOCK(pair_sums_single, 1, 0, 1)
#undef DW_PAIR_BLOCK

static void V(conv_pairs)(const dw_rows *job, int sums)
{
    void (*inside)(const dw_rows *, ptrdiff_t) = sums ? V(pair_sums_apart) : V(pairs_apart);
    void (*const apart)(const dw_rows *, ptrdiff_t) = inside;
    if (job->x_row == job->x_tap)
        inside = sums ? V(pair_sums_by_1) : V(pairs_by_1);
    else if (!sums && job->x_row == 2 * job->x_tap)
        inside = V(pairs_by_2);
    int64_t from, to;
    dw_interior(job->start, job->advance, (job->taps - 1) * job->dilation, job->limit, job->rows, &from, &to);
    for (ptrdiff_t row = 0; row < job->rows; row += DW_PAIR_ROWS) {
        if (row + DW_PAIR_ROWS > job->rows && job->rows >= DW_PAIR_ROWS)
            row = job->rows - DW_PAIR_ROWS; /* some rows twice */
        if (row + DW_PAIR_ROWS > job->rows)
            for (ptrdiff_t r = row; r < job->rows; r++)
                (sums ? V(pair_sums_single) : V(pairs_single))(job, r);
        else
            (row >= from && row + DW_PAIR_ROWS <= to ? inside : apart)(job, row);
    }
    V(leave)();
}
#undef DW_PAIR_ROWS
#undef DW_PAIR_TAPS
