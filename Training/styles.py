"""The styles that spark knows, each a picture filter written as code; words.py has what asks for them.

Every style maps a batch of pictures [B, 3, H, W] in 0...1 to one of the same shape, and looks only at a neighbourhood.
Regular patterns (tiles, dots, hatching) repeat every 8 or 16 pixels from the picture's corner: a convolutional network
can learn those, whatever the crop, if crops start at multiples of 16. Strokes and grain are drawn at random: which of
all possible strokes a picture gets is what a diffusion model has to make up.
"""

import math

import torch
import torch.nn.functional as F

from filters import (along, blur, colours, grain, grid, guided, kuwahara, lines, local_contrast, luma, paint, plain,
                     saturate, slopes, spread, step, tangents, washed)


def photo(x):
    return x


def pencil(x):
    y = local_contrast(luma(x))
    dodge = (y / (blur(y, 3) + 0.02)).clamp(0, 1)
    drawn = 1 - step(dodge, 0.55, 0.97)
    v, u = grid(x)
    hatch = 0.5 + 0.5 * torch.cos(2 * math.pi * (u + v) / 8)
    cross = 0.5 + 0.5 * torch.cos(2 * math.pi * (u - v) / 8)
    tone = blur(y, 1.5)
    shade = 0.55 * step(-tone, -0.55, -0.3) * hatch + 0.4 * step(-tone, -0.32, -0.12) * cross
    paper = plain([0.97, 0.96, 0.93], x).expand_as(x)
    return paint(torch.maximum(drawn, shade).clamp(0, 1) * 0.9, [0.17, 0.17, 0.19], paper)


def ink(x):
    y = local_contrast(luma(guided(x, 2, 0.004)))
    sharp = blur(y, 0.8) + 9 * (blur(y, 0.8) - blur(y, 1.5))
    black = 1 - step(sharp, 0.3, 0.46)
    return paint(black, [0.04, 0.04, 0.07], plain([0.99, 0.98, 0.95], x).expand_as(x))


def neon(x):
    y = local_contrast(luma(guided(x, 2, 0.003)))
    dx, dy = slopes(blur(y, 0.9))
    edge = step((dx * dx + dy * dy).sqrt(), 0.03, 0.2)
    angle = torch.atan2(dy, dx)
    tube = torch.cat([0.5 + 0.5 * torch.cos(angle - phase) for phase in (0.0, 2.4, 4.2)], 1)
    tube = tube / tube.amax(1, keepdim=True).clamp(min=0.2)
    light = edge * tube
    glow = blur(light, 3.5)
    night = plain([0.07, 0.02, 0.16], x) * (0.4 + 1.2 * luma(x))
    return (night + 1.05 * light + 0.75 * glow).clamp(0, 1)


def mosaic(x):
    tile = F.avg_pool2d(saturate(x, 1.5), 8)
    tile = F.interpolate(tile, scale_factor=8, mode="nearest")
    v, u = grid(x)
    v, u = v % 8, u % 8
    grout = ((v < 1) | (u < 1)).float()
    lit = (((v == 1) & (u >= 1)) | ((u == 1) & (v >= 1))).float()
    dark = (((v == 7) & (u >= 1)) | ((u == 7) & (v >= 1))).float()
    return (paint(grout, [0.12, 0.11, 0.1], tile * (1 - 0.25 * dark) + 0.16 * lit)).clamp(0, 1)


def thermal(x):
    y = step(blur(luma(x), 1.6), -0.15, 1.1)
    return colours(y, [[0.0, 0.0, 0.12], [0.15, 0.0, 0.5], [0.55, 0.0, 0.6], [0.9, 0.15, 0.3],
                       [1.0, 0.5, 0.0], [1.0, 0.85, 0.1], [1.0, 1.0, 0.85]])


def blueprint(x):
    y = local_contrast(luma(guided(x, 2, 0.003)))
    drawn = torch.maximum(lines(y, 1.0, 1.0), 0.45 * step(y, 0.5, 0.9))
    v, u = grid(x)
    ruled = ((v % 16 < 1) | (u % 16 < 1)).float()
    sheet = paint(0.22 * ruled, [0.7, 0.85, 1.0], plain([0.05, 0.2, 0.52], x).expand_as(x))
    return paint(drawn * 0.92, [0.9, 0.96, 1.0], sheet)


def vintage(x):
    y = step(luma(blur(x, 0.8)), -0.1, 1.05)
    return colours(y, [[0.16, 0.09, 0.05], [0.5, 0.35, 0.2], [0.82, 0.68, 0.47], [0.98, 0.93, 0.8]])


def comic(x):
    """Flat saturated colours, dots in the shadows, black outlines."""
    flat, _ = washed(kuwahara(guided(x, 3, 0.01), 3), 4, 0.35, 0.65)
    flat = saturate(flat, 2.0)
    v, u = grid(x)
    dots = torch.cos(2 * math.pi * u / 8) * torch.cos(2 * math.pi * v / 8)
    shadow = step(-luma(flat), -0.55, -0.2)
    flat = flat * (1 - 0.55 * step(dots + 1.6 * shadow - 1.3, 0, 0.35) * shadow)
    outline = lines(local_contrast(luma(guided(x, 2, 0.004))), 1.2, 1.5)
    return paint(outline, [0.03, 0.02, 0.05], flat)


def oil(x):
    """Patches of paint with the relief of a brush that follows the edges."""
    flat = kuwahara(kuwahara(x, 4), 3)
    flow = tangents(flat, 3.0)
    flat = saturate(along(flat, flow, 4), 1.6)
    brush = along(grain(x), flow, 8)
    dx, dy = slopes(brush)
    return (flat + 0.25 * (flat - 0.5) * (1 - (2 * flat - 1).abs()) + 0.14 * brush + 0.25 * (dx + dy)).clamp(0, 1)


def vangogh(x):
    """Long thick strokes in neighbouring hues, blue in the shadows and yellow in the light."""
    flow = tangents(blur(x, 1.5), 5.0)
    flat = along(kuwahara(x, 3), flow, 6, 1.5)
    stroke = along(grain(x, 2), flow, 10, 1.5)
    stroke = (stroke / (spread(stroke) + 1e-4)).clamp(-2, 2) / 2
    y = luma(flat)
    toned = torch.lerp(saturate(flat, 1.9), colours(y, [[0.04, 0.08, 0.3], [0.15, 0.35, 0.6], [0.85, 0.7, 0.25], [1.0, 0.93, 0.65]]), 0.45)
    return (toned + stroke * plain([0.2, 0.17, 0.05], x) * (0.4 + y)).clamp(0, 1)


def watercolour(x):
    """Pale washes with darker rims on paper, pigment gathered at random."""
    flat, wash = washed(guided(guided(x, 5, 0.015), 4, 0.01), 5, 0.2, 0.8)
    dx, dy = slopes(blur(wash, 0.7))
    rim = step((dx * dx + dy * dy).sqrt(), 0.03, 0.22)
    pale = 1 - (1 - saturate(flat, 1.7)) * (0.85 - 0.4 * step(wash, 0.55, 0.85))
    pigment = 0.03 * grain(x, 4) + 0.03 * grain(x, 2)
    return (pale + pigment * (1 - pale) * 2 - 0.3 * rim * plain([0.55, 0.5, 0.35], x)).clamp(0, 1)


def pastel(x):
    """Soft chalk on warm paper whose grain it does not fill."""
    flat = guided(kuwahara(x, 2), 3, 0.01)
    chalk = 0.35 + 0.65 * saturate(flat, 1.35)
    strokes = along(grain(x), (torch.full_like(x[:, :1], 0.8), torch.full_like(x[:, :1], -0.6)), 3)
    cover = step(strokes / (spread(strokes) + 1e-4) + 1.3 - 1.1 * luma(flat), -0.6, 0.6)
    return paint(1 - cover, [0.83, 0.76, 0.66], chalk).clamp(0, 1)


def woodcut(x):
    """Black lines cut in a slant, as thick as the picture is dark, on cream paper."""
    y = local_contrast(luma(guided(x, 2, 0.004)))
    v, u = grid(x)
    line = 0.5 + 0.5 * torch.cos(2 * math.pi * (u + 2 * v) / 8)
    tone = step(blur(y, 1.0), 0.15, 0.72)
    black = torch.maximum(step(line - tone, -0.12, 0.12), lines(y, 1.1, 1.3))
    return paint(black, [0.09, 0.05, 0.03], plain([0.95, 0.88, 0.72], x).expand_as(x))


def pixelart(x):
    """Squares of 4 pixels in few colours, chequered where two would be needed."""
    small = F.avg_pool2d(saturate(x, 1.7), 4)
    v, u = grid(small)
    dither = ((v + u) % 2 - 0.5) * 0.1
    small = (((small + dither) * 5).round() / 5).clamp(0, 1)
    return F.interpolate(small, scale_factor=4, mode="nearest")


def cyberpunk(x):
    """Night in teal and magenta, bright parts that glow, scan lines."""
    y = local_contrast(luma(x))
    toned = colours(blur(y, 0.6), [[0.02, 0.0, 0.08], [0.12, 0.03, 0.35], [0.75, 0.08, 0.6], [0.1, 0.75, 0.85], [0.85, 1.0, 1.0]])
    glow = blur(toned * step(y, 0.6, 0.9), 5)
    v, _ = grid(x)
    return ((0.8 * toned + 0.2 * x + 0.6 * glow) * torch.where(v % 4 < 1, 0.65, 1.0)).clamp(0, 1)


FILTERS = {f.__name__: f for f in (photo, oil, vangogh, watercolour, pastel, pencil, ink, woodcut, comic, pixelart, mosaic,
                                   neon, cyberpunk, thermal, blueprint, vintage)}
NAMES = list(FILTERS)
