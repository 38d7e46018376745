// As much of CUDA as the kernels use, for a syntax and type check on any machine.
#define __device__
#define __forceinline__ inline
#define __shared__ static
#define __global__
#define __grid_constant__
typedef unsigned char uint8_t;
typedef unsigned int uint32_t;
typedef int int32_t;
typedef long int64_t;
struct Dim {
  unsigned int x, y, z;
};
static const Dim blockIdx = {}, threadIdx = {};
struct float2 {
  float x, y;
};
// As __half and __nv_bfloat16: explicit from float, implicit to float.
template <int KIND>
struct Short {
  Short() = default;
  explicit Short(float);
  operator float() const;
};
typedef Short<0> float16_t;
typedef Short<1> bfloat16_t;
struct __half2 {
  float16_t x, y;
};
float2 __half22float2(__half2);
float __uint_as_float(unsigned int);
void __syncthreads();
template <typename T>
T __shfl_xor_sync(unsigned int, T, int);
unsigned int min(unsigned int, unsigned int);
float fmaxf(float, float);
float expf(float);
float rsqrtf(float);
struct Shape {
  int32_t operator[](int) const;
};
struct Strides {
  int64_t operator[](int) const;
};
