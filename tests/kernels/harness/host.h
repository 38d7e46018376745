// The third prelude: kernel bodies on the CPU, one fiber per thread of a threadgroup.
//
// Threads of a threadgroup are fibers that run until they meet: 32 lanes at a sum over the
// simdgroup, all threads at a barrier. Meeting at different places, or not at all, is an error. With
// CHECKED every access of shared memory and of an output is recorded: out of bounds, read before
// written, two threads touching a number between two barriers with one of them writing, an output
// written twice or never, all end the run with a sentence.
#include <cmath>
#include <cstdarg>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <type_traits>
#if defined(__SANITIZE_ADDRESS__)
#include <sanitizer/common_interface_defs.h>
#endif
#if !defined(__x86_64__)
#include <ucontext.h>
#endif

typedef unsigned int uint;
typedef unsigned char uchar;
struct float2 {
  float x, y;
};

inline float float_of_bits(uint bits) {
  float value;
  memcpy(&value, &bits, 4);
  return value;
}
inline uint bits_of_float(float value) {
  uint bits;
  memcpy(&bits, &value, 4);
  return bits;
}

struct bfloat16 {
  uint16_t bits;
  bfloat16() : bits(0) {}
  explicit bfloat16(float value) {
    uint b = bits_of_float(value);
    bits = value != value ? 0x7fc0 : uint16_t((b + 0x7fffu + ((b >> 16) & 1u)) >> 16);
  }
  explicit operator float() const { return float_of_bits(uint(bits) << 16); }
};

struct float16 {
  uint16_t bits;
  float16() : bits(0) {}
  explicit float16(float value) {
    uint b = bits_of_float(value);
    uint16_t sign = uint16_t((b >> 16) & 0x8000u);
    float size = fabsf(value);
    if (value != value) bits = 0x7e00;
    else if (size >= 65520.0f) bits = sign | 0x7c00;
    else if (size < 6.103515625e-05f) bits = sign | uint16_t(nearbyintf(size * 16777216.0f));
    else {
      b &= 0x7fffffffu;
      b += 0xfffu + ((b >> 13) & 1u);
      bits = sign | uint16_t((b - (112u << 23)) >> 13);
    }
  }
  explicit operator float() const {
    uint exponent = (bits >> 10) & 31u, fraction = bits & 1023u;
    float size = exponent == 0    ? float(fraction) * 5.9604644775390625e-08f
                 : exponent == 31 ? (fraction ? NAN : INFINITY)
                                  : float_of_bits(((exponent + 112u) << 23) | (fraction << 13));
    return bits & 0x8000u ? -size : size;
  }
};

inline float2 halves(uint bits) {
  float16 low, high;
  low.bits = uint16_t(bits);
  high.bits = uint16_t(bits >> 16);
  return float2{float(low), float(high)};
}

namespace host {

const uint LANES = 32, MOST_THREADS = 1024, MOST_SHARED = 8, SHARED_BYTES = 1 << 16;
const size_t STACK_BYTES = 256 << 10;

struct Array {
  void* data;
  uint64_t size;
  int shape[8];
  int64_t strides[8];
  uint* writers;  // thread + 1 that wrote each number of an output; 0 for none
};

struct Call {
  Array* inputs;
  Array* outputs;
  uint group_x, group_y;
};

typedef void (*Body)(const Call&, uint thread);

enum State { READY, AT_SIMD, AT_BARRIER, DONE };
enum Operation { SUM, MAX, MIN };

struct Cell {
  uint writer, written_in, reader, read_in;
  bool many, set;
};

struct Shared {
  int site;
  uint bytes;
  Cell* cells;
  alignas(16) unsigned char data[SHARED_BYTES];
};

#if defined(__x86_64__)
struct Context {
  void* stack;
};
// Saves what a call must keep, changes the stack, and goes on where that one stopped.
extern "C" void host_switch(Context* from, Context* to);
__asm__(
    ".text\n.globl host_switch\nhost_switch:\n"
    "pushq %rbp\npushq %rbx\npushq %r12\npushq %r13\npushq %r14\npushq %r15\n"
    "movq %rsp, (%rdi)\nmovq (%rsi), %rsp\n"
    "popq %r15\npopq %r14\npopq %r13\npopq %r12\npopq %rbx\npopq %rbp\nret\n");
#else
typedef ucontext_t Context;
inline void host_switch(Context* from, Context* to) { swapcontext(from, to); }
#endif

struct Fiber {
  Context context;
  char* stack;
  void* fake;
  State state;
  int site;
  Operation operation;
  uint value;
};

struct Machine {
  Fiber fibers[MOST_THREADS];
  Context scheduler;
  void* fake;
  const void* bottom;
  size_t bottom_size;
  Shared shared[MOST_SHARED];
  uint shared_count, threads, thread, interval, groups_done;
  Body body;
  const Call* call;
  const char* name;
};

static Machine* machine = nullptr;
static char message[512];
static bool failed = false;

void fail(const char* format, ...) {
  if (!failed) {
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(message, sizeof message, format, arguments);
    va_end(arguments);
  }
  failed = true;
}

inline uint thread_number() { return machine->groups_done * machine->threads + machine->thread; }

// --- fibers ------------------------------------------------------------------------------------

inline void to_scheduler(bool last) {
  Fiber& fiber = machine->fibers[machine->thread];
#if defined(__SANITIZE_ADDRESS__)
  __sanitizer_start_switch_fiber(last ? nullptr : &fiber.fake, machine->bottom,
                                 machine->bottom_size);
#endif
  (void)last;
  host_switch(&fiber.context, &machine->scheduler);
#if defined(__SANITIZE_ADDRESS__)
  __sanitizer_finish_switch_fiber(fiber.fake, &machine->bottom, &machine->bottom_size);
#endif
}

inline void fiber_main() {
#if defined(__SANITIZE_ADDRESS__)
  __sanitizer_finish_switch_fiber(nullptr, &machine->bottom, &machine->bottom_size);
#endif
  machine->body(*machine->call, machine->thread);
  machine->fibers[machine->thread].state = DONE;
  to_scheduler(true);
}

inline void prepare(Fiber& fiber) {
  if (!fiber.stack) fiber.stack = static_cast<char*>(malloc(STACK_BYTES));
  fiber.state = READY;
#if defined(__x86_64__)
  void** top = reinterpret_cast<void**>(fiber.stack + STACK_BYTES) - 2;
  *top = reinterpret_cast<void*>(&fiber_main);
  top -= 6;
  memset(top, 0, 6 * sizeof(void*));
  fiber.context.stack = top;
#else
  getcontext(&fiber.context);
  fiber.context.uc_stack.ss_sp = fiber.stack;
  fiber.context.uc_stack.ss_size = STACK_BYTES;
  fiber.context.uc_link = nullptr;
  makecontext(&fiber.context, reinterpret_cast<void (*)()>(&fiber_main), 0);
#endif
}

inline void resume(uint thread) {
  machine->thread = thread;
  Fiber& fiber = machine->fibers[thread];
  fiber.state = READY;
#if defined(__SANITIZE_ADDRESS__)
  __sanitizer_start_switch_fiber(&machine->fake, fiber.stack, STACK_BYTES);
#endif
  host_switch(&machine->scheduler, &fiber.context);
#if defined(__SANITIZE_ADDRESS__)
  __sanitizer_finish_switch_fiber(machine->fake, nullptr, nullptr);
#endif
}

inline void combine(Fiber* lanes) {
  uint result = lanes[0].value;
  for (uint i = 1; i < LANES; i++) {
    uint other = lanes[i].value;
    float a = float_of_bits(result), b = float_of_bits(other);
    if (lanes[0].operation == SUM) result = bits_of_float(a + b);
    if (lanes[0].operation == MAX) result = a > b ? result : other;
    if (lanes[0].operation == MIN) result = result < other ? result : other;
  }
  for (uint i = 0; i < LANES; i++) lanes[i].value = result;
}

// Runs one simdgroup until all its lanes are done or wait at a barrier.
inline State run_simdgroup(uint first) {
  Fiber* lanes = machine->fibers + first;
  while (!failed) {
    for (uint i = 0; i < LANES; i++) resume(first + i);
    for (uint i = 1; i < LANES; i++) {
      if (lanes[i].state != lanes[0].state || (lanes[i].state != DONE && lanes[i].site != lanes[0].site)) {
        fail("%s: lanes of a simdgroup part ways (lane 0 and %u)", machine->name, i);
      }
    }
    if (lanes[0].state != AT_SIMD) return lanes[0].state;
    combine(lanes);
  }
  return DONE;
}

inline void run_group(uint threads) {
  machine->shared_count = 0;
  machine->interval = 1;
  for (uint i = 0; i < threads; i++) prepare(machine->fibers[i]);
  while (!failed) {
    State first = run_simdgroup(0);
    int site = machine->fibers[0].site;
    for (uint i = LANES; i < threads && !failed; i += LANES) {
      State other = run_simdgroup(i);
      if (other != first || (other == AT_BARRIER && machine->fibers[i].site != site)) {
        fail("%s: a barrier that not all threads reach", machine->name);
      }
    }
    if (first == DONE) return;
    machine->interval++;
  }
}

template <typename V>
inline V meet(V value, Operation operation, int site) {
  Fiber& fiber = machine->fibers[machine->thread];
  memcpy(&fiber.value, &value, 4);
  fiber.operation = operation;
  fiber.site = site;
  fiber.state = AT_SIMD;
  to_scheduler(false);
  memcpy(&value, &fiber.value, 4);
  return value;
}

inline void barrier(int site) {
  Fiber& fiber = machine->fibers[machine->thread];
  fiber.site = site;
  fiber.state = AT_BARRIER;
  to_scheduler(false);
}

// --- memory ------------------------------------------------------------------------------------

template <typename T>
struct Input {
  const T* data;
  uint64_t size;
  explicit Input(const Array& array) : data(static_cast<const T*>(array.data)), size(array.size) {}
  T operator[](uint64_t i) const {
#if CHECKED
    if (i >= size) {
      fail("%s: reads number %llu of %llu", machine->name, (unsigned long long)i,
           (unsigned long long)size);
      return T();
    }
#endif
    return data[i];
  }
};

template <typename T>
struct Output {
  T* data;
  uint64_t size;
  uint* writers;
  explicit Output(const Array& array)
      : data(static_cast<T*>(array.data)), size(array.size), writers(array.writers) {}
  struct Place {
    const Output& of;
    uint64_t i;
    void operator=(T value) const {
#if CHECKED
      if (i >= of.size) {
        fail("%s: writes number %llu of %llu", machine->name, (unsigned long long)i,
             (unsigned long long)of.size);
        return;
      }
      if (of.writers[i]) fail("%s: output %llu is written twice", machine->name, (unsigned long long)i);
      of.writers[i] = thread_number() + 1;
#endif
      of.data[i] = value;
    }
  };
  Place operator[](uint64_t i) const { return Place{*this, i}; }
};

inline Shared& shared_at(int site, uint bytes, uint count) {
  for (uint i = 0; i < machine->shared_count; i++) {
    if (machine->shared[i].site == site) return machine->shared[i];
  }
  Shared& made = machine->shared[machine->shared_count++];
  if (machine->shared_count > MOST_SHARED || bytes > SHARED_BYTES) abort();
  made.site = site;
  made.bytes = bytes;
#if CHECKED
  free(made.cells);
  made.cells = static_cast<Cell*>(calloc(count, sizeof(Cell)));
#endif
  (void)count;
  memset(made.data, 0xff, bytes);
  return made;
}

template <typename T, uint COUNT>
struct SharedArray {
  Shared& memory;
  explicit SharedArray(int site) : memory(shared_at(site, COUNT * sizeof(T), COUNT)) {}
  T& at(uint i) const { return reinterpret_cast<T*>(memory.data)[i]; }
  bool inside(uint i) const {
    if (i < COUNT) return true;
    fail("%s: shared memory at %u of %u", machine->name, i, COUNT);
    return false;
  }
  T read(uint i) const {
#if CHECKED
    if (!inside(i)) return T();
    Cell& cell = memory.cells[i];
    uint now = machine->interval, me = machine->thread;
    if (!cell.set) fail("%s: shared number %u is read before it is written", machine->name, i);
    if (cell.written_in == now && cell.writer != me) {
      fail("%s: race: threads %u (writes) and %u (reads) at shared number %u", machine->name,
           cell.writer, me, i);
    }
    cell.many = cell.read_in == now && (cell.many || cell.reader != me);
    cell.read_in = now;
    cell.reader = me;
#endif
    return at(i);
  }
  void write(uint i, T value) const {
#if CHECKED
    if (!inside(i)) return;
    Cell& cell = memory.cells[i];
    uint now = machine->interval, me = machine->thread;
    bool read = cell.read_in == now && (cell.many || cell.reader != me);
    if (read || (cell.written_in == now && cell.set && cell.writer != me)) {
      fail("%s: race: thread %u writes shared number %u that another uses", machine->name, me, i);
    }
    cell.set = true;
    cell.written_in = now;
    cell.writer = me;
#endif
    at(i) = value;
  }
  struct Place {
    const SharedArray& of;
    uint i;
    operator T() const { return of.read(i); }
    void operator=(T value) const { of.write(i, value); }
    void operator+=(T value) const { of.write(i, of.read(i) + value); }
  };
  Place operator[](uint i) const { return Place{*this, i}; }
};

// --- running -----------------------------------------------------------------------------------

inline const char* run(Body body, const char* name, Call& call, uint groups_x, uint groups_y,
                       uint threads) {
  if (!machine) machine = static_cast<Machine*>(calloc(1, sizeof(Machine)));
  failed = false;
  machine->body = body;
  machine->name = name;
  machine->threads = threads;
  machine->call = &call;
  machine->groups_done = 0;
  if (threads % LANES || threads > MOST_THREADS) fail("%s: %u threads", name, threads);
  for (uint y = 0; y < groups_y && !failed; y++) {
    for (uint x = 0; x < groups_x && !failed; x++) {
      call.group_x = x;
      call.group_y = y;
      run_group(threads);
      machine->groups_done++;
    }
  }
  return failed ? message : nullptr;
}

inline void check_written(const char* name, const Array& array, uint index) {
  for (uint64_t i = 0; i < array.size; i++) {
    if (!array.writers[i]) {
      fail("%s: number %llu of output %u is never written", name, (unsigned long long)i, index);
      return;
    }
  }
}

}  // namespace host

#define FN inline
#define LOCAL
#define SHARED(type, name, count) host::SharedArray<type, (count)> name(__LINE__)
#define BARRIER() host::barrier(__LINE__)
#define SIMD_SUM(value) host::meet<float>(value, host::SUM, __LINE__)
#define SIMD_MAX(value) host::meet<float>(value, host::MAX, __LINE__)
#define SIMD_MIN(value) host::meet<uint>(value, host::MIN, __LINE__)
#define EXP(value) expf(value)
#define RSQRT(value) (1.0f / sqrtf(value))
