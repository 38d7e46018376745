// Prelude for Metal: MLX has included metal_stdlib and opened namespace metal before this.
#define FN inline
#define LOCAL thread
#define SHARED(type, name, count) threadgroup type name[count]
#define BARRIER() threadgroup_barrier(mem_flags::mem_threadgroup)
#define SIMD_SUM(value) simd_sum(value)
#define SIMD_MAX(value) simd_max(value)
#define SIMD_MIN(value) simd_min(value)
#define EXP(value) exp(value)
#define RSQRT(value) rsqrt(value)
FN float2 halves(uint bits) { return float2(as_type<half2>(bits)); }
FN float float_of_bits(uint bits) { return as_type<float>(bits); }
