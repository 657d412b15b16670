/* SPDX-License-Identifier: BSD-3-Clause
 *
 * The micro-kernel for a depth multiplier M, where M neighbouring results meet the same element of x.
 *
 * A vector of results needs but N = LANES / M neighbouring elements of x (one, if M is larger), which one load repeats all
 * over a vector: a broadcast, which costs no more than another load.  So nothing of x is repeated in memory, and the sums of
 * a vector are those of its N elements with the first multipliers, then with the second ones, and so on.  They are brought
 * in order on the way to y.  Weights come in the order of the sums (regroup).
 *
 * R rows; row r at tap k needs the elements at r*REUSE + k as in conv_rows, any distance for REUSE 0.  Two taps apart, blocks
 * have sixteen taps, so that each element of x meets eight sums that do not wait for each other. */

#if DW_REGISTERS >= 32
#define DW_REPEATED_ROWS(REUSE) ((REUSE) == 2 ? 12 : 16)
#define DW_REPEATED_TAPS(REUSE) ((REUSE) == 2 ? 16 : 8)
#define DW_REPEATED_REUSE 2
#define DW_REPEATED_EDGE_TAPS 8
#else
#define DW_REPEATED_ROWS(REUSE) 12
#define DW_REPEATED_TAPS(REUSE) 2
#define DW_REPEATED_REUSE 1
#define DW_REPEATED_EDGE_TAPS 4
#endif
#define DW_REPEATED_EDGE 8 /* rows at the ends of the input */

/* load_repeated and columns, whose n is a constant or not. */
DW_INLINE VEC V(load_elements)(const T *p, const int n)
{
    switch (n) {
    case 8: return V(load_repeated)(p, LANES > 8 ? 8 : 1);
    case 4: return V(load_repeated)(p, LANES > 4 ? 4 : 1);
    case 2: return V(load_repeated)(p, LANES > 2 ? 2 : 1);
    default: return V(set1)(*p);
    }
}

DW_INLINE VEC V(columns_of)(VEC v, const int n)
{
    switch (n) {
    case 8: return V(columns)(v, LANES > 8 ? 8 : 1);
    case 4: return V(columns)(v, LANES > 4 ? 4 : 1);
    case 2: return V(columns)(v, LANES > 2 ? 2 : 1);
    default: return v;
    }
}

/* The lanes of each vector of a tile in the order of the sums. */
static void V(regroup)(void *tile, ptrdiff_t tile_row, ptrdiff_t rows, ptrdiff_t lanes, ptrdiff_t repeat)
{
    for (ptrdiff_t row = 0; row < rows && repeat < LANES; row++)
        for (ptrdiff_t lane = 0; lane < lanes; lane += LANES) {
            T *const at = (T *)tile + row * tile_row + lane;
            V(store)(at, V(columns_of)(V(load)(at), (int)repeat));
        }
    V(leave)();
}

/* acc[r] += x[r*REUSE + k] * w[k] for k < TAPS; with CHECK only for the input rows that are inside. */
DW_INLINE void V(repeated_taps)(VEC *acc, uintptr_t x, V(stride) x_tap, uintptr_t w, V(stride) w_tap, V(inside) inside,
                                const int n, const int R, const int TAPS, const int REUSE, const int CHECK)
{
    VEC weight[16];
    DW_UNROLL
    for (int k = 0; k < TAPS; k++)
        weight[k] = V(load)(V(row_at)(&w, w_tap, k));
    DW_UNROLL
    for (int row = 0; row < (R - 1) * REUSE + TAPS; row++) {
        const T *const at = V(row_at)(&x, x_tap, row);
        if (CHECK && row < inside.lo)
            continue;
        if (CHECK && row >= inside.hi)
            break;
        VEC value = V(load_elements)(at, n);
        DW_HOLD(value); /* or it would be loaded again for every use */
        DW_UNROLL
        for (int k = 0; k < TAPS; k++) {
            const int r = (row - k) / REUSE;
            if (row >= k && (row - k) % REUSE == 0 && r < R)
                acc[r] = V(fma)(value, weight[k], acc[r]);
        }
    }
}

/* One vector of lanes of a block of rows, of which so many exist. */
typedef struct V(repeated_place) {
    ptrdiff_t row, lane, lanes;
} V(repeated_place);

/* Init, in the order of the sums. */
DW_INLINE void V(start_repeated)(const dw_rows *job, V(repeated_place) at, VEC *acc, const int n, const int R)
{
    const ptrdiff_t init_row = job->init_row;
    const T *const init = job->init ? (const T *)job->init + at.row * init_row + at.lane : NULL;
    VEC first = V(zero)();
    if (init)
        first = V(columns_of)(at.lanes < LANES ? V(load_tail)(init, at.lanes) : V(load)(init), LANES / n);
    DW_UNROLL
    for (int r = 0; r < R; r++)
        acc[r] = first;
    if (init && init_row != 0) {
        DW_UNROLL
        for (int r = 1; r < R; r++)
            acc[r] = V(columns_of)(V(load_lanes)(init + r * init_row, at.lanes, at.lanes < LANES), LANES / n);
    }
}

DW_INLINE void V(put_repeated)(const dw_rows *job, V(repeated_place) at, VEC *acc, const int n, const int R)
{
    T *const y = (T *)job->y + at.row * job->y_row + at.lane;
    const V(stride) y_row = V(stride_of)((size_t)job->y_row);
    uintptr_t to = (uintptr_t)y;
    DW_UNROLL
    for (int r = 0; r < R; r++)
        acc[r] = V(columns_of)(acc[r], n);
    if (job->kind != DWCONV_LINEAR)
        V(put_activated)(job, acc, y, at.lanes, R, at.lanes < LANES);
    else if (at.lanes == LANES) {
        DW_UNROLL
        for (int r = 0; r < R; r++)
            V(store)((T *)V(row_at)(&to, y_row, r), acc[r]);
    } else {
        DW_UNROLL
        for (int r = 0; r < R; r++)
            V(store_tail)((T *)V(row_at)(&to, y_row, r), acc[r], at.lanes);
    }
}

#define DW_REPEATED_HALF(TAPS)                                                                                      \
    if (BLOCK > TAPS && (k & TAPS)) {                                                                               \
        V(repeated_taps)(acc, x, x_tap, w, w_tap, inside, n, R, TAPS, REUSE, EDGE);                                 \
        x += TAPS * x_tap.one;                                                                                      \
        w += TAPS * w_tap.one;                                                                                      \
        inside.lo -= TAPS;                                                                                          \
        inside.hi -= TAPS;                                                                                          \
    }

/* Rows [row, row + R) of all lanes.  EDGE: taps may lie outside the input. */
DW_INLINE void V(repeated_block)(const dw_rows *job, ptrdiff_t row, const int n, const int R, const int REUSE,
                                 const int BLOCK, const int EDGE)
{
    const V(stride) x_tap = V(stride_of)(job->x_tap), x_row = V(stride_of)(job->x_row);
    const V(stride) w_tap = V(stride_of)((size_t)job->w_tap);
    const int64_t start = job->start + row * job->advance;
    ptrdiff_t from = 0, to = job->taps; /* taps that some row sees */
    const ptrdiff_t reach = (R - 1) * REUSE + to;
    V(inside) exist = {0, reach}; /* of the input rows from there on */
    const bool clip = EDGE && job->clip;
    if (clip) {
        const int64_t last = start + (R - 1) * job->advance;
        from = (ptrdiff_t)dw_clamp(dw_ceil_div(-last, job->dilation), 0, to);
        exist.lo = (ptrdiff_t)dw_clamp(dw_ceil_div(-start, job->dilation), 0, reach) - from;
        exist.hi = (ptrdiff_t)dw_clamp(dw_ceil_div(job->limit - start, job->dilation), from, reach) - from;
        to = dw_min(to, exist.hi + from);
    }
    const size_t first = job->x_at + (size_t)row * job->x_row + (size_t)from * job->x_tap;
    const ptrdiff_t repeat = job->repeat, w_column = job->w_column;
    const T *w_lane = (const T *)job->w + from * job->w_tap;
    for (V(repeated_place) at = {.row = row}; at.lane < job->lanes; at.lane += LANES, w_lane += w_column) {
        VEC acc[16];
        at.lanes = dw_min(job->lanes - at.lane, LANES);
        V(start_repeated)(job, at, acc, n, R);
        const ptrdiff_t element = repeat > LANES ? at.lane / repeat : at.lane / LANES * n;
        uintptr_t x = (uintptr_t)job->x + (first + (size_t)element) * sizeof(T), w = (uintptr_t)w_lane;
        ptrdiff_t k = to - from;
        V(inside) inside = exist;
        if (REUSE) {
            for (; k >= BLOCK; k -= BLOCK, x += (size_t)BLOCK * x_tap.one, w += (size_t)BLOCK * w_tap.one) {
                if (EDGE && (inside.lo > 0 || inside.hi < R - 1 + BLOCK))
                    V(repeated_taps)(acc, x, x_tap, w, w_tap, inside, n, R, BLOCK, REUSE, 1);
                else
                    V(repeated_taps)(acc, x, x_tap, w, w_tap, inside, n, R, BLOCK, REUSE, 0);
                inside.lo -= BLOCK;
                inside.hi -= BLOCK;
            }
            DW_REPEATED_HALF(8)
            DW_REPEATED_HALF(4)
            DW_REPEATED_HALF(2)
            DW_REPEATED_HALF(1)
        } else
            for (int64_t step = start + from * job->dilation; k > 0; k--, x += x_tap.one, w += w_tap.one) {
                const VEC weight = V(load)((const T *)w);
                uintptr_t x_at = x;
                DW_UNROLL
                for (int r = 0; r < R; r++) {
                    const T *const source = V(row_at)(&x_at, x_row, r);
                    if (clip && (step + r * job->advance < 0 || step + r * job->advance >= job->limit))
                        continue;
                    VEC value = V(load_elements)(source, n);
                    DW_HOLD(value);
                    acc[r] = V(fma)(value, weight, acc[r]);
                }
                step += job->dilation;
            }
        V(put_repeated)(job, at, acc, n, R);
    }
}
#undef DW_REPEATED_HALF

#define DW_REPEATED(NAME, N, REUSE)                                                                                 \
    static DW_NOINLINE void V(NAME)(const dw_rows *job, ptrdiff_t row)                                              \
    {                                                                                                               \
        if (N < LANES && REUSE <= DW_REPEATED_REUSE)                                                                \
            V(repeated_block)(job, row, N, DW_REPEATED_ROWS(REUSE), REUSE, DW_REPEATED_TAPS(REUSE), 0);             \
    }
DW_REPEATED(repeated_1_apart, 1, 0)
DW_REPEATED(repeated_2_apart, 2, 0)
DW_REPEATED(repeated_4_apart, 4, 0)
DW_REPEATED(repeated_8_apart, 8, 0)
DW_REPEATED(repeated_1_by_1, 1, 1)
DW_REPEATED(repeated_2_by_1, 2, 1)
DW_REPEATED(repeated_4_by_1, 4, 1)
DW_REPEATED(repeated_8_by_1, 8, 1)
DW_REPEATED(repeated_1_by_2, 1, 2)
DW_REPEATED(repeated_2_by_2, 2, 2)
DW_REPEATED(repeated_4_by_2, 4, 2)
DW_REPEATED(repeated_8_by_2, 8, 2)
#undef DW_REPEATED

#define DW_REPEATED(NAME, N)                                                                                        \
    static DW_NOINLINE void V(NAME)(const dw_rows *job, ptrdiff_t row)                                              \
    {                                                                                                               \
        if (N < LANES)                                                                                              \
            V(repeated_block)(job, row, N, DW_REPEATED_EDGE, 1, DW_REPEATED_EDGE_TAPS, 1);                          \
    }
DW_REPEATED(repeated_1_edge, 1)
DW_REPEATED(repeated_2_edge, 2)
DW_REPEATED(repeated_4_edge, 4)
DW_REPEATED(repeated_8_edge, 8)
#undef DW_REPEATED

#define DW_REPEATED(NAME, R)                                                                                        \
    static DW_NOINLINE void V(NAME)(const dw_rows *job, ptrdiff_t row)                                              \
    {                                                                                                               \
        V(repeated_block)(job, row, job->repeat < LANES ? (int)(LANES / job->repeat) : 1, R, 0, 1, 1);              \
    }
DW_REPEATED(repeated_edge_apart, DW_REPEATED_EDGE)
DW_REPEATED(repeated_single, 1)
#undef DW_REPEATED

typedef void (*V(repeated_rows))(const dw_rows *job, ptrdiff_t row);

/* Rows [from, to) by blocks, which may be done once more with others unless sums rest in them, or one by one. */
static void V(repeated_ends)(const dw_rows *job, ptrdiff_t from, ptrdiff_t to, V(repeated_rows) block)
{
    for (ptrdiff_t row = from; row < to; row += DW_REPEATED_EDGE) {
        const ptrdiff_t last = job->rows - DW_REPEATED_EDGE;
        if (row + DW_REPEATED_EDGE <= to || (last >= 0 && job->init_row == 0))
            block(job, row < last ? row : last);
        else
            for (; row < to; row++)
                V(repeated_single)(job, row);
    }
}

static void V(conv_repeated)(const dw_rows *job)
{
    static const V(repeated_rows) all[4][4] = {
        {V(repeated_1_apart), V(repeated_1_by_1), V(repeated_1_by_2), V(repeated_1_edge)},
        {V(repeated_2_apart), V(repeated_2_by_1), V(repeated_2_by_2), V(repeated_2_edge)},
        {V(repeated_4_apart), V(repeated_4_by_1), V(repeated_4_by_2), V(repeated_4_edge)},
        {V(repeated_8_apart), V(repeated_8_by_1), V(repeated_8_by_2), V(repeated_8_edge)},
    };
    const ptrdiff_t n = job->repeat < LANES ? LANES / job->repeat : 1;
    const V(repeated_rows) *const blocks = all[n == 8 ? 3 : n / 2];
    const int reuse = job->x_row == job->x_tap ? 1 : DW_REPEATED_REUSE == 2 && job->x_row == 2 * job->x_tap ? 2 : 0;
    const V(repeated_rows) block = blocks[reuse], edge = reuse == 1 ? blocks[3] : V(repeated_edge_apart);
    const ptrdiff_t R = DW_REPEATED_ROWS(reuse);
    int64_t lo = 0, hi = job->rows;
    if (job->clip)
        dw_interior(job->start, job->advance, (job->taps - 1) * job->dilation, job->limit, job->rows, &lo, &hi);
    ptrdiff_t row = (ptrdiff_t)lo;
    if (hi - lo < R)
        row = 0;
    else {
        V(repeated_ends)(job, 0, row, edge);
        for (; row < hi; row += R) {
            if (row + R > hi && job->init_row != 0)
                break;
            block(job, row + R <= hi ? row : (ptrdiff_t)hi - R); /* some rows twice */
        }
        row = dw_min(row, (ptrdiff_t)hi);
    }
    V(repeated_ends)(job, row, job->rows, edge);
    V(leave)();
}
#undef DW_REPEATED_ROWS
#undef DW_REPEATED_TAPS
#undef DW_REPEATED_REUSE
#undef DW_REPEATED_EDGE
#undef DW_REPEATED_EDGE_TAPS
