#pragma once
// The glyphs of notices: printable ASCII, one size, coverage from 0 to 15.

/// Rows of every glyph.
int turbocam_font_height(void);
/// Columns of a glyph, and how far the next one stands. Unknown characters count as '?'.
int turbocam_font_advance(unsigned char character);
/// Coverage, 0 to 15, at a column and row inside the glyph.
int turbocam_font_coverage(unsigned char character, int column, int row);
