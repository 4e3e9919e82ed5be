// Products and convolutions by whole warpgroups, for Hopper: what product.cu does, at the tensor cores' full rate there.
//
// One thread asks for boxes of both operands ahead of time (a convolution's picture included: a tap is a box moved by a
// pixel, and what lies outside the picture comes as zeros); warpgroups of 64 rows each multiply them where they land.
// Weights that no kernel of this program writes are asked for before it is this kernel's turn.
//
// Defines: ELEMENT (TC_F16, TC_BF16; TC_E4M3: what counts below are pairs of numbers), of x and weight.
//   TILE_M (64, 128), TILE_N (64, 80, 128, 160, 256): of the result in a block. STAGES: k tiles under way.
// Grid: (ceil(out_width / box width) * ceil(out_height / box height), ceil(filters / TILE_N), splits), where a box has
//   TILE_M pixels. Block: 2 * TILE_M + 32. Shared: STAGES * (TILE_M + TILE_N) * 128 + 1024, at a multiple of 1024.
// Requires: stride 1; channels, x_stride, weight_stride multiples of 8; x and weight at multiples of 16 bytes.
#include "parameters.h"

#define IN_PLACE __grid_constant__
#define SHARED_ALIGNMENT 1024
#define TILE_K 64
#define CONSUMERS (TILE_M / 64)
#define THREADS (128 * CONSUMERS + 32)

#include "elements.cuh"
#include "gather.cuh"
#include "staging.cuh"
#include "warpgroup.cuh"

#define X_BYTES (TILE_M * TILE_K * 2)
#define STAGE_BYTES (X_BYTES + TILE_N * TILE_K * 2)
#if ELEMENT == TC_E4M3
typedef e4m3x2 operand_t;
#else
typedef element_t operand_t;
#endif
typedef Staging<16, TILE_N> WarpStaging;
static_assert(4 * CONSUMERS * WarpStaging::floats * 4 <= STAGES * STAGE_BYTES, "sums leave through the stages");

// Stages go round: where one is, and whether it is an odd time.
struct Turn {
  int stage, parity;
  DEVICE Turn() : stage(0), parity(0) {}
  DEVICE void advance() {
    if (++stage < STAGES) return;
    stage = 0;
    parity ^= 1;
  }
};

// Stages in shared memory, with two barriers each: both operands are there, and nobody reads them any more.
struct Pipeline {
  u8 *memory;
  DEVICE u8 *x(int stage) const { return memory + stage * STAGE_BYTES; }
  DEVICE u8 *weight(int stage) const { return x(stage) + X_BYTES; }
  DEVICE Barrier *full(int stage) const { return (Barrier *)(memory + STAGES * STAGE_BYTES) + stage; }
  DEVICE Barrier *empty(int stage) const { return full(stage) + STAGES; }

  DEVICE void make() const {
    for (int stage = 0; stage < STAGES; stage++) {
      barrier_make(full(stage), 1);
      barrier_make(empty(stage), 4 * CONSUMERS);
    }
    barriers_ready();
  }
};

// The place in k of a tile. Tiles do not reach over the end of a tap's channels; what is too much meets zeros of x.
struct TileTap {
  int row, column, channel;

  static DEVICE int each(const tc_cuda_product &p) { return (p.channels + TILE_K - 1) / TILE_K; }
  static DEVICE int count(const tc_cuda_product &p) { return p.kernel_rows * p.kernel_columns * each(p); }
  DEVICE TileTap(const tc_cuda_product &p, int tile) {
    int tap = tile / each(p);
    channel = (tile - tap * each(p)) * TILE_K;
    row = tap / p.kernel_columns;
    column = tap - row * p.kernel_columns;
  }
  DEVICE void advance(const tc_cuda_product &p) {
    channel += TILE_K;
    if (channel < p.channels) return;
    channel = 0;
    if (++column < p.kernel_columns) return;
    column = 0;
    row++;
  }
  DEVICE int k(const tc_cuda_product &p) const { return (row * p.kernel_columns + column) * p.channels + channel; }
};

// What a block makes: a box of pixels, some filters, a share of k.
struct Part {
  int x, y, n;       // the first pixel and filter
  int first, count;  // k tiles
  int shift;

  DEVICE Part(const tc_cuda_warpgroup_product &q) : n(blockIdx.y * TILE_N), shift(q.box_shift) {
    const tc_cuda_product &p = q.product;
    int across = (p.out_width + (1 << shift) - 1) >> shift, box_row = blockIdx.x / across;
    x = (blockIdx.x - box_row * across) << shift;
    y = box_row * (TILE_M >> shift);
    int tiles = TileTap::count(p), each = (tiles + p.splits - 1) / p.splits;
    first = min((int)blockIdx.z * each, tiles);
    count = min(each, tiles - first);
  }
};

// By one thread: everything that the part needs, as stages get free.
DEVICE void produce(const tc_cuda_warpgroup_product &q, const Pipeline &pipeline, const Part &part) {
  const tc_cuda_product &p = q.product;
  prefetch_map(&q.weight);
  prefetch_map(&q.x);
  TileTap weight(p, part.first), x = weight;
  int early = q.has_early_weights ? min(part.count, STAGES) : 0;
  for (int stage = 0; stage < early; stage++) {
    barrier_expect(pipeline.full(stage), STAGE_BYTES);
    load_box(pipeline.weight(stage), &q.weight, weight.k(p), part.n, 0, pipeline.full(stage));
    weight.advance(p);
  }
  await_previous();
  Turn turn;
  for (int tile = 0; tile < part.count; tile++) {
    Barrier *full = pipeline.full(turn.stage);
    if (tile >= STAGES) barrier_wait(pipeline.empty(turn.stage), turn.parity ^ 1);
    if (tile >= early) {
      barrier_expect(full, STAGE_BYTES);
      load_box(pipeline.weight(turn.stage), &q.weight, weight.k(p), part.n, 0, full);
      weight.advance(p);
    }
    load_box(pipeline.x(turn.stage), &q.x, x.channel, part.x - p.pad_left + x.column, part.y - p.pad_top + x.row, full);
    x.advance(p);
    turn.advance();
  }
}

// By a warpgroup: the products of its 64 rows.
DEVICE void consume(const Pipeline &pipeline, const Part &part, int group, float *sums) {
  bool tells = lane_index() == 0;
  Turn turn;
  int before = 0;
#pragma unroll 1
  for (int tile = 0; tile < part.count; tile++) {
    barrier_wait(pipeline.full(turn.stage), turn.parity);
    const u8 *x = pipeline.x(turn.stage) + group * (64 * TILE_K * 2), *weight = pipeline.weight(turn.stage);
    warpgroup_begin();
#pragma unroll
    for (int k = 0; k < TILE_K / 16; k++) multiply_warpgroup<operand_t, TILE_N>(sums, x + 32 * k, weight + 32 * k);
    warpgroup_commit();
    // The tile before this one is done with.
    warpgroup_wait<1>();
    if (tile > 0 && tells) barrier_arrive(pipeline.empty(before));
    before = turn.stage;
    turn.advance();
  }
  sync_warp();  // the lane that told comes back to the others
  warpgroup_wait<0>();
}

// A warp's 16 rows of the result, in a box of pixels.
struct Pixels {
  int x, y, first, shift, width, height;
  DEVICE int operator()(int row) const {
    row += first;
    int column = x + (row & ((1 << shift) - 1)), line = y + (row >> shift);
    return column < width && line < height ? line * width + column : -1;
  }
};

KERNEL(product_warpgroup, tc_cuda_warpgroup_product, THREADS) {
  SHARED(memory);
  const tc_cuda_product &product = p.product;
  Pipeline pipeline{memory};
  Part part(p);
  int warp = threadIdx.x / 32;
  if (threadIdx.x == 0) pipeline.make();
  sync_threads();
  float sums[1][TILE_N / 8][4];
  if (warp == 4 * CONSUMERS) {
    // The others wait behind: were they to wait before, a processor that runs them first would hold up the weights.
    if (lane_index() == 0) produce(p, pipeline, part);
    sync_warp();
    await_previous();
  } else {
#pragma unroll
    for (int j = 0; j < TILE_N / 8; j++)
#pragma unroll
      for (int e = 0; e < 4; e++) sums[0][j][e] = 0.0f;
    consume(pipeline, part, warp / 4, sums[0][0]);
    await_previous();
  }
  sync_threads();  // the stages become staging
  if (warp == 4 * CONSUMERS) return;
  WarpStaging staging{(float *)memory + warp * WarpStaging::floats};
  staging.put(sums);
  staging.store(
      product, blockIdx.z, part.n,
      Pixels{part.x, part.y, warp * 16, part.shift, product.out_width, product.out_height});
}
