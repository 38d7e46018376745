// Attention of one query row over a chunk of keys, softmax running along. Grid: x key heads,
// y chunks; a threadgroup has one simdgroup per query head of the key head, so keys and values come
// from memory once and serve all its query heads from the cache. A lane holds DIMS / 32 numbers of
// query and sum. Keys and values are read where they lie in the cache (strided, never copied).
const uint head = group_x * REPEATS + simd_id;
const uint total = uint(keys_shape[2]);
const uint chunks = uint(chunks_of[0]);
const uint each = (total + chunks - 1) / chunks;
const uint begin = group_y * each;
const uint end = begin + each < total ? begin + each : total;
const uint key_row = uint(keys_strides[2]);
const uint value_row = uint(values_strides[2]);
const uint key_base = group_x * uint(keys_strides[1]);
const uint value_base = group_x * uint(values_strides[1]);
float query[DIMS / 32];
float sum[DIMS / 32];
for (uint j = 0; j < DIMS / 32; j++) {
  query[j] = float(q[head * uint(q_strides[1]) + lane + 32 * j]);
  sum[j] = 0.0f;
}
float largest = -3.0e38f;
float weight = 0.0f;
for (uint s = begin; s < end; s++) {
  float score = 0.0f;
  for (uint j = 0; j < DIMS / 32; j++) {
    score += query[j] * float(keys[key_base + s * key_row + lane + 32 * j]);
  }
  score = SIMD_SUM(score);
  float top = score > largest ? score : largest;
  float keep = EXP(largest - top);
  float share = EXP(score - top);
  weight = weight * keep + share;
  for (uint j = 0; j < DIMS / 32; j++) {
    sum[j] = sum[j] * keep + share * float(values[value_base + s * value_row + lane + 32 * j]);
  }
  largest = top;
}
#if WHOLE
for (uint j = 0; j < DIMS / 32; j++) {
  out[head * DIMS + lane + 32 * j] = T(sum[j] / weight);
}
#else
const uint part = group_y * HEADS + head;
for (uint j = 0; j < DIMS / 32; j++) parts[part * DIMS + lane + 32 * j] = sum[j];
if (lane == 0) {
  marks[2 * part] = largest;
  marks[2 * part + 1] = weight;
}
#endif
