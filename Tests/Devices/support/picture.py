"""What a picture shows, judged by block averages: sizes and codecs alone prove nothing."""

import ctypes
import subprocess

WIDTH, HEIGHT = 64, 36          # blocks across and down

# SMPTE order at 75 %, as vivid and ffmpeg's pal75bars draw them.
BARS = {
    "white": (191, 191, 191), "yellow": (191, 191, 0), "cyan": (0, 191, 191), "green": (0, 191, 0),
    "magenta": (191, 0, 191), "red": (191, 0, 0), "blue": (0, 0, 191), "black": (0, 0, 0),
}
TOLERANCE = 40                  # sum over a channel of JPEG, chroma subsampling and matrix differences


class Picture:
    """A frame as WIDTH x HEIGHT block averages, `blocks[row][column]` = (r, g, b)."""

    def __init__(self, rgb):
        assert len(rgb) == WIDTH * HEIGHT * 3, f"no picture came ({len(rgb)} bytes)"
        self.blocks = [[tuple(rgb[(y * WIDTH + x) * 3:][:3]) for x in range(WIDTH)] for y in range(HEIGHT)]

    def row(self, third=1):
        """Averages of every column over a third of the picture: 0 the upper one, 1 the middle, 2 the lower."""
        rows = self.blocks[third * HEIGHT // 3: (third + 1) * HEIGHT // 3]
        return [tuple(sum(row[x][c] for row in rows) // len(rows) for c in range(3)) for x in range(WIDTH)]

    def bars(self, third=1):
        """Names of the bars from left to right, each as (name, width in blocks); blends are left out."""
        return [(name, len(colours)) for name, colours in self._runs(third)]

    def _runs(self, third):
        """The bars from left to right, each as (name, the colours of its blocks)."""
        runs = []
        for colour in self.row(third):
            name = next((n for n, c in BARS.items() if _distance(c, colour) <= TOLERANCE), None)
            if runs and runs[-1][0] == name:
                runs[-1][1].append(colour)
            else:
                runs.append((name, [colour]))
        return [(name, colours) for name, colours in runs if name and len(colours) > 1]

    def bar_error(self):
        """The largest difference in a channel between a bar's middle and the colour it stands for."""
        return max(_distance(BARS[name], colours[len(colours) // 2]) for name, colours in self._runs(1))

    def shows_bars(self, third=1):
        """Whether at least six of the eight bars stand in order, each of about the same width.
        Letterboxes may surround them; a crop may have cut the outer ones."""
        order = [name for name in BARS if name != "black"]
        bars = [(name, width) for name, width in self.bars(third) if name != "black"]
        names = [name for name, _ in bars]
        if len(names) < 6 or names[0] not in order:
            return False
        first = order.index(names[0])
        inner = [width for _, width in bars[1:-1]]
        return names == order[first:first + len(names)] and max(inner) <= 2 * min(inner)

    def is_all_bars(self):
        """Whether the bars reach from top to bottom: nothing is missing, as in a JPEG that ends early."""
        return all(self.shows_bars(third=third) for third in range(3))

    def shows_plain(self, colour):
        """Whether the middle of the picture is of one colour (r, g, b)."""
        middle = self.row()[WIDTH // 3: 2 * WIDTH // 3]
        return all(_distance(colour, block) <= 2 * TOLERANCE for block in middle)

    def detail(self):
        """Mean absolute difference of neighbouring blocks: 0 for a plain picture."""
        pairs = [(row[x], row[x + 1]) for row in self.blocks for x in range(WIDTH - 1)]
        return sum(abs(a[c] - b[c]) for a, b in pairs for c in range(3)) / (3 * len(pairs))

    def difference(self, other):
        """Mean absolute difference to another picture, 0 to 255."""
        pairs = [(a, b) for r, s in zip(self.blocks, other.blocks) for a, b in zip(r, s)]
        return sum(abs(a[c] - b[c]) for a, b in pairs for c in range(3)) / (3 * len(pairs))

    def __repr__(self):
        return " ".join("#%02x%02x%02x" % block for block in self.row()[::4])


def _distance(a, b):
    return max(abs(x - y) for x, y in zip(a, b))


def pictures(*source, count=1, data=None, timeout=120):
    """Decodes `count` frames with ffmpeg from its input arguments, such as ("-i", "clip.mp4")."""
    command = ["ffmpeg", "-hide_banner", "-loglevel", "error", "-nostdin" if data is None else "-y", *source,
               "-frames:v", str(count), "-vf", f"scale={WIDTH}:{HEIGHT}:flags=area", "-pix_fmt", "rgb24",
               "-fps_mode", "passthrough", "-f", "rawvideo", "-"]
    result = subprocess.run(command, input=data, stdout=subprocess.PIPE, stderr=subprocess.PIPE, timeout=timeout)
    size = WIDTH * HEIGHT * 3
    frames = [Picture(result.stdout[i * size:(i + 1) * size]) for i in range(len(result.stdout) // size)]
    assert len(frames) == count, f"ffmpeg read {len(frames)} of {count} frames from {' '.join(source)}: " + \
        result.stderr.decode("utf-8", "replace").strip()[-500:]
    return frames


def picture_of(jpeg):
    """One JPEG in memory, through libturbojpeg: ffmpeg takes two seconds to start in the guest."""
    library = ctypes.CDLL("libturbojpeg.so.0")
    library.tjInitDecompress.restype = ctypes.c_void_p
    library.tjGetErrorStr.restype = ctypes.c_char_p
    decoder = ctypes.c_void_p(library.tjInitDecompress())
    try:
        facts = [ctypes.c_int() for _ in range(4)]
        status = library.tjDecompressHeader3(decoder, jpeg, ctypes.c_ulong(len(jpeg)), *map(ctypes.byref, facts))
        assert status == 0, f"no JPEG came ({len(jpeg)} bytes): {library.tjGetErrorStr().decode()}"
        # An eighth in each direction: every pixel is the average of a block of the JPEG.
        width, height = ((side.value + 7) // 8 for side in facts[:2])
        pixels = ctypes.create_string_buffer(width * height * 3)
        status = library.tjDecompress2(decoder, jpeg, ctypes.c_ulong(len(jpeg)), pixels, width, 0, height, 0, 0)
        assert status == 0, f"a broken JPEG came ({len(jpeg)} bytes): {library.tjGetErrorStr().decode()}"
    finally:
        library.tjDestroy(decoder)
    return Picture(_reduced(pixels.raw, width, height))


def _reduced(rgb, width, height):
    """Averages over WIDTH x HEIGHT areas of whole pixels."""
    def spans(length, count):
        return [(i * length // count, max((i + 1) * length // count, i * length // count + 1)) for i in range(count)]
    columns, result = spans(width, WIDTH), bytearray()
    for top, bottom in spans(height, HEIGHT):
        for left, right in columns:
            for channel in range(3):
                values = [v for y in range(top, bottom)
                          for v in rgb[(y * width + left) * 3 + channel:(y * width + right) * 3:3]]
                result.append(sum(values) // len(values))
    return bytes(result)
