// The kernels' source, included once for each instruction set (no include guard on purpose).
#include "Elements.h"
#include "Functions.h"
#include "Rows.h"
#include "Norms.h"
#include "Tile.h"
#include "Transpose.h"
#include "Attention.h"
#include "Narrow.h"
#include "Winograd.h"
#include "WinogradPieces.h"
#include "Panels.h"

const tc_table TC_TABLE = {
    TC_TABLE_NAME,
    {
        [tc_kernel_map] = map_body,
        [tc_kernel_binary] = binary_body,
        [tc_kernel_geglu] = geglu_body,
        [tc_kernel_group_statistics] = group_statistics_body,
        [tc_kernel_group_apply] = group_apply_body,
        [tc_kernel_layer_norm] = layer_norm_body,
        [tc_kernel_attention_pack] = attention_pack_body,
        [tc_kernel_attention] = attention_body,
        [tc_kernel_narrow_convolution] = narrow_convolution_body,
        [tc_kernel_winograd_filters] = winograd_filters_body,
        [tc_kernel_winograd_block] = winograd_block_body,
        [tc_kernel_winograd_in] = winograd_in_body,
        [tc_kernel_winograd_pieces] = winograd_pieces_body,
        [tc_kernel_panels_pack] = panels_pack_body,
        [tc_kernel_panels] = panels_body,
        [tc_kernel_quantize] = quantize_body,
        [tc_kernel_peaks] = peaks_body,
    },
};
