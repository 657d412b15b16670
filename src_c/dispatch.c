/* SPDX-License-Identifier: BSD-3-Clause
 *
 * Which kernel table a plan gets: that depends on the CPU and, for the default, on what the environment variable
 * DWCONV_ISA is at the time. */
#include "dispatch.h"
#include "cpu.h"

#include <stdlib.h>
#include <string.h>

static const dw_table *const tables[] = { /* best first */
#if defined(__x86_64__) || defined(_M_X64)
    &dw_table_avx512, &dw_table_avx2, &dw_table_sse2,
#elif defined(__aarch64__) || defined(_M_ARM64)
    &dw_table_neon,
#endif
    &dw_table_scalar,
};
enum { TABLES = (int)(sizeof tables / sizeof *tables) };

static bool usable(const dw_table *table, uint32_t features)
{
    return (table->cpu_features & ~features) == 0;
}

static const dw_table *find(const char *name)
{
    const uint32_t features = dw_cpu_features();
    for (int i = 0; i < TABLES; i++)
        if (usable(tables[i], features) && (!name || strcmp(name, tables[i]->name) == 0))
            return tables[i];
    return NULL;
}

const dw_table *dw_find_table(const char *isa)
{
    if (!isa) {
        isa = getenv("DWCONV_ISA");
        if (isa && !*isa)
            isa = NULL;
    }
    return find(isa);
}

const char *dwconv_default_isa(void)
{
    const dw_table *table = dw_find_table(NULL);
    return table ? table->name : NULL;
}

const char *dwconv_isa_name(int index)
{
    const uint32_t features = dw_cpu_features();
    for (int i = 0; i < TABLES && index >= 0; i++)
        if (usable(tables[i], features) && index-- == 0)
            return tables[i]->name;
    return NULL;
}

int dwconv_isa_has_fma(const char *isa)
{
    const dw_table *table = isa ? find(isa) : NULL;
    return table ? table->has_fma : 0;
}
