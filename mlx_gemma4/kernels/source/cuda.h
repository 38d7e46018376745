// Prelude for CUDA: a warp is a simdgroup, a block a threadgroup.
#include <cuda_fp16.h>
#define FN __device__ __forceinline__
#define LOCAL
#define SHARED(type, name, count) __shared__ type name[count]
#define BARRIER() __syncthreads()
#define SIMD_SUM(value) warp_sum(value)
#define SIMD_MAX(value) warp_max(value)
#define SIMD_MIN(value) warp_min(value)
#define EXP(value) expf(value)
#define RSQRT(value) rsqrtf(value)
typedef unsigned int uint;
FN float warp_sum(float value) {
  for (int step = 16; step > 0; step >>= 1) value += __shfl_xor_sync(0xffffffffu, value, step);
  return value;
}
FN float warp_max(float value) {
  for (int step = 16; step > 0; step >>= 1)
    value = fmaxf(value, __shfl_xor_sync(0xffffffffu, value, step));
  return value;
}
FN uint warp_min(uint value) {
  for (int step = 16; step > 0; step >>= 1)
    value = min(value, __shfl_xor_sync(0xffffffffu, value, step));
  return value;
}
FN float2 halves(uint bits) { return __half22float2(*reinterpret_cast<const __half2*>(&bits)); }
FN float float_of_bits(uint bits) { return __uint_as_float(bits); }
