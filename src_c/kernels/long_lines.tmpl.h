/* SPDX-License-Identifier: BSD-3-Clause
 *
 * Many taps on a sequence that is contiguous in time: lanes are steps.
 *
 * Vector v of the results needs, at tap k, the elements of x from step v*LANES + k*x_tap on: a load that straddles two
 * lines of the cache, which costs as much as a multiply-add.  After `period` taps this is the vector that another
 * vector of results, `apart` further, had needed at its first tap.  So a stream of such vectors is computed in step,
 * each a period behind the one before it: every load serves all that are under way, at most DW_LINE_LIVE, each at a
 * tap of its own.  Several streams, in other places of the sequence, share the weights and fill the time that one
 * multiply-add waits for the one before it.  Where x ends, lanes whose element does not exist keep their sum. */

#ifdef DW_HAS_SHIFTS
/* Where a group of streams is: all of them at the same tap. */
typedef struct V(streams) {
    const T *x[DW_LINE_STREAMS], *w;
    const uint16_t *exist[DW_LINE_STREAMS];
    ptrdiff_t x_tap, period;
    ptrdiff_t q, inside, outside; /* taps since the first result began; windows from inside up to outside need no mask */
} V(streams);

DW_INLINE void V(tap_of_streams)(const V(streams) *s, const T *w, ptrdiff_t i, VEC (*sum)[DW_LINE_STREAMS],
                                 const int FROM, const int TO, const int G, const int MASKED)
{
    VEC weight[DW_LINE_LIVE];
    DW_UNROLL
    for (int r = FROM; r < TO; r++) {
        weight[r] = V(set1)(w[-r * s->period]);
        DW_HOLD(weight[r]);
    }
    DW_UNROLL
    for (int g = 0; g < G; g++) {
        const V(mask) exist = (V(mask))(MASKED ? s->exist[g][i] : 0);
        VEC window = MASKED ? V(load_where)(exist, s->x[g] + i) : V(load)(s->x[g] + i);
        if (TO - FROM > 1)
            DW_HOLD(window);
        DW_UNROLL
        for (int r = FROM; r < TO; r++)
            sum[r][g] = MASKED ? V(fma_where)(exist, window, weight[r], sum[r][g]) : V(fma)(window, weight[r], sum[r][g]);
    }
}

/* The next taps of results [FROM, TO) of those under way.  Result r is r periods behind tap k. */
DW_INLINE void V(taps_of_streams)(V(streams) *s, ptrdiff_t k, ptrdiff_t taps, VEC (*sum)[DW_LINE_STREAMS],
                                  const int FROM, const int TO, const int G)
{
    const T *w = s->w + k, *const end = w + taps;
    ptrdiff_t i = s->q * s->x_tap;
    const ptrdiff_t masked = dw_clamp(s->inside - s->q, 0, taps), plain = dw_clamp(s->outside - s->q, masked, taps);
    const T *const first_plain = w + masked, *const last_plain = w + plain;
    s->q += taps;
    for (; w < first_plain; w++, i += s->x_tap)
        V(tap_of_streams)(s, w, i, sum, FROM, TO, G, 1);
    for (; w < last_plain; w++, i += s->x_tap)
        V(tap_of_streams)(s, w, i, sum, FROM, TO, G, 0);
    for (; w < end; w++, i += s->x_tap)
        V(tap_of_streams)(s, w, i, sum, FROM, TO, G, 1);
}

/* `count` results of each of G streams, N of them under way together: count >= N, and either N periods are no less than all
 * taps or count is N. */
DW_INLINE void V(convolve_streams)(const dw_line_streams *job, const ptrdiff_t *vectors, ptrdiff_t count, const int N,
                                   const int G)
{
    const ptrdiff_t K = job->taps, p = job->period, advance = job->apart * LANES, last = K - (N - 1) * p;
    const VEC first = job->init ? V(set1)(*(const T *)job->init) : V(zero)();
    V(streams) s = {.w = job->w, .x_tap = job->x_tap, .period = p};
    T *y[DW_LINE_STREAMS];
    int64_t lowest = INT64_MAX, highest = INT64_MIN;
    DW_UNROLL
    for (int g = 0; g < G; g++) {
        const int64_t at = job->start + vectors[g] * LANES;
        s.x[g] = (const T *)job->x + at;
        s.exist[g] = job->exist + at;
        y[g] = (T *)job->y + vectors[g] * LANES;
        lowest = dw_min(lowest, at);
        highest = dw_max(highest, at);
    }
    s.inside = (ptrdiff_t)(lowest < 0 ? (-lowest - 1) / s.x_tap + 1 : 0);
    s.outside = (ptrdiff_t)dw_floor_div(job->limit - LANES - highest, s.x_tap) + 1;

    VEC sum[DW_LINE_LIVE][DW_LINE_STREAMS];
    DW_UNROLL
    for (int r = 0; r < N; r++)
        DW_UNROLL
        for (int g = 0; g < G; g++)
            sum[r][g] = first;
    DW_UNROLL
    for (int r = 1; r < N; r++)
        V(taps_of_streams)(&s, (r - 1) * p, p, sum, 0, r, G);
    for (; count > N; count--) {
        V(taps_of_streams)(&s, (N - 1) * p, last, sum, 0, N, G);
        V(taps_of_streams)(&s, K, N * p - K, sum, 1, N, G);
        DW_UNROLL
        for (int g = 0; g < G; g++) {
            V(store)(y[g], sum[0][g]);
            y[g] += advance;
            DW_UNROLL
            for (int r = 1; r < N; r++)
                sum[r - 1][g] = sum[r][g];
            sum[N - 1][g] = first;
        }
    }
    V(taps_of_streams)(&s, (N - 1) * p, last, sum, 0, N, G);
    DW_UNROLL
    for (int r = 0; r < N; r++) {
        if (r > 0)
            V(taps_of_streams)(&s, K + (r - 1) * p, p, sum, r, N, G);
        DW_UNROLL
        for (int g = 0; g < G; g++) {
            const ptrdiff_t left = (T *)job->y + job->steps - (y[g] + r * advance);
            if (left >= LANES)
                V(store)(y[g] + r * advance, sum[r][g]);
            else
                V(store_tail)(y[g] + r * advance, sum[r][g], left);
        }
    }
}

#define DW_GROUP(N, G)                                                                                                  static void V(convolve_##N##_of_##G)(const dw_line_streams *job, const ptrdiff_t *vectors, ptrdiff_t count)         {                                                                                                                       V(convolve_streams)(job, vectors, count, N, G);                                                                 }
DW_GROUP(1, 6)
DW_GROUP(2, 4)
DW_GROUP(2, 5)
DW_GROUP(2, 6)
DW_GROUP(3, 3)
DW_GROUP(3, 4)
DW_GROUP(3, 5)
DW_GROUP(4, 3)
DW_GROUP(4, 4)
DW_GROUP(4, 5)
#undef DW_GROUP

static void V(conv_line_streams)(const dw_line_streams *job)
{
    static void (*const groups[DW_LINE_LIVE][DW_LINE_STREAMS])(const dw_line_streams *, const ptrdiff_t *, ptrdiff_t) = {
        {[5] = V(convolve_1_of_6)},
        {[3] = V(convolve_2_of_4), V(convolve_2_of_5), V(convolve_2_of_6)},
        {[2] = V(convolve_3_of_3), V(convolve_3_of_4), V(convolve_3_of_5)},
        {[2] = V(convolve_4_of_3), V(convolve_4_of_4), V(convolve_4_of_5)},
    };
    void (*const convolve)(const dw_line_streams *, const ptrdiff_t *, ptrdiff_t)
        = groups[job->live - 1][job->streams - 1];
    const ptrdiff_t vectors = (job->steps + LANES - 1) / LANES;
    ptrdiff_t at[DW_LINE_STREAMS];
    int used = 0;
    for (ptrdiff_t c = 0; c < job->apart && c < vectors; c++) {
        const ptrdiff_t results = (vectors - c - 1) / job->apart + 1;
        for (ptrdiff_t i = 0; i < results; i += job->count) { /* the last stream may repeat a part of the one before */
            at[used++] = c + (i + job->count <= results ? i : results - job->count) * job->apart;
            if (used == job->streams) {
                convolve(job, at, job->count);
                used = 0;
            }
        }
    }
    if (used > 0) { /* and the last group a stream */
        for (int g = used; g < job->streams; g++)
            at[g] = at[used - 1];
        convolve(job, at, job->count);
    }
    V(leave)();
}
#endif
