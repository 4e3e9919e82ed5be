"""A store of pictures with all their styles, renewed bit by bit while training runs."""

import torch

import data
import styles

CELL = 16  # crops start at multiples of this: see styles.py
SEEN, FIRST = 0, 1  # slot 0 is what the webcam saw, slot 1 + i the i-th style of the clean picture


class Pool:
    def __init__(self, seed, capacity=224):
        self.source = data.Source(seed)
        self.capacity = capacity
        self.pictures = []
        self.latents = []
        self.written = 0

    @torch.no_grad()
    def renew(self, encode=None):
        """Adds one picture, in the place of the oldest once the pool is full. `encode` makes latents to go with it."""
        clean, seen = self.source.next()
        slots = torch.cat([seen[None]] + [f(clean[None]) for f in styles.FILTERS.values()])
        item = (slots.clamp(0, 1) * 255).round().byte()
        latents = encode(item.float() / 255).half() if encode else None
        if len(self.pictures) < self.capacity:
            self.pictures.append(item)
            self.latents.append(latents)
        else:
            at = self.written % self.capacity
            self.pictures[at], self.latents[at] = item, latents
        self.written += 1

    @torch.no_grad()
    def encode_all(self, encode):
        self.latents = [encode(p.float() / 255).half() for p in self.pictures]

    def crop(self, side):
        """A picture's index and a window: (index, y, x), y and x multiples of CELL."""
        room = (data.SIZE - side) // CELL + 1
        return int(torch.randint(len(self.pictures), ())), int(torch.randint(room, ())) * CELL, int(torch.randint(room, ())) * CELL

    def picture(self, window, slot, side):
        i, y, x = window
        return self.pictures[i][slot, :, y : y + side, x : x + side].float() / 255

    def latent(self, window, slot, side):
        i, y, x = (window[0], window[1] // 4, window[2] // 4)
        return self.latents[i][slot, :, y : y + side // 4, x : x + side // 4].float()
