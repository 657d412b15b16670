/* SPDX-License-Identifier: BSD-3-Clause
 *
 * The micro-kernel of the weight gradient of sequences that are contiguous in time, with few taps: lanes are
 * neighbouring steps, so nothing is transposed, and each lane is a chain of its own (dw_correlate_lines). */

enum { V(chains) = DW_ALIGN / sizeof(T) }; /* whole vectors of every instruction set */

/* The steps [from[k], to[k]) of the tap k, of the bias behind the taps, and those of all taps. */
typedef struct V(line_steps) {
    ptrdiff_t from[DW_FLAT_TAPS + 1], to[DW_FLAT_TAPS + 1];
    ptrdiff_t all_from, all_to;
} V(line_steps);

/* One vector of steps from i, of which not all exist for all of the taps. */
DW_INLINE void V(correlate_edge)(VEC *sums, const V(line_steps) *s, const T *x, size_t at, size_t x_tap, const T *y,
                                 ptrdiff_t i, const int R)
{
    DW_UNROLL
    for (int k = 0; k < R; k++, at += x_tap) {
        const ptrdiff_t from = s->from[k] > i ? s->from[k] - i : 0, to = dw_min(s->to[k] - i, LANES);
        if (from < to)
            sums[k] = V(fma)(V(load_window)(x + (ptrdiff_t)at, from, to), V(load_window)(y + i, from, to), sums[k]);
    }
    sums[R] = V(add)(sums[R], V(load_window)(y + i, 0, dw_min(s->to[R] - i, LANES)));
}

/* Steps i, i + chains, ... < end of one line and R taps, a vector of chains at a time. */
DW_INLINE void V(correlate_line)(const V(line_steps) *s, const T *x, size_t x_at, size_t x_tap, const T *y, T *target,
                                 ptrdiff_t i, ptrdiff_t end, const int R)
{
    VEC sums[DW_FLAT_TAPS + 1];
    const ptrdiff_t all_to = dw_min(s->all_to, end);
    DW_UNROLL
    for (int k = 0; k <= R; k++)
        sums[k] = V(load)(target + k * V(chains));
    for (; i < end && i < s->all_from; i += V(chains))
        V(correlate_edge)(sums, s, x, x_at + (size_t)i, x_tap, y, i, R);
    for (; i + LANES <= all_to; i += V(chains)) {
        const VEC gradient = V(load)(y + i);
        size_t at = x_at + (size_t)i;
        DW_UNROLL
        for (int k = 0; k < R; k++, at += x_tap)
            sums[k] = V(fma)(V(load)(x + (ptrdiff_t)at), gradient, sums[k]);
        sums[R] = V(add)(sums[R], gradient);
    }
    for (; i < end; i += V(chains))
        V(correlate_edge)(sums, s, x, x_at + (size_t)i, x_tap, y, i, R);
    DW_UNROLL
    for (int k = 0; k <= R; k++)
        V(store)(target + k * V(chains), sums[k]);
}

DW_INLINE void V(correlate_few)(const dw_correlate_lines *job, const V(line_steps) *s, const int R)
{
    enum { BLOCK = 512 }; /* steps that stay in the cache until all chains had theirs */
    const T *x = job->x, *y = job->y;
    T *target = job->sums;
    size_t x_at = job->x_at;
    for (ptrdiff_t line = 0; line < job->lines; line++) {
        for (ptrdiff_t from = 0; from < job->steps; from += BLOCK)
            for (int part = 0; part < V(chains); part += LANES)
                V(correlate_line)(s, x, x_at, (size_t)job->x_tap, y, target + part, from + part,
                                  dw_min(from + BLOCK, job->steps), R);
        x_at += (size_t)job->x_line;
        y += job->y_line;
        target += (R + 1) * V(chains);
    }
}

#ifdef DW_HAS_SHIFTS
/* Whole vectors, taps not further apart than one: each vector of x is loaded once, and shifted for the taps.  What is
 * zero because it does not exist is multiplied as well, so the steps of dy there must be finite. */
DW_INLINE void V(correlate_shifted)(const dw_correlate_lines *job, const int R)
{
    const T *x = job->x, *y = job->y;
    T *target = job->sums;
    size_t x_at = job->x_at;
    for (ptrdiff_t line = 0; line < job->lines; line++) {
        VEC sums[DW_FLAT_TAPS + 1], now = V(load_steps)(x, x_at, 0, job->start, job->limit);
        DW_UNROLL
        for (int k = 0; k <= R; k++)
            sums[k] = V(load)(target + k * V(chains));
        for (ptrdiff_t i = 0; i < job->steps; i += LANES) {
            const VEC next = V(load_steps)(x, x_at, i + LANES, job->start, job->limit);
            const VEC gradient = V(load)(y + i);
            sums[0] = V(fma)(now, gradient, sums[0]);
            DW_UNROLL
            for (int k = 1; k < R; k++)
                sums[k] = V(fma)(V(shifted)(now, next, V(shift_of)(k * job->x_tap)), gradient, sums[k]);
            sums[R] = V(add)(sums[R], gradient);
            now = next;
        }
        DW_UNROLL
        for (int k = 0; k <= R; k++)
            V(store)(target + k * V(chains), sums[k]);
        x_at += (size_t)job->x_line;
        y += job->y_line;
        target += (R + 1) * V(chains);
    }
}

/* Whether that gives the right result. */
static bool V(can_shift)(const dw_correlate_lines *job, const V(line_steps) *s)
{
    _Static_assert((int)V(chains) == (int)LANES, "a vector is all chains");
    if (job->steps % LANES != 0 || job->taps < 4 || (job->taps - 1) * job->x_tap > LANES) /* fewer cost no more as loads */
        return false;
    VEC zeros = V(zero)();
    const T *y = job->y;
    for (ptrdiff_t line = 0; line < job->lines; line++, y += job->y_line)
        for (ptrdiff_t i = 0; i < job->steps; i += LANES) {
            if (i >= s->all_from && i < s->all_to) /* on to the last vectors */
                i = dw_max(i, s->all_to / LANES * LANES);
            if (i < job->steps)
                zeros = V(fma)(V(load)(y + i), V(zero)(), zeros);
        }
    T values[LANES];
    V(store)(values, zeros);
    bool finite = true;
    for (int l = 0; l < LANES; l++)
        finite &= values[l] == 0;
    return finite;
}
#endif

static void V(correlate_lines)(const dw_correlate_lines *job)
{
    V(line_steps) s = {.all_to = job->steps};
    for (ptrdiff_t k = 0; k < job->taps; k++) {
        int64_t from, to;
        dw_interior(job->start + k * job->x_tap, 1, 0, job->limit, job->steps, &from, &to);
        s.from[k] = (ptrdiff_t)from;
        s.to[k] = (ptrdiff_t)to;
        s.all_from = dw_max(s.all_from, s.from[k]);
        s.all_to = dw_min(s.all_to, s.to[k]);
    }
    s.to[job->taps] = job->steps;
#ifdef DW_HAS_SHIFTS
    if (V(can_shift)(job, &s)) {
        switch (job->taps) {
        case 4: V(correlate_shifted)(job, 4); return;
        case 5: V(correlate_shifted)(job, 5); return;
        case 6: V(correlate_shifted)(job, 6); return;
        case 7: V(correlate_shifted)(job, 7); return;
        case 8: V(correlate_shifted)(job, 8); return;
        }
    }
#endif
    switch (job->taps) {
    case 0: V(correlate_few)(job, &s, 0); break;
    case 1: V(correlate_few)(job, &s, 1); break;
    case 2: V(correlate_few)(job, &s, 2); break;
    case 3: V(correlate_few)(job, &s, 3); break;
    case 4: V(correlate_few)(job, &s, 4); break;
    case 5: V(correlate_few)(job, &s, 5); break;
    case 6: V(correlate_few)(job, &s, 6); break;
    case 7: V(correlate_few)(job, &s, 7); break;
    case 8: V(correlate_few)(job, &s, 8); break;
    }
    V(leave)();
}

/* The chains of one tap of one line, halved until they fit a vector. */
DW_INLINE VEC V(fold)(const T *chains)
{
    VEC v[V(chains) / LANES];
    DW_UNROLL
    for (int i = 0; i < V(chains) / LANES; i++)
        v[i] = V(load)(chains + i * LANES);
    DW_UNROLL
    for (int half = V(chains) / LANES / 2; half > 0; half /= 2) {
        DW_UNROLL
        for (int i = 0; i < half; i++)
            v[i] = V(add)(v[i], v[i + half]);
    }
    return v[0];
}

static void V(add_chains)(const void *sums, ptrdiff_t rows, ptrdiff_t lines, void *target, ptrdiff_t target_row)
{
    for (ptrdiff_t k = 0; k < rows; k++)
        for (ptrdiff_t line = 0; line < lines; line += LANES) {
            const T *chains = (const T *)sums + (line * rows + k) * V(chains);
            const ptrdiff_t n = lines - line < LANES ? lines - line : LANES;
            VEC v[LANES];
            for (int l = 0; l < LANES; l++)
                v[l] = l < n ? V(fold)(chains + l * rows * V(chains)) : V(zero)();
            V(transpose)(v);
            DW_UNROLL
            for (int half = LANES / 2; half > 0; half /= 2) {
                DW_UNROLL
                for (int i = 0; i < half; i++)
                    v[i] = V(add)(v[i], v[i + half]);
            }
            V(store_tail)((T *)target + k * target_row + line, v[0], n);
        }
    V(leave)();
}
