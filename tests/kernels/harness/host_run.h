// The calls from outside: by number, with arrays laid out as `host::Array`.
extern "C" const char* host_launch(uint instance, host::Array* inputs, host::Array* outputs,
                                   uint output_count, uint groups_x, uint groups_y, uint threads) {
  host::Call call{inputs, outputs, 0, 0};
  const char* name = host_names[instance];
#if CHECKED
  for (uint i = 0; i < output_count; i++) {
    outputs[i].writers = static_cast<uint*>(calloc(outputs[i].size, sizeof(uint)));
  }
#endif
  host::run(host_bodies[instance], name, call, groups_x, groups_y, threads);
#if CHECKED
  for (uint i = 0; i < output_count; i++) {
    if (!host::failed) host::check_written(name, outputs[i], i);
    free(outputs[i].writers);
  }
#endif
  (void)output_count;
  return host::failed ? host::message : nullptr;
}

#if defined(AS_PROGRAM)
// A request file: instance, groups, threads, counts, then per array its element size, number of
// elements, shape, strides and, for inputs, data. The answer file holds the outputs.
static void take(FILE* file, void* to, size_t bytes) {
  if (bytes && fread(to, 1, bytes, file) != bytes) abort();
}

int main(int count, char** words) {
  if (count != 3) return 2;
  FILE* file = fopen(words[1], "rb");
  uint head[6];
  take(file, head, sizeof head);
  host::Array arrays[32];
  uint64_t sizes[32];
  for (uint i = 0; i < head[4] + head[5]; i++) {
    uint64_t element;
    take(file, &element, 8);
    take(file, &arrays[i].size, 8);
    take(file, arrays[i].shape, sizeof arrays[i].shape);
    take(file, arrays[i].strides, sizeof arrays[i].strides);
    sizes[i] = element * arrays[i].size;
    arrays[i].data = malloc(sizes[i] ? sizes[i] : 1);  // exactly so long: the sanitizer sees the end
    if (i < head[4]) take(file, arrays[i].data, sizes[i]);
  }
  fclose(file);
  const char* error = host_launch(head[0], arrays, arrays + head[4], head[5], head[1], head[2], head[3]);
  if (error) {
    fprintf(stderr, "%s\n", error);
    return 1;
  }
  file = fopen(words[2], "wb");
  for (uint i = head[4]; i < head[4] + head[5]; i++) fwrite(arrays[i].data, 1, sizes[i], file);
  fclose(file);
  for (uint i = 0; i < head[4] + head[5]; i++) free(arrays[i].data);
  for (uint i = 0; i < host::MOST_THREADS; i++) free(host::machine->fibers[i].stack);
  for (uint i = 0; i < host::MOST_SHARED; i++) free(host::machine->shared[i].cells);
  free(host::machine);
  return 0;
}
#endif
