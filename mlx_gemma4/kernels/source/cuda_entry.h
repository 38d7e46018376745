// First lines of every CUDA kernel.
const uint group_x = blockIdx.x;
const uint group_y = blockIdx.y;
const uint thread_id = threadIdx.x;
const uint simd_id = threadIdx.x / 32u;
const uint lane = threadIdx.x % 32u;
