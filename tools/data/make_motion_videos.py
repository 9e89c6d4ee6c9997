"""Write small videos whose classes differ in nothing but motion.

A textured object moves before a textured background in one of eight ways. No
frame tells which: position, size and angle of the object follow the same
distribution in all classes, at every time, and the classes are four pairs in
which one is the other run backwards. Training and validation share no texture.

Written to OUT: ``videos_{train,val}/CLASS/NUMBER.mp4`` (MPEG-4),
MMAction2's annotation lists ``motion8_{train,val}_list_videos.txt``,
``label_map.txt``, and ``settings.json``. A second run with the same settings
only writes what is missing; the videos depend on the settings alone.
"""
import argparse
import json
import os
from itertools import product
from multiprocessing.pool import ThreadPool
from pathlib import Path

import cv2
import numpy as np

# class: what of the object changes (x, y, log size, angle), and its sign;
# y points down, so growing angles turn clockwise
MOTIONS = {
    'left': (0, -1),
    'right': (0, 1),
    'up': (1, -1),
    'down': (1, 1),
    'clockwise': (3, 1),
    'counter-clockwise': (3, -1),
    'growing': (2, 1),
    'shrinking': (2, -1),
}
CLASSES = tuple(MOTIONS)
# x, y and size (half the length) in units of the frame's width; angle of the
# length in radians: the object stands upright, more or less
CENTRE_LOW = np.array([0.4, 0.4, np.log(0.22), 0.4 * np.pi])
CENTRE_HIGH = np.array([0.6, 0.6, np.log(0.27), 0.6 * np.pi])
TRAVEL = np.array([0.45, 0.45, np.log(2.2), 0.6 * np.pi])
PART = 0.5  # of the way in a video
VERSION = 2  # other motions: raised, so that old videos are not taken for new
SUPERSAMPLING = 2  # against aliasing, which would betray the speed
SPLITS = ('train', 'val')


def trajectory(label, num_frames, rng):
    """Pose of the object in every frame of a video.

    What moves begins anywhere between -1/2 and 1/2 of its ``TRAVEL`` around a
    random centre, goes ``PART`` of that way, and where the way ends it begins
    again: backwards it is the opposite class. What stands still is put at a
    random place of the same way. Every frame hence has the same distribution
    of poses in every class; key frames, which are taken at fixed times, too.

    Args:
        label (str): One of ``CLASSES``.
        num_frames (int): Number of frames T.
        rng (np.random.Generator): Source of the random numbers.

    Returns:
        np.ndarray: x, y, log size and angle, (T, 4).
    """
    moving, sign = MOTIONS[label]
    centre = rng.uniform(CENTRE_LOW, CENTRE_HIGH)
    offsets = np.tile(rng.uniform(-0.5, 0.5, 4), (num_frames, 1))
    offsets[:, moving] += sign * PART * np.linspace(-0.5, 0.5, num_frames)
    return centre + TRAVEL * (offsets - offsets.round())


def texture(size, cells, brightness, rng):
    """A random smooth colour texture, (size, size, 3) float in 0..255."""
    image = np.zeros((size, size, 3), np.float32)
    for octave in range(3):
        n = cells * 2**octave
        noise = rng.uniform(-1, 1, (n, n, 3)).astype(np.float32)
        image += 0.6**octave * cv2.resize(
            noise, (size, size), interpolation=cv2.INTER_CUBIC)
    colour = brightness + rng.uniform(-40, 40, 3)
    return np.clip(colour + 45 * image, 0, 255)


def silhouette(size, rng):
    """A random long blob without symmetry, (size, size) in 0..1."""
    theta = np.linspace(0, 2 * np.pi, 180, endpoint=False)
    radius = np.ones_like(theta)
    for wave in (1, 2, 3):
        radius += 0.15 * np.cos(wave * theta + rng.uniform(0, 2 * np.pi))
    points = radius[:, None] * np.stack(
        [np.cos(theta), rng.uniform(0.3, 0.4) * np.sin(theta)], axis=1)
    points *= 0.49 / np.abs(points).max()
    points = size * (points + 0.5)
    mask = np.zeros((size, size), np.float32)
    cv2.fillPoly(mask, [points.round().astype(np.int32)], 1.)
    return mask


def render(poses, size, rng):
    """Frames of the video of one object.

    Args:
        poses (np.ndarray): See :func:`trajectory`, (T, 4).
        size (int): Height and width H = W of a frame.
        rng (np.random.Generator): Source of the textures.

    Returns:
        np.ndarray: RGB frames, (T, H, W, 3) uint8.
    """
    large = size * SUPERSAMPLING
    background = texture(large, 5, 80, rng)
    thing = texture(large, 4, 175, rng)  # brighter: its way shows
    mask = silhouette(large, rng)
    frames = []
    for x, y, log_size, angle in poses:
        scale = 2 * np.exp(log_size)  # the patch is as wide as the frame
        turn = scale * np.array([[np.cos(angle), -np.sin(angle)],
                                 [np.sin(angle), np.cos(angle)]])
        shift = np.array([x, y]) * large - turn @ [large / 2, large / 2]
        affine = np.column_stack([turn, shift])
        alpha = cv2.warpAffine(mask, affine, (large, large))[..., None]
        moved = cv2.warpAffine(
            thing, affine, (large, large), borderMode=cv2.BORDER_REPLICATE)
        frame = alpha * moved + (1 - alpha) * background
        frames.append(
            cv2.resize(frame, (size, size), interpolation=cv2.INTER_AREA))
    return np.stack(frames).round().astype(np.uint8)


def write_video(path, frames):
    """Encode RGB frames as MPEG-4; the file appears when it is whole."""
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_suffix('.part.mp4')
    height, width = frames.shape[1:3]
    writer = cv2.VideoWriter(
        str(part), cv2.VideoWriter_fourcc(*'mp4v'), 25, (width, height))
    if not writer.isOpened():
        raise RuntimeError(f'this OpenCV cannot encode MPEG-4 video: {part}')
    for frame in frames:
        writer.write(cv2.cvtColor(frame, cv2.COLOR_RGB2BGR))
    writer.release()
    os.replace(part, path)


def make_video(task):
    """Render and encode one video unless it is there."""
    path, seed, label, num_frames, size = task
    if not path.exists():
        rng = np.random.default_rng(seed)
        write_video(path, render(trajectory(label, num_frames, rng), size,
                                 rng))


def check_settings(out, settings):
    """Refuse to mix videos of two settings in one folder."""
    path = out / 'settings.json'
    if path.exists():
        found = json.loads(path.read_text())
        if found != settings:
            raise ValueError(
                f'{out} holds videos made with {found}, not {settings}: name '
                'another --out, or remove that folder')
    out.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(settings))


def make_dataset(out, num_train, num_val, size, frames, seed, workers):
    """Write the whole data set; see the module and ``--help``."""
    counts = dict(zip(SPLITS, (num_train, num_val), strict=True))
    check_settings(
        out, dict(version=VERSION, size=size, frames=frames, seed=seed))
    tasks, lists = [], {split: [] for split in SPLITS}
    for split, count in counts.items():
        # every class of a number has a seed of its own: no shared textures
        for number, (index, label) in product(
                range(count), enumerate(CLASSES)):
            name = f'videos_{split}/{label}/{number:04d}.mp4'
            entropy = (seed, SPLITS.index(split), index, number)
            tasks.append((out / name, entropy, label, frames, size))
            lists[split].append(f'{name} {index}')
    cv2.setNumThreads(1)  # the workers are the threads: OpenCV frees the GIL
    with ThreadPool(workers) as pool:
        for done, _ in enumerate(pool.imap_unordered(make_video, tasks), 1):
            if done % 100 == 0 or done == len(tasks):
                print(f'{done}/{len(tasks)} videos in {out}', flush=True)
    for split, lines in lists.items():
        (out / f'motion8_{split}_list_videos.txt').write_text(
            '\n'.join(lines) + '\n')
    (out / 'label_map.txt').write_text('\n'.join(CLASSES) + '\n')


def parse_args():
    parser = argparse.ArgumentParser(
        description=__doc__.splitlines()[0],
        formatter_class=argparse.ArgumentDefaultsHelpFormatter)
    parser.add_argument('--out', type=Path, default='data/motion8')
    parser.add_argument(
        '--num-train', type=int, default=60, help='videos of a class')
    parser.add_argument(
        '--num-val', type=int, default=15, help='videos of a class')
    parser.add_argument(
        '--size', type=int, default=96, help='height and width')
    parser.add_argument(
        '--frames', type=int, default=16, help='frames of a video')
    parser.add_argument('--seed', type=int, default=0)
    parser.add_argument(
        '--workers', type=int, default=os.cpu_count(), help='threads')
    args = parser.parse_args()
    for name, least in dict(
            num_train=1, num_val=1, size=32, frames=2, workers=1).items():
        if getattr(args, name) < least:
            parser.error(f'--{name.replace("_", "-")} is at least {least}, '
                         f'not {getattr(args, name)}')
    return args


def main():
    make_dataset(**vars(parse_args()))


if __name__ == '__main__':
    main()
