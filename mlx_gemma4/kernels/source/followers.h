#if FOLLOWING > 0
GROUP_SUM(squares, squares);
const float next = RSQRT(squares / COLUMNS + eps);
for (uint j = 0; j < EACH; j++) {
  uint c = thread_id + j * THREADS;
  if (c < COLUMNS) {
    normed_0[base + c] = T(value[j] * next * float(weight_0[c]));
#if FOLLOWING > 1
    normed_1[base + c] = T(value[j] * next * float(weight_1[c]));
#endif
#if FOLLOWING > 2
    normed_2[base + c] = T(value[j] * next * float(weight_2[c]));
#endif
  }
}
#endif
