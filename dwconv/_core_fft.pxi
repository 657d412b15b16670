# SPDX-License-Identifier: BSD-3-Clause
# Part of _core.pyx: the factors of Fourier transforms, which plans share.
from libc.stdlib cimport free, malloc

cdef enum:
    MOST_TABLES = 16
    MOST_TABLE_BYTES = 1 << 20  # larger ones are made anew for each plan, and so are the transforms they are for

# By size, dtype and instruction set: each number of points has a size of its own.
cdef dict known_tables = {}


cdef class FFTTable:
    """What `dwconv_fft_forward` needs to know beside a plan; nobody writes into it any more."""

    cdef void *data

    def __dealloc__(self):
        free(self.data)


cdef FFTTable fft_table(Plan plan):
    """The table of a plan that has outputs."""
    cdef size_t nbytes = c.dwconv_fft_table_size(&plan.plan)
    key = nbytes, plan.problem.dtype, plan.isa
    cdef FFTTable table = known_tables.get(key)
    if table is not None:
        return table
    table = FFTTable()
    table.data = malloc(nbytes)
    if table.data is NULL:
        raise MemoryError(f"no memory for {nbytes} bytes of factors of a Fourier transform")
    cdef dwconv_status status = c.dwconv_fft_table_init(&plan.plan, table.data)
    if status != c.DWCONV_OK:
        raise error_of(status)
    if nbytes <= MOST_TABLE_BYTES:
        if len(known_tables) >= MOST_TABLES:
            known_tables.clear()
        known_tables[key] = table
    return table
