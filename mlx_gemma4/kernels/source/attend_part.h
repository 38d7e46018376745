// Attention of one query row over a chunk of keys, softmax running along. Grid: x key heads,
// y chunks; a threadgroup has one simdgroup per query head of the key head, so keys and values come
// from memory once and serve all its query heads from the cache. A lane holds DIMS / 32 numbers of
// query and sum. AT_ONCE keys are taken together, so that their loads and sums over the simdgroup do
// not wait for each other. Keys and values are read where they lie in the cache, never copied; rows
// behind the last one seen are spare.
const uint head = group_x * REPEATS + simd_id;
const uint total = uint(last[0]) + 1;
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
for (uint s = begin; s < end; s += AT_ONCE) {
  float score[AT_ONCE];
  for (uint n = 0; n < AT_ONCE; n++) {
    const uint row = key_base + (s + n < end ? s + n : end - 1) * key_row + lane;
    score[n] = 0.0f;
    for (uint j = 0; j < DIMS / 32; j++) score[n] += query[j] * float(keys[row + 32 * j]);
  }
  float top = largest;
  for (uint n = 0; n < AT_ONCE; n++) {
    score[n] = SIMD_SUM(score[n]);
    top = score[n] > top ? score[n] : top;
  }
  float keep = EXP(largest - top);
  weight *= keep;
  for (uint j = 0; j < DIMS / 32; j++) sum[j] *= keep;
  for (uint n = 0; n < AT_ONCE; n++) {
    const uint row = value_base + (s + n < end ? s + n : end - 1) * value_row + lane;
    float share = s + n < end ? EXP(score[n] - top) : 0.0f;
    weight += share;
    for (uint j = 0; j < DIMS / 32; j++) sum[j] += share * float(values[row + 32 * j]);
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
