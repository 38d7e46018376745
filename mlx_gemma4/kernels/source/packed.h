// Rows of packed numbers times activations, for every supported packing.
//
// A lane takes every 32nd word of a row, so a simdgroup reads 128 neighbouring bytes at a time. The
// activations belonging to a word are loaded once and used for all rows of the simdgroup; sums are
// float32. PACKING: 4 and 8 are affine (scale and bias per group), 104 is mxfp4, 0 is dense.

FN float gelu_tanh(float x) {
  // x/2 (1 + tanh y) = x / (1 + exp(-2 y)); nothing overflows to NaN on either side.
  float y = 0.7978845608028654f * (x + 0.044715f * x * x * x);
  return x / (1.0f + EXP(-2.0f * y));
}

template <int PACKING>
struct Packed;

template <>
struct Packed<4> {
  enum { VALUES = 8 };
  // The j-th nibble stays where it is in the word, 16^j too large; the activation is made as much
  // smaller, exactly, once for all rows. That saves a shift per weight.
  template <typename X>
  static FN void load(X x, uint at, LOCAL float* v, LOCAL float& total) {
    float shrink = 1.0f;
    for (uint j = 0; j < 8; j++) {
      float value = float(x[at + j]);
      total += value;
      v[j] = value * shrink;
      shrink *= 0.0625f;
    }
  }
  template <typename W, typename S, typename B>
  static FN float dot(W w, S scales, B biases, uint word, uint group, LOCAL const float* v,
                      float total) {
    uint q = w[word];
    float sum = 0.0f;
    for (uint j = 0; j < 8; j++) sum += float(q & (15u << (4 * j))) * v[j];
    return float(scales[group]) * sum + float(biases[group]) * total;
  }
  template <typename W, typename S, typename B>
  static FN void unpack(W w, S scales, B biases, uint word, uint group, LOCAL float* f) {
    uint q = w[word];
    float scale = float(scales[group]);
    float bias = float(biases[group]);
    for (uint j = 0; j < 8; j++) f[j] = float((q >> (4 * j)) & 15u) * scale + bias;
  }
};

template <>
struct Packed<8> {
  enum { VALUES = 4 };
  template <typename X>
  static FN void load(X x, uint at, LOCAL float* v, LOCAL float& total) {
    float shrink = 1.0f;
    for (uint j = 0; j < 4; j++) {
      float value = float(x[at + j]);
      total += value;
      v[j] = value * shrink;
      shrink *= 0.00390625f;
    }
  }
  template <typename W, typename S, typename B>
  static FN float dot(W w, S scales, B biases, uint word, uint group, LOCAL const float* v,
                      float total) {
    uint q = w[word];
    float sum = 0.0f;
    for (uint j = 0; j < 4; j++) sum += float(q & (255u << (8 * j))) * v[j];
    return float(scales[group]) * sum + float(biases[group]) * total;
  }
  template <typename W, typename S, typename B>
  static FN void unpack(W w, S scales, B biases, uint word, uint group, LOCAL float* f) {
    uint q = w[word];
    float scale = float(scales[group]);
    float bias = float(biases[group]);
    for (uint j = 0; j < 4; j++) f[j] = float((q >> (8 * j)) & 255u) * scale + bias;
  }
};

// Four-bit floats (sign, two exponent bits, one fraction bit) are half floats 2^14 too small once
// their bits are moved into place; two of them are turned at a time.
FN float2 nibble_pair(uint q, uint j) {
  uint bits = q >> (4 * j);
  return halves(((bits & 0x00070007u) << 9) | ((bits & 0x00080008u) << 12));
}

// 2^(exponent - 127) times the 2^14 that nibble_pair leaves out.
FN float mx_scale(uint exponent) { return float_of_bits(exponent << 23) * 16384.0f; }

template <>
struct Packed<104> {
  enum { VALUES = 8 };
  template <typename X>
  static FN void load(X x, uint at, LOCAL float* v, LOCAL float& total) {
    for (uint j = 0; j < 8; j++) v[j] = float(x[at + j]);
    total = 0.0f;
  }
  template <typename W, typename S, typename B>
  static FN float dot(W w, S scales, B biases, uint word, uint group, LOCAL const float* v,
                      float total) {
    uint q = w[word];
    float sum = total;
    for (uint j = 0; j < 4; j++) {
      float2 pair = nibble_pair(q, j);
      sum += pair.x * v[j] + pair.y * v[j + 4];
    }
    return sum * mx_scale(uint(scales[group]));
  }
  template <typename W, typename S, typename B>
  static FN void unpack(W w, S scales, B biases, uint word, uint group, LOCAL float* f) {
    uint q = w[word];
    float scale = mx_scale(uint(scales[group]));
    for (uint j = 0; j < 4; j++) {
      float2 pair = nibble_pair(q, j);
      f[j] = pair.x * scale;
      f[j + 4] = pair.y * scale;
    }
  }
};

template <>
struct Packed<0> {
  enum { VALUES = 4 };
  template <typename X>
  static FN void load(X x, uint at, LOCAL float* v, LOCAL float& total) {
    for (uint j = 0; j < 4; j++) v[j] = float(x[at + j]);
    total = 0.0f;
  }
  template <typename W, typename S, typename B>
  static FN float dot(W w, S scales, B biases, uint word, uint group, LOCAL const float* v,
                      float total) {
    float sum = total;
    for (uint j = 0; j < 4; j++) sum += float(w[4 * word + j]) * v[j];
    return sum;
  }
  template <typename W, typename S, typename B>
  static FN void unpack(W w, S scales, B biases, uint word, uint group, LOCAL float* f) {
    for (uint j = 0; j < 4; j++) f[j] = float(w[4 * word + j]);
  }
};

// This lane's share of ROWS rows (absolute numbers in `rows`) times the vector x[at ...].
template <int PACKING, int GROUP, int COLUMNS, int ROWS, typename X, typename W, typename S,
          typename B>
FN void dot_rows(X x, uint at, W w, S scales, B biases, LOCAL const uint* rows, uint lane,
                 LOCAL float* sums) {
  typedef Packed<PACKING> P;
  const uint words = COLUMNS / P::VALUES;
  const uint groups = COLUMNS / GROUP;
  for (uint i = lane; i < words; i += 32) {
    float v[P::VALUES];
    float total = 0.0f;
    P::load(x, at + i * P::VALUES, v, total);
    uint group = i * P::VALUES / GROUP;
    for (uint r = 0; r < ROWS; r++) {
      sums[r] += P::dot(w, scales, biases, rows[r] * words + i, rows[r] * groups + group, v, total);
    }
  }
}

// The same for TILE vectors at once: weights are unpacked once and used for every vector.
// sums[r * TILE + t] is row r times the vector at x[at[t] ...].
template <int PACKING, int GROUP, int COLUMNS, int ROWS, int TILE, typename X, typename W,
          typename S, typename B>
FN void dot_tile(X x, LOCAL const uint* at, W w, S scales, B biases, LOCAL const uint* rows,
                 uint lane, LOCAL float* sums) {
  typedef Packed<PACKING> P;
  const uint words = COLUMNS / P::VALUES;
  const uint groups = COLUMNS / GROUP;
  for (uint i = lane; i < words; i += 32) {
    float f[ROWS * P::VALUES];
    uint group = i * P::VALUES / GROUP;
    for (uint r = 0; r < ROWS; r++) {
      P::unpack(w, scales, biases, rows[r] * words + i, rows[r] * groups + group,
                f + r * P::VALUES);
    }
    for (uint t = 0; t < TILE; t++) {
      for (uint j = 0; j < P::VALUES; j++) {
        float value = float(x[at[t] + i * P::VALUES + j]);
        for (uint r = 0; r < ROWS; r++) sums[r * TILE + t] += f[r * P::VALUES + j] * value;
      }
    }
  }
}
