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
/* Taps not further apart than a vector: each vector of x is loaded once, and shifted for the taps. */
DW_INLINE void V(correlate_shifted)(const dw_correlate_lines *job, const V(line_ends) *ends, ptrdiff_t steps, const int R)
{
    _Static_assert((int)V(chains) == (int)LANES, "a vector is all chains");
    const T *y = job->y;
    T *target = job->sums;
    size_t x_at = job->x_at;
    for (ptrdiff_t line = 0; line < job->lines; line++) {
        const T *x = (const T *)job->x + (ptrdiff_t)x_at;
        VEC sums[DW_FLAT_TAPS + 1], now = V(load_where)(ends->exist[0], x);
        DW_UNROLL
        for (int k = 0; k <= R; k++)
            sums[k] = V(load)(target + k * V(chains));
        for (ptrdiff_t i = 0, v = 0; i < steps; i += LANES, v++) {
            const VEC next = V(load_where)(ends->exist[v + 1], x + i + LANES);
            VEC gradient;
            if (ends->inside[v]) {
                gradient = V(load)(y + i);
                sums[0] = V(fma)(now, gradient, sums[0]);
                DW_UNROLL
                for (int k = 1; k < R; k++)
                    sums[k] = V(fma)(V(shifted)(now, next, V(shift_of)(k * job->x_tap)), gradient, sums[k]);
            } else {
                gradient = V(load_tail)(y + i, dw_min(steps - i, LANES));
                sums[0] = V(fma_where)(ends->taking_part[v][0], now, gradient, sums[0]);
                DW_UNROLL
                for (int k = 1; k < R; k++)
                    sums[k] = V(fma_where)(ends->taking_part[v][k],
                                           V(shifted)(now, next, V(shift_of)(k * job->x_tap)), gradient, sums[k]);
            }
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

/* Some steps of all lines at a time. */
static void V(correlate_near)(dw_correlate_lines job)
{
    for (ptrdiff_t steps; job.steps > 0; job.steps -= steps) {
        V(line_ends) ends;
        steps = dw_min(job.steps, V(line_vectors) * LANES);
        V(find_ends)(job.start, job.limit, job.taps, job.x_tap, steps, &ends);
        switch (job.taps) {
        case 4: V(correlate_shifted)(&job, &ends, steps, 4); break;
        case 5: V(correlate_shifted)(&job, &ends, steps, 5); break;
        case 6: V(correlate_shifted)(&job, &ends, steps, 6); break;
        case 7: V(correlate_shifted)(&job, &ends, steps, 7); break;
        case 8: V(correlate_shifted)(&job, &ends, steps, 8); break;
        }
        job.x_at += (size_t)steps;
        job.y = (const T *)job.y + steps;
        job.start += steps;
    }
}
#endif

static void V(correlate_lines)(const dw_correlate_lines *job)
{
#ifdef DW_HAS_SHIFTS
    if (job->taps >= 4 && (job->taps - 1) * job->x_tap <= LANES && job->limit > 0) { /* fewer cost no more as loads */
        V(correlate_near)(*job);
        return;
    }
#endif
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
