// The sum of one number per thread over the whole threadgroup, known to every thread afterwards.
// `scratch` is a shared array of 32; the second barrier lets it be used again.
#define GROUP_SUM(result, value)                              \
  {                                                           \
    float part = SIMD_SUM(value);                             \
    if (lane == 0) scratch[simd_id] = part;                   \
    BARRIER();                                                \
    result = SIMD_SUM(lane < SIMDS ? scratch[lane] : 0.0f);   \
    BARRIER();                                                \
  }
