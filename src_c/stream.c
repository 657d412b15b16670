/* SPDX-License-Identifier: BSD-3-Clause
 *
 * What a stream is: checks, sizes, how much is kept; reset, save and load.  stream_push.c does the work. */
#include "stream.h"
#include "dispatch.h"
#include "tiles.h"

#include <string.h>

#define LIMIT (INT64_MAX / 8)

/* *result = a * b for a, b >= 0; false if it exceeds LIMIT. */
static bool multiply(int64_t a, int64_t b, int64_t *result)
{
    if (a != 0 && b > LIMIT / a)
        return false;
    *result = a * b;
    return true;
}

static dwconv_status check(const dwconv_stream_problem *p)
{
    int64_t outputs, weights;
    if (p->batch < 0 || p->channels < 0 || p->depth_multiplier < 1 || p->kernel_size < 1 || p->stride < 1
        || p->dilation < 1)
        return DWCONV_ERROR_SIZE;
    if (p->layout != DWCONV_CHANNELS_LAST && p->layout != DWCONV_CHANNELS_FIRST)
        return DWCONV_ERROR_LAYOUT;
    if (p->dtype != DWCONV_F32 && p->dtype != DWCONV_F64)
        return DWCONV_ERROR_DTYPE;
    if (p->pad_left > LIMIT || p->pad_left < -LIMIT || p->pad_right > LIMIT || p->pad_right < -LIMIT
        || p->stride > LIMIT || p->batch > LIMIT)
        return DWCONV_ERROR_OVERFLOW;
    if (!multiply(p->channels, p->depth_multiplier, &outputs) || !multiply(outputs, p->kernel_size, &weights)
        || !multiply(weights, 8, &weights) || (uint64_t)weights > (uint64_t)PTRDIFF_MAX)
        return DWCONV_ERROR_OVERFLOW;
    return DWCONV_OK;
}

/* How the tile of an item lies in memory; false if its size overflows. */
static bool lay_out(dw_stream *s)
{
    const dwconv_stream_problem *p = &s->problem;
    const int64_t vector = DW_ALIGN / s->item_bytes;
    const bool last = p->layout == DWCONV_CHANNELS_LAST;
    int64_t elements, bytes;
    s->lanes = s->out_channels >= vector ? s->out_channels : 0;

    const int64_t row_bytes = dw_max(s->lanes ? s->lanes : p->channels, 1) * s->item_bytes;
    const int64_t room = dw_clamp(DW_STREAM_ROOM_BYTES / row_bytes, DW_STREAM_LEAST_ROOM,
                                  s->lanes ? DW_STREAM_MOST_ROOM : DW_STREAM_MOST_NARROW_ROOM);
    if (s->history > LIMIT / 2)
        return false;
    s->rows = s->history + dw_max(room, s->history);

    if (s->lanes) {
        const int64_t wide = DW_PANEL_BYTES / s->item_bytes;
        s->panel_lanes = p->kernel_size <= DW_DIRECT_TAPS ? s->lanes : wide;
        s->tile_row = (ptrdiff_t)dw_round_up(dw_min(s->panel_lanes, s->lanes), vector);
    } else {
        s->panel_lanes = last ? dw_max(p->channels, 1) : 1;
        s->tile_row = last ? (ptrdiff_t)p->channels : 1;
    }
    const int64_t panels = dw_ceil_div(s->lanes ? s->lanes : p->channels, s->panel_lanes);
    if (!multiply(s->rows, s->tile_row, &elements) || !multiply(elements, dw_max(panels, 1), &bytes)
        || !multiply(bytes, s->item_bytes, &bytes) || !multiply(dw_round_up(bytes, DW_ALIGN), p->batch, &elements))
        return false;
    s->tile_panel = (ptrdiff_t)(s->rows * s->tile_row);
    s->tile_bytes = (size_t)dw_round_up(bytes, DW_ALIGN);
    int64_t table;
    if (!multiply(p->batch, (int64_t)sizeof(dw_sequence), &table))
        return false;
    s->tiles_at = (size_t)dw_round_up((int64_t)sizeof(dw_state) + table, DW_ALIGN);
    s->state_bytes = s->tiles_at + (size_t)elements;
    return elements <= LIMIT - table && (uint64_t)(elements + table) <= (uint64_t)PTRDIFF_MAX / 2;
}

dwconv_status dwconv_stream_init(dwconv_stream *stream, const dwconv_stream_problem *problem, const char *isa)
{
    dw_stream s = {0};
    if (!stream || !problem)
        return DWCONV_ERROR_NULL;
    s.problem = *problem;
    const dwconv_stream_problem *p = &s.problem;
    const dwconv_status status = check(p);
    if (status != DWCONV_OK)
        return status;
    s.table = dw_find_table(isa);
    if (!s.table)
        return DWCONV_ERROR_ISA;
    s.kernels = p->dtype == DWCONV_F32 ? &s.table->f32 : &s.table->f64;
    s.item_bytes = p->dtype == DWCONV_F32 ? 4 : 8;
    s.out_channels = p->channels * p->depth_multiplier;
    if (!multiply(p->kernel_size - 1, p->dilation, &s.span))
        return DWCONV_ERROR_OVERFLOW;
    s.history = s.span + dw_max(-p->pad_right, 0);
    s.lead = s.span + 1 - p->pad_left + dw_max(-p->pad_right, 0);
    s.phases = p->dilation / dw_gcd(p->stride, p->dilation);
    if (!lay_out(&s))
        return DWCONV_ERROR_OVERFLOW;
    s.magic = DW_STREAM_MAGIC;
    memset(stream, 0, sizeof *stream);
    memcpy(stream, &s, sizeof s);
    return DWCONV_OK;
}

size_t dwconv_stream_state_size(const dwconv_stream *stream)
{
    const dw_stream *s = dw_stream_of(stream);
    return s ? s->state_bytes : 0;
}

int64_t dwconv_stream_history(const dwconv_stream *stream)
{
    const dw_stream *s = dw_stream_of(stream);
    return s ? s->history : 0;
}

int64_t dwconv_stream_delay(const dwconv_stream *stream)
{
    const dw_stream *s = dw_stream_of(stream);
    return s ? s->lead - 1 : 0;
}

dwconv_status dwconv_stream_reset(const dwconv_stream *stream, void *state, int64_t item)
{
    const dw_stream *s = dw_stream_of(stream);
    if (!stream || !state)
        return DWCONV_ERROR_NULL;
    if (!s)
        return DWCONV_ERROR_STREAM;
    if (item < -1 || item >= s->problem.batch)
        return DWCONV_ERROR_SIZE;
    dw_state *head = state;
    if (item >= 0) {
        if (!dw_state_belongs(s, head))
            return DWCONV_ERROR_STREAM;
        dw_sequences(state)[item] = (dw_sequence){0};
        return DWCONV_OK;
    }
    *head = (dw_state){DW_STATE_MAGIC, s->problem.batch, s->history, (int64_t)s->tile_bytes};
    memset(dw_sequences(state), 0, (size_t)s->problem.batch * sizeof(dw_sequence));
    return DWCONV_OK;
}

/* The most that `outputs` says of any item, or of one. */
static int64_t outputs_of(const dwconv_stream *stream, const void *state, int64_t item, int64_t in_steps, bool flush)
{
    const dw_stream *s = dw_stream_of(stream);
    if (!s || !state || in_steps < 0 || !dw_state_belongs(s, state) || item < -1 || item >= s->problem.batch)
        return -1;
    const dw_sequence *sequences = dw_sequences((void *)(uintptr_t)state);
    const int64_t end = item < 0 ? s->problem.batch : item + 1;
    int64_t most = 0;
    for (int64_t i = dw_max(item, 0); i < end; i++) {
        const int64_t position = sequences[i].position;
        if (sequences[i].flushed || position > LIMIT - in_steps)
            return -1;
        const int64_t then = flush ? dw_stream_total(s, position) : dw_stream_given(s, position + in_steps);
        most = dw_max(most, then - dw_stream_given(s, position));
    }
    return most;
}

int64_t dwconv_stream_out_steps(const dwconv_stream *stream, const void *state, int64_t item, int64_t in_steps)
{
    return outputs_of(stream, state, item, in_steps, false);
}

int64_t dwconv_stream_tail_steps(const dwconv_stream *stream, const void *state, int64_t item)
{
    return outputs_of(stream, state, item, 0, true);
}

int64_t dwconv_stream_position(const dwconv_stream *stream, const void *state, int64_t item)
{
    const dw_stream *s = dw_stream_of(stream);
    if (!s || !state || !dw_state_belongs(s, state) || item < 0 || item >= s->problem.batch)
        return -1;
    return dw_sequences((void *)(uintptr_t)state)[item].position;
}

/* The element of a portable history: steps are rows for channels_last, columns for channels_first. */
static size_t portable_at(const dw_stream *s, int64_t step, int64_t channel)
{
    const int64_t at = s->problem.layout == DWCONV_CHANNELS_LAST ? step * s->problem.channels + channel
                                                                : channel * s->history + step;
    return (size_t)(at * s->item_bytes);
}

dwconv_status dwconv_stream_save(const dwconv_stream *stream, const void *state, int64_t item,
                                 dwconv_stream_mark *mark, void *history)
{
    const dw_stream *s = dw_stream_of(stream);
    if (!stream || !state || !mark || (!history && s && s->history > 0 && s->problem.channels > 0))
        return DWCONV_ERROR_NULL;
    if (!s || !dw_state_belongs(s, state))
        return DWCONV_ERROR_STREAM;
    if (item < 0 || item >= s->problem.batch)
        return DWCONV_ERROR_SIZE;
    char *const whole = (char *)(uintptr_t)state; /* only read */
    const dw_sequence at = dw_sequences(whole)[item];
    char *tile = whole + s->tiles_at + (size_t)item * s->tile_bytes;
    const int64_t absent = s->history - at.available;
    for (int64_t step = 0; step < s->history; step++) {
        int64_t row = at.first + step - absent;
        if (at.ring && row >= s->history)
            row -= s->history;
        for (int64_t c = 0; c < s->problem.channels; c++) {
            char *target = (char *)history + portable_at(s, step, c);
            if (step < absent)
                memset(target, 0, (size_t)s->item_bytes);
            else
                memcpy(target, dw_stream_element(s, tile, row, c, 0), (size_t)s->item_bytes);
        }
    }
    *mark = (dwconv_stream_mark){at.position, at.available, at.flushed};
    return DWCONV_OK;
}

dwconv_status dwconv_stream_load(const dwconv_stream *stream, void *state, int64_t item,
                                 const dwconv_stream_mark *mark, const void *history)
{
    const dw_stream *s = dw_stream_of(stream);
    if (!stream || !state || !mark || (!history && s && s->history > 0 && s->problem.channels > 0))
        return DWCONV_ERROR_NULL;
    if (!s || !dw_state_belongs(s, state))
        return DWCONV_ERROR_STREAM;
    if (item < 0 || item >= s->problem.batch || mark->position < 0 || mark->position > LIMIT || mark->available < 0
        || mark->available > dw_min(s->history, mark->position) || mark->flushed < 0 || mark->flushed > 1)
        return DWCONV_ERROR_SIZE;
    char *tile = (char *)state + s->tiles_at + (size_t)item * s->tile_bytes;
    const int64_t copies = s->lanes ? s->problem.depth_multiplier : 1;
    for (int64_t step = 0; step < mark->available; step++)
        for (int64_t c = 0; c < s->problem.channels; c++)
            for (int64_t copy = 0; copy < copies; copy++)
                memcpy(dw_stream_element(s, tile, step, c, copy),
                       (const char *)history + portable_at(s, s->history - mark->available + step, c),
                       (size_t)s->item_bytes);
    dw_sequences(state)[item] = (dw_sequence){
        .position = mark->position, .available = mark->available, .flushed = mark->flushed,
    };
    return DWCONV_OK;
}
