/* SPDX-License-Identifier: BSD-3-Clause
 *
 * Push, step and flush.  A chunk goes through the tile of the state, block by block; if it is long, the outputs whose
 * taps are all inside it are left to dwconv_forward. */
#include "cpu.h"
#include "parallel.h"
#include "stream.h"
#include "tiles.h"

#include <string.h>

#define LIMIT (INT64_MAX / 8)

/* transposed: outputs are not rows of lanes. */
static size_t scratch_size(const dw_stream *s, int64_t in_steps, bool transposed, int max_threads)
{
    if (s->lanes && !transposed && in_steps / s->problem.stride + 1 < DW_STREAM_LONG)
        return 0;
    return (size_t)dw_max(dw_allowed_threads(max_threads), 1) * DW_WORKSPACE_BYTES + DW_ALIGN;
}

size_t dwconv_stream_workspace_size(const dwconv_stream *stream, int64_t in_steps, int max_threads)
{
    const dw_stream *s = dw_stream_of(stream);
    const bool step = in_steps == 1 && s && s->lead >= 1;
    return s ? scratch_size(s, in_steps, s->problem.layout == DWCONV_CHANNELS_FIRST && !step, max_threads) : 0;
}

/* dwconv_forward for `items` items: outputs [out, out + outs) from in_steps steps of x, the first being number
 * `base`, to y from step y_step on. */
static dwconv_status forward(const dw_feed *f, int64_t items, const char *x, dw_strides xs, int64_t in_steps,
                             int64_t base, int64_t out, int64_t outs, char *y)
{
    const dwconv_stream_problem *p = &f->stream->problem;
    const bool last = p->layout == DWCONV_CHANNELS_LAST;
    const dwconv_problem problem = {
        .batch = items, .in_steps = in_steps, .channels = p->channels, .depth_multiplier = p->depth_multiplier,
        .kernel_size = p->kernel_size, .stride = p->stride, .dilation = p->dilation,
        .pad_left = base + p->pad_left - out * p->stride, .out_steps = outs,
        .x_batch_stride = xs.batch, .x_row_stride = last ? xs.step : xs.channel,
        .y_batch_stride = f->ys.batch, .y_row_stride = last ? f->ys.step : f->ys.channel,
        .layout = p->layout, .dtype = p->dtype,
    };
    dwconv_plan plan;
    const dwconv_status status = dw_plan_with(&plan, &problem, f->stream->table);
    dwconv_exec exec = *f->exec;
    exec.stop = NULL; /* a state is that of one sequence: all of it goes on, or none */
    return status == DWCONV_OK ? dwconv_forward(&plan, x, f->w, f->bias, &f->activation, y, &exec) : status;
}

static char *output_at(const dw_feed *f, int64_t item, int64_t step)
{
    return f->y + (item * f->ys.batch + step * f->ys.step) * f->stream->item_bytes;
}

/* Chunk steps to the tile of an array. */
static void append(const dw_feed *f, const dw_block *block, int64_t item)
{
    const dw_stream *s = f->stream;
    char *tile = f->tiles + (size_t)item * s->tile_bytes;
    const char *x = f->x + (item * f->xs.batch + block->chunk_step * f->xs.step) * s->item_bytes;
    const int64_t row = block->first + block->available;
    if (f->xs.step == 1 && s->tile_row == 1) {
        for (int64_t c = 0; c < s->problem.channels; c++)
            memcpy(dw_stream_element(s, tile, row, c, 0), x + c * f->xs.channel * s->item_bytes,
                   (size_t)(block->append * s->item_bytes));
        return;
    }
    if (f->xs.channel == 1 && s->tile_row != 1) {
        for (int64_t i = 0; i < block->append; i++)
            memcpy(dw_stream_element(s, tile, row + i, 0, 0), x + i * f->xs.step * s->item_bytes,
                   (size_t)(s->problem.channels * s->item_bytes));
        return;
    }
    for (int64_t i = 0; i < block->append; i++)
        for (int64_t c = 0; c < s->problem.channels; c++)
            memcpy(dw_stream_element(s, tile, row + i, c, 0),
                   x + (i * f->xs.step + c * f->xs.channel) * s->item_bytes, (size_t)s->item_bytes);
}

/* Moves the history to where the block begins. */
static void move(const dw_feed *f, const dw_block *block, int64_t item)
{
    const dw_stream *s = f->stream;
    const ptrdiff_t row = s->tile_row * s->item_bytes;
    char *tile = f->tiles + (size_t)item * s->tile_bytes;
    for (int64_t i = 0; i < dw_stream_panels(s); i++, tile += s->tile_panel * s->item_bytes)
        memmove(tile + block->first * row, tile + block->moved * row, (size_t)(block->available * row));
}

/* One block of items [from, to), which stand at the same place. */
static dwconv_status run_block(const dw_feed *f, const dw_block *block, int64_t from, int64_t to)
{
    const dw_stream *s = f->stream;
    if (s->lanes) {
        for (int64_t item = from; item < to; item++)
            dw_stream_lanes(f, block, item);
        return DWCONV_OK;
    }
    for (int64_t item = from; item < to; item++) {
        if (block->moved != block->first)
            move(f, block, item);
        if (block->append > 0)
            append(f, block, item);
    }
    if (block->outs == 0)
        return DWCONV_OK;
    const char *tile = f->tiles + (size_t)from * s->tile_bytes + block->first * s->tile_row * s->item_bytes;
    const dw_strides strides = {(ptrdiff_t)s->tile_bytes / s->item_bytes, s->tile_row, s->tile_panel};
    return forward(f, to - from, tile, strides, block->available + block->append, block->base, block->out,
                   block->outs, output_at(f, from, block->y_step));
}

/* Chunk steps [step, end) through the tile, which gives outputs up to `last`, the first of them at y_step. */
static dwconv_status feed_tile(const dw_feed *f, dw_sequence *sequences, int64_t from, int64_t to, int64_t step,
                               int64_t end, int64_t out, int64_t last, int64_t y_step)
{
    const dw_stream *s = f->stream;
    while (step < end) {
        dw_sequence at = sequences[from];
        const int64_t wanted = dw_min(end - step, s->rows - s->history);
        const int64_t moved = at.first;
        if (s->rows - at.first - at.available < wanted)
            at.first = 0;
        const int64_t rows = dw_min(end - step, s->rows - at.first - at.available);
        const int64_t next = dw_max(dw_min(dw_stream_given(s, at.position + rows), last), out);
        const dw_block block = {
            .append = rows, .chunk_step = step, .moved = moved, .first = at.first, .available = at.available,
            .base = at.position - at.available, .out = out, .outs = next - out, .y_step = y_step,
        };
        const dwconv_status status = run_block(f, &block, from, to);
        for (int64_t item = from; item < to; item++)
            sequences[item].first = at.first; /* moved in any case */
        if (status != DWCONV_OK)
            return status;
        at.position += rows;
        at.first += dw_max(at.available + rows - s->history, 0);
        at.available = dw_min(at.available + rows, s->history);
        for (int64_t item = from; item < to; item++)
            sequences[item] = at;
        y_step += next - out;
        out = next;
        step += rows;
    }
    return DWCONV_OK;
}

/* A chunk for items [from, to), whose outputs start at step y_step of y. */
static dwconv_status push_run(const dw_feed *f, dw_sequence *sequences, int64_t from, int64_t to, int64_t in_steps,
                              int64_t y_step)
{
    const dw_stream *s = f->stream;
    const dwconv_stream_problem *p = &s->problem;
    int64_t step = 0;
    if (in_steps < DW_STREAM_CHUNK)
        for (; step < in_steps && dw_stream_step(f, sequences, from, to, step, y_step); step++)
            y_step++;
    if (step == in_steps)
        return DWCONV_OK;
    dw_stream_unroll(f, sequences, from, to);
    const int64_t position = sequences[from].position - step; /* of the chunk */
    const int64_t out = dw_stream_given(s, position + step), last = dw_stream_given(s, position + in_steps);
    /* From this output on, all taps are in the chunk. */
    const int64_t inside = dw_clamp(dw_ceil_div(position + p->pad_left, p->stride), out, last);
    if (last - inside < DW_STREAM_LONG)
        return feed_tile(f, sequences, from, to, step, in_steps, out, last, y_step);

    if (inside > out) {
        step = dw_clamp((inside - 1) * p->stride + s->lead - position, 1, in_steps); /* makes them definite */
        const dwconv_status status = feed_tile(f, sequences, from, to, 0, step, out, inside, y_step);
        if (status != DWCONV_OK)
            return status;
    }
    const char *x = f->x + from * f->xs.batch * s->item_bytes;
    const dwconv_status status = forward(f, to - from, x, f->xs, in_steps, position, inside, last - inside,
                                         output_at(f, from, y_step + inside - out));
    if (status != DWCONV_OK)
        return status;
    const int64_t skipped = dw_max(in_steps - s->history - step, 0);
    for (int64_t item = from; item < to && skipped > 0; item++) {
        sequences[item].position += skipped;
        sequences[item].available = 0;
        sequences[item].first = 0;
    }
    return feed_tile(f, sequences, from, to, step + skipped, in_steps, last, last, 0);
}

/* Zeros in steps [0, steps) of y. */
static void clear(const dw_feed *f, int64_t item, int64_t steps)
{
    const dw_stream *s = f->stream;
    const bool by_channel = f->ys.channel != 1;
    const int64_t rows = by_channel ? s->out_channels : steps, row = by_channel ? steps : s->out_channels;
    for (int64_t i = 0; i < rows && steps > 0; i++)
        memset(output_at(f, item, 0) + i * (by_channel ? f->ys.channel : f->ys.step) * s->item_bytes, 0,
               (size_t)(row * s->item_bytes));
}

static bool same_place(const dw_sequence *a, const dw_sequence *b)
{
    return a->position == b->position && a->available == b->available && a->first == b->first && a->ring == b->ring;
}

/* Strides of an array of `rows` rows of `length` elements; zeros mean packed.  False if they are too small. */
static bool fill_strides(dw_strides *strides, bool last, int64_t batch, int64_t rows, int64_t length,
                         int64_t batch_stride, int64_t row_stride)
{
    if (row_stride == 0)
        row_stride = length;
    if (row_stride < length || (rows > 0 && row_stride > LIMIT / rows))
        return false;
    if (batch_stride == 0)
        batch_stride = rows * row_stride;
    if (batch > 1 && rows > 0 && batch_stride < (rows - 1) * row_stride + length)
        return false;
    if (batch_stride > LIMIT / dw_max(batch, 1))
        return false;
    *strides = (dw_strides){(ptrdiff_t)batch_stride, last ? (ptrdiff_t)row_stride : 1, last ? 1 : (ptrdiff_t)row_stride};
    return true;
}

/* Checks what push and flush have in common and fills the feed. */
static dwconv_status open_feed(dw_feed *f, const dwconv_stream *stream, void *state, const dwconv_chunk *chunk,
                               int64_t in_steps, int64_t items, const void *w, const void *bias,
                               const dwconv_activation *activation, void *y, const dwconv_exec *exec)
{
    static const dwconv_exec one_thread = {0};
    const dw_stream *s = f->stream = dw_stream_of(stream);
    if (!stream || !state || !chunk)
        return DWCONV_ERROR_NULL;
    if (!s || !dw_state_belongs(s, state))
        return DWCONV_ERROR_STREAM;
    if (activation && !dw_activation_is_usable(activation))
        return DWCONV_ERROR_ACTIVATION;
    if (in_steps < 0 || chunk->out_steps < 0)
        return DWCONV_ERROR_SIZE;
    const bool last = s->problem.layout == DWCONV_CHANNELS_LAST;
    if (!fill_strides(&f->xs, last, s->problem.batch, last ? in_steps : s->problem.channels,
                      last ? s->problem.channels : in_steps, chunk->x_batch_stride, chunk->x_row_stride)
        || !fill_strides(&f->ys, last, items, last ? chunk->out_steps : s->out_channels,
                         last ? s->out_channels : chunk->out_steps, chunk->y_batch_stride, chunk->y_row_stride))
        return DWCONV_ERROR_STRIDE;
    f->exec = exec ? exec : &one_thread;
    const size_t bytes
        = scratch_size(s, in_steps, f->ys.channel != 1 && chunk->out_steps > 0, f->exec->max_threads);
    if (bytes > 0 && (!f->exec->workspace || f->exec->workspace_bytes < bytes))
        return DWCONV_ERROR_WORKSPACE;
    f->workspace = NULL;
    if (bytes > 0)
        f->workspace = dw_align(f->exec->workspace);
    f->tiles = (char *)state + s->tiles_at;
    f->w = w;
    f->bias = bias;
    f->y = y;
    f->activation = activation ? *activation : (dwconv_activation){0};
    return DWCONV_OK;
}

dwconv_status dwconv_stream_push(const dwconv_stream *stream, void *state, const dwconv_chunk *chunk, const void *x,
                                 const void *w, const void *bias, const dwconv_activation *activation, void *y,
                                 const dwconv_exec *exec)
{
    dw_feed f;
    const int64_t in_steps = chunk ? chunk->in_steps : 0;
    const dw_stream *s = dw_stream_of(stream);
    const dwconv_status status
        = open_feed(&f, stream, state, chunk, in_steps, s ? s->problem.batch : 0, w, bias, activation, y, exec);
    if (status != DWCONV_OK)
        return status;
    const int64_t batch = s->problem.batch;
    dw_sequence *sequences = dw_sequences(state);
    int64_t most = 0;
    for (int64_t item = 0; item < batch; item++) {
        if (sequences[item].flushed)
            return DWCONV_ERROR_FLUSHED;
        if (sequences[item].position > LIMIT - in_steps)
            return DWCONV_ERROR_OVERFLOW;
        most = dw_max(most, dw_stream_given(s, sequences[item].position + in_steps)
                                - dw_stream_given(s, sequences[item].position));
    }
    if (chunk->out_steps < most)
        return DWCONV_ERROR_SIZE;
    const bool empty = batch == 0 || s->problem.channels == 0;
    if (!empty && ((!x && in_steps > 0) || !w || (!y && chunk->out_steps > 0)))
        return DWCONV_ERROR_NULL;

    f.x = x;
    dwconv_status result = DWCONV_OK;
    const uint64_t registers = dw_fp_state_get();
    dw_fp_state_set(dw_fp_state_default(registers));
    for (int64_t from = 0, to; from < batch && result == DWCONV_OK; from = to) {
        for (to = from + 1; to < batch && same_place(&sequences[from], &sequences[to]);)
            to++;
        const int64_t outs = dw_stream_given(s, sequences[from].position + in_steps)
                             - dw_stream_given(s, sequences[from].position);
        for (int64_t item = from; item < to; item++)
            clear(&f, item, chunk->out_steps - outs);
        result = push_run(&f, sequences, from, to, in_steps, chunk->out_steps - outs);
    }
    dw_fp_state_set(registers);
    return result;
}

dwconv_status dwconv_stream_step(const dwconv_stream *stream, void *state, const void *x, const void *w,
                                 const void *bias, const dwconv_activation *activation, void *y,
                                 const dwconv_exec *exec)
{
    if (!stream || !state)
        return DWCONV_ERROR_NULL;
    const int64_t outs = dwconv_stream_out_steps(stream, state, -1, 1);
    if (outs > 1)
        return DWCONV_ERROR_SIZE;
    const dwconv_chunk chunk = {.in_steps = 1, .out_steps = dw_max(outs, 0)};
    return dwconv_stream_push(stream, state, &chunk, x, w, bias, activation, y, exec);
}

dwconv_status dwconv_stream_flush(const dwconv_stream *stream, void *state, int64_t item, const dwconv_chunk *chunk,
                                  const void *w, const void *bias, const dwconv_activation *activation, void *y,
                                  const dwconv_exec *exec)
{
    dw_feed f;
    const dw_stream *s = dw_stream_of(stream);
    const int64_t first = dw_max(item, 0), end = item < 0 ? (s ? s->problem.batch : 0) : item + 1;
    const dwconv_status status
        = open_feed(&f, stream, state, chunk, 0, end - first, w, bias, activation, y, exec);
    if (status != DWCONV_OK)
        return status;
    if (item < -1 || end > s->problem.batch)
        return DWCONV_ERROR_SIZE;
    dw_sequence *sequences = dw_sequences(state);
    for (int64_t b = first; b < end; b++)
        if (sequences[b].flushed)
            return DWCONV_ERROR_FLUSHED;
    if (chunk->out_steps < dwconv_stream_tail_steps(stream, state, item))
        return DWCONV_ERROR_SIZE;
    if (s->problem.channels > 0 && end > first && chunk->out_steps > 0 && (!w || !y))
        return DWCONV_ERROR_NULL;

    f.tiles += (size_t)first * s->tile_bytes; /* items count from the first that is flushed */
    sequences += first;
    dwconv_status result = DWCONV_OK;
    const uint64_t registers = dw_fp_state_get();
    dw_fp_state_set(dw_fp_state_default(registers));
    for (int64_t from = 0, to; from < end - first && result == DWCONV_OK; from = to) {
        for (to = from + 1; to < end - first && same_place(&sequences[from], &sequences[to]);)
            to++;
        dw_stream_unroll(&f, sequences, from, to);
        const dw_sequence at = sequences[from];
        const int64_t out = dw_stream_given(s, at.position), outs = dw_stream_total(s, at.position) - out;
        for (int64_t b = from; b < to; b++)
            clear(&f, b, chunk->out_steps - outs);
        const dw_block block = {
            .moved = at.first, .first = at.first, .available = at.available, .base = at.position - at.available,
            .out = out, .outs = outs, .y_step = chunk->out_steps - outs,
        };
        result = run_block(&f, &block, from, to);
        for (int64_t b = from; b < to && result == DWCONV_OK; b++)
            sequences[b].flushed = 1;
    }
    dw_fp_state_set(registers);
    return result;
}
