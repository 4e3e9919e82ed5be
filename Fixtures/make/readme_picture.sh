#!/bin/bash
# Makes Fixtures/pictures/styles.jpg, the picture in the README: a frame of the demo clip and what the built
# turbocam makes of it. Needs ffmpeg.
set -eu
cd "$(dirname "$0")/../.."
turbocam=${TURBOCAM:-.build/release/turbocam}
work=$(mktemp -d)
trap 'rm -r "$work"' EXIT

ffmpeg -v error -ss 1 -i Fixtures/clips/demo.mp4 -frames:v 1 -vf "crop=ih:ih,scale=256:256" "$work/0.png"
number=1
for prompt in "ink drawing" "pencil sketch" "neon lights" "comic book" "mosaic"; do
  "$turbocam" image "$work/0.png" --prompt "$prompt" --output "$work/$number.png"
  number=$((number + 1))
done
mkdir -p Fixtures/pictures
ffmpeg -v error -y -i "$work/%d.png" -vf tile=3x2:padding=6:color=white -frames:v 1 -q:v 3 Fixtures/pictures/styles.jpg
