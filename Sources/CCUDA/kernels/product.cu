// Products and convolutions on the tensor cores, f32 sums: every linear layer and convolution but the oddly sized.
// See tc_cuda_product for the operands, gather.cuh for how a convolution becomes a product, epilogue.cuh for the end.
//
// Defines: ELEMENT (TC_F16; TC_BF16 from sm_80), of x and weight. TILE_M, TILE_N: of the result in a block.
//   STAGES (2...4): k tiles under way. WARPS_M, WARPS_N (2, 2): how warps share the tile; TILE_M / WARPS_M and
//   TILE_N / WARPS_N are multiples of 16.
//   SUMS (TC_F32): TC_F16 sums each k tile in f16, and tiles in f32. Twice as fast on GeForce cards and less exact
//   (some 4e-4 of a result, however deep, for 2e-4); for ELEMENT=TC_F16 and tiles to 128x64.
// Grid: (ceil(M / TILE_M), ceil(filters / TILE_N), splits). Block: 32 * WARPS_M * WARPS_N.
// Shared: max(STAGES * (TILE_M + TILE_N) * 128, 4 * TILE_M * (TILE_N + 8 * WARPS_N)).
// Requires: channels, x_stride, weight_stride multiples of 8; x and weight at multiples of 16
//   bytes; kernels to 15x15. M, filters and depth are free. The result may lie where the residual does (same stride),
//   and nowhere else that is read.
// splits > 1 writes sums of a share of k to partial, for product_finish.
#include "parameters.h"

#ifndef WARPS_M
#define WARPS_M 2
#endif
#ifndef WARPS_N
#define WARPS_N 2
#endif
#ifndef SUMS
#define SUMS TC_F32
#endif
#define TILE_K 64
#define THREADS (32 * WARPS_M * WARPS_N)
#define WARP_M (TILE_M / WARPS_M)
#define WARP_N (TILE_N / WARPS_N)
// As many blocks as shared memory may hold and the sums leave registers for.
#if WARP_M * WARP_N >= 64 * 64 || STAGES == 2 || SUMS == TC_F16
#define BLOCKS (256 / THREADS)
#elif WARP_M >= 64 || WARP_M * WARP_N >= 64 * 32
#define BLOCKS (384 / THREADS)
#else
#define BLOCKS (640 / THREADS)
#endif

#include "elements.cuh"
#include "gather.cuh"
#include "staging.cuh"
#include "tile.cuh"

typedef Tile<TILE_M, TILE_K> XTile;
typedef Tile<TILE_N, TILE_K> WeightTile;
#define STAGE_BYTES (XTile::bytes + WeightTile::bytes)

// MARK: Loading

// What the kernel covers of the picture for one row of the result. Loads outnumber all else that is not the product
// itself, so what is the same for all of k is worked out beforehand: a load costs an addition, a multiplication and a
// test.
struct Window {
  int pixel;   // under the kernel's upper left corner; may lie outside
  u32 inside;  // bit r: kernel row r lies inside the picture; bit 16 + c: column c does. None for rows past the end

  DEVICE Window() {}
  DEVICE Window(const tc_cuda_product &p, int m) {
    int row = m / p.out_width, y = row * p.stride - p.pad_top, x = (m - row * p.out_width) * p.stride - p.pad_left;
    pixel = y * p.width + x;
    inside = m < product_rows(p) ? covered(y, p.height) | covered(x, p.width) << 16 : 0;
  }
  // Bit i: first + i lies in 0..<size. Of 15 bits; bits 15 and 31 stay free to say that no tap is asked for.
  static DEVICE u32 covered(int first, int size) {
    return (1u << min(max(size - first, 0), 15)) - (1u << min(max(-first, 0), 15));
  }
};
DEVICE u32 bits_of(const tc_cuda_product &p, const Tap &tap) {
  return tap.exists(p) ? 1u << tap.row | 1u << (16 + tap.column) : 1u << 31;
}

// A thread brings one chunk of k, always the same of the 8, of every (THREADS / 8)th row of both tiles. So it follows k
// for one tap only, and eight threads beside each other read 128 bytes that lie together.
struct Loader {
  static constexpr int apart = THREADS / 8;  // a multiple of 8: all its rows are swizzled alike
  static constexpr int x_rows = TILE_M / apart, filters = TILE_N / apart;
  Tap tap;
  Window windows[x_rows];
  const element_t *weight;  // of the first filter, at the tap
  u32 existing;             // bit i: filter i exists
  int place;                // in both tiles

  DEVICE Loader(const tc_cuda_product &p, int m0, int n0, int first_k)
      : tap(p, first_k + threadIdx.x % 8 * 8), existing(0) {
    int row = threadIdx.x / 8, column = threadIdx.x % 8;
    place = XTile::place(row, column);
#pragma unroll
    for (int i = 0; i < x_rows; i++) windows[i] = Window(p, m0 + row + i * apart);
#pragma unroll
    for (int i = 0; i < filters; i++) existing |= n0 + row + i * apart < p.filters ? 1u << i : 0;
    weight = (const element_t *)p.weight + (long long)(n0 + row) * p.weight_stride + first_k + column * 8;
  }
  // Starts the copies of the next k tile into a stage. Addresses of what does not exist are never read.
  DEVICE void load(const tc_cuda_product &p, u8 *stage) {
    Channels<element_t> channels(p, tap);
    int pixel = tap.row * p.width + tap.column;
    u32 bits = bits_of(p, tap);
#pragma unroll
    for (int i = 0; i < x_rows; i++) {
      const element_t *address = channels.base + (long long)(windows[i].pixel + pixel) * channels.stride;
      bool inside = (windows[i].inside & bits) == bits;
      copy_async16(stage + place + i * apart * XTile::row_bytes, address, inside);
    }
    u32 present = tap.exists(p) ? existing : 0;
#pragma unroll
    for (int i = 0; i < filters; i++) {
      const element_t *address = weight + (long long)(i * apart) * p.weight_stride;
      copy_async16(stage + XTile::bytes + place + i * apart * WeightTile::row_bytes, address, present >> i & 1);
    }
    tap.advance(p, TILE_K);
    weight += TILE_K;
  }
};

// MARK: Multiplying

// Where in the tiles a lane's rows of its warp's first fragments lie.
struct Fragments {
  int x, weight;

  DEVICE Fragments(int warp_row, int warp_column) {
    int lane = lane_index();
    x = XTile::place(warp_row + lane % 16, lane / 16);
    weight = WeightTile::place(warp_column + lane % 8 + lane / 16 * 8, lane / 8 % 2);
  }
};

// A warp's part of the result, in fragments of 16x8.
class Sums {
 public:
  float at[WARP_M / 16][WARP_N / 8][4];

  DEVICE void clear() {
#pragma unroll
    for (int i = 0; i < WARP_M / 16; i++)
#pragma unroll
      for (int j = 0; j < WARP_N / 8; j++)
#pragma unroll
        for (int e = 0; e < 4; e++) at[i][j][e] = 0.0f;
  }
  // Tile::load_a and load_b with the addresses worked out beforehand (`from`). Chunk 2 k + c of a swizzled row lies
  // where its chunk c does but for the bits of 2 k, for (2 k + c) ^ r = (c ^ r) ^ 2 k; and 16 rows on, all is the same
  // again.
  DEVICE void multiply(const u8 *stage, Fragments from) {
#pragma unroll
    for (int k = 0; k < TILE_K / 16; k++) {
      u32 a[WARP_M / 16][4], b[WARP_N / 16][4];
      const u8 *x = stage + (from.x ^ 32 * k), *weight = stage + XTile::bytes + (from.weight ^ 32 * k);
#pragma unroll
      for (int i = 0; i < WARP_M / 16; i++) load_matrix_x4(a[i], x + 16 * i * XTile::row_bytes);
#pragma unroll
      for (int j = 0; j < WARP_N / 16; j++) load_matrix_x4(b[j], weight + 16 * j * WeightTile::row_bytes);
#pragma unroll
      for (int i = 0; i < WARP_M / 16; i++)
#pragma unroll
        for (int j = 0; j < WARP_N / 8; j++) add_product(i, j, a[i], &b[j / 2][j % 2 * 2], k);
    }
  }

 private:
#if SUMS == TC_F16
  u32 halves[WARP_M / 16][WARP_N / 8][2];  // of one k tile

  DEVICE void add_product(int i, int j, const u32 *a, const u32 *b, int k) {
    if (k == 0) halves[i][j][0] = halves[i][j][1] = 0;
    mma_16x8x16_halves(halves[i][j], a, b);
    if (k < TILE_K / 16 - 1) return;
#pragma unroll
    for (int half = 0; half < 2; half++) {
      float some[2];
      unpack2(some, halves[i][j][half]);
      at[i][j][2 * half] += some[0];
      at[i][j][2 * half + 1] += some[1];
    }
  }
#else
  DEVICE void add_product(int i, int j, const u32 *a, const u32 *b, int) { mma_16x8x16<element_t>(at[i][j], a, b); }
#endif
};

// MARK: Storing

// A warp's rows of the result.
struct Rows {
  int first, end;
  DEVICE int operator()(int row) const { return first + row < end ? first + row : -1; }
};

KERNEL(product, tc_cuda_product, THREADS) {
  await_previous();
  SHARED(memory);
  int m0 = blockIdx.x * TILE_M, n0 = blockIdx.y * TILE_N, rows = product_rows(p);
  int split = blockIdx.z;
  int warp = threadIdx.x / 32, warp_row = warp % WARPS_M * WARP_M, warp_column = warp / WARPS_M * WARP_N;

  // This block's k tiles.
  int tiles = (product_depth(p) + TILE_K - 1) / TILE_K, each = (tiles + p.splits - 1) / p.splits;
  int first = min(split * each, tiles), count = min(each, tiles - first);

  Sums sums;
  sums.clear();
  Loader loader(p, m0, n0, first * TILE_K);
  Fragments fragments(warp_row, warp_column);
#pragma unroll
  for (int stage = 0; stage < STAGES - 1; stage++) {
    if (stage < count) loader.load(p, memory + stage * STAGE_BYTES);
    copy_commit();  // an empty group keeps the count of groups true
  }
  int reading = 0, writing = STAGES - 1;
  for (int tile = 0; tile < count; tile++) {
    // This thread's copies of `tile` have landed; after the barrier everyone's have, and nobody reads the stage before,
    // which is the one to be written.
    copy_wait<STAGES - 2>();
    sync_threads();
    if (tile + STAGES - 1 < count) loader.load(p, memory + writing * STAGE_BYTES);
    copy_commit();
    sums.multiply(memory + reading * STAGE_BYTES, fragments);
    reading = reading + 1 == STAGES ? 0 : reading + 1;
    writing = writing + 1 == STAGES ? 0 : writing + 1;
  }

  copy_wait<0>();
  sync_threads();  // the stages become staging
  Staging<WARP_M, WARP_N> staging{(float *)memory + warp * Staging<WARP_M, WARP_N>::floats};
  staging.put(sums.at);
  staging.store(p, split, n0 + warp_column, Rows{m0 + warp_row, rows});
}
