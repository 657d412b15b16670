/* SPDX-License-Identifier: BSD-3-Clause
 *
 * The micro-kernel for many taps: blocks of R rows.  Row r of a block at tap k needs input row r*REUSE + k.  So which
 * taps of a block at the ends of the input take part is told by the input row alone: a block of taps, as it walks over
 * input rows, begins with the first and leaves after the last that exists.  Parts of vectors are done here where a masked
 * load costs no more than a multiply-add, which is too much for whole ones; elsewhere in conv_rows.
 *
 * A core with two units for multiply-adds of whole vectors lends the same units to additions of integers, so addresses
 * are made with as few of those as possible: a vector is found at an address plus 0, 1, 2 or 3 distances, which loads and
 * stores add for nothing, and only every fourth row makes a new address.  Blocks of eight taps have eight multiply-adds
 * for each load, each to another sum, which is what four cycles of latency on two units ask for.  Every function has one
 * loop, for the sake of what stays in registers. */

/* The distance of two rows in bytes, and three times that. */
typedef struct V(stride) {
    size_t one, three;
} V(stride);

DW_INLINE V(stride) V(stride_of)(size_t elements)
{
    V(stride) s = {elements * sizeof(T), 3 * elements * sizeof(T)};
    DW_OPAQUE(s.three);
    return s;
}

/* Row n of those from `at` on, which becomes the address of every fourth. */
DW_INLINE const T *V(row_at)(uintptr_t *at, V(stride) s, const int n)
{
    if (n > 0 && n % 4 == 0) {
        *at += s.one * 4;
        DW_OPAQUE(*at);
    }
    return (const T *)(n % 4 == 0 ? *at : n % 4 == 1 ? *at + s.one : n % 4 == 2 ? *at + s.one * 2 : *at + s.three);
}

/* Input rows of a block that exist: those numbered [lo, hi). */
typedef struct V(inside) {
    ptrdiff_t lo, hi;
} V(inside);

/* A whole vector, or with PARTS the first lanes of one. */
DW_INLINE VEC V(load_lanes)(const T *p, ptrdiff_t lanes, const int PARTS)
{
    return PARTS ? V(load_tail)(p, lanes) : V(load)(p);
}

/* acc[r] += x[r*REUSE + k] * w[k] for k < TAPS; with CHECK only for the input rows that are inside. */
DW_INLINE void V(tall_taps)(VEC *acc, uintptr_t x, V(stride) x_tap, uintptr_t w, V(stride) w_tap, V(inside) inside,
                            ptrdiff_t lanes, const int R, const int TAPS, const int REUSE, const int CHECK,
                            const int PARTS)
{
    VEC weight[16];
    DW_UNROLL
    for (int k = 0; k < TAPS; k++)
        weight[k] = V(load_lanes)(V(row_at)(&w, w_tap, k), lanes, PARTS);
    DW_UNROLL
    for (int row = 0; row < (R - 1) * REUSE + TAPS; row++) {
        const T *const at = V(row_at)(&x, x_tap, row);
        if (CHECK && row < inside.lo)
            continue;
        if (CHECK && row >= inside.hi)
            break;
        VEC value = V(load_lanes)(at, lanes, PARTS);
        DW_HOLD(value); /* or it would be loaded again for every use */
        DW_UNROLL
        for (int k = 0; k < TAPS; k++) {
            const int r = (row - k) / REUSE;
            if (row >= k && (row - k) % REUSE == 0 && r < R)
                acc[r] = V(fma)(value, weight[k], acc[r]);
        }
    }
}

#define DW_TALL_REST(TAPS)                                                                                          \
    case TAPS: V(tall_taps)(acc, x, x_tap, w, w_tap, inside, lanes, R, TAPS, REUSE, 0, 0); break;

#define DW_TALL_HALF(TAPS)                                                                                          \
    if (BLOCK > TAPS && (k & TAPS)) {                                                                               \
        V(tall_taps)(acc, x, x_tap, w, w_tap, inside, lanes, R, TAPS, REUSE, 1, PARTS);                              \
        x += TAPS * x_tap.one;                                                                                      \
        w += TAPS * w_tap.one;                                                                                      \
        inside.lo -= TAPS;                                                                                          \
        inside.hi -= TAPS;                                                                                          \
    }

/* Rows [row, row + R) over all lanes, which are whole vectors, or with PARTS a part of one.  EDGE: taps may lie outside
 * the input. */
DW_INLINE void V(tall_columns)(const dw_rows *job, ptrdiff_t row, V(inside) exist, const int R, const int REUSE,
                               const int BLOCK, const int EDGE, const int PARTS)
{
    const V(stride) x_tap = V(stride_of)(job->x_tap), w_tap = V(stride_of)((size_t)job->w_tap);
    const V(stride) y_row = V(stride_of)((size_t)job->y_row), init_row = V(stride_of)((size_t)job->init_row);
    const ptrdiff_t lanes = job->lanes, next_column = job->w_column;
    ptrdiff_t from = 0, to = job->taps; /* taps that some row sees */
    if (EDGE) {
        from = exist.lo > (R - 1) * REUSE ? exist.lo - (R - 1) * REUSE : 0;
        to = exist.hi < to ? exist.hi : to;
        exist.lo -= from;
        exist.hi -= from;
    }
    const T *const init = job->init ? (const T *)job->init + row * job->init_row : NULL;
    const size_t at_first = job->x_at + (size_t)row * job->x_row + (size_t)from * job->x_tap;
    const uintptr_t first = (uintptr_t)job->x + at_first * sizeof(T);
    const T *w_column = (const T *)job->w + from * job->w_tap;
    T *const y = (T *)job->y + row * job->y_row;
    const int end = job->kind != DWCONV_LINEAR ? DW_ACTIVATED : job->stream ? DW_STREAM : DW_PLAIN;
    for (ptrdiff_t lane = 0; lane < lanes; lane += LANES, w_column += next_column) {
        VEC acc[16];
        uintptr_t at = init ? (uintptr_t)(init + lane) : 0;
        if (init) {
            DW_UNROLL
            for (int r = 0; r < R; r++)
                acc[r] = V(load_lanes)(V(row_at)(&at, init_row, r), lanes, PARTS);
        } else {
            DW_UNROLL
            for (int r = 0; r < R; r++)
                acc[r] = V(zero)();
        }

        uintptr_t x = first + (size_t)lane * sizeof(T), w = (uintptr_t)w_column;
        ptrdiff_t k = to > from ? to - from : 0;
        V(inside) inside = exist; /* of the input rows from x on */
        for (; k >= BLOCK; k -= BLOCK, x += (size_t)BLOCK * x_tap.one, w += (size_t)BLOCK * w_tap.one) {
            if (EDGE && (REUSE > 1 || inside.lo > 0 || inside.hi < (R - 1) * REUSE + BLOCK))
                V(tall_taps)(acc, x, x_tap, w, w_tap, inside, lanes, R, BLOCK, REUSE, 1, PARTS);
            else
                V(tall_taps)(acc, x, x_tap, w, w_tap, inside, lanes, R, BLOCK, REUSE, 0, PARTS);
            if (EDGE)
                inside.lo -= BLOCK, inside.hi -= BLOCK;
        }
        if (EDGE) { /* halves, which is less code than a case for each rest */
            DW_TALL_HALF(8)
            DW_TALL_HALF(4)
            DW_TALL_HALF(2)
            DW_TALL_HALF(1)
        } else {
            if (BLOCK > 8)
                for (; k >= 4; k -= 4, x += 4 * x_tap.one, w += 4 * w_tap.one)
                    V(tall_taps)(acc, x, x_tap, w, w_tap, inside, lanes, R, 4, REUSE, 0, 0);
            switch (k) {
                DW_TALL_REST(1)
                DW_TALL_REST(2)
                DW_TALL_REST(3)
#if DW_REGISTERS >= 32
                DW_TALL_REST(4)
                DW_TALL_REST(5)
                DW_TALL_REST(6)
                DW_TALL_REST(7)
#endif
            }
        }

        at = (uintptr_t)(y + lane);
        if (end == DW_ACTIVATED)
            V(put_activated)(job, acc, y + lane, PARTS ? lanes : LANES, R, PARTS);
        else if (PARTS) {
            DW_UNROLL
            for (int r = 0; r < R; r++)
                V(store_tail)((T *)V(row_at)(&at, y_row, r), acc[r], lanes);
        } else if (end == DW_PLAIN) {
            DW_UNROLL
            for (int r = 0; r < R; r++)
                V(store)((T *)V(row_at)(&at, y_row, r), acc[r]);
        } else {
            DW_UNROLL
            for (int r = 0; r < R; r++)
                V(stream)((T *)V(row_at)(&at, y_row, r), acc[r]);
        }
    }
}
#undef DW_TALL_REST
#undef DW_TALL_HALF

/* `exist`: those of the input rows of the block. */
#define DW_TALL(R, REUSE, BLOCK)                                                                                    \
    static DW_NOINLINE void V(inner_##R##_by_##REUSE)(const dw_rows *job, ptrdiff_t row)                            \
    {                                                                                                               \
        V(tall_columns)(job, row, (V(inside)){0, 0}, R, REUSE, BLOCK, 0, 0);                                         \
    }                                                                                                               \
    static DW_NOINLINE void V(edge_##R##_by_##REUSE)(const dw_rows *job, ptrdiff_t row, V(inside) exist)            \
    {                                                                                                               \
        V(tall_columns)(job, row, exist, R, REUSE, BLOCK, 1, 0);                                                     \
    }                                                                                                               \
    static void V(tall_##R##_by_##REUSE)(const dw_rows *job, ptrdiff_t row, V(inside) exist)                        \
    {                                                                                                               \
        if (exist.lo > 0 || exist.hi < ((R) - 1) * (REUSE) + job->taps)                                             \
            V(edge_##R##_by_##REUSE)(job, row, exist);                                                              \
        else                                                                                                        \
            V(inner_##R##_by_##REUSE)(job, row);                                                                    \
    }
#if DW_REGISTERS >= 32
DW_TALL(16, 1, 8)
DW_TALL(12, 1, 8)
DW_TALL(8, 1, 8)
DW_TALL(4, 1, 8)
DW_TALL(12, 2, 8)
DW_TALL(12, 3, 12)
DW_TALL(12, 4, 16)
#else
DW_TALL(12, 1, 2)
DW_TALL(8, 1, 4)
DW_TALL(4, 1, 4)
#endif
#undef DW_TALL

#define DW_TALL_PART(R, BLOCK)                                                                                      \
    static DW_NOINLINE void V(part_##R)(const dw_rows *job, ptrdiff_t row, V(inside) exist)                         \
    {                                                                                                               \
        V(tall_columns)(job, row, exist, R, 1, BLOCK, 1, 1);                                                        \
    }
#if DW_REGISTERS >= 32
DW_TALL_PART(16, 8)
DW_TALL_PART(8, 8)
#else
DW_TALL_PART(8, 4)
#endif
#undef DW_TALL_PART

/* How many rows to take when so many are left: all of them in the end, or a few more. */
static ptrdiff_t V(tall_size)(const dw_rows *job, ptrdiff_t left, ptrdiff_t reuse)
{
    const ptrdiff_t most = job->block, up = (left + 3) / 4 * 4;
    if (reuse > 1)
        return 12;
    if (job->lanes < LANES)
        return DW_REGISTERS >= 32 && left > 8 && job->rows >= 16 ? 16 : 8;
    if (DW_REGISTERS >= 32 && most >= 16 && (left >= 32 || up == 16 || up == 28 || up == 32))
        return 16;
    if (most >= 12 && (left >= 24 || up == 12 || up == 20 || up == 24 || (up == 28 && most > 12)))
        return 12;
    return up == 4 ? 4 : 8;
}

static void V(tall_block)(const dw_rows *job, ptrdiff_t row, ptrdiff_t R, ptrdiff_t reuse, V(inside) exist)
{
    const int part = DW_MASKED_TAILS && job->lanes < LANES;
    if (part && R == 8) {
        V(part_8)(job, row, exist);
        return;
    }
#if DW_REGISTERS >= 32
    switch (reuse) {
    case 2: V(tall_12_by_2)(job, row, exist); return;
    case 3: V(tall_12_by_3)(job, row, exist); return;
    case 4: V(tall_12_by_4)(job, row, exist); return;
    }
    if (part) {
        V(part_16)(job, row, exist);
        return;
    }
    if (R == 16) {
        V(tall_16_by_1)(job, row, exist);
        return;
    }
#endif
    (void)reuse;
    if (R == 12)
        V(tall_12_by_1)(job, row, exist);
    else if (R == 8)
        V(tall_8_by_1)(job, row, exist);
    else
        V(tall_4_by_1)(job, row, exist);
}

#if DW_REGISTERS >= 32
#define DW_APART_ROWS 16
#else
#define DW_APART_ROWS 12
#endif

/* Rows [row, row + DW_APART_ROWS) of whole vectors that share nothing, all of whose taps exist.  There are as many as there
 * is room for, because nothing else makes one load of a weight serve more. */
static DW_NOINLINE void V(apart_rows)(const dw_rows *job, ptrdiff_t row)
{
    const V(stride) x_row = V(stride_of)(job->x_row), y_row = V(stride_of)((size_t)job->y_row);
    const size_t x_tap = job->x_tap * sizeof(T);
    const uintptr_t first = (uintptr_t)job->x + (job->x_at + (size_t)row * job->x_row) * sizeof(T);
    const ptrdiff_t w_tap = job->w_tap, w_column = job->w_column, taps = job->taps;
    const T *column = job->w;
    for (ptrdiff_t lane = 0; lane < job->lanes; lane += LANES, column += w_column) {
        VEC acc[DW_APART_ROWS];
        const T *const init = job->init ? (const T *)job->init + row * job->init_row + lane : NULL;
        DW_UNROLL
        for (int r = 0; r < DW_APART_ROWS; r++)
            acc[r] = init ? V(load)(init + r * job->init_row) : V(zero)();
        uintptr_t x = first + (size_t)lane * sizeof(T);
        const T *w = column;
        for (ptrdiff_t k = 0; k < taps; k++, x += x_tap, w += w_tap) {
            const VEC weight = V(load)(w);
            uintptr_t at = x;
            DW_UNROLL
            for (int r = 0; r < DW_APART_ROWS; r++)
                acc[r] = V(fma)(V(load)(V(row_at)(&at, x_row, r)), weight, acc[r]);
        }
        T *const y = (T *)job->y + row * job->y_row + lane;
        uintptr_t to = (uintptr_t)y;
        if (job->kind != DWCONV_LINEAR)
            V(put_activated)(job, acc, y, LANES, DW_APART_ROWS, 0);
        else {
            DW_UNROLL
            for (int r = 0; r < DW_APART_ROWS; r++)
                V(store)((T *)V(row_at)(&to, y_row, r), acc[r]);
        }
    }
}
