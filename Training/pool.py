"""A store of pictures in every style, renewed bit by bit while training runs."""

import signal

import torch

import data
import styles
import transfer

CELL = 16  # crops start at multiples of this: see styles.py
SEEN, FIRST = 0, 1  # slot 0 is what the webcam saw, slot 1 + i the i-th style of the clean picture
PICTURE_BYTES = (FIRST + len(styles.NAMES)) * 3 * data.SIZE**2  # in all styles


class Pictures(torch.utils.data.IterableDataset):
    """data.Source for a DataLoader: each worker draws from a seed of its own. Bytes, for what workers have ready lies in
    shared memory, of which a container may have no more than 64 MB."""

    def __init__(self, seed):
        self.seed = seed

    def __iter__(self):
        worker = torch.utils.data.get_worker_info()
        source = data.Source(self.seed * 1000 + (worker.id if worker else 0))
        while True:
            yield whole(torch.stack(source.next()))


def whole(x):
    """Pictures in 0...1 as bytes."""
    return (x.clamp(0, 1) * 255).round().byte()


def leave_interrupts(_):
    """Ctrl-C reaches every process of a terminal: the main one saves and ends, and its workers with it."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)


class Pool:
    """Pictures lie where the networks are, as bytes [1 + styles, 3, SIZE, SIZE] each. On a GPU there are many more of
    them, and worker processes draw new ones meanwhile."""

    def __init__(self, seed, device, capacity, workers):
        self.device, self.capacity = device, capacity
        loader = torch.utils.data.DataLoader(Pictures(seed), batch_size=None, num_workers=workers,
                                             prefetch_factor=4 if workers else None, worker_init_fn=leave_interrupts)
        self.incoming = iter(loader)
        shape = (capacity, FIRST + len(styles.NAMES), 3, data.SIZE, data.SIZE)
        self.store = torch.empty(shape, dtype=torch.uint8, device=device)
        self.written = 0

    def __len__(self):
        return min(self.written, self.capacity)

    @torch.no_grad()
    def renew(self, count=1):
        """Writes new pictures, over the oldest once the pool is full; `count` divides the capacity."""
        pictures = torch.stack([next(self.incoming) for _ in range(count)])
        clean, seen = (transfer.send(pictures, self.device).float() / 255).unbind(1)
        slots = torch.stack([seen] + [f(clean) for f in styles.FILTERS.values()], 1)
        at = self.written % self.capacity
        self.store[at : at + count] = whole(slots)
        self.written += count

    def windows(self, side, count):
        """`count` places: a picture, a row and a column, in cells; int64 [count, 3]."""
        room = (data.SIZE - side) // CELL + 1
        return torch.stack([torch.randint(limit, (count,), device=self.device) for limit in (len(self), room, room)], 1)

    def crops(self, windows, slots, side):
        """Pictures in 0...1, float [B, 3, side, side]; `slots` [B] are where the pool is, as windows are."""
        picture, row, column = windows.unbind(1)
        # All crops there are, as a view: one copy gathers those that are asked for.
        every = self.store.unfold(3, side, CELL).unfold(4, side, CELL)
        return every[picture, slots, :, row, column].float() / 255

    def seen(self, windows, side):
        return self.crops(windows, torch.full((len(windows),), SEEN, device=self.device), side)

    def style(self, windows, names, side):
        return self.crops(windows, transfer.send([FIRST + styles.NAMES.index(name) for name in names], self.device), side)

    def wanted(self, windows, requests, side):
        """What each request of words.py asks for, one style or two and how much of them, made of those in the pool."""
        def each(values):
            return transfer.send(values, self.device)[:, None, None, None]

        # Where there is only one style, nothing of a second.
        pairs = [[*r.shares.items(), ("photo", 0.0)][:2] for r in requests]
        goal = 0
        for part in zip(*pairs):
            names, shares = zip(*part)
            goal = goal + each(shares) * self.style(windows, names, side)
        photo = self.style(windows, ["photo"] * len(requests), side)
        return torch.lerp(photo, goal, each([r.amount for r in requests])).clamp(0, 1)
