"""What the styles are made of: picture operations on batches [B, C, H, W] in 0...1, where the pictures are."""

import torch
import torch.nn.functional as F

import transfer


def luma(x):
    """Rec. 601 luma, [B, 1, H, W]."""
    return 0.299 * x[:, 0:1] + 0.587 * x[:, 1:2] + 0.114 * x[:, 2:3]


def blur(x, sigma):
    """Separable Gaussian with mirrored borders."""
    radius = max(1, int(2.5 * sigma + 0.5))
    t = torch.arange(-radius, radius + 1, dtype=x.dtype, device=x.device)
    k = torch.exp(-t * t / (2 * sigma * sigma))
    k = (k / k.sum()).repeat(x.shape[1], 1)
    x = F.pad(x, (radius,) * 4, mode="reflect")
    x = F.conv2d(x, k[:, None, None, :], groups=x.shape[1])
    return F.conv2d(x, k[:, None, :, None], groups=x.shape[1])


def box(x, radius):
    return F.avg_pool2d(F.pad(x, (radius,) * 4, mode="reflect"), 2 * radius + 1, 1)


def guided(x, radius, eps):
    """Self-guided filter (He et al. 2010): flattens texture, keeps edges."""
    mean = box(x, radius)
    a = (box(x * x, radius) - mean * mean).clamp(min=0)
    a = a / (a + eps)
    return box(a, radius) * x + box(mean * (1 - a), radius)


def kuwahara(x, radius):
    """Kuwahara's filter: of four windows around a pixel, the mean of the calmest one."""
    padded = F.pad(x, (radius,) * 4, mode="reflect")
    mean = F.avg_pool2d(padded, radius + 1, 1)
    spread = (F.avg_pool2d(padded * padded, radius + 1, 1) - mean * mean).sum(1, keepdim=True)
    h, w = x.shape[-2:]
    corners = [(dy, dx) for dy in (0, radius) for dx in (0, radius)]
    spreads = torch.cat([spread[:, :, dy : dy + h, dx : dx + w] for dy, dx in corners], 1)
    means = torch.stack([mean[:, :, dy : dy + h, dx : dx + w] for dy, dx in corners], 1)
    weights = (spreads + 1e-5).pow(-4)
    weights = weights / weights.sum(1, keepdim=True)
    return (means * weights[:, :, None]).sum(1)


def slopes(y):
    """Sobel derivatives in x and in y."""
    k = transfer.send([[-1.0, 0, 1], [-2, 0, 2], [-1, 0, 1]], y.device) / 4
    y = F.pad(y, (1,) * 4, mode="reflect")
    return F.conv2d(y, k[None, None]), F.conv2d(y, k.T[None, None])


def saturate(x, amount):
    y = luma(x)
    return (y + (x - y) * amount).clamp(0, 1)


def step(x, low, high):
    """Smooth step from 0 at `low` to 1 at `high`."""
    t = ((x - low) / (high - low)).clamp(0, 1)
    return t * t * (3 - 2 * t)


def grid(x):
    """Pixel coordinates, [1, 1, H, 1] and [1, 1, 1, W]."""
    v, u = torch.arange(x.shape[-2], device=x.device), torch.arange(x.shape[-1], device=x.device)
    return v[None, None, :, None].float(), u[None, None, None].float()


def local_contrast(y):
    """Evens out lighting, so that a dim room draws as well as a bright one."""
    mean = blur(y, 12)
    spread = blur((y - mean) ** 2, 12).sqrt()
    return (0.5 + 0.2 * (y - mean) / (spread + 0.06) + 0.5 * (mean - 0.5)).clamp(0, 1)


def lines(y, sigma=1.0, gain=1.0):
    """Dark lines along edges: 1 on a line, 0 elsewhere (difference of Gaussians, Winnemöller 2011)."""
    d = blur(y, sigma * 1.8) - blur(y, sigma)
    return step(d * gain, 0.008, 0.05)


def colours(t, stops):
    """Looks t in 0...1 up in evenly spaced colours."""
    stops = transfer.send(stops, t.device)
    t = t.clamp(0, 1)[:, 0] * (len(stops) - 1)
    i = t.long().clamp(max=len(stops) - 2)
    f = (t - i)[..., None]
    return (stops[i] * (1 - f) + stops[i + 1] * f).permute(0, 3, 1, 2)


def paint(alpha, colour, under):
    return under * (1 - alpha) + plain(colour, alpha) * alpha


def plain(colour, x):
    """One colour, [1, 3, 1, 1], where `x` is."""
    return transfer.send(colour, x.device)[None, :, None, None]


def tangents(x, sigma=2.0):
    """Unit vectors along edges, from the smoothed structure tensor (Kyprianidis and Kang 2011): two [B, 1, H, W]."""
    dx, dy = slopes(luma(x))
    e, f, g = blur(torch.cat([dx * dx, dx * dy, dy * dy], 1), sigma).split(1, 1)
    angle = 0.5 * torch.atan2(2 * f, e - g) + 1.5707964
    return torch.cos(angle), torch.sin(angle)


def along(x, tangent, reach, stride=1.0):
    """The mean of `x` along the tangents, `reach` steps of `stride` pixels each way (line integral convolution)."""
    tx, ty = tangent
    h, w = x.shape[-2:]
    v, u = grid(x)
    total = x.clone()
    for sign in (-1.0, 1.0):
        px, py = u + torch.zeros_like(tx), v + torch.zeros_like(ty)
        dx, dy = tx * sign, ty * sign
        for _ in range(reach):
            px, py = px + stride * dx, py + stride * dy
            at = torch.cat([2 * px / (w - 1) - 1, 2 * py / (h - 1) - 1], 1).permute(0, 2, 3, 1)
            looked = F.grid_sample(torch.cat([x, tx, ty], 1), at, "bilinear", "reflection", align_corners=True)
            total = total + looked[:, :-2]
            # A tangent has no sign: go on the way that one came.
            turn = torch.where(looked[:, -2:-1] * dx + looked[:, -1:] * dy < 0, -1.0, 1.0)
            dx, dy = looked[:, -2:-1] * turn, looked[:, -1:] * turn
    return total / (2 * reach + 1)


def grain(x, cell=1):
    """Noise of mean 0 and standard deviation 1 in cells of some pixels, [B, 1, H, W]; another each time."""
    h, w = x.shape[-2:]
    fine = torch.randn(len(x), 1, -(-h // cell) + 1, -(-w // cell) + 1, device=x.device)
    return fine[..., :h, :w] if cell == 1 else F.interpolate(fine, scale_factor=cell, mode="bicubic")[..., :h, :w]


def spread(x):
    """The standard deviation of each picture, [B, 1, 1, 1]."""
    return x.std((1, 2, 3), keepdim=True)


def washed(x, levels, low, high):
    """Few levels of brightness with soft steps between them; colours follow. Gives the picture and the levels."""
    y = luma(x)
    level = y * levels
    wash = (level.floor() + step(level - level.floor(), low, high)) / levels
    return (x * (wash + 0.1) / (y + 0.08)).clamp(0, 1), wash
