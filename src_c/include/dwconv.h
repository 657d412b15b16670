/* SPDX-License-Identifier: BSD-3-Clause
 *
 * dwconv: depthwise 1-D convolution for CPUs.  This header is the manual.
 *
 *     y[b, i, c*M + m] = act(bias[c*M + m] + sum_k x[b, i*stride + k*dilation - pad_left, c] * w[k, c, m])
 *
 * for k = 0 .. K-1; terms whose input step lies outside [0, in_steps) are absent (not multiplied by zero).
 *
 * 1. How to use it
 *
 *     dwconv_problem p = {0};                 // zero first, then fill
 *     p.batch = 1; p.in_steps = 1000; p.channels = 64; p.depth_multiplier = 1;
 *     p.kernel_size = 5; p.stride = 1; p.dilation = 1; p.pad_left = 2; p.out_steps = 1000;
 *     p.layout = DWCONV_CHANNELS_LAST; p.dtype = DWCONV_F32;
 *     dwconv_plan plan;
 *     dwconv_status s = dwconv_plan_init(&plan, &p, NULL);
 *     size_t bytes = dwconv_workspace_size(&plan, max_threads);
 *     dwconv_exec e = {0};
 *     e.max_threads = max_threads; e.workspace = malloc(bytes); e.workspace_bytes = bytes;
 *     s = dwconv_forward(&plan, x, w, bias, NULL, y, &e);
 *
 * 2. Arrays
 *     x  (batch, in_steps, channels)                 channels_last
 *        (batch, channels, in_steps)                 channels_first
 *     w  (kernel_size, channels, depth_multiplier)   contiguous, in either layout; used in place
 *     bias (channels * depth_multiplier)             or NULL
 *     y  (batch, out_steps, channels*depth_multiplier) or (batch, channels*depth_multiplier, out_steps)
 *   A "row" is one step of a channels_last array, one channel of a channels_first array.  Its elements are
 *   contiguous; rows and batch items may be any distance apart (the *_stride fields; 0 means packed).
 *   Pointers need the alignment of their element type and no more.
 *
 * 3. Promises
 *   - No allocation, no I/O, no locale, no errno, no signal, no thread beyond the runner's.
 *   - All size arithmetic is 64-bit and checked in dwconv_plan_init; later calls cannot overflow.
 *   - Reads only inside x, w, bias and workspace; writes only inside y and workspace.
 *     x, w and bias must not overlap y.
 *   - Each output is one chain of fused multiply-adds, bias first, taps ascending.  So results are the
 *     same bits for every thread count, layout, address and every ISA with fused multiply-add
 *     (avx2, avx512, neon); sse2 and scalar round twice per term.
 *   - A plan is a value: copy it, keep it on the stack, share it between threads.
 *   - The caller's floating-point control and status registers are left as they were.
 */
#ifndef DWCONV_H
#define DWCONV_H

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#define DWCONV_VERSION_MAJOR 0
#define DWCONV_VERSION_MINOR 1
#define DWCONV_VERSION_PATCH 0
#define DWCONV_VERSION_STRING "0.1.0"

#ifndef DWCONV_API
#define DWCONV_API
#endif

typedef enum dwconv_status {
    DWCONV_OK = 0,
    DWCONV_ERROR_NULL,       /* a required pointer is NULL */
    DWCONV_ERROR_SIZE,       /* a size is negative, or kernel_size, stride, dilation, multiplier < 1 */
    DWCONV_ERROR_OVERFLOW,   /* a size, extent or byte count does not fit in 63 bits (or size_t) */
    DWCONV_ERROR_STRIDE,     /* a batch or row stride is too small for the array it describes */
    DWCONV_ERROR_LAYOUT,     /* layout is not a dwconv_layout */
    DWCONV_ERROR_DTYPE,      /* dtype is not a dwconv_dtype */
    DWCONV_ERROR_ISA,        /* unknown instruction set, or this CPU lacks it */
    DWCONV_ERROR_ACTIVATION, /* activation kind unknown, or its parameters are not usable */
    DWCONV_ERROR_WORKSPACE,  /* workspace is NULL or smaller than dwconv_workspace_size() */
    DWCONV_ERROR_PLAN,       /* the plan was not filled by dwconv_plan_init() */
    DWCONV_ERROR_STREAM,     /* the stream was not filled by dwconv_stream_init(), or the state is not one of it */
    DWCONV_ERROR_FLUSHED,    /* the sequence has ended: reset it first */
    DWCONV_STOPPED           /* dwconv_exec.stop said so; results may have been written in part */
} dwconv_status;

typedef enum dwconv_layout { DWCONV_CHANNELS_LAST = 0, DWCONV_CHANNELS_FIRST = 1 } dwconv_layout;
typedef enum dwconv_dtype { DWCONV_F32 = 0, DWCONV_F64 = 1 } dwconv_dtype;

/* What to compute.  Zero-initialise, then fill; all sizes are counts of elements or steps.  pad_left may be
 * negative (input steps skipped) and out_steps is free: padding on the right is whatever out_steps needs. */
typedef struct dwconv_problem {
    int64_t batch, in_steps, channels, depth_multiplier;
    int64_t kernel_size, stride, dilation, pad_left, out_steps;
    int64_t x_batch_stride, x_row_stride; /* in elements; 0 = packed */
    int64_t y_batch_stride, y_row_stride;
    int32_t layout, dtype;
} dwconv_problem;

/* Elementwise functions that may be fused into the forward pass. */
typedef enum dwconv_activation_kind {
    DWCONV_LINEAR = 0,
    DWCONV_CLIP,           /* min(max(z, alpha), beta): relu is (0, inf), relu6 (0, 6), hard_tanh (-1, 1) */
    DWCONV_LEAKY_RELU,     /* z >= 0 ? z : alpha * z */
    DWCONV_HARD_SIGMOID,   /* clip(z / 6 + 1/2, 0, 1) */
    DWCONV_HARD_SILU,      /* z * clip(z / 6 + 1/2, 0, 1) */
    DWCONV_SIGMOID,        /* 1 / (1 + exp(-z)) */
    DWCONV_SILU,           /* z / (1 + exp(-z)) */
    DWCONV_TANH,           /* tanh(z) */
    DWCONV_GELU,           /* z/2 * (1 + erf(z / sqrt 2)) */
    DWCONV_GELU_TANH,      /* z/2 * (1 + tanh(sqrt(2/pi) * (z + 0.044715 z^3))) */
    DWCONV_EXPONENTIAL,    /* exp(z) */
    DWCONV_ELU,            /* z >= 0 ? z : alpha * (exp(z) - 1) */
    DWCONV_SELU,           /* 1.0507009873554805 * (z >= 0 ? z : 1.6732632423543772 * (exp(z) - 1)) */
    DWCONV_CELU,           /* z >= 0 ? z : alpha * (exp(z / alpha) - 1); alpha > 0 */
    DWCONV_SOFTPLUS,       /* log(1 + exp(z)) */
    DWCONV_LOG_SIGMOID,    /* -log(1 + exp(-z)) */
    DWCONV_MISH,           /* z * tanh(log(1 + exp(z))) */
    DWCONV_SOFTSIGN,       /* z / (1 + |z|) */
    DWCONV_SOFT_SHRINK,    /* z > alpha ? z - alpha : z < -alpha ? z + alpha : 0; alpha >= 0 */
    DWCONV_HARD_SHRINK,    /* |z| > alpha ? z : 0 */
    DWCONV_THRESHOLD,      /* z > alpha ? z : beta */
    DWCONV_SPARSE_SIGMOID, /* clip(z / 2 + 1/2, 0, 1) */
    DWCONV_SPARSE_PLUS     /* z <= -1 ? 0 : z < 1 ? (z + 1)^2 / 4 : z */
} dwconv_activation_kind;

typedef struct dwconv_activation {
    int32_t kind, reserved; /* reserved: 0 */
    double alpha, beta;
} dwconv_activation;

/* A validated problem and everything derived from it. */
typedef struct dwconv_plan {
    uint64_t opaque[80];
} dwconv_plan;

/* How tasks reach threads.  run() calls task(argument, index, worker) once for every index in [0, count), on
 * any threads, with 0 <= worker < max_threads and no two concurrent calls sharing a worker number, and returns
 * when all are done. */
typedef void (*dwconv_task)(void *argument, int64_t index, int worker);
typedef struct dwconv_runner {
    void *context;
    void (*run)(void *context, dwconv_task task, void *argument, int64_t count, int max_threads);
} dwconv_runner;

/* How a long call is ended early.  wanted() is asked between tasks, by the thread with worker number 0 (which is the
 * calling thread, unless a runner says otherwise) and about ten times a second; if it returns anything but 0, tasks that
 * have not begun are left out, and the call returns DWCONV_STOPPED.  Streams do not ask. */
typedef struct dwconv_stop {
    void *context;
    int (*wanted)(void *context);
} dwconv_stop;

/* How to execute.  NULL or all zeros: one thread. */
typedef struct dwconv_exec {
    int max_threads;             /* upper limit; 0 and 1 mean the calling thread only */
    void *workspace;             /* dwconv_workspace_size() bytes, any alignment; contents are scratch */
    size_t workspace_bytes;
    const dwconv_runner *runner; /* NULL: the built-in one (OpenMP if compiled in) */
    const dwconv_stop *stop;     /* NULL: every call runs to its end */
} dwconv_exec;

/* Checks the problem and fills the plan.  isa: "scalar", "sse2", "avx2", "avx512", "neon", or NULL for the
 * default (the best this CPU has, or the one named by the environment variable DWCONV_ISA). */
DWCONV_API dwconv_status dwconv_plan_init(dwconv_plan *plan, const dwconv_problem *problem, const char *isa);

/* Scratch bytes dwconv_forward() needs with up to max_threads threads; 0 when it needs none.
 * At most 64 KiB for each thread. */
DWCONV_API size_t dwconv_workspace_size(const dwconv_plan *plan, int max_threads);

/* y = activation(x convolved with w, plus bias).  bias and activation may be NULL.  On error y is untouched. */
DWCONV_API dwconv_status dwconv_forward(const dwconv_plan *plan, const void *x, const void *w, const void *bias,
                                        const dwconv_activation *activation, void *y, const dwconv_exec *exec);

/* 4. Gradients, of sum(y * dy), y being the plan's output without activation.
 *   x and dx lie in memory as the plan says of x, dy as it says of y; dw and dbias are contiguous like w and bias.
 *   Every element of a gradient is written; sums without terms are zeros.  dy is the gradient of the convolution's
 *   output: with an activation, the caller multiplies by its derivative first.
 *   Same bits for every thread count, address and every ISA with fused multiply-add, and, but for the exception below,
 *   layout:
 *     dx     with multiplier 1 one chain, taps descending; otherwise one for each of the M output channels (32 chains
 *            for float, 16 for double, of every 32nd or 16th channel, if there are more), added one after the other;
 *     dw     output steps are cut in equal chunks of at most 512, which are numbered chunk by chunk, batch items
 *            first; one chain for each chunk, steps ascending; then chunks are added in pairs, pairs of pairs, and so on;
 *     dbias  the same with sums instead of products.
 *   The exception: with channels_first, stride 1, multiplier 1, up to 8 taps and at least 32 output steps, there are
 *   W chains, 16 for float and 8 for double; chain j has steps j, j + W, ... of a chunk.  Chunks have at most 512*W
 *   steps, all but the last a multiple of W; where one is enough, it goes on with the steps of so many batch items as
 *   have at most 512 such rows of W steps.  At its end the upper half of the chains is added to the lower until one is
 *   left; then chunks are added in pairs as above. */

/* Scratch bytes of dwconv_backward_input(): at most 64 KiB for each thread (and 64 bytes). */
DWCONV_API size_t dwconv_backward_input_workspace_size(const dwconv_plan *plan, int max_threads);

/* dx = gradient of x.  On error dx is untouched. */
DWCONV_API dwconv_status dwconv_backward_input(const dwconv_plan *plan, const void *dy, const void *w, void *dx,
                                               const dwconv_exec *exec);

/* Scratch bytes of dwconv_backward_weight(): at most 256 KiB for each thread (and 64 bytes). */
DWCONV_API size_t dwconv_backward_weight_workspace_size(const dwconv_plan *plan, int max_threads);

/* dw = gradient of w and dbias = gradient of bias; either may be NULL: not wanted.  On error both are untouched. */
DWCONV_API dwconv_status dwconv_backward_weight(const dwconv_plan *plan, const void *x, const void *dy, void *dw,
                                                void *dbias, const dwconv_exec *exec);

/* All of them at once, with the same bits, often in less time, because dy is read once.  dx, dw and dbias may each
 * be NULL: not wanted.  At most 256 KiB for each thread (and 64 bytes); on error nothing is written. */
DWCONV_API size_t dwconv_backward_workspace_size(const dwconv_plan *plan, int max_threads);
DWCONV_API dwconv_status dwconv_backward(const dwconv_plan *plan, const void *x, const void *w, const void *dy, void *dx,
                                         void *dw, void *dbias, const dwconv_exec *exec);

/* dz = dy * derivative of the activation at z, element by element: what comes before the gradients above.  For
 * DWCONV_SIGMOID, DWCONV_SILU and DWCONV_TANH; others are DWCONV_ERROR_ACTIVATION.  dz may be z or dy; no workspace.
 * isa as in dwconv_plan_init(). */
DWCONV_API dwconv_status dwconv_activation_backward(const dwconv_activation *activation, int32_t dtype, int64_t count,
                                                    const void *z, const void *dy, void *dz, const char *isa,
                                                    const dwconv_exec *exec);

/* All gradients of a convolution with one of these activations, in one walk over the arrays instead of four: dwconv_forward()
 * without activation, dwconv_activation_backward() and the gradients of its dz, with the same bits.  dy is the gradient
 * of the activated output; dx, dw and dbias may each be NULL: not wanted.  For channels_last, multiplier 1, stride 1, few
 * taps and rows of 64 bytes at least; where it is not offered, the size is 0 and the call DWCONV_ERROR_SIZE.
 * At most 256 KiB for each thread (and 64 bytes). */
DWCONV_API size_t dwconv_backward_activated_workspace_size(const dwconv_plan *plan, int max_threads);
DWCONV_API dwconv_status dwconv_backward_activated(const dwconv_plan *plan, const void *x, const void *w,
                                                   const void *bias, const dwconv_activation *activation,
                                                   const void *dy, void *dx, void *dw, void *dbias,
                                                   const dwconv_exec *exec);

/* 5. Long kernels: the convolution by FFT
 *
 *     void *table = malloc(dwconv_fft_table_size(&plan));
 *     s = dwconv_fft_table_init(&plan, table);              // once; read by any number of calls and threads
 *     e.workspace_bytes = dwconv_fft_workspace_size(&plan, e.max_threads); ...
 *     int finite;
 *     s = dwconv_fft_forward(&plan, table, x, w, bias, y, &finite, &e);
 *
 *   Overlap-save in the dtype of the plan, for every plan.  The time for an output grows with log(kernel_size), not with
 *   kernel_size: from some hundred taps on it is faster than dwconv_forward() if outputs are as many as taps.
 *   Padding counts as zeros.  The results have neither the bits nor the error bound of dwconv_forward(): an error is relative to
 *   the norms of a filter and of the input steps that are transformed together (N of them, of which N - kernel_size + 1
 *   outputs are made), and a number that is not finite spreads over all of them.  Results are the same for every thread
 *   count and address, not for every layout and instruction set. */

/* Bytes of a table, about as many as N input steps have, which is some kernel sizes; 0 if the plan has no outputs. */
DWCONV_API size_t dwconv_fft_table_size(const dwconv_plan *plan);

/* Fills a table, which is aligned like a double.  It is one for the plan and its copies, points nowhere, and may be copied. */
DWCONV_API dwconv_status dwconv_fft_table_init(const dwconv_plan *plan, void *table);

/* Scratch bytes of dwconv_fft_forward(): for each thread 256 bytes (SSE2: 64, AVX2 and NEON: 128 and 64) for each two input steps
 * transformed together, which are at most some kernel sizes. */
DWCONV_API size_t dwconv_fft_workspace_size(const dwconv_plan *plan, int max_threads);

/* y = x convolved with w, plus bias, which may be NULL.  If `finite` is not NULL it says whether all numbers that came up
 * are finite; if not, some of y may be missing, and dwconv_forward() keeps what is not finite where it belongs.
 * On error y is untouched. */
DWCONV_API dwconv_status dwconv_fft_forward(const dwconv_plan *plan, const void *table, const void *x, const void *w,
                                            const void *bias, void *y, int *finite, const dwconv_exec *exec);

/* Multiply-adds of the plan, taps over padding included; a measure of the work in one call. */
DWCONV_API double dwconv_work(const dwconv_plan *plan);

/* 6. Streams: a convolution whose input arrives in chunks
 *
 *     dwconv_stream_problem p = {0};          // zero first, then fill; as above, but for steps and strides
 *     p.batch = 1; p.channels = 64; p.depth_multiplier = 1; p.kernel_size = 5; p.stride = 1; p.dilation = 1;
 *     p.pad_left = 4;                         // causal: (kernel_size - 1) * dilation on the left
 *     dwconv_stream stream;
 *     dwconv_status s = dwconv_stream_init(&stream, &p, NULL);
 *     void *state = malloc(dwconv_stream_state_size(&stream));
 *     s = dwconv_stream_reset(&stream, state, -1);
 *     while (...) {
 *         dwconv_chunk c = {0};
 *         c.in_steps = n; c.out_steps = dwconv_stream_out_steps(&stream, state, -1, n);
 *         s = dwconv_stream_push(&stream, state, &c, x, w, bias, NULL, y, &e);
 *     }
 *
 *   The outputs of all pushes and of the flush, one after the other, are those of one dwconv_forward() over the
 *   whole input, with the same bits (of one instruction set), however it was cut.  After n inputs as many outputs
 *   have been given as cannot change any more: output i comes with input i*stride + dwconv_stream_delay(), those of
 *   negative number with input 0.  The rest, whose taps meet the padding on the right, comes with the flush.
 *
 *   Every batch item is a sequence of its own, which can be reset and flushed alone.  Where items do not give
 *   equally many outputs, those of an item are the last ones of y, with zeros before them.
 *
 *   A dwconv_stream is a value like a plan.  The state holds the inputs that may be needed again; it is aligned like
 *   a double, points nowhere, and may be copied or moved as bytes.  A call that returns an error changed nothing. */

/* What to compute.  pad_left and pad_right may be negative: steps at the beginning and at the end that are
 * skipped.  layout is that of chunks. */
typedef struct dwconv_stream_problem {
    int64_t batch, channels, depth_multiplier;
    int64_t kernel_size, stride, dilation, pad_left, pad_right;
    int32_t layout, dtype;
} dwconv_stream_problem;

/* A validated stream and everything derived from it. */
typedef struct dwconv_stream {
    uint64_t opaque[48];
} dwconv_stream;

/* One chunk: x (batch, in_steps, channels) and y (batch, out_steps, channels*depth_multiplier), or with rows of
 * steps for channels_first.  out_steps must be at least what the call gives.  Distances in elements; 0 = packed. */
typedef struct dwconv_chunk {
    int64_t in_steps, out_steps;
    int64_t x_batch_stride, x_row_stride;
    int64_t y_batch_stride, y_row_stride;
} dwconv_chunk;

/* Where one sequence stands. */
typedef struct dwconv_stream_mark {
    int64_t position;  /* inputs taken */
    int64_t available; /* how many of the last inputs exist, at most dwconv_stream_history(); older ones are absent */
    int64_t flushed;   /* 1: it has ended */
} dwconv_stream_mark;

DWCONV_API dwconv_status dwconv_stream_init(dwconv_stream *stream, const dwconv_stream_problem *problem,
                                            const char *isa);
DWCONV_API size_t dwconv_stream_state_size(const dwconv_stream *stream);
/* Scratch bytes for pushes of up to in_steps steps (and for the flush) with up to max_threads threads. */
DWCONV_API size_t dwconv_stream_workspace_size(const dwconv_stream *stream, int64_t in_steps, int max_threads);
DWCONV_API int64_t dwconv_stream_history(const dwconv_stream *stream); /* inputs kept: (kernel_size-1)*dilation, more
                                                                        * if pad_right is negative */
DWCONV_API int64_t dwconv_stream_delay(const dwconv_stream *stream);   /* negative if pad_left exceeds a kernel */

/* A new sequence begins in batch item `item`, or in all with -1: necessary before the first push. */
DWCONV_API dwconv_status dwconv_stream_reset(const dwconv_stream *stream, void *state, int64_t item);

/* Outputs that a push of in_steps steps, or the flush, would give for an item; with -1 the most of any item.
 * -1 if an argument is not valid or the sequence has ended. */
DWCONV_API int64_t dwconv_stream_out_steps(const dwconv_stream *stream, const void *state, int64_t item,
                                           int64_t in_steps);
DWCONV_API int64_t dwconv_stream_tail_steps(const dwconv_stream *stream, const void *state, int64_t item);

/* Inputs an item has taken; -1 if an argument is not valid. */
DWCONV_API int64_t dwconv_stream_position(const dwconv_stream *stream, const void *state, int64_t item);

/* Takes a chunk of any length, and writes the outputs it makes definite. */
DWCONV_API dwconv_status dwconv_stream_push(const dwconv_stream *stream, void *state, const dwconv_chunk *chunk,
                                            const void *x, const void *w, const void *bias,
                                            const dwconv_activation *activation, void *y, const dwconv_exec *exec);

/* A push of one step: x (batch, channels) and y (batch, channels*depth_multiplier), packed, in either layout.
 * y may be NULL if dwconv_stream_out_steps(stream, state, -1, 1) is 0; it must not be more than 1. */
DWCONV_API dwconv_status dwconv_stream_step(const dwconv_stream *stream, void *state, const void *x, const void *w,
                                            const void *bias, const dwconv_activation *activation, void *y,
                                            const dwconv_exec *exec);

/* Ends the sequence of an item, or all with -1, and writes its last outputs: dwconv_stream_tail_steps() of them.
 * Of the chunk only out_steps and the strides of y count; y has one batch item if `item` is not -1. */
DWCONV_API dwconv_status dwconv_stream_flush(const dwconv_stream *stream, void *state, int64_t item,
                                             const dwconv_chunk *chunk, const void *w, const void *bias,
                                             const dwconv_activation *activation, void *y, const dwconv_exec *exec);

/* The portable form of an item's state: its mark, and its last dwconv_stream_history() inputs, oldest first, as rows
 * of the layout, (history, channels) or (channels, history), packed.  Inputs that are not available are zeros. */
DWCONV_API dwconv_status dwconv_stream_save(const dwconv_stream *stream, const void *state, int64_t item,
                                            dwconv_stream_mark *mark, void *history);
DWCONV_API dwconv_status dwconv_stream_load(const dwconv_stream *stream, void *state, int64_t item,
                                            const dwconv_stream_mark *mark, const void *history);

/* Names and queries.  Strings are static. */
DWCONV_API const char *dwconv_status_string(dwconv_status status);
DWCONV_API const char *dwconv_version(void);
DWCONV_API const char *dwconv_plan_isa(const dwconv_plan *plan); /* NULL if not a plan */
DWCONV_API const char *dwconv_default_isa(void);                 /* NULL if DWCONV_ISA names an unusable one */
DWCONV_API const char *dwconv_isa_name(int index);               /* usable tables, best first; NULL past the end */
DWCONV_API int dwconv_isa_has_fma(const char *isa);              /* 1: takes part in the same-bits promise */
DWCONV_API int dwconv_has_openmp(void);
/* True in a child process forked after this library was loaded: the built-in runner then stays serial.
 * Without OpenMP it always is, and this is 0. */
DWCONV_API int dwconv_forked(void);

#ifdef __cplusplus
}
#endif
#endif
