# SPDX-License-Identifier: BSD-3-Clause
# Part of _core.pyx: the gradients.
from libc.stdint cimport int32_t


def backward_input(Plan plan not None, dy, kernel, dx, int threads):
    """Writes the gradient of the plan's input into dx, given dy, that of its output without activation.

    dx lies in memory as the plan says of x, dy as it says of y; otherwise ValueError, and nothing is written.
    """
    if plan.problem.dtype == c.DWCONV_F32:
        execute_backward_input[float](plan, dy, kernel, dx, threads)
    else:
        execute_backward_input[double](plan, dy, kernel, dx, threads)


def backward_weight(Plan plan not None, x, dy, dkernel, dbias, int threads):
    """Writes the gradients of kernel and bias, each unless None, into dkernel and dbias."""
    if plan.problem.dtype == c.DWCONV_F32:
        execute_backward_weight[float](plan, x, dy, dkernel, dbias, threads)
    else:
        execute_backward_weight[double](plan, x, dy, dkernel, dbias, threads)


def backward(Plan plan not None, x, kernel, dy, dx, dkernel, dbias, int threads):
    """Writes all gradients, each unless None: what `backward_input` and `backward_weight` do, but reading dy once."""
    if plan.problem.dtype == c.DWCONV_F32:
        execute_backward[float](plan, x, kernel, dy, dx, dkernel, dbias, threads)
    else:
        execute_backward[double](plan, x, kernel, dy, dx, dkernel, dbias, threads)


def backward_activated(Plan plan not None, int kind, x, kernel, bias, dy, dx, dkernel, dbias, int threads):
    """Writes the gradients of a convolution with an activation, each unless None, given dy, that of the activated output.

    False, and nothing is written, if the core has no walk of its own for that: `backward_input` and `backward_weight` do
    it in steps.
    """
    if c.dwconv_backward_activated_workspace_size(&plan.plan, threads) == 0:
        return False
    if plan.problem.dtype == c.DWCONV_F32:
        execute_backward_activated[float](plan, kind, x, kernel, bias, dy, dx, dkernel, dbias, threads)
    else:
        execute_backward_activated[double](plan, kind, x, kernel, bias, dy, dx, dkernel, dbias, threads)
    return True


def activation_backward(int kind, z, dy, dz, int threads, bytes isa=None):
    """Writes dy times the derivative of an activation at z into dz; vectors of one dtype and length."""
    if z.dtype.itemsize == 4:
        execute_activation_backward[float](kind, z, dy, dz, threads, isa)
    else:
        execute_activation_backward[double](kind, z, dy, dz, threads, isa)


cdef int execute_activation_backward(int kind, const real[::1] z, const real[::1] dy, real[::1] dz, int threads,
                                     bytes isa) except -1:
    if not z.shape[0] == dy.shape[0] == dz.shape[0]:
        raise ValueError("arrays do not have the same shape")
    if z.shape[0] == 0:
        return 0
    cdef dwconv_activation activation
    activation.kind, activation.reserved, activation.alpha, activation.beta = kind, 0, 0, 0
    cdef dwconv_exec exec
    prepare(&exec, 0, threads)
    cdef int32_t dtype = c.DWCONV_F32 if real is float else c.DWCONV_F64
    cdef const char *name = NULL
    if isa is not None:
        name = isa
    cdef int64_t count = z.shape[0]
    cdef const real *z_data = &z[0]
    cdef const real *dy_data = &dy[0]
    cdef real *dz_data = &dz[0]
    cdef dwconv_status status
    with nogil:
        status = c.dwconv_activation_backward(&activation, dtype, count, z_data, dy_data, dz_data, name, &exec)
    return finish(NULL, status, None)


cdef int execute_backward_input(Plan plan, const real[:, :, :] dy, const real[:, :, ::1] w, real[:, :, :] dx,
                                int threads) except -1:
    cdef const real *dy_data = plane(dy, plan.y_shape, plan.problem.y_batch_stride, plan.problem.y_row_stride)
    cdef real *dx_data = <real *>plane(dx, plan.x_shape, plan.problem.x_batch_stride, plan.problem.x_row_stride)
    cdef const real *w_data = weights(plan, w)
    cdef dwconv_exec exec
    cdef workspace *scratch = prepare(
        &exec, c.dwconv_backward_input_workspace_size(&plan.plan, threads), threads)
    cdef SignalWatch watch = watch_signals(plan, &exec)
    cdef dwconv_status status
    if plan.release_gil:
        with nogil:
            status = c.dwconv_backward_input(&plan.plan, dy_data, w_data, dx_data, &exec)
    else:
        status = c.dwconv_backward_input(&plan.plan, dy_data, w_data, dx_data, &exec)
    return finish(scratch, status, watch)


cdef int execute_backward_weight(Plan plan, const real[:, :, :] x, const real[:, :, :] dy, real[:, :, ::1] dw,
                                 real[::1] dbias, int threads) except -1:
    cdef const real *x_data = plane(x, plan.x_shape, plan.problem.x_batch_stride, plan.problem.x_row_stride)
    cdef const real *dy_data = plane(dy, plan.y_shape, plan.problem.y_batch_stride, plan.problem.y_row_stride)
    cdef real *dw_data = <real *>weights(plan, dw) if dw is not None else NULL
    cdef real *dbias_data = <real *>one_per_output(plan, dbias) if dbias is not None else NULL
    cdef dwconv_exec exec
    cdef workspace *scratch = prepare(
        &exec, c.dwconv_backward_weight_workspace_size(&plan.plan, threads), threads)
    cdef SignalWatch watch = watch_signals(plan, &exec)
    cdef dwconv_status status
    if plan.release_gil:
        with nogil:
            status = c.dwconv_backward_weight(&plan.plan, x_data, dy_data, dw_data, dbias_data, &exec)
    else:
        status = c.dwconv_backward_weight(&plan.plan, x_data, dy_data, dw_data, dbias_data, &exec)
    return finish(scratch, status, watch)


cdef int execute_backward(Plan plan, const real[:, :, :] x, const real[:, :, ::1] w, const real[:, :, :] dy,
                          real[:, :, :] dx, real[:, :, ::1] dw, real[::1] dbias, int threads) except -1:
    cdef const real *x_data = plane(x, plan.x_shape, plan.problem.x_batch_stride, plan.problem.x_row_stride)
    cdef const real *dy_data = plane(dy, plan.y_shape, plan.problem.y_batch_stride, plan.problem.y_row_stride)
    cdef const real *w_data = weights(plan, w)
    cdef real *dx_data = NULL
    if dx is not None:
        dx_data = <real *>plane(dx, plan.x_shape, plan.problem.x_batch_stride, plan.problem.x_row_stride)
    cdef real *dw_data = <real *>weights(plan, dw) if dw is not None else NULL
    cdef real *dbias_data = <real *>one_per_output(plan, dbias) if dbias is not None else NULL
    cdef dwconv_exec exec
    cdef workspace *scratch = prepare(&exec, c.dwconv_backward_workspace_size(&plan.plan, threads), threads)
    cdef SignalWatch watch = watch_signals(plan, &exec)
    cdef dwconv_status status
    if plan.release_gil:
        with nogil:
            status = c.dwconv_backward(&plan.plan, x_data, w_data, dy_data, dx_data, dw_data, dbias_data, &exec)
    else:
        status = c.dwconv_backward(&plan.plan, x_data, w_data, dy_data, dx_data, dw_data, dbias_data, &exec)
    return finish(scratch, status, watch)


cdef int execute_backward_activated(Plan plan, int kind, const real[:, :, :] x, const real[:, :, ::1] w,
                                    const real[::1] bias, const real[:, :, :] dy, real[:, :, :] dx, real[:, :, ::1] dw,
                                    real[::1] dbias, int threads) except -1:
    cdef const real *x_data = plane(x, plan.x_shape, plan.problem.x_batch_stride, plan.problem.x_row_stride)
    cdef const real *dy_data = plane(dy, plan.y_shape, plan.problem.y_batch_stride, plan.problem.y_row_stride)
    cdef const real *w_data = weights(plan, w)
    cdef const real *bias_data = one_per_output(plan, bias) if bias is not None else NULL
    cdef real *dx_data = NULL
    if dx is not None:
        dx_data = <real *>plane(dx, plan.x_shape, plan.problem.x_batch_stride, plan.problem.x_row_stride)
    cdef real *dw_data = <real *>weights(plan, dw) if dw is not None else NULL
    cdef real *dbias_data = <real *>one_per_output(plan, dbias) if dbias is not None else NULL
    cdef dwconv_activation activation
    activation.kind, activation.reserved, activation.alpha, activation.beta = kind, 0, 0, 0
    cdef dwconv_exec exec
    cdef workspace *scratch = prepare(
        &exec, c.dwconv_backward_activated_workspace_size(&plan.plan, threads), threads)
    cdef SignalWatch watch = watch_signals(plan, &exec)
    cdef dwconv_status status
    if plan.release_gil:
        with nogil:
            status = c.dwconv_backward_activated(&plan.plan, x_data, w_data, bias_data, &activation, dy_data, dx_data,
                                                 dw_data, dbias_data, &exec)
    else:
        status = c.dwconv_backward_activated(&plan.plan, x_data, w_data, bias_data, &activation, dy_data, dx_data,
                                             dw_data, dbias_data, &exec)
    return finish(scratch, status, watch)


cdef const real *plane(const real[:, :, :] array, const Py_ssize_t *shape, int64_t batch, int64_t row) except? NULL:
    """The first element of an array that lies in memory as the plan says; NULL if it has none."""
    if not matches(array.shape, shape):
        raise ValueError("arrays do not have the shapes of the plan")
    if shape[0] == 0 or shape[1] == 0 or shape[2] == 0:
        return NULL
    if not strides_match(array.shape, array.strides, batch, row, sizeof(real)):
        raise ValueError("arrays do not have the strides of the plan")
    cdef const real *data = &array[0, 0, 0]
    if <size_t>data % sizeof(real) != 0:
        raise ValueError("arrays are not aligned")
    return data


cdef const real *weights(Plan plan, const real[:, :, ::1] w) except? NULL:
    """The first element of an array with the shape of the kernel; NULL if it has none."""
    cdef dwconv_problem *p = &plan.problem
    if w.shape[0] != p.kernel_size or w.shape[1] != p.channels or w.shape[2] != p.depth_multiplier:
        raise ValueError("arrays do not have the shapes of the plan")
    return &w[0, 0, 0] if w.shape[1] > 0 else NULL


cdef const real *one_per_output(Plan plan, const real[::1] array) except? NULL:
    """The first element of an array with the shape of the bias; NULL if it has none."""
    if array.shape[0] != plan.problem.channels * plan.problem.depth_multiplier:
        raise ValueError("arrays do not have the shapes of the plan")
    return &array[0] if array.shape[0] > 0 else NULL


cdef workspace *prepare(dwconv_exec *exec, size_t bytes, int threads) except? NULL:
    """Fills `exec`; the workspace it holds, NULL if none is needed."""
    exec.max_threads, exec.workspace, exec.workspace_bytes = threads, NULL, bytes
    exec.runner, exec.stop = NULL, NULL
    if bytes == 0:
        return NULL
    cdef workspace *scratch = workspace_take(bytes)
    if scratch is NULL:
        raise MemoryError(f"no memory for a workspace of {bytes} bytes")
    exec.workspace = scratch.data
    return scratch


cdef int finish(workspace *scratch, dwconv_status status, SignalWatch watch) except -1:
    if scratch is not NULL:
        workspace_give(scratch)
    if status == c.DWCONV_STOPPED:
        raise watch.exception
    if status != c.DWCONV_OK:
        raise error_of(status)
    return 0
