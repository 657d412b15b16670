// SPDX-License-Identifier: BSD-3-Clause
//
// The public header alone in a C++ file, linked with the C library.
#include "dwconv.h"

#include <cstdio>
#include <vector>

int main()
{
    dwconv_problem p = dwconv_problem();
    p.batch = 1, p.in_steps = 4, p.channels = 2, p.depth_multiplier = 1;
    p.kernel_size = 2, p.stride = 1, p.dilation = 1, p.pad_left = 1, p.out_steps = 4;
    p.dtype = DWCONV_F64;
    const std::vector<double> x = {1, 10, 2, 20, 3, 30, 4, 40}, w = {100, 1, 1, 1};
    const std::vector<double> want = {1, 10, 102, 30, 203, 50, 304, 70};
    std::vector<double> y(8);

    dwconv_plan plan;
    dwconv_status status = dwconv_plan_init(&plan, &p, nullptr);
    std::vector<char> workspace(dwconv_workspace_size(&plan, 1));
    dwconv_exec exec = dwconv_exec();
    exec.workspace = workspace.data(), exec.workspace_bytes = workspace.size();
    if (status == DWCONV_OK)
        status = dwconv_forward(&plan, x.data(), w.data(), nullptr, nullptr, y.data(), &exec);
    std::printf("test_header_cpp: dwconv %s, %s\n", dwconv_version(), dwconv_status_string(status));
    return status == DWCONV_OK && y == want ? 0 : 1;
}
