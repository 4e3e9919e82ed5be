// Attention on the tensor cores without ever storing the scores (Dao 2023, FlashAttention-2): tiles of keys and values
// pass by a tile of queries, whose results so far are rescaled to the highest score seen (Milakov and Gimelshein 2018).
// Scores, weights' sums and results are f32; the weights of a tile are rounded to ELEMENT, all within 0...1.
//
// Defines: ELEMENT (TC_F16; TC_BF16 from sm_80), of q, k, v and result. HEAD_DIMENSION, a multiple of 8 up to 160.
//   QUERIES of a block; WARP_QUERIES (16), of a warp: 16 or 32, which reads keys half as often but needs twice the
//   registers (head dimensions to 64); QUERIES is a multiple. KEYS of a tile (64, and 32 for more than 80 dimensions).
// Grid: (ceil(queries / QUERIES), heads). Block: 32 * QUERIES / WARP_QUERIES.
// Shared: 16 * PITCH * (QUERIES + 4 * KEYS), where PITCH, the length of a row, comes of CHUNKS, HEAD_DIMENSION / 8
//   rounded up to even: CHUNKS itself where it divides by 8, CHUNKS + 1 elsewhere. (HEAD_DIMENSION, PITCH: (40, 7),
//   (64, 8), (80, 11), (128, 16), (160, 21).)
// Requires: strides multiples of 8, addresses multiples of 16, keys > 0. Queries and keys are free.
#define BLOCKS 1
#include "elements.cuh"
#include "tile.cuh"
#include "vectors.cuh"

#ifndef WARP_QUERIES
#define WARP_QUERIES 16
#endif
#ifndef KEYS
#if HEAD_DIMENSION > 80
#define KEYS 32
#else
#define KEYS 64
#endif
#endif
#define THREADS (32 * QUERIES / WARP_QUERIES)
#define SLABS (WARP_QUERIES / 16)
// The tensor cores take 16 of a row at a time; what is past the head is zero.
#define WIDTH ((HEAD_DIMENSION + 15) / 16 * 16)

typedef Tile<QUERIES, WIDTH> QueryTile;
typedef Tile<KEYS, WIDTH> KeyTile;

// Starts the copies of a tile: rows first... of a head, zeros from row `end` on.
template <int ROWS>
DEVICE void load_rows(Tile<ROWS, WIDTH> tile, const element_t *head, int stride, int first, int end) {
  constexpr int chunks = WIDTH / 8;
#pragma unroll
  for (int begin = 0; begin < ROWS * chunks; begin += THREADS) {
    int i = begin + (int)threadIdx.x, row = i / chunks, column = i % chunks;
    if (ROWS * chunks % THREADS != 0 && i >= ROWS * chunks) break;
    bool exists = first + row < end && column < HEAD_DIMENSION / 8;
    const element_t *from = exists ? head + ((long long)(first + row) * stride + column * 8) : head;
    copy_async16(tile.chunk(row, column), from, exists);
  }
}

// A warp's queries: 16 a slab. A lane has rows lane / 4 and lane / 4 + 8 of each, as the fragments lie.
struct Warp {
  u32 query[SLABS][WIDTH / 16][4];
  float score[SLABS][KEYS / 8][4];
  float result[SLABS][WIDTH / 8][4];
  float high[SLABS][2], total[SLABS][2];

  DEVICE void clear() {
#pragma unroll
    for (int slab = 0; slab < SLABS; slab++) {
#pragma unroll
      for (int j = 0; j < WIDTH / 8; j++)
#pragma unroll
        for (int e = 0; e < 4; e++) result[slab][j][e] = 0.0f;
#pragma unroll
      for (int half = 0; half < 2; half++) {
        high[slab][half] = -1.0e30f;  // finite: differences of it are numbers
        total[slab][half] = 0.0f;
      }
    }
  }

  DEVICE void take_queries(QueryTile queries, int row) {
#pragma unroll
    for (int slab = 0; slab < SLABS; slab++)
#pragma unroll
      for (int d = 0; d < WIDTH / 16; d++) queries.load_a(query[slab][d], row + 16 * slab, 2 * d);
  }

  // score = queries * keys^T * factor
  DEVICE void compare(KeyTile keys, float factor) {
#pragma unroll
    for (int j = 0; j < KEYS / 16; j++) {
#pragma unroll
      for (int slab = 0; slab < SLABS; slab++)
#pragma unroll
        for (int e = 0; e < 4; e++) score[slab][2 * j][e] = score[slab][2 * j + 1][e] = 0.0f;
#pragma unroll
      for (int d = 0; d < WIDTH / 16; d++) {
        u32 key[4];
        keys.load_b(key, 16 * j, 2 * d);
#pragma unroll
        for (int slab = 0; slab < SLABS; slab++) {
          mma_16x8x16<element_t>(score[slab][2 * j], query[slab][d], key);
          mma_16x8x16<element_t>(score[slab][2 * j + 1], query[slab][d], key + 2);
        }
      }
#pragma unroll
      for (int slab = 0; slab < SLABS; slab++)
#pragma unroll
        for (int e = 0; e < 4; e++) {
          score[slab][2 * j][e] *= factor;
          score[slab][2 * j + 1][e] *= factor;
        }
    }
  }

  // Scores of keys past the end, or after their query if `causal`, go far below any other.
  DEVICE void mask(int first_key, int keys, bool causal, int first_query) {
    // Only there because it cannot be done on speculation: else the assembler compares in every tile and drops the
    // branch around this, which is a fifth of the loop.
    sync_warp();
    int row = first_query + lane_index() / 4, column = first_key + lane_index() % 4 * 2;
#pragma unroll
    for (int slab = 0; slab < SLABS; slab++)
#pragma unroll
      for (int half = 0; half < 2; half++) {
        int visible = (causal ? min(keys, row + 16 * slab + 8 * half + 1) : keys) - column;
#pragma unroll
        for (int j = 0; j < KEYS / 8; j++)
#pragma unroll
          for (int e = 0; e < 2; e++)
            if (8 * j + e >= visible) score[slab][j][2 * half + e] = -1.0e30f;
      }
  }

  // Scores become weights, relative to the highest so far; what was summed before is rescaled to it.
  DEVICE void weigh() {
#pragma unroll
    for (int slab = 0; slab < SLABS; slab++)
#pragma unroll
      for (int half = 0; half < 2; half++) {
        float highest = high[slab][half];
#pragma unroll
        for (int j = 0; j < KEYS / 8; j++)
          highest = fmaxf(highest, fmaxf(score[slab][j][2 * half], score[slab][j][2 * half + 1]));
        // Four lanes share a row.
        highest = fmaxf(highest, shuffle_xor(highest, 1));
        highest = fmaxf(highest, shuffle_xor(highest, 2));
        float shrink = power_of_2(high[slab][half] - highest), sum = total[slab][half] * shrink;
        high[slab][half] = highest;
#pragma unroll
        for (int j = 0; j < WIDTH / 8; j++) {
          result[slab][j][2 * half] *= shrink;
          result[slab][j][2 * half + 1] *= shrink;
        }
#pragma unroll
        for (int j = 0; j < KEYS / 8; j++)
#pragma unroll
          for (int e = 2 * half; e < 2 * half + 2; e++) {
            score[slab][j][e] = power_of_2(score[slab][j][e] - highest);
            sum += score[slab][j][e];
          }
        total[slab][half] = sum;
      }
  }

  // result += weights * values. A fragment of sums is laid out as `a` wants it: weights never leave the registers.
  DEVICE void gather(KeyTile values) {
#pragma unroll
    for (int k = 0; k < KEYS / 16; k++) {
      u32 weight[SLABS][4];
#pragma unroll
      for (int slab = 0; slab < SLABS; slab++)
#pragma unroll
        for (int i = 0; i < 4; i++) {
          const float *pair = &score[slab][2 * k + i / 2][i % 2 * 2];
          weight[slab][i] = pack2<element_t>(pair[0], pair[1]);
        }
#pragma unroll
      for (int d = 0; d < WIDTH / 16; d++) {
        u32 value[4];
        values.load_b_transposed(value, 16 * k, 2 * d);
#pragma unroll
        for (int slab = 0; slab < SLABS; slab++) {
          mma_16x8x16<element_t>(result[slab][2 * d], weight[slab], value);
          mma_16x8x16<element_t>(result[slab][2 * d + 1], weight[slab], value + 2);
        }
      }
    }
  }

  // Divides by the sums of weights and lays the warp's rows where its queries were, which no other warp reads.
  DEVICE void put_results(QueryTile tile, int row) const {
#pragma unroll
    for (int slab = 0; slab < SLABS; slab++)
#pragma unroll
      for (int half = 0; half < 2; half++) {
        float sum = total[slab][half];
        sum += shuffle_xor(sum, 1);
        sum += shuffle_xor(sum, 2);
        float inverse = 1.0f / sum;
        int own = row + 16 * slab + 8 * half + lane_index() / 4;
#pragma unroll
        for (int j = 0; j < WIDTH / 8; j++)
          *(u32 *)(tile.chunk(own, j) + lane_index() % 4 * 4) =
              pack2<element_t>(result[slab][j][2 * half] * inverse, result[slab][j][2 * half + 1] * inverse);
      }
    sync_warp();
  }
};

KERNEL(attention, tc_cuda_attention, THREADS) {
  await_previous();
  SHARED(memory);
  QueryTile queries{memory};
  u8 *stages = memory + QueryTile::bytes;  // two of a key tile and a value tile
  long long head = (long long)blockIdx.y * HEAD_DIMENSION;
  const element_t *k = (const element_t *)p.k + head, *v = (const element_t *)p.v + head;
  int first_query = blockIdx.x * QUERIES, warp_row = (int)threadIdx.x / 32 * WARP_QUERIES;
  int end = p.causal ? min(p.keys, first_query + QUERIES) : p.keys;
  float factor = p.scale * 1.44269504f;  // scores in units of log2: exp(x) = 2^(x log2(e))

  load_rows<QUERIES>(queries, (const element_t *)p.q + head, p.q_stride, first_query, p.queries);
  load_rows<KEYS>(KeyTile{stages}, k, p.k_stride, 0, end);
  load_rows<KEYS>(KeyTile{stages + KeyTile::bytes}, v, p.v_stride, 0, end);
  copy_commit();

  Warp warp;
  warp.clear();
  for (int first = 0, stage = 0; first < end; first += KEYS, stage ^= 1) {
    // After the barrier this tile is there for all, and all have left the stage before, which is filled next.
    copy_wait<0>();
    sync_threads();
    if (first == 0) warp.take_queries(queries, warp_row);
    u8 *now = stages + stage * 2 * KeyTile::bytes, *next = stages + (stage ^ 1) * 2 * KeyTile::bytes;
    if (first + KEYS < end) {
      load_rows<KEYS>(KeyTile{next}, k, p.k_stride, first + KEYS, end);
      load_rows<KEYS>(KeyTile{next + KeyTile::bytes}, v, p.v_stride, first + KEYS, end);
    }
    copy_commit();
    warp.compare(KeyTile{now}, factor);
    bool ragged = first + KEYS > (p.causal ? min(p.keys, first_query) : p.keys);
    if (ragged) warp.mask(first, p.keys, p.causal != 0, first_query + warp_row);
    warp.weigh();
    warp.gather(KeyTile{now + KeyTile::bytes});
  }

  warp.put_results(queries, warp_row);
  element_t *result = (element_t *)p.result + head;
  constexpr int chunks = HEAD_DIMENSION / 8;
  for (int i = lane_index(); i < WARP_QUERIES * chunks; i += 32) {
    int row = warp_row + i / chunks, column = i % chunks;
    if (first_query + row >= p.queries) continue;
    *(together<u32, 4> *)(result + ((long long)(first_query + row) * p.result_stride + column * 8)) =
        *(const together<u32, 4> *)queries.chunk(row, column);
  }
}
