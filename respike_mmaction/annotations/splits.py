"""Lists of videos that others have divided: folders, csv files, lists."""
import csv
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from ..datasets.annotation_file import read_annotations, shown
from .lists import Lists, Video, class_folders, videos_below

# its videos vanish from YouTube, its classes do not
KINETICS_CLASSES = 400


def _from_folders(root: Path, paths: Iterable[str],
                  classes: Sequence[str]) -> list[Video]:
    # MMAction2 has users rename 'air drumming' to 'air_drumming'
    labels = {name.replace('_', ' '): i for i, name in enumerate(classes)}
    videos = []
    for path in paths:
        name = path.split('/')[0].replace('_', ' ')
        if name not in labels:
            raise ValueError(f'{root / path}: the folder is none of the '
                             f'{len(classes)} classes')
        videos.append(Video(path, labels[name]))
    return videos


def _from_csv(path: Path, root: Path | None,
              classes: Sequence[str]) -> list[Video]:
    """Rows ``label,youtube_id,time_start,time_end,...`` of the authors."""
    labels = {name: i for i, name in enumerate(classes)}
    # whatever the folder is called and the times are padded to
    files = {}
    for file in videos_below(root) if root else ():
        files[Path(file).stem[:11]] = file
    videos = []
    with open(path, newline='', encoding='utf-8') as stream:
        for number, row in enumerate(csv.DictReader(stream), 2):
            try:
                label = labels[row['label'].strip('"')]
                name = (f'{row["youtube_id"]}_{int(row["time_start"]):06d}_'
                        f'{int(row["time_end"]):06d}.mp4')
            except (KeyError, TypeError, ValueError) as error:
                raise ValueError(
                    f'{path}:{number}: not a row "label,youtube_id,'
                    f'time_start,time_end" of a known class '
                    f'({shown(str(error))})') from error
            videos.append(Video(
                files.get(row['youtube_id'], f'{row["label"]}/{name}'),
                label))
    return videos


def _classes_of_lists(lists: Sequence[str]) -> list[str]:
    """Classes by the folders of the videos, where each has its own."""
    names: dict[int, set[str]] = defaultdict(set)
    for path in lists:
        for sample in read_annotations(path, unlabelled=True):
            if sample['label'] >= 0:
                names[sample['label']].add(
                    Path(sample['filename']).parent.name)
    classes = [*{name: None for label in sorted(names)
                 for name in names[label]}]
    if (not classes or sorted(names) != list(range(len(classes)))
            or '' in classes or any(len(n) > 1 for n in names.values())):
        raise ValueError('a label map is needed: the folders of the videos in '
                         f'{", ".join(lists)} do not name the classes')
    return classes


def split_lists(sources: Mapping[str, str],
                roots: Mapping[str, str | None],
                classes: Sequence[str] | None = None) -> Lists:
    """Build the lists of videos that are divided already.

    Args:
        sources (Mapping): For 'train', 'val' (and 'test') a folder of class
            folders, one of the csv files of Kinetics' authors, or a list with
            lines ``path label``; one for test may hold no labels.
        roots (Mapping): For each the folder of the videos, or None. With a
            csv, videos are found there by their YouTube id.
        classes (Sequence[str], optional): The classes in the order of their
            labels. Defaults to what csv files and folders hold, in
            alphabetical order, or, where there are lists alone, to the
            folders that their videos lie in.

    Returns:
        Lists: ``train_list``, ``val_list`` (and ``test_list``).

    Raises:
        ValueError: If a source is missing or wrong, or the classes are not
            known.
    """
    trees: dict[str, list[str]] = {}
    names: set[str] = set()
    for source in sources.values():
        if Path(source).is_dir():
            trees[source] = class_folders(Path(source))
            names |= {path.split('/')[0] for path in trees[source]}
        elif not Path(source).is_file():
            raise ValueError(f'{source}: no such file or folder')
        elif source.endswith('.csv'):
            with open(source, newline='', encoding='utf-8') as file:
                names |= {row.get('label', '')
                          for row in csv.DictReader(file)}
    if not classes:
        # 'air drumming' of a csv is the folder 'air_drumming'
        spellings = {name.replace('_', ' '): name
                     for name in sorted(names, reverse=True)}
        classes = ([spellings[name] for name in sorted(spellings)]
                   or _classes_of_lists(list(sources.values())))
    splits = {}
    for side, source in sources.items():
        root = roots.get(side)
        if source in trees:
            videos = _from_folders(Path(source), trees[source], classes)
        elif source.endswith('.csv'):
            videos = _from_csv(Path(source), Path(root) if root else None,
                               classes)
        else:
            videos = [Video(sample['filename'], sample['label'])
                      for sample in read_annotations(
                          source, num_classes=len(classes),
                          unlabelled=side == 'test')]
        splits[f'{side}_list'] = videos
    return Lists(list(classes), splits)


def kinetics_lists(sources: Mapping[str, str],
                   roots: Mapping[str, str | None],
                   classes: Sequence[str] | None = None) -> Lists:
    """Build the lists of Kinetics-400: its classes have spaces.

    Args:
        sources (Mapping): As of :func:`split_lists`.
        roots (Mapping): As of :func:`split_lists`.
        classes (Sequence[str], optional): As of :func:`split_lists`.

    Returns:
        Lists: ``train_list`` and ``val_list``.
    """
    lists = split_lists(sources, roots, classes)
    return lists._replace(
        classes=[name.replace('_', ' ') for name in lists.classes])
