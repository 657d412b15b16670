/* SPDX-License-Identifier: BSD-3-Clause
 *
 * What the files of streams share.
 *
 * The state of a batch item is a tile of input steps: the history (inputs that may be needed again) and room behind
 * it, so that chunks are appended and the history moves to the front only now and then.  There are two kinds:
 *
 *   lanes   as many lanes as a vector has, or more: a tile row holds the output channels of one step, inputs repeated
 *           for each multiplier, and conv_rows walks over the tile.  With many taps the lanes lie in panels,
 *           whose rows are so close together that they do not collide in the cache.
 *   arrays  fewer lanes: the tile is an array of the stream's layout, and a plan is made for each block of it. */
#ifndef DWCONV_STREAM_H
#define DWCONV_STREAM_H

#include "internal.h"

typedef struct dw_stream {
    uint64_t magic;
    dwconv_stream_problem problem;
    const struct dw_table *table;
    const struct dw_kernels *kernels;
    int64_t out_channels;
    int64_t span;    /* (kernel_size - 1) * dilation */
    int64_t history; /* inputs that may be needed again */
    int64_t lead;    /* inputs that make output 0 definite */
    int64_t rows;    /* of a tile */
    int64_t phases;
    ptrdiff_t item_bytes;
    int64_t lanes;        /* 0: the tile is an array */
    int64_t panel_lanes;  /* lanes that are neighbours in a tile row */
    ptrdiff_t tile_row;   /* distances in elements: from step to step, */
    ptrdiff_t tile_panel; /* from panel to panel, or for arrays from channel to channel */
    size_t tile_bytes, tiles_at, state_bytes;
} dw_stream;

_Static_assert(sizeof(dw_stream) <= sizeof(dwconv_stream), "dwconv_stream is too small");

#define DW_STREAM_MAGIC UINT64_C(0x6477636f6e767331) /* "dwconvs1" */
#define DW_STATE_MAGIC UINT64_C(0x6477636f6e767374)  /* "dwconvst" */

/* One batch item.  Rows [first, first + available) of its tile are the inputs before `position`; in a ring, which only
 * a whole history can be, the rows after row history - 1 are rows 0, 1, ... */
typedef struct dw_sequence {
    int64_t position, available, first, flushed, ring;
} dw_sequence;

/* The state: this, the sequences, the tiles. */
typedef struct dw_state {
    uint64_t magic;
    int64_t batch, history, tile_bytes; /* to notice the state of another stream */
} dw_state;

/* One push or flush. */
typedef struct dw_feed {
    const dw_stream *stream;
    char *tiles; /* of the first item of x and y */
    const char *x, *w, *bias;
    char *y;
    dw_strides xs, ys;
    dwconv_activation activation;
    const dwconv_exec *exec;
    char *workspace; /* aligned */
} dw_feed;

/* One block of a feed: the `available` rows of the tile are moved from row `moved` to row `first`, `append` chunk steps
 * from chunk_step on are put behind them, then outputs [out, out + outs) are computed from them and written to y from
 * step y_step on. */
typedef struct dw_block {
    int64_t append, chunk_step;
    int64_t moved, first, available;
    int64_t base; /* the input step in row `first` */
    int64_t out, outs, y_step;
} dw_block;

/* stream_lanes.c: the block for item `item`. */
void dw_stream_lanes(const dw_feed *feed, const dw_block *block, int64_t item);

/* stream_step.c: step chunk_step of a chunk for items [from, to), whose output, if it has one, goes to step y_step of y.
 * False, and nothing done, if the step does not make one output of inputs that all exist; dw_stream_lanes can do
 * everything. */
bool dw_stream_step(const dw_feed *feed, dw_sequence *sequences, int64_t from, int64_t to, int64_t chunk_step,
                    int64_t y_step);
/* Makes rows [first, first + available) of a ring, for everything but such steps. */
void dw_stream_unroll(const dw_feed *feed, dw_sequence *sequences, int64_t from, int64_t to);

/* The tile element of one step and one channel of the input (lanes: one of its `problem.depth_multiplier` copies). */
static inline char *dw_stream_element(const dw_stream *s, char *tile, int64_t row, int64_t channel, int64_t copy)
{
    const int64_t lane = s->lanes ? channel * s->problem.depth_multiplier + copy : channel;
    const int64_t panel = lane / s->panel_lanes;
    return tile + (row * s->tile_row + panel * s->tile_panel + (lane - panel * s->panel_lanes)) * s->item_bytes;
}

static inline int64_t dw_stream_panels(const dw_stream *s)
{
    return dw_ceil_div(s->lanes ? s->lanes : s->problem.channels, s->panel_lanes);
}

static inline const dw_stream *dw_stream_of(const dwconv_stream *stream)
{
    const dw_stream *s = (const dw_stream *)(const void *)stream;
    return s && s->magic == DW_STREAM_MAGIC ? s : NULL;
}

static inline bool dw_state_belongs(const dw_stream *s, const dw_state *state)
{
    return state->magic == DW_STATE_MAGIC && state->batch == s->problem.batch && state->history == s->history
           && state->tile_bytes == (int64_t)s->tile_bytes;
}

static inline dw_sequence *dw_sequences(void *state) { return (dw_sequence *)(void *)((char *)state + sizeof(dw_state)); }

/* Outputs given after `inputs` inputs, and all there are if no more inputs come. */
static inline int64_t dw_stream_given(const dw_stream *s, int64_t inputs)
{
    return inputs == 0 || inputs < s->lead ? 0 : (inputs - s->lead) / s->problem.stride + 1;
}

static inline int64_t dw_stream_total(const dw_stream *s, int64_t inputs)
{
    const int64_t last = inputs + s->problem.pad_left + s->problem.pad_right - s->span - 1;
    return last < 0 ? 0 : last / s->problem.stride + 1;
}

#endif
