// First lines of every Metal kernel: MLX declares the attributes it finds named in the source.
const uint group_x = threadgroup_position_in_grid.x;
const uint group_y = threadgroup_position_in_grid.y;
const uint thread_id = thread_index_in_threadgroup;
const uint simd_id = simdgroup_index_in_threadgroup;
const uint lane = thread_index_in_simdgroup;
