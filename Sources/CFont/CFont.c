#include "CFont.h"
#include "atlas.h"

static int glyph(unsigned char character) {
  return (character < FIRST || character > LAST ? '?' : character) - FIRST;
}

int turbocam_font_height(void) { return HEIGHT; }

int turbocam_font_advance(unsigned char character) { return advances[glyph(character)]; }

int turbocam_font_coverage(unsigned char character, int column, int row) {
  int index = glyph(character);
  int stride = (advances[index] + 1) / 2;
  int pair = coverage[offsets[index] + row * stride + column / 2];
  return column % 2 ? pair & 15 : pair >> 4;
}
