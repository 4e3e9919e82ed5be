"""Writes Sources/CFont/atlas.h: the printable ASCII glyphs that notices are drawn with.

The font is the one inside Pillow (Aileron Regular, CC0), so nothing is downloaded. Each glyph is a column of
rows, coverage in 4 bits, two pixels a byte, the left one in the high half.

    python3 Fixtures/make/font.py        (Pillow 10.1 or newer, with FreeType)
"""
import pathlib

from PIL import Image, ImageDraw, ImageFont

SIZE = 32
FIRST, LAST = 32, 126


def glyphs():
    font = ImageFont.load_default(SIZE)
    ascent, descent = font.getmetrics()
    for code in range(FIRST, LAST + 1):
        advance = round(font.getlength(chr(code)))
        image = Image.new("L", (advance, ascent + descent))
        ImageDraw.Draw(image).text((0, 0), chr(code), font=font, fill=255)
        yield advance, image


def packed(image):
    width, height = image.size
    data = image.tobytes()
    out = bytearray()
    for y in range(height):
        row = [(v * 15 + 127) // 255 for v in data[y * width:(y + 1) * width]] + [0]
        out += bytes(row[x] << 4 | row[x + 1] for x in range(0, width, 2))
    return bytes(out)


def main():
    all_glyphs = list(glyphs())
    offsets, data = [], bytearray()
    for _, image in all_glyphs:
        offsets.append(len(data))
        data += packed(image)
    lines = [
        "// Made by Fixtures/make/font.py from Pillow's own font (Aileron Regular, CC0). Do not edit.",
        f"#define FIRST {FIRST}",
        f"#define LAST {LAST}",
        f"#define HEIGHT {all_glyphs[0][1].size[1]}",
        "static const unsigned char advances[] = {" + ",".join(str(a) for a, _ in all_glyphs) + "};",
        "static const unsigned short offsets[] = {" + ",".join(map(str, offsets)) + "};",
        "static const unsigned char coverage[] = {",
    ]
    lines += ["    " + ",".join(map(str, data[i:i + 32])) + "," for i in range(0, len(data), 32)]
    lines.append("};")
    path = pathlib.Path(__file__).parents[2] / "Sources/CFont/atlas.h"
    path.write_text("\n".join(lines) + "\n")
    print(f"{path}: {len(data)} bytes of glyphs")


main()
