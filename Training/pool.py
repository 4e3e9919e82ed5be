"""A store of pictures in every style, renewed bit by bit while training runs."""

import torch

import data
import styles

CELL = 16  # crops start at multiples of this: see styles.py
SEEN, FIRST = 0, 1  # slot 0 is what the webcam saw, slot 1 + i the i-th style of the clean picture


class Pictures(torch.utils.data.IterableDataset):
    """data.Source for a DataLoader: each worker draws from a seed of its own."""

    def __init__(self, seed):
        self.seed = seed

    def __iter__(self):
        worker = torch.utils.data.get_worker_info()
        source = data.Source(self.seed * 1000 + (worker.id if worker else 0))
        while True:
            yield torch.stack(source.next())


class Pool:
    """Pictures lie where the networks are, as bytes [1 + styles, 3, SIZE, SIZE] each. On a GPU there are many more of
    them, and worker processes draw new ones meanwhile."""

    def __init__(self, seed, device, capacity, workers):
        self.device, self.capacity = device, capacity
        loader = torch.utils.data.DataLoader(Pictures(seed), batch_size=None, num_workers=workers,
                                             prefetch_factor=8 if workers else None)
        self.incoming = iter(loader)
        shape = (capacity, FIRST + len(styles.NAMES), 3, data.SIZE, data.SIZE)
        self.store = torch.empty(shape, dtype=torch.uint8, device=device)
        self.written = 0

    def __len__(self):
        return min(self.written, self.capacity)

    @torch.no_grad()
    def renew(self):
        """Writes one new picture, over the oldest once the pool is full."""
        clean, seen = next(self.incoming).to(self.device)
        slots = torch.cat([seen[None]] + [f(clean[None]) for f in styles.FILTERS.values()])
        self.store[self.written % self.capacity] = (slots.clamp(0, 1) * 255).round().byte()
        self.written += 1

    def windows(self, side, count):
        """`count` places: a picture, a row and a column, rows and columns multiples of CELL; int64 [count, 3]."""
        room = (data.SIZE - side) // CELL + 1
        limits = (len(self), room, room)
        scale = (1, CELL, CELL)
        return torch.stack([torch.randint(limit, (count,)) * by for limit, by in zip(limits, scale)], 1)

    def crops(self, windows, slots, side):
        """Pictures in 0...1, float [B, 3, side, side]; `slots` has one number for each window."""
        parts = [self.store[i, slot, :, y : y + side, x : x + side] for (i, y, x), slot in zip(windows.tolist(), slots)]
        return torch.stack(parts).float() / 255

    def seen(self, windows, side):
        return self.crops(windows, [SEEN] * len(windows), side)

    def wanted(self, windows, requests, side):
        """What each request of words.py asks for, made of the styles in the pool."""
        goal = torch.zeros(len(windows), 3, side, side, device=self.device)
        for row, (window, request) in enumerate(zip(windows, requests)):
            for name, share in request.shares.items():
                goal[row] += share * self.style(window, name, side)
            if request.amount != 1:
                goal[row] = torch.lerp(self.style(window, "photo", side), goal[row], request.amount)
        return goal.clamp(0, 1)

    def style(self, window, name, side):
        return self.crops(window[None], [FIRST + styles.NAMES.index(name)], side)[0]
