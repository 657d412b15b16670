/* SPDX-License-Identifier: BSD-3-Clause
 *
 * The micro-kernel: blocks of R rows times one vector of lanes, accumulators in registers over all taps.
 *
 * Row r of a block at tap k needs input row r*REUSE + k (in units of one tap), so neighbouring rows share input.
 * `block` therefore walks input rows, not taps: it loads each of the (R-1)*REUSE + TAPS input rows once and feeds
 * it to every accumulator it meets.  Seen from one accumulator the taps still arrive in ascending order, which
 * is the promise the same bits rest on.  REUSE 1: stride 1; 2 to 4: that stride, and
 * blocks of four taps for each unit of it, because rows meet only so far on; 0: any distance, nothing is shared.
 *
 * R is 8, or 1, 2 or 4 where rows and their results would push each other out of the cache (dw_rows.block).  Whole vectors
 * with many taps go to tall_rows, which takes more rows at a time.
 *
 * The sums of a block go to y directly, clipped on the way, or by way of the stack through an activation, which overlaps
 * with the loads of the next block.
 *
 * Taps leave the input only at the first and last rows of a problem.  There, the few taps that are inside for some
 * rows of a block and outside for others are checked: each input row once where rows are shared, each (row, tap)
 * otherwise. */

DW_INLINE VEC V(load_part)(const T *p, ptrdiff_t n, const int tail)
{
    if (!tail)
        return V(load)(p);
    DW_ASSUME(0 < n && n < LANES);
    return V(load_tail)(p, n);
}

/* Offsets may have wrapped around on the way; at an element they are right. */
DW_INLINE const T *V(offset)(const T *x, size_t at)
{
    return x + (ptrdiff_t)at;
}

/* acc[r] += x[r*REUSE + k] * w[k] for k < TAPS; with CHECK only for the input rows that are inside. */
DW_INLINE void V(block)(VEC *acc, const T *x, size_t i, size_t x_tap, const T *w, ptrdiff_t w_tap, ptrdiff_t lanes,
                        V(inside) inside, const int R, const int TAPS, const int REUSE, const int CHECK,
                        const int tail)
{
    VEC weight[4];
    DW_UNROLL
    for (int k = 0; k < TAPS; k++)
        weight[k] = V(load_part)(w + k * w_tap, lanes, tail);
    /* One offset that grows, hidden from the compiler: it would keep a multiple of x_tap for every row in registers,
     * and for want of registers in memory. */
    DW_UNROLL
    for (int row = 0; row < (R - 1) * REUSE + TAPS; row++, i += x_tap) {
        DW_OPAQUE(i);
        if (CHECK && (row < inside.lo || row >= inside.hi))
            continue;
        VEC value = V(load_part)(x + (ptrdiff_t)i, lanes, tail);
        DW_HOLD(value); /* or it would be loaded again for every use */
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

/* One vector of lanes of a block of rows: which rows, which lanes, and the weights of these lanes. */
typedef struct V(place) {
    ptrdiff_t row, lane, lanes;
    const T *w;
} V(place);

/* Taps [from, to) of a block, each (row, tap) checked. */
DW_INLINE void V(clipped)(VEC *acc, const dw_rows *job, V(place) at, ptrdiff_t from, ptrdiff_t to, const int R,
                          const int tail)
{
    const T *x = job->x;
    for (ptrdiff_t k = from; k < to; k++) {
        const VEC weight = V(load_part)(at.w + k * job->w_tap, at.lanes, tail);
        DW_UNROLL
        for (int r = 0; r < R; r++) {
            const int64_t step = job->start + (at.row + r) * job->advance + k * job->dilation;
            if (step >= 0 && step < job->limit) {
                const size_t i =
                    job->x_at + (size_t)(at.row + r) * job->x_row + (size_t)k * job->x_tap + (size_t)at.lane;
                acc[r] = V(fma)(V(load_part)(x + (ptrdiff_t)i, at.lanes, tail), weight, acc[r]);
            }
        }
    }
}

/* Taps [from, to) of a block whose rows share input rows. */
DW_INLINE void V(shared)(VEC *acc, const dw_rows *job, V(place) at, ptrdiff_t from, ptrdiff_t to, const int R,
                         const int REUSE, const int CHECK, const int tail)
{
    if (from >= to)
        return;
    const T *x = job->x;
    const T *w = at.w + from * job->w_tap;
    size_t i = job->x_at + (size_t)at.row * job->x_row + (size_t)from * job->x_tap + (size_t)at.lane;
    V(inside) inside = {0, 0};
    if (CHECK) {
        const int64_t start = job->start + at.row * job->advance + from * job->dilation;
        inside.lo = (ptrdiff_t)dw_ceil_div(-start, job->dilation);
        inside.hi = (ptrdiff_t)dw_ceil_div(job->limit - start, job->dilation);
    }
    const ptrdiff_t lanes = at.lanes, w_tap = job->w_tap;
    const size_t x_tap = job->x_tap;
    ptrdiff_t k = to - from;
    for (; k >= 4; k -= 4, i += 4 * x_tap, w += 4 * w_tap, inside.lo -= 4, inside.hi -= 4)
        V(block)(acc, x, i, x_tap, w, w_tap, lanes, inside, R, 4, REUSE, CHECK, tail);
    switch (k) {
    case 3: V(block)(acc, x, i, x_tap, w, w_tap, lanes, inside, R, 3, REUSE, CHECK, tail); break;
    case 2: V(block)(acc, x, i, x_tap, w, w_tap, lanes, inside, R, 2, REUSE, CHECK, tail); break;
    case 1: V(block)(acc, x, i, x_tap, w, w_tap, lanes, inside, R, 1, REUSE, CHECK, tail); break;
    }
}

/* R rows of one vector of lanes, of which at.lanes exist if tail.  EDGE: taps may lie outside the input. */
DW_INLINE void V(column)(const dw_rows *job, V(taps) t, V(place) at, const int R, const int REUSE, const int EDGE,
                         const int tail)
{
    VEC acc[8];
    if (job->init) {
        const ptrdiff_t init_row = job->init_row;
        const T *init = (const T *)job->init + at.row * init_row + at.lane;
        DW_UNROLL
        for (int r = 0; r < R; r++)
            acc[r] = V(load_part)(init + r * init_row, at.lanes, tail);
    } else {
        DW_UNROLL
        for (int r = 0; r < R; r++)
            acc[r] = V(zero)();
    }

    if (REUSE) {
        const ptrdiff_t cuts[4] = {t.lo, t.full_lo, t.full_hi, t.hi};
        for (int part = EDGE ? 0 : 1; part < (EDGE ? 3 : 2); part++)
            if (part == 1)
                V(shared)(acc, job, at, cuts[1], cuts[2], R, REUSE, 0, tail);
            else
                V(shared)(acc, job, at, cuts[part], cuts[part + 1], R, REUSE, 1, tail);
    } else {
        V(clipped)(acc, job, at, t.lo, t.full_lo, R, tail);
        size_t i = job->x_at + (size_t)at.row * job->x_row + (size_t)t.full_lo * job->x_tap + (size_t)at.lane;
        const T *w = at.w + t.full_lo * job->w_tap;
        for (ptrdiff_t k = t.full_lo; k < t.full_hi; k++, i += job->x_tap, w += job->w_tap)
            V(single)(acc, V(offset)((const T *)job->x, i), job->x_row, w, at.lanes, R, tail);
        V(clipped)(acc, job, at, t.full_hi, t.hi, R, tail);
    }

    const ptrdiff_t y_row = job->y_row;
    T *y = (T *)job->y + at.row * y_row + at.lane;
    if (job->kind != DWCONV_LINEAR) {
        V(put_activated)(job, acc, y, at.lanes, R, tail);
        return;
    }
    if (!tail && job->stream) {
        DW_UNROLL
        for (int r = 0; r < R; r++)
            V(stream)(y + r * y_row, acc[r]);
        return;
    }
    DW_UNROLL
    for (int r = 0; r < R; r++) {
        if (tail)
            V(store_tail)(y + r * y_row, acc[r], at.lanes);
        else
            V(store)(y + r * y_row, acc[r]);
    }
}

/* R rows over all lanes. */
DW_INLINE void V(row_block)(const dw_rows *job, V(taps) t, ptrdiff_t row, const int R, const int REUSE,
                            const int EDGE)
{
    V(place) at = {.row = row, .lanes = job->head > 0 ? job->head : LANES, .w = job->w};
    while (at.lane < job->lanes) {
        at.lanes = dw_min(at.lanes, job->lanes - at.lane);
        if (at.lanes == LANES)
            V(column)(job, t, at, R, REUSE, EDGE, 0);
        else
            V(column)(job, t, at, R, DW_MASKED_TAILS && REUSE == 1, EDGE, 1);
        at.lane += at.lanes;
        at.lanes = LANES;
        at.w += job->w_column;
    }
}

/* Fewer rows than a block: what is left at the end. */
DW_INLINE void V(last_rows)(const dw_rows *job, ptrdiff_t row, const int REUSE)
{
    if ((job->rows - row) & 4) {
        V(row_block)(job, V(taps_of)(job, row, 4), row, 4, REUSE, 1);
        row += 4;
    }
    for (; row < job->rows; row++)
        V(row_block)(job, V(taps_of)(job, row, 1), row, 1, 1, 1);
}

/* Rows from `row` on: any distance, taps that leave the input, parts of vectors. */
static void V(any_rows)(const dw_rows *job, ptrdiff_t row)
{
    const int shared = job->x_row == job->x_tap, twice = job->x_row == 2 * job->x_tap;
    if (!shared && !twice && !job->clip && !job->stream && job->head == 0 && job->lanes % LANES == 0
        && job->taps > DW_FLAT_TAPS && job->rows - row >= DW_APART_ROWS) {
        for (; row + DW_APART_ROWS <= job->rows; row += DW_APART_ROWS)
            V(apart_rows)(job, row);
        if (row < job->rows && job->init_row == 0) { /* some rows twice */
            V(apart_rows)(job, job->rows - DW_APART_ROWS);
            return;
        }
    }
    const int R = shared && job->block == 4 ? 4 : 8;
    for (; row + R <= job->rows; row += R) {
        const V(taps) t = V(taps_of)(job, row, R);
        if (R == 4)
            V(row_block)(job, t, row, 4, 1, 1);
        else if (shared)
            V(row_block)(job, t, row, 8, 1, 1);
        else if (twice)
            V(row_block)(job, t, row, 8, 2, 1);
        else
            V(row_block)(job, t, row, 8, 0, 1);
    }
    if (shared)
        V(last_rows)(job, row, 1);
    else
        V(last_rows)(job, row, 0);
}

/* Input rows that exist, counted in taps from the first one of a job. */
static V(inside) V(inside_of)(const dw_rows *job, ptrdiff_t reuse)
{
    const int64_t reach = (job->rows - 1) * reuse + job->taps, start = job->start, d = job->dilation;
    if (!job->clip)
        return (V(inside)){0, (ptrdiff_t)reach};
    return (V(inside)){(ptrdiff_t)dw_clamp(dw_ceil_div(-start, d), 0, reach),
                       (ptrdiff_t)dw_clamp(dw_ceil_div(job->limit - start, d), 0, reach)};
}

/* Many taps, rows that begin `reuse` taps after one another; whole vectors, or parts where they load as fast. */
static void V(tall_rows)(const dw_rows *job, ptrdiff_t reuse, V(inside) exist)
{
    for (ptrdiff_t row = 0, R; row < job->rows; row += R) {
        const ptrdiff_t left = job->rows - row;
        R = V(tall_size)(job, left, reuse);
        if (R > left && R <= job->rows && job->init_row == 0)
            row = job->rows - R; /* some rows twice, which is faster than few at a time */
        else if (R > left) { /* not where sums rest in the rows where they begin */
            R = left / 4 * 4;
            if (R == 0 || reuse > 1 || job->lanes < LANES) {
                V(any_rows)(job, row);
                return;
            }
        }
        V(tall_block)(job, row, R, reuse, (V(inside)){exist.lo - row * reuse, exist.hi - row * reuse});
    }
}

/* How many taps later the next row begins, if blocks of many rows are the way, or 0. */
static ptrdiff_t V(tall_reuse)(const dw_rows *job)
{
    ptrdiff_t reuse = DW_TALL_REUSE;
    while (reuse > 0 && job->x_row != (size_t)reuse * job->x_tap)
        reuse--;
    if (reuse == 1)
        return job->taps > DW_FLAT_TAPS && job->block >= 8;
    return job->taps >= 4 * reuse ? reuse : 0;
}

static void V(phases)(const dw_rows *job, ptrdiff_t reuse)
{
    const V(inside) exist = V(inside_of)(job, reuse); /* the same for all phases */
    const dw_rows *phase = job;
    dw_rows next; /* made after the first phase: a copy of a job that has just been written would wait for the writes */
    for (ptrdiff_t left = job->phases;; phase = &next) {
        if (reuse)
            V(tall_rows)(phase, reuse, exist);
        else
            V(any_rows)(phase, 0);
        if (--left <= 0)
            return;
        if (phase == job)
            next = *job;
        next.x_at += job->x_phase;
        next.y = (T *)next.y + job->y_phase;
    }
}

/* Part of a job: rows from `row`, lanes from `lane`, which is where column `column` begins. */
static void V(rest)(const dw_rows *job, ptrdiff_t row, ptrdiff_t rows, ptrdiff_t lane, ptrdiff_t lanes, ptrdiff_t column,
                    ptrdiff_t reuse)
{
    dw_rows part = *job;
    if (rows <= 0 || lanes <= 0)
        return;
    part.x_at += (size_t)row * job->x_row + (size_t)lane;
    part.w = (const T *)job->w + column * job->w_column;
    part.init = job->init ? (const T *)job->init + lane : NULL;
    part.y = (T *)job->y + row * job->y_row + lane;
    part.rows = rows;
    part.lanes = lanes;
    part.head = lane == 0 && lanes > job->head ? job->head : 0;
    V(phases)(&part, DW_MASKED_TAILS && reuse == 1 && lanes < LANES);
}

static void V(conv_rows)(const dw_rows *job)
{
    ptrdiff_t block = 1;
    void (*const kernel)(const dw_rows *) = V(short_kernel)(job, &block);
    const ptrdiff_t reuse = kernel ? 0 : V(tall_reuse)(job);
    if (reuse && job->head == 0 && job->lanes % LANES == 0)
        V(phases)(job, reuse);
    else if (kernel || reuse) {
        const ptrdiff_t head = job->head, columns = (job->lanes - head) / LANES;
        dw_rows whole = *job;
        if (job->rows < block || job->rows % block == 1) /* one row by itself is faster */
            whole.rows -= job->rows % block;
        whole.lanes = columns * LANES;
        whole.head = 0;
        whole.x_at += (size_t)head;
        whole.w = (const T *)job->w + (head > 0) * job->w_column;
        whole.init = job->init ? (const T *)job->init + head : NULL;
        whole.y = (T *)job->y + head;
        if (kernel)
            kernel(&whole);
        else if (columns > 0)
            V(phases)(&whole, reuse);
        V(rest)(job, 0, whole.rows, 0, head, 0, reuse);
        V(rest)(job, 0, whole.rows, head + whole.lanes, job->lanes - head - whole.lanes, columns + (head > 0),
                reuse);
        V(rest)(job, whole.rows, job->rows - whole.rows, 0, job->lanes, 0, 0);
    } else
        V(phases)(job, 0);
    V(leave)();
}

#undef DW_APART_ROWS

static void V(fence)(void)
{
    DW_STREAM_FENCE();
}
