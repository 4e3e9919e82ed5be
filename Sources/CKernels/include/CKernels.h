/// Inner loops of the CPU backend: what oneDNN 2.6 has no primitive for, or only a slow one.
///
/// A kernel is a body that works on a range of items and reads its parameters from a struct filled once, so
/// that running it allocates nothing. Bodies are compiled for several instruction sets and chosen once by
/// `tc_kernel`. Work is shared out on the threads that oneDNN uses too (Team.c): one pool, not two that spin
/// against each other.
#pragma once
#include <stddef.h>
#include <stdint.h>

/// How one element is stored; arithmetic is always f32.
typedef enum { tc_f32, tc_bf16, tc_f16, tc_i32, tc_u8, tc_i8 } tc_element;

/// Works on items `begin..<end`; `thread` is below the thread count and picks the thread's own scratch.
typedef void (*tc_body)(const void *parameters, size_t begin, size_t end, int thread);

typedef enum {
  tc_kernel_map,
  tc_kernel_binary,
  tc_kernel_geglu,
  tc_kernel_group_statistics,
  tc_kernel_group_apply,
  tc_kernel_layer_norm,
  tc_kernel_attention_pack,
  tc_kernel_attention,
  tc_kernel_narrow_convolution,
  tc_kernel_winograd_filters,
  tc_kernel_winograd_block,
  tc_kernel_winograd_in,
  tc_kernel_winograd_pieces,
  tc_kernel_panels_pack,
  tc_kernel_panels,
  tc_kernel_quantize,
  tc_kernel_peaks,
  tc_kernel_count
} tc_kernel_name;

/// The body for this machine.
tc_body tc_kernel(tc_kernel_name name);
/// Instruction set the bodies were chosen for: "AVX-512 with bf16", "AVX-512", "AVX2" or "baseline".
const char *tc_instruction_set(void);

// MARK: Threads

/// Number of threads that parallel work started by the calling thread uses, oneDNN's included: they are there when it
/// returns 0. Else it is the errno of the one that could not be made, and the number stays.
int tc_set_threads(int count);
/// From here on the calling thread, and regions that it begins, take numbers below 2^-126 for zeros: products with them
/// are a hundred times as slow. Returns the mode that it had, for `tc_set_float_mode`.
uint32_t tc_flush_subnormals(void);
void tc_set_float_mode(uint32_t mode);
/// Shares `count` items out in pieces of at least `grain`; returns when all are done.
void tc_parallel(tc_body body, const void *parameters, size_t count, size_t grain);
/// The same for items that each take long: a thread that is held up leaves what it has not begun to the others.
void tc_parallel_in_turns(tc_body body, const void *parameters, size_t count);

// MARK: Rows
// Operands are rows of contiguous elements; strides count elements from one row to the next.

typedef enum {
  tc_identity,
  tc_silu,
  tc_gelu,
  tc_quick_gelu,
  tc_relu,
  tc_tanh,
  tc_exp,
  /// x·a + b
  tc_affine,
  /// round(clamp(x·a + b, 0, 255)), NaN gives 0
  tc_quantize,
  /// clamp to a...b
  tc_clamp
} tc_function;

/// Items are chunks of a row: `rows` times `tc_chunks(columns)`.
typedef struct {
  const void *source;
  void *destination;
  size_t rows, columns, source_stride, destination_stride;
  tc_element source_element, destination_element;
  tc_function function;
  float a, b;
} tc_map;

typedef enum { tc_add, tc_subtract, tc_multiply, tc_divide } tc_operator;
enum { tc_max_dimensions = 8, tc_chunk = 1024 };

/// The second operand's row is found from the row's index over `outer` dimensions (outermost first) with the
/// strides it has there, 0 where it is repeated; `b_step` is 0 where its columns are repeated, else 1.
/// Items as in `tc_map`.
typedef struct {
  const void *a, *b;
  void *destination;
  size_t rows, columns, a_stride, destination_stride, b_step;
  int outer_count;
  size_t outer[tc_max_dimensions], b_strides[tc_max_dimensions];
  tc_element element;
  tc_operator operator_;
} tc_binary;

size_t tc_chunks(size_t columns);

/// `[rows, 2·columns] → [rows, columns]`. Items as in `tc_map`. Here and in norms: where `quantum` is not nil the result
/// is times its entry for the column, as i8.
typedef struct {
  const void *source;
  void *destination;
  size_t rows, columns, source_stride, destination_stride;
  tc_element element;
  const float *quantum;
} tc_geglu;

/// `[rows, columns]` times a factor for each column, as i8. Items as in `tc_map`.
typedef struct {
  const void *source;
  void *destination;
  size_t rows, columns, source_stride, destination_stride;
  tc_element element;
  const float *factors;
} tc_quantization;

/// The largest absolute value of each column. Items are chunks of `tc_chunk` columns.
typedef struct {
  const void *source;
  float *destination;
  size_t rows, columns, source_stride;
  tc_element element;
} tc_peaks;

/// Statistics pass (items: blocks of rows), then `tc_group_combine`, then the apply pass (items: rows).
typedef struct {
  const void *source;
  void *destination;
  const float *gain, *shift;
  /// f32 `[blocks, 2, channels]`: sums and sums of squares of differences from the first row.
  float *partial;
  /// f32 `[2, channels]`: factor and offset of each channel.
  float *channel;
  size_t rows, channels, groups, source_stride, destination_stride, blocks;
  float epsilon;
  tc_function activation;
  tc_element element;
  const float *quantum;
} tc_group_norm;
void tc_group_combine(const tc_group_norm *parameters);
/// f32 numbers of scratch for `partial` and `channel` together.
size_t tc_group_scratch(size_t blocks, size_t channels);

/// Items are rows.
typedef struct {
  const void *source;
  void *destination;
  const float *gain, *shift;
  size_t rows, columns, source_stride, destination_stride;
  float epsilon;
  tc_element element;
  const float *quantum;
} tc_layer_norm;

/// Two passes: `tc_kernel_attention_pack` over `tc_attention_pack_items`, then `tc_kernel_attention` over
/// `tc_attention_items`: pairs of a head and a block of `tc_query_block` queries, heads outermost.
typedef struct {
  const void *q, *k, *v;
  void *destination;
  /// `key_block` as `tc_attention_key_block` says.
  size_t queries, keys, heads, dimension, key_block;
  size_t q_stride, k_stride, v_stride, destination_stride;
  float scale;
  int causal;
  tc_element element;
  /// `tc_attention_scratch` bytes for each thread.
  void *scratch;
  size_t scratch_size;
  /// `tc_attention_packed_size` bytes for keys and values.
  void *packed;
} tc_attention;
enum { tc_query_block = 64 };
size_t tc_attention_items(const tc_attention *parameters);
size_t tc_attention_pack_items(const tc_attention *parameters);
size_t tc_attention_key_block(size_t keys);
size_t tc_attention_blocks(const tc_attention *parameters);
size_t tc_attention_scratch(const tc_attention *parameters);
size_t tc_attention_packed_size(const tc_attention *parameters);

/// A convolution of stride 1 to at most `tc_narrow_outputs` channels, over `[height, width, channels]`; channels are a
/// multiple of `tc_narrow_channels`. Weights as they are, `[outputs, kernel_height, kernel_width, channels]`, of the
/// source's element type, bf16 or f32. Items are rows of the result.
typedef struct {
  const void *source, *weights;
  /// Or nil.
  const float *bias;
  void *destination;
  size_t height, width, channels, outputs, kernel_height, kernel_width, top, left, result_width, destination_stride;
  tc_element element, destination_element;
  tc_function activation;
} tc_narrow_convolution;
enum { tc_narrow_outputs = 4, tc_narrow_channels = 32 };

/// Weights `[outputs, 3, 3, channels]` of any float type to f32 `[36, outputs/16, channels, 16]`, G g G^T of each filter
/// and channel. Items are squares of 16 outputs and 16 channels, channels innermost.
typedef struct {
  const void *source;
  float *destination;
  size_t channels, outputs;
  tc_element element;
} tc_winograd_filters;

/// A 3x3 convolution of stride 1 in tiles of 4x4 results, over `[height, width, channels]` of bf16 or f32; channels and
/// outputs are multiples of 16. With `weights`: `tc_kernel_winograd_block` over blocks of `block` tiles. With `filters`:
/// for each large block of tiles, from tile `first` on, `in` over its tiles and then `pieces` over `tc_winograd_pieces`.
typedef struct {
  const void *source;
  /// As `tc_winograd_filters` makes them, or nil.
  const float *weights;
  /// As `tc_panels_pack` makes them without pairs, of `stored`, or nil.
  const void *filters;
  /// Or nil.
  const float *bias;
  /// Of the element type of source and destination, or nil.
  const void *residual;
  void *destination;
  size_t height, width, channels, outputs, top, left;
  /// Whether the picture counts as `[2*height, 2*width, channels]`, each pixel four times; `top` and `left` are 1 then.
  int doubles;
  size_t result_height, result_width, residual_stride, destination_stride;
  /// Of a block's tiles, `piece` are one thread's at a time, at most `tc_winograd_tiles`, for `columns` of the outputs,
  /// a multiple of 16, at most `tc_winograd_columns`.
  size_t tiles_across, tiles, block, piece, columns, first;
  tc_element element, stored;
  tc_function activation;
  /// `tc_winograd_scratch` floats for each thread, or with filters `tc_winograd_piece_scratch`.
  float *scratch;
  /// With filters, `tc_winograd_inputs` floats.
  float *inputs;
} tc_winograd;
enum {
  /// Outputs, channels and tiles of a piece at most, and lines of six matrices that are worked on at a time.
  tc_winograd_columns = 64,
  tc_winograd_channels = 64,
  tc_winograd_tiles = 64,
  tc_winograd_lines = 2,
  /// Floats between two matrices, so that a tile's 36 numbers do not all want the same place in the cache.
  tc_winograd_gap = 16
};
/// Tiles of the block.
size_t tc_winograd_count(const tc_winograd *parameters);
size_t tc_winograd_pieces(const tc_winograd *parameters);
size_t tc_winograd_piece_scratch(void);
size_t tc_winograd_inputs(const tc_winograd *parameters);
size_t tc_winograd_scratch(const tc_winograd *parameters);

/// Weights `[outputs, taps, channels]` of any float type to `[outputs/16, taps, channels, 16]` of f16 or bf16, or, of bf16
/// as `pairs`, to `[outputs/16, taps, channels/2, 16, 2]`. Items are pairs of 16 outputs and a tap, taps innermost.
typedef struct {
  const void *source;
  void *destination;
  size_t channels, taps;
  tc_element source_element, element;
  int pairs;
} tc_panels_pack;

/// A convolution over `[height, width, channels]` of `element`, f32 or, with weights in pairs, bf16; outputs are a multiple
/// of 16. Weights as `tc_panels_pack` makes them, of `stored`. Strides count elements from one pixel to the next. Items
/// are `tc_panels_items`: blocks of `block` results for `tc_panels_columns` outputs, blocks innermost.
typedef struct {
  const void *source, *weights;
  /// Or nil, as is the residual, which has the element type of the source.
  const float *bias;
  const void *residual;
  void *destination;
  size_t height, width, channels, outputs, kernel_height, kernel_width, stride, top, left;
  size_t result_height, result_width, source_stride, residual_stride, destination_stride, block;
  tc_element element, stored;
  int pairs;
  /// Outputs are values and gates in turns, a multiple of 32 of them, and results value·gelu(gate).
  int gated;
  tc_function activation;
  /// `tc_panels_scratch` bytes for each thread.
  void *scratch;
} tc_panels;
enum { tc_panels_columns = 64, tc_panels_units = 320 };
size_t tc_panels_scratch(const tc_panels *parameters);
size_t tc_panels_items(const tc_panels *parameters);
/// Whether products of bf16 in pairs run here.
int tc_multiplies_pairs(void);
/// How many times as many products a second one thread makes of bf16 in pairs as of f32, by the clock: 2 on AMD's
/// processors since 2022, less than 1 on some of Intel's. 0 where there are no such products. Takes about a millisecond.
double tc_pair_gain(void);

// MARK: Moving

/// Copies a box of elements between any strides (counted in elements); the last dimension is innermost.
/// Items are positions of all but the last dimension.
typedef struct {
  const void *source;
  void *destination;
  int dimensions;
  size_t shape[tc_max_dimensions], source_strides[tc_max_dimensions], destination_strides[tc_max_dimensions];
  size_t element_size;
} tc_copy;
void tc_copy_body(const void *parameters, size_t begin, size_t end, int thread);

/// Items are rows of the result.
typedef struct {
  const void *source;
  void *destination;
  size_t height, width, new_height, new_width, pixel_size;
} tc_upsample;
void tc_upsample_body(const void *parameters, size_t begin, size_t end, int thread);

/// `[height + 1, width + 1, 4, pixel] → [2·height, 2·width, pixel]`, see the engine's joinPhases. Items are rows of
/// the result.
typedef struct {
  const void *source;
  void *destination;
  size_t height, width, pixel_size;
} tc_join_phases;
void tc_join_phases_body(const void *parameters, size_t begin, size_t end, int thread);

/// Rows of a table; an index outside it reads row 0. Items are rows of the result.
typedef struct {
  const void *table;
  const int32_t *index;
  void *destination;
  size_t table_rows, row_size;
} tc_gather;
void tc_gather_body(const void *parameters, size_t begin, size_t end, int thread);

/// Sinusoidal embedding as diffusers' get_timestep_embedding computes it. Items are rows of the result.
typedef struct {
  const float *t;
  float *destination;
  size_t dimension;
  int flip_sin_to_cos;
  float frequency_shift;
} tc_sinusoid;
void tc_sinusoid_body(const void *parameters, size_t begin, size_t end, int thread);
