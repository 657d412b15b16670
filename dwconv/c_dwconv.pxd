# SPDX-License-Identifier: BSD-3-Clause
# Transcription of dwconv.h, for Cython code that links the C library itself.
# Compile with dwconv.get_include() on the include path; dwconv.h explains every name.
from libc.stdint cimport int32_t, int64_t, uint64_t

cdef extern from "dwconv.h" nogil:
    ctypedef enum dwconv_status:
        DWCONV_OK
        DWCONV_ERROR_NULL
        DWCONV_ERROR_SIZE
        DWCONV_ERROR_OVERFLOW
        DWCONV_ERROR_STRIDE
        DWCONV_ERROR_LAYOUT
        DWCONV_ERROR_DTYPE
        DWCONV_ERROR_ISA
        DWCONV_ERROR_ACTIVATION
        DWCONV_ERROR_WORKSPACE
        DWCONV_ERROR_PLAN
        DWCONV_ERROR_STREAM
        DWCONV_ERROR_FLUSHED
        DWCONV_STOPPED

    ctypedef enum dwconv_layout:
        DWCONV_CHANNELS_LAST
        DWCONV_CHANNELS_FIRST

    ctypedef enum dwconv_dtype:
        DWCONV_F32
        DWCONV_F64

    ctypedef enum dwconv_activation_kind:
        DWCONV_LINEAR
        DWCONV_CLIP
        DWCONV_LEAKY_RELU
        DWCONV_HARD_SIGMOID
        DWCONV_HARD_SILU
        DWCONV_SIGMOID
        DWCONV_SILU
        DWCONV_TANH
        DWCONV_GELU
        DWCONV_GELU_TANH
        DWCONV_EXPONENTIAL
        DWCONV_ELU
        DWCONV_SELU
        DWCONV_CELU
        DWCONV_SOFTPLUS
        DWCONV_LOG_SIGMOID
        DWCONV_MISH
        DWCONV_SOFTSIGN
        DWCONV_SOFT_SHRINK
        DWCONV_HARD_SHRINK
        DWCONV_THRESHOLD
        DWCONV_SPARSE_SIGMOID
        DWCONV_SPARSE_PLUS

    ctypedef struct dwconv_problem:
        int64_t batch, in_steps, channels, depth_multiplier
        int64_t kernel_size, stride, dilation, pad_left, out_steps
        int64_t x_batch_stride, x_row_stride
        int64_t y_batch_stride, y_row_stride
        int32_t layout, dtype

    ctypedef struct dwconv_activation:
        int32_t kind, reserved
        double alpha, beta

    ctypedef struct dwconv_plan:
        uint64_t opaque[80]

    ctypedef void (*dwconv_task)(void *argument, int64_t index, int worker) noexcept nogil

    ctypedef struct dwconv_runner:
        void *context
        void (*run)(void *context, dwconv_task task, void *argument, int64_t count,
                    int max_threads) noexcept nogil

    ctypedef struct dwconv_stop:
        void *context
        int (*wanted)(void *context) noexcept nogil

    ctypedef struct dwconv_exec:
        int max_threads
        void *workspace
        size_t workspace_bytes
        const dwconv_runner *runner
        const dwconv_stop *stop

    dwconv_status dwconv_plan_init(dwconv_plan *plan, const dwconv_problem *problem, const char *isa)
    size_t dwconv_workspace_size(const dwconv_plan *plan, int max_threads)
    dwconv_status dwconv_forward(const dwconv_plan *plan, const void *x, const void *w, const void *bias,
                                 const dwconv_activation *activation, void *y, const dwconv_exec *exec)
    size_t dwconv_backward_input_workspace_size(const dwconv_plan *plan, int max_threads)
    dwconv_status dwconv_backward_input(const dwconv_plan *plan, const void *dy, const void *w, void *dx,
                                        const dwconv_exec *exec)
    size_t dwconv_backward_weight_workspace_size(const dwconv_plan *plan, int max_threads)
    dwconv_status dwconv_backward_weight(const dwconv_plan *plan, const void *x, const void *dy, void *dw,
                                         void *dbias, const dwconv_exec *exec)
    size_t dwconv_backward_workspace_size(const dwconv_plan *plan, int max_threads)
    dwconv_status dwconv_backward(const dwconv_plan *plan, const void *x, const void *w, const void *dy, void *dx,
                                  void *dw, void *dbias, const dwconv_exec *exec)
    dwconv_status dwconv_activation_backward(const dwconv_activation *activation, int32_t dtype, int64_t count,
                                             const void *z, const void *dy, void *dz, const char *isa,
                                             const dwconv_exec *exec)
    size_t dwconv_backward_activated_workspace_size(const dwconv_plan *plan, int max_threads)
    dwconv_status dwconv_backward_activated(const dwconv_plan *plan, const void *x, const void *w, const void *bias,
                                            const dwconv_activation *activation, const void *dy, void *dx, void *dw,
                                            void *dbias, const dwconv_exec *exec)
    size_t dwconv_fft_table_size(const dwconv_plan *plan)
    dwconv_status dwconv_fft_table_init(const dwconv_plan *plan, void *table)
    size_t dwconv_fft_workspace_size(const dwconv_plan *plan, int max_threads)
    dwconv_status dwconv_fft_forward(const dwconv_plan *plan, const void *table, const void *x, const void *w,
                                     const void *bias, void *y, int *finite, const dwconv_exec *exec)
    double dwconv_work(const dwconv_plan *plan)
    const char *dwconv_status_string(dwconv_status status)
    const char *dwconv_version()
    const char *dwconv_plan_isa(const dwconv_plan *plan)
    const char *dwconv_default_isa()
    const char *dwconv_isa_name(int index)
    int dwconv_isa_has_fma(const char *isa)
    int dwconv_has_openmp()
    int dwconv_forked()

    ctypedef struct dwconv_stream_problem:
        int64_t batch, channels, depth_multiplier
        int64_t kernel_size, stride, dilation, pad_left, pad_right
        int32_t layout, dtype

    ctypedef struct dwconv_stream:
        uint64_t opaque[48]

    ctypedef struct dwconv_chunk:
        int64_t in_steps, out_steps
        int64_t x_batch_stride, x_row_stride
        int64_t y_batch_stride, y_row_stride

    ctypedef struct dwconv_stream_mark:
        int64_t position, available, flushed

    dwconv_status dwconv_stream_init(dwconv_stream *stream, const dwconv_stream_problem *problem, const char *isa)
    size_t dwconv_stream_state_size(const dwconv_stream *stream)
    size_t dwconv_stream_workspace_size(const dwconv_stream *stream, int64_t in_steps, int max_threads)
    int64_t dwconv_stream_history(const dwconv_stream *stream)
    int64_t dwconv_stream_delay(const dwconv_stream *stream)
    dwconv_status dwconv_stream_reset(const dwconv_stream *stream, void *state, int64_t item)
    int64_t dwconv_stream_out_steps(const dwconv_stream *stream, const void *state, int64_t item, int64_t in_steps)
    int64_t dwconv_stream_tail_steps(const dwconv_stream *stream, const void *state, int64_t item)
    int64_t dwconv_stream_position(const dwconv_stream *stream, const void *state, int64_t item)
    dwconv_status dwconv_stream_push(const dwconv_stream *stream, void *state, const dwconv_chunk *chunk,
                                     const void *x, const void *w, const void *bias,
                                     const dwconv_activation *activation, void *y, const dwconv_exec *exec)
    dwconv_status dwconv_stream_step(const dwconv_stream *stream, void *state, const void *x, const void *w,
                                     const void *bias, const dwconv_activation *activation, void *y,
                                     const dwconv_exec *exec)
    dwconv_status dwconv_stream_flush(const dwconv_stream *stream, void *state, int64_t item,
                                      const dwconv_chunk *chunk, const void *w, const void *bias,
                                      const dwconv_activation *activation, void *y, const dwconv_exec *exec)
    dwconv_status dwconv_stream_save(const dwconv_stream *stream, const void *state, int64_t item,
                                     dwconv_stream_mark *mark, void *history)
    dwconv_status dwconv_stream_load(const dwconv_stream *stream, void *state, int64_t item,
                                     const dwconv_stream_mark *mark, const void *history)
