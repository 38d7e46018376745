// As much of Metal's language as the kernels and MLX's signatures use, for a syntax and type check.
// Address spaces are real types here: a pointer of one is no pointer of another, as in Metal.
#define device __attribute__((address_space(1)))
#define constant __attribute__((address_space(2)))
#define threadgroup static __attribute__((address_space(3)))
#define thread
typedef unsigned int uint;
typedef unsigned char uint8_t;
typedef unsigned int uint32_t;
typedef int int32_t;
typedef long int64_t;
struct uint3 {
  uint x, y, z;
};
// Stored as 16 bits, computed as float. (A class with conversions could not lie in an address space.)
typedef __fp16 half;
typedef __fp16 bfloat16_t;
typedef __fp16 float16_t;
struct half2 {
  half x, y;
};
struct float2 {
  float x, y;
  float2(half2);
};
namespace metal {
template <typename T, typename F>
T as_type(F);
enum class mem_flags { mem_none, mem_device, mem_threadgroup };
void threadgroup_barrier(mem_flags);
float simd_sum(float);
float simd_max(float);
uint simd_min(uint);
float exp(float);
float rsqrt(float);
}
using namespace metal;
