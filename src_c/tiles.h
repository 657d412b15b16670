/* SPDX-License-Identifier: BSD-3-Clause
 *
 * Every size that was chosen by measurement, and the measurement.  None of them changes a result.
 *
 * Share of the FMA peak inside one core (Zen 4, AVX-512, float32, blocks of four taps):
 *                                                     K = 3     4     7    15    31    63
 *   packed rows of 64 lanes, 8 at a time               0.49  0.60  0.77  0.92  0.96  0.97
 *   256 channels in place, weights packed, 8           0.62  0.80  0.84  0.94  0.97  0.98
 *   512 channels in place, weights in place, 8         0.36  0.41  0.48  0.47  0.41  0.43
 *   512 channels in place, weights packed, 8           0.43  0.54  0.66  0.79  0.88  0.89
 *                                         12           0.35  0.44  0.62  0.78  0.92  0.92
 *   1024 channels in place, weights packed, 8          0.24  0.28  0.37  0.44  0.41  0.41
 * Rows 2 KB apart fall on two sets of the first-level cache, 16 lines; rows 4 KB apart on one, hence the panels.
 *
 * Where a set has 12 lines, in place is better at every distance (Granite Rapids, one core, 400 steps, panels against in
 * place, us): K = 31, 1024 channels 401, 192; 1000 channels 400, 263; 500 channels 124, 101; K = 9, 1000 channels 353, 155. */
#ifndef DWCONV_TILES_H
#define DWCONV_TILES_H

enum {
    DW_ALIGN = 64,

    /* Panel tiles, in bytes; together with the bias row at most 64 KiB for each worker.  In place, nearly all of that is
     * weights of one band of channels: the fewer bands, the longer the runs of memory (Granite Rapids, 512 channels, K = 31,
     * two bands, one: 1500 steps 396, 349 us; 8 x 400 steps, whose weights are copied once instead of 8 times, 810, 744,
     * two threads 409, 375; 1500 steps of 1024 channels, SiLU, three bands, two: two threads 535, 525). */
    DW_X_TILE_BYTES = 32 * 1024,
    DW_W_TILE_BYTES = 20 * 1024,
    DW_Y_TILE_BYTES = 11 * 1024,
    DW_BIAS_TILE_BYTES = 256,
    DW_WORKSPACE_BYTES = DW_X_TILE_BYTES + DW_W_TILE_BYTES + DW_Y_TILE_BYTES + DW_BIAS_TILE_BYTES,

    DW_PANEL_BYTES = 256,       /* a row of a panel: four cache lines are enough for the prefetcher */
    DW_TRANSPOSED_BYTES = 64,   /* channels_first: narrower, so that longer runs of a sequence are moved at a time and */
    DW_TRANSPOSED_SHORT_BYTES = 128, /* fewer rows of the tile twice (512 channels, K = 63: 587 to 531 us; K = 7: 241 to 228) */
    DW_LONG_KERNEL = 64,        /* more taps than this: panels half as wide, so that more rows fit */
    DW_MAX_PANEL_LANES = 64,

    DW_DIRECT_TAPS = 8,         /* up to here packing x costs more than it saves, however the rows lie */
    DW_DIRECT_ROW_BYTES = 512,  /* rows this close together need no packing */
    DW_DIRECT_MOST_TAPS = 384,  /* the weights of two vectors of channels must fit the tiles */
    DW_FLAT_TAPS = 8,           /* channels_first: lanes of time up to here, lanes of channels above */
    DW_FLAT_MIN_STEPS = 64,     /* fewer output steps than this do not fill the lanes of time */
    DW_FLAT_TASK_ROWS = 768,    /* channels_last: short batch items are taken together up to here */
    DW_FLAT_STEPS_PER_TAP = 96, /* channels_first: fewer than that are transposed, because every tap at the ends of a
                                 * sequence is a call (K = 7, 128 steps: 607 to 228 us, 400: 423 to 308, 800: 303 to 294) */
    DW_LINE_STEPS = 32,         /* shorter sequences do not fill the lanes of time (16 x 512 of 64 steps, K = 7: 245 to 170 us) */
    DW_LINES_OF_A_TASK = 16,
    /* The same with many taps, of sequences this long, where bundles do not fit or leave lanes empty; microseconds, 64
     * channels but where said, on one core of a Granite Rapids server: */
    DW_LONG_LINE_STEPS = 200,
    DW_LINE_DILATION = 8,       /* from here on (panels and lines, 24 taps, dilation 16: 400 steps 38, 21; 3200 steps 226, 125), */
    DW_LINE_TAPS = 16,          /* float64 with more taps than this even where bundles fit (24 taps, dilation 8, 3200 steps: */
                                /* bundles 235, lines 190; 9 taps, dilation 16: 167, 190) */
    DW_FEW_LINE_STEPS = 3200,   /* few sequences of such length (8 channels, 6400 steps: 31 taps 38, 34; 63 57, 51; 87 taps, */
    DW_FEW_LINE_TAPS = 100,     /* dilation 2: 112, 68) */
    DW_BUNDLE_STEPS = 640,      /* few sequences that fill no more than half of the lanes are a bundle up to here, with segments of
                                 * time as lanes from here on (31 taps; 4 channels: 400 steps 3.8, 3.4; 1600 7.8, 11.8; 8
                                 * channels: 4.7, 3.6; 11.4, 13.0; 12 channels, which are always bundles: 5.4, 3.7; 15.0, 13.5;
                                 * picoseconds of a multiply-add: 23 channels, 701 steps 38.5, 29.8; float64, 9, 1792 81, 66) */
    DW_LINE_STREAMS = 6,        /* with many taps: vectors of results in different places of a sequence that share weights, */
    DW_LINE_LIVE = 4,           /* and those after each of them that share what they read: together 24 sums in registers */
    DW_LINE_VECTORS = 96,       /* of a sequence that are done before the next sequence */
    DW_LINE_REACH = 8192,       /* steps from the first tap to the last, at most */
    DW_LINE_WEIGHT_BYTES = 40 * 1024, /* of a task, beside a word for each step that a block can reach */
    DW_ROW_BLOCK = 8,           /* cuts are multiples of it, because conv_rows takes about so many rows at a time */
    DW_TALL_ROWS = 16,          /* of more than eight taps, for which a block has as many (512 channels, K = 31, on a core with two
                                 * 512-bit units: 8 rows 0.66 of the peak, 12 0.75, 16 0.81) */
    DW_TASK_ROWS = 256,         /* short batch items are taken together up to here (T = 32, C = 16, K = 16: 15 to 12 us) */
    DW_PACK_ROWS = 64,          /* fewer rows than this are not worth a copy of the weights (the same: 18 to 15 us) */
    DW_STREAM_BYTES = 8 << 20,  /* results larger than this are written past the caches (24 MB, K = 4: 35 against 26 GB/s;
                                 * 6 MB: 54 against 55) */

    DW_CLAIMED_STREAM_BYTES = 12 << 20, /* of few taps in place, whose lines are claimed (Granite Rapids, 5120 channels, K = 4,
                                 * SiLU, past the caches or not, us: 10 MB 940, 855, two threads 475, 440; 14 MB 1257, 1146; 512
                                 * channels, K = 3: 10 MB 723, 726; 24 MB 1719, 1808; K = 31, whose lines are not: 13 MB 1600, 2400) */
    DW_STORE_AHEAD_BYTES = 128, /* along a row, lines that few taps will write are claimed (Granite Rapids, channels_last: 800
                                 * steps, 256 channels, K = 3: 24 to 19 us; 2000, 512, 5: 300 to 282; 938, 512, 7: 135 to 130) */
    DW_PHASE_BYTES = 128 * 1024, /* few taps so far apart, of rows this long, are walked phase by phase (Granite Rapids, 512 */
    DW_PHASE_ROW_BYTES = 512,   /* channels, 3200 steps, K = 3, dilation 128: 590 to 490 us; dilation 32: 486 either way) */

    DW_LINE_AHEAD_BYTES = 2048, /* how far ahead a single sequence is asked for whose results are written past the caches
                                 * (Granite Rapids, 4 taps, 21 MB: 2.1 to 1.6 ms, a half of it by fewer fences; memcpy 1.45) */

    DW_AHEAD_BYTES = 1024,      /* how far ahead sequences that are transposed are asked for (weight gradient of 3 taps,
                                 * 26 MB: 2.4 to 1.9 ms); */
    DW_SHORT_BYTES = 4096,      /* of sequences not longer than this, the next ones (training, batch 8, 256 channels, 400
                                 * steps, 33 taps: 2.6 to 2.35 ms, a part of it by asking for those that are written) */

    /* The weight gradient: tiles, lanes and taps of a task, sums at rest; together at most so much for each worker. */
    DW_GRADIENT_WORKER_BYTES = 256 * 1024,
    DW_CHUNK_STEPS = 512,       /* longest chain of a sum over time; part of the definition of the result */
    DW_GRADIENT_PANEL_BYTES = 256, /* channels_last, packed (64 channels, multiplier 2, stride 2, K = 15, batch 8, 251 steps: 0.197 to
                                 * 0.165 ms, with 64 bytes 0.27; 24 channels: 0.053 to 0.043) */
    DW_GRADIENT_MEDIUM_BYTES = 128, /* channels_first with few taps and a stride (256 channels, K = 5: 0.32 ms, 0.37 with 256) */
    DW_GRADIENT_LINE_STEPS = 32, /* channels_first with few taps: from here on lanes are steps; decides the order of sums */
    DW_GRADIENT_LINES_BYTES = 128, /* whose sums rest while the next batch item comes (16 x 512 of 64 steps, K = 7, both
                                 * gradients: 365 to 345 us, two threads 178 to 165; half as wide before) */
    DW_GRADIENT_WALK_BYTES = 8 * 1024, /* of dy that are met by x, and then by the kernel for dx (26 MB, 3 taps: all gradients 1.85 to
                                 * 1.48 ms; with 200 KB 1.59) */
    DW_GRADIENT_BUNDLE_STEPS = 16, /* channels_first with many taps: fewer do not fill the blocks (256 channels, batch 8, 400
                                 * steps, 33 taps: 0.67 to 0.48 ms) */
    DW_VIEW_BYTES = 16 * 1024,  /* of x and of dy that are transposed at a time (8 to 32 KB make no difference) */
    DW_GRADIENT_NARROW_BYTES = 64, /* channels_first with many taps: packed chunks fit whole, so no step is transposed twice */
    DW_GRADIENT_ROW_BYTES = 2048, /* in place, few taps: rows are read along, */
    DW_GRADIENT_ROW_BLOCK = 8,  /* some at a time */
    DW_GRADIENT_LONG_ROW_BYTES = 512, /* in place, many taps (31 taps, batch 8, 400 steps, milliseconds: 256 channels 0.54, packed
                                 * 0.76; 512 channels 1.6, in strips of 256 bytes 2.0, packed 2.9), */
    DW_GRADIENT_WIDE_ROW_BYTES = 1024, /* and if there is room for the sums (Granite Rapids, 256 channels: 31 taps 0.69 to 0.60, */
                                 /* 9 taps 0.40 to 0.32, 31 taps with stride 2 0.54 to 0.45), */
    DW_GRADIENT_LONG_BLOCK = 256, /* steps at a time (the same, 31 taps: 64 steps 0.58, 128 0.58, 256 0.55), */
    DW_GRADIENT_MEDIUM_TAPS = 16, /* and of as few taps as are in registers at once (9 taps: 32 steps 0.29, 64 0.32, 128 0.32, */
    DW_GRADIENT_MEDIUM_BLOCK = 64, /* 256 0.40) */
    DW_ACTIVATED_STRIP_BYTES = 512, /* all gradients at once: strips, */
    DW_ACTIVATED_BLOCK = 16,    /* steps of them (1536 channels, K = 4, 1024 steps: 1.63 ms; 8 steps 1.63, 256 bytes 1.8), */
    DW_ACTIVATED_ROW_BYTES = 4096, /* and lanes of a task, along rows (strips of whole tasks: 1024 bytes 2.1, 2048 1.8) */
    DW_ACTIVATED_STACK_BYTES = 64 * 1024,
    DW_ACTIVATED_REACH = 8,    /* steps that the first of the taps lies before the last, at most */
    DW_GRADIENT_X_BYTES = 48 * 1024,
    DW_GRADIENT_Y_BYTES = 32 * 1024,
    DW_GRADIENT_TAPS = 64,
    DW_GRADIENT_STACK_BYTES = 96 * 1024,

    DW_OUTPUT_COST = 4,         /* an output costs as much as this many taps more */
    DW_THREAD_WORK = 1 << 18,   /* taps that are worth one more thread */
    DW_TASK_WORK = 1 << 29,     /* taps, or cycles of a transform, after which a task ends: in well below a second on any
                                 * CPU, so that a long call can be stopped */
    DW_TASKS_PER_THREAD = 4,    /* enough to help out a thread that is late, but each has ends of its own: */
    DW_SPARE_ROWS = 512,        /* more than one for each thread only if they have so many rows (two threads, K = 31, 400 steps:
                                 * 256 channels, two 34.7 us, one 31.9; float64: 69.5, 67.1; K = 7, 938 steps: 42.8, 40.4) */
    DW_CHUNK_ROWS = 64,         /* a cut in time repacks a kernel's length of rows, so it should be rare */

    /* The FFT */
    DW_FFT_BLOCK_BYTES = 32 * 1024, /* blocks of a transform that are finished one by one, in the first-level cache */
    DW_FFT_STEP_COST = 80,      /* of a point for each halving there and back, and */
    DW_FFT_MOVE_COST = 240,     /* for packing and unpacking it; sixteenths of a cycle (Granite Rapids, transforms alone, cycles */
    DW_FFT_NEAR_BYTES = 512 * 1024, /* of a point: 32 points 32, 512 50, 2048 57, 4096 74, 16384 107); beyond so many bytes of a */
    DW_FFT_FAR_PERCENT = 140,   /* tile they take that much */
    DW_FFT_THREAD_COST = 1 << 16, /* cycles worth one more thread */

    /* Streams */
    DW_STREAM_CHUNK = 4,        /* fewer steps than this are taken one by one */
    DW_STREAM_LONG = 64,        /* outputs inside a chunk that are worth a call of dwconv_forward */
    DW_STREAM_LANES_BYTES = 2048, /* of each row that is walked over at a time */
    DW_STREAM_ROOM_BYTES = 256 * 1024, /* of a tile, for chunks, but some rows at least and at most, */
    DW_STREAM_LEAST_ROOM = 4,
    DW_STREAM_MOST_NARROW_ROOM = 256,
    DW_STREAM_MOST_ROOM = 128,  /* and never less than the history, so that moving it costs a copy for each step */
    DW_STREAM_Y_ROWS = 64       /* channels_first: outputs that are transposed at a time */
};

#endif
