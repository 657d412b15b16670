/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef DWCONV_DISPATCH_H
#define DWCONV_DISPATCH_H

#include "internal.h"

/* The table of that name if this CPU can run it; NULL asks for the default.  NULL if there is none. */
const dw_table *dw_find_table(const char *isa);

#endif
