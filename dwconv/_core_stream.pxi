# SPDX-License-Identifier: BSD-3-Clause
# Streams: the state of a convolution between chunks.  dwconv/stream.py holds the policy.

include "_core_stream_tools.pxi"


cdef class Stream:
    """A convolution whose input arrives in chunks: configuration, weights and state.

    A subclass defines ``_suitable(array, ndim)``, which returns an array that `push` or `step` can read or raises,
    and ``_check_out(out, shape, frame)``, which raises unless `out` can take the result.
    """

    cdef dwconv_stream stream
    cdef dwconv_stream_problem problem
    cdef dwconv_activation fused
    cdef stream_lock lock
    cdef void *memory
    cdef void *state
    cdef size_t state_bytes, step_scratch
    cdef Py_ssize_t out_channels, item
    cdef int64_t *counts  # outputs of each item in the last call, then in the present one
    cdef int64_t total_steps
    cdef double step_work
    cdef object group, arrays, rest, make_array, make_frame
    cdef Py_ssize_t kernel_index, bias_index
    cdef Py_buffer kernel, bias
    cdef tuple frame_shape
    cdef object dtype_

    def __cinit__(self, *args, **kwargs):
        self.memory = self.counts = NULL
        memset(&self.kernel, 0, sizeof(self.kernel))
        memset(&self.bias, 0, sizeof(self.bias))
        stream_leave(&self.lock)

    def __dealloc__(self):
        free(self.memory)
        free(self.counts)
        PyBuffer_Release(&self.kernel)
        PyBuffer_Release(&self.bias)

    def _configure(self, *, int64_t batch, int64_t channels, int64_t depth_multiplier, int64_t kernel_size,
                   int64_t stride, int64_t dilation, int64_t pad_left, int64_t pad_right, bint channels_first, dtype,
                   tuple activation, rest, group, Py_ssize_t kernel_index, Py_ssize_t bias_index, make_array, make_frame,
                   int64_t total_steps=-1, bytes isa=None):
        """To be called once, by the constructor.

        `group.arrays` is a tuple of arrays; when it is another tuple than at the last call, the weights are fetched
        anew from `kernel_index` and `bias_index` (-1: no bias).  `rest` is applied to what the core has computed.
        ``make_array(shape, dtype)`` makes the outputs, `make_frame` those of `step`.  `total_steps` is the length every
        sequence must have, or -1.
        """
        cdef dwconv_stream_problem *p = &self.problem
        if self.memory is not NULL:
            raise RuntimeError("a stream is configured once")
        p.batch, p.channels, p.depth_multiplier = batch, channels, depth_multiplier
        p.kernel_size, p.stride, p.dilation = kernel_size, stride, dilation
        p.pad_left, p.pad_right = pad_left, pad_right
        p.layout = c.DWCONV_CHANNELS_FIRST if channels_first else c.DWCONV_CHANNELS_LAST
        p.dtype = c.DWCONV_F64 if dtype.itemsize == 8 else c.DWCONV_F32
        cdef const char *name = NULL
        if isa is not None:
            name = isa
        cdef dwconv_status status = c.dwconv_stream_init(&self.stream, p, name)
        if status != c.DWCONV_OK:
            raise error_of(status)
        self.item = dtype.itemsize
        self.dtype_ = dtype
        self.out_channels = channels * depth_multiplier
        self.frame_shape = (batch, self.out_channels)
        self.fused.kind, self.fused.alpha, self.fused.beta = activation
        self.rest, self.make_array, self.make_frame, self.total_steps = rest, make_array, make_frame, total_steps
        self.group, self.kernel_index, self.bias_index = group, kernel_index, bias_index
        self.step_scratch = c.dwconv_stream_workspace_size(&self.stream, 1, 1)
        self.step_work = <double>batch * self.out_channels * (kernel_size + 4)
        self.state_bytes = c.dwconv_stream_state_size(&self.stream)
        self.fetch_weights()
        self.counts = <int64_t *>malloc(2 * batch * sizeof(int64_t) + 1)
        # Aligned by hand, since an aligned_alloc is not everywhere.
        self.memory = malloc(self.state_bytes + 64)
        if self.memory is NULL or self.counts is NULL:
            free(self.memory)
            self.memory = NULL
            raise MemoryError(f"no memory for the state of a stream, {self.state_bytes} bytes")
        self.state = <char *>self.memory + (64 - <size_t>self.memory % 64) % 64
        memset(self.counts, 0, 2 * batch * sizeof(int64_t))
        c.dwconv_stream_reset(&self.stream, self.state, -1)

    cdef int fetch_weights(self) except -1:
        """Holds the buffers of the present weights."""
        cdef dwconv_stream_problem *p = &self.problem
        cdef Py_buffer kernel, bias
        arrays = self.group.arrays
        memset(&bias, 0, sizeof(bias))
        PyObject_GetBuffer(arrays[self.kernel_index], &kernel, PyBUF_STRIDES | PyBUF_FORMAT)
        try:
            if not (is_real(&kernel, self.item, 3) and kernel.shape[0] == p.kernel_size and kernel.shape[1] == p.channels
                    and kernel.shape[2] == p.depth_multiplier and is_packed(&kernel)):
                raise ValueError("the kernel is not the one the stream was made for")
            if self.bias_index >= 0:
                PyObject_GetBuffer(arrays[self.bias_index], &bias, PyBUF_STRIDES | PyBUF_FORMAT)
                if not (is_real(&bias, self.item, 1) and bias.shape[0] == self.out_channels and is_packed(&bias)):
                    raise ValueError("the bias is not the one the stream was made for")
        except BaseException:
            PyBuffer_Release(&kernel)
            PyBuffer_Release(&bias)
            raise
        PyBuffer_Release(&self.kernel)
        PyBuffer_Release(&self.bias)
        self.kernel, self.bias, self.arrays = kernel, bias, arrays
        return 0

    cdef int begin(self) except -1:
        if not stream_enter(&self.lock):
            raise RuntimeError("another thread is using this stream: give each thread a stream of its own")
        try:
            if self.memory is NULL:
                raise RuntimeError("the stream was not initialised")
            if self.group.arrays is not self.arrays:
                self.fetch_weights()
        except BaseException:
            stream_leave(&self.lock)
            raise
        return 0

    cdef int64_t count(self, int64_t in_steps, int64_t item, bint flush) except -1:
        """The most outputs of any item in a push, or in the flush of `item` (-1: all); checks whether it is allowed."""
        cdef int64_t i, n, position, most = 0, batch = self.problem.batch
        for i in range(batch):
            n = 0
            if item < 0 or item == i:
                n = (c.dwconv_stream_tail_steps(&self.stream, self.state, i) if flush
                     else c.dwconv_stream_out_steps(&self.stream, self.state, i, in_steps))
                if n < 0:
                    raise ValueError("the sequence has ended by a flush: `reset` comes before the next chunk, received "
                                     f"{'a flush' if flush else f'{in_steps} steps'} for batch item {i}")
                if self.total_steps >= 0:
                    position = c.dwconv_stream_position(&self.stream, self.state, i) + in_steps
                    if position > self.total_steps or (flush and position < self.total_steps):
                        raise ValueError(f"the sequence must have total_steps={self.total_steps} steps in all, "
                                         f"received {position} of batch item {i}{' before the flush' if flush else ''}")
            self.counts[batch + i] = n
            most = max(most, n)
        return most

    cdef void commit(self) noexcept:
        memcpy(self.counts, self.counts + self.problem.batch, self.problem.batch * sizeof(int64_t))

    cdef int run(self, dwconv_chunk *chunk, const Py_buffer *x, const Py_buffer *y, int64_t item, int threads,
                 bint flush) except -1:
        """The push or flush itself."""
        cdef char *y_lo = <char *>y.buf
        cdef char *y_hi = y_lo + buffer_extent(y)
        if chunk.out_steps > 0 and (
            (not flush and chunk.in_steps > 0 and meet(y_lo, y_hi, <const char *>x.buf, buffer_extent(x)))
            or meet(y_lo, y_hi, <const char *>self.kernel.buf, self.kernel.len)
            or (self.bias.buf is not NULL and meet(y_lo, y_hi, <const char *>self.bias.buf, self.bias.len))
        ):
            raise ValueError("the output may overlap an input")
        cdef dwconv_exec exec
        cdef workspace *scratch = NULL
        exec.max_threads, exec.workspace, exec.runner, exec.stop = threads, NULL, NULL, NULL
        exec.workspace_bytes = (self.step_scratch if chunk.in_steps == 1 and threads == 1 and not flush
                                else c.dwconv_stream_workspace_size(&self.stream, chunk.in_steps, threads))
        if exec.workspace_bytes > 0:
            scratch = workspace_take(exec.workspace_bytes)
            if scratch is NULL:
                raise MemoryError(f"no memory for a workspace of {exec.workspace_bytes} bytes")
            exec.workspace = scratch.data
        cdef const void *bias = self.bias.buf if self.bias.buf is not NULL else NULL
        cdef dwconv_status status
        if flush:
            status = c.dwconv_stream_flush(&self.stream, self.state, item, chunk, self.kernel.buf, bias, &self.fused,
                                           y.buf, &exec)
        elif self.step_work * chunk.in_steps > RELEASE_GIL_ABOVE:
            with nogil:
                status = c.dwconv_stream_push(&self.stream, self.state, chunk, x.buf, self.kernel.buf, bias,
                                              &self.fused, y.buf, &exec)
        else:
            status = c.dwconv_stream_push(&self.stream, self.state, chunk, x.buf, self.kernel.buf, bias, &self.fused,
                                          y.buf, &exec)
        if scratch is not NULL:
            workspace_give(scratch)
        if status != c.DWCONV_OK:
            raise error_of(status)
        return 0

    cdef object finish(self, dwconv_chunk *chunk, const Py_buffer *x, object y, int64_t item, int threads, bint flush,
                       bint one_step=False, object out=None):
        """Runs into the array y and applies what is left of the activation; the state is as before after an error.

        With `one_step` the axis of time is taken away, and the result put into `out` if there is one.
        """
        cdef Py_buffer target
        cdef void *backup = NULL
        PyObject_GetBuffer(y, &target, PyBUF_STRIDES | PyBUF_WRITABLE)
        try:
            if self.rest is None and out is None:
                self.run(chunk, x, &target, item, threads, flush)
                self.commit()
                return self.frame_of(y) if one_step else y
            backup = malloc(self.state_bytes)
            if backup is NULL:
                raise MemoryError(f"no memory for a copy of the state, {self.state_bytes} bytes")
            memcpy(backup, self.state, self.state_bytes)
            try:
                self.run(chunk, x, &target, item, threads, flush)
                if self.rest is not None:
                    y = self.rest(y)
                if one_step:
                    y = self.frame_of(y)
                if out is not None:
                    out[...] = y
                    y = out
                self.commit()
                return y
            except BaseException:
                memcpy(self.state, backup, self.state_bytes)
                raise
        finally:
            free(backup)
            PyBuffer_Release(&target)

    def step(self, frame, out=None):
        """Takes one step of every batch item.

        Parameters
        ----------
        frame : ndarray of shape (batch, channels)
            Of the stream's dtype.
        out : ndarray of shape (batch, channels * depth_multiplier), optional
            Where to put the output: the stream's dtype, writable, not overlapping the frame or the weights.

        Returns
        -------
        ndarray of shape (batch, channels * depth_multiplier), or None
            `out` if given; None if this step completes no output (at first, if there is a `delay`, and between the
            steps of a stride).  A batch item that has no output where another has gets zeros.

        Raises
        ------
        ValueError
            For a frame of another shape or dtype, an unsuitable `out`, after a flush, and if this step has more
            than one output (left padding longer than the kernel: use `push`).  The stream is then as it was.
        """
        cdef Py_buffer x, y
        cdef dwconv_chunk chunk
        cdef int64_t outs
        cdef bint direct = False
        memset(&x, 0, sizeof(x))
        memset(&y, 0, sizeof(y))
        self.begin()
        try:
            if not (PyObject_CheckBuffer(frame) and view_frame(&self.problem, frame, &x, self.problem.channels, 0)):
                frame = self._suitable(frame, 2)
                if not view_frame(&self.problem, frame, &x, self.problem.channels, 0):
                    raise ValueError("the frame is not suitable")
            outs = self.count(1, -1, False)
            if outs > 1:
                raise ValueError(f"a step must have at most one output, but the first has {outs}, because the padding "
                                 "on the left is longer than the kernel: use `push`")
            memset(&chunk, 0, sizeof(chunk))
            chunk.in_steps, chunk.out_steps = 1, outs
            if self.problem.batch > 1:
                chunk.x_batch_stride = x.strides[0] // self.item
            if outs == 0:
                self.run(&chunk, &x, &y, -1, 1, False)
                self.commit()
                return None
            if self.rest is None:
                if out is None:
                    out = self.make_frame(self.frame_shape, self.dtype_)
                if view_frame(&self.problem, out, &y, self.out_channels, PyBUF_WRITABLE):
                    if self.problem.batch > 1:
                        chunk.y_batch_stride = y.strides[0] // self.item
                    self.run(&chunk, &x, &y, -1, 1, False)
                    self.commit()
                    return out
                self._check_out(out, self.frame_shape, frame)
            return self.step_aside(&chunk, &x, frame, out)
        finally:
            PyBuffer_Release(&x)
            PyBuffer_Release(&y)
            stream_leave(&self.lock)

    cdef object step_aside(self, dwconv_chunk *chunk, const Py_buffer *x, object frame, object out):
        """A step whose output needs more than the core, or an `out` that the core cannot write."""
        if out is not None:
            self._check_out(out, self.frame_shape, frame)
        first = self.problem.layout == c.DWCONV_CHANNELS_FIRST
        batch, channels = self.frame_shape
        shape = (batch, channels, 1) if first else (batch, 1, channels)
        return self.finish(chunk, x, self.make_array(shape, self.dtype_), -1, 1, False, True, out)

    cdef object frame_of(self, object y):
        return y[:, :, 0] if self.problem.layout == c.DWCONV_CHANNELS_FIRST else y[:, 0]

    def _push(self, array, int threads):
        """Outputs for a chunk."""
        cdef Py_buffer x
        cdef dwconv_chunk chunk
        memset(&x, 0, sizeof(x))
        memset(&chunk, 0, sizeof(chunk))
        self.begin()
        try:
            if not (PyObject_CheckBuffer(array) and view_chunk(&self.problem, array, &x, &chunk)):
                array = self._suitable(array, 3)
                if not view_chunk(&self.problem, array, &x, &chunk):
                    raise ValueError("the chunk is not suitable")
            chunk.out_steps = self.count(chunk.in_steps, -1, False)
            y = self.make_array(self.shape_of(self.problem.batch, chunk.out_steps), self.dtype_)
            return self.finish(&chunk, &x, y, -1, threads, False)
        finally:
            PyBuffer_Release(&x)
            stream_leave(&self.lock)

    def _flush(self, int64_t item, int threads):
        """The last outputs of an item, or of all with -1."""
        cdef dwconv_chunk chunk
        self.begin()
        try:
            memset(&chunk, 0, sizeof(chunk))
            chunk.out_steps = self.count(0, item, True)
            y = self.make_array(self.shape_of(self.problem.batch if item < 0 else 1, chunk.out_steps), self.dtype_)
            return self.finish(&chunk, NULL, y, item, threads, True)
        finally:
            stream_leave(&self.lock)

    def _reset(self, int64_t item):
        self.begin()
        cdef dwconv_status status = c.dwconv_stream_reset(&self.stream, self.state, item)
        stream_leave(&self.lock)
        if status != c.DWCONV_OK:
            raise error_of(status)

    def _save(self, char[:, :, ::1] history, int64_t[:, ::1] marks):
        """Copies out: `history` has bytes as its last axis, `marks` the columns position, available and flushed."""
        cdef dwconv_stream_mark mark
        cdef dwconv_status status = c.DWCONV_OK
        cdef int64_t i
        cdef size_t rows = history.shape[1] * history.shape[2]
        self.begin()
        for i in range(self.problem.batch):
            status = c.dwconv_stream_save(&self.stream, self.state, i, &mark,
                                          &history[i, 0, 0] if rows else NULL)
            marks[i, 0], marks[i, 1], marks[i, 2] = mark.position, mark.available, mark.flushed
        stream_leave(&self.lock)
        if status != c.DWCONV_OK:
            raise error_of(status)

    def _load(self, const char[:, :, ::1] history, const int64_t[:, ::1] marks):
        """Takes what `_save` gave, checked."""
        cdef dwconv_stream_mark mark
        cdef dwconv_status status = c.DWCONV_OK
        cdef int64_t i
        cdef size_t rows = history.shape[1] * history.shape[2]
        self.begin()
        for i in range(self.problem.batch):
            mark.position, mark.available, mark.flushed = marks[i, 0], marks[i, 1], marks[i, 2]
            status = c.dwconv_stream_load(&self.stream, self.state, i, &mark, &history[i, 0, 0] if rows else NULL)
            if status != c.DWCONV_OK:
                break
        stream_leave(&self.lock)
        if status != c.DWCONV_OK:
            raise error_of(status)

    cdef tuple shape_of(self, int64_t batch, int64_t steps):
        if self.problem.layout == c.DWCONV_CHANNELS_FIRST:
            return batch, self.out_channels, steps
        return batch, steps, self.out_channels

    def _counts(self):
        """Outputs of each batch item in the last call."""
        return [self.counts[i] for i in range(self.problem.batch)]

    @property
    def delay(self):
        """Output i comes with input step ``i * strides + delay``; 0 for causal padding.

        It is ``(kernel_size - 1) * dilation_rate - left - min(right, 0)`` for padding (left, right) in steps:
        ``(kernel_size - 1) * dilation_rate`` for ``"valid"``, half of that, rounded up, for ``"same"`` with a stride
        of 1, and negative where outputs lie before the input (they come with its first step).
        """
        return c.dwconv_stream_delay(&self.stream)

    @property
    def receptive_field(self):
        """Input steps from the first tap to the last, both included: ``(kernel_size - 1) * dilation_rate + 1``."""
        return (self.problem.kernel_size - 1) * self.problem.dilation + 1

    @property
    def history(self):
        """Input steps that the state holds: ``(kernel_size - 1) * dilation_rate - min(right, 0)``."""
        return c.dwconv_stream_history(&self.stream)

    @property
    def dtype(self):
        """dtype of inputs, weights and outputs."""
        return self.dtype_
