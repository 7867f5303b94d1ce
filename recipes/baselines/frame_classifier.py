"""Speech without a network, to compare with: a linear classifier of frames, and Viterbi's search.

Which frame belongs to which token nobody has told: at first each token of a text gets an equal
share of its frames, then those that the classifier learned from this finds most probable, in order
(Viterbi training). A run of frames of one token counts as several if it is as long as several.
"""

import collections
import itertools

import numpy as np

POOL = 4  # frames that are averaged; each is seen with two of these before and behind
_MOST = 800  # utterances to learn from
_PENALTIES = (1.0, 2.0, 4.0, 8.0, 16.0)  # of a change of token, in nats


def baselines(data, known, frames, ids):
    """What two simpler ways write of the sounds to test on.

    Args:
        data: `recipes.data.speech.Utterances`.
        known: `recipes.text.transcripts.Transcripts`.
        frames, ids: Dicts from the name of a split to lists of frames, and of the ids of its texts.

    Returns:
        Dict from the name of each to a dict from `test` and perhaps `long` to a list of texts.
    """
    usual = collections.Counter(data.train.texts).most_common(1)[0][0]
    pairs = [(frames[part], ids[part]) for part in ("train", "validation")]
    found = recognize(*pairs, [frames[part] for part in data.tested])
    return {
        "most frequent text": {part: [usual] * len(frames[part]) for part in data.tested},
        "linear classifier of frames": {
            part: [known.decode(row) for row in rows]
            for part, rows in zip(data.tested, found, strict=True)
        },
    }


def recognize(train, validation, tests, *, rounds=3):
    """Tokens by a classifier of frames.

    Args:
        train, validation: Pairs of a list of frames `(T, bands)` and a list of ids, a list or an
            array per text.
        tests: List of lists of frames.
        rounds: Integer, how often the classifier learns.

    Returns:
        A list for each of `tests`: lists of ids.
    """
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    rows = [
        (features(frames), np.asarray(ids))
        for frames, ids in zip(*(column[:_MOST] for column in train), strict=True)
        if len(frames) >= POOL * len(ids)
    ]
    if not rows or len({number for _, ids in rows for number in ids}) < 2:
        return [[[] for _ in test] for test in tests]
    model = make_pipeline(StandardScaler(), LogisticRegression(max_iter=40, tol=1e-2))
    x = np.concatenate([seen for seen, _ in rows])
    labels = [ids[np.arange(len(seen)) * len(ids) // len(seen)] for seen, ids in rows]
    for number in range(rounds):
        model.fit(x, np.concatenate(labels))
        if number < rounds - 1:
            index = {label: column for column, label in enumerate(model.classes_)}
            labels = [
                align(model.predict_log_proba(seen), [index[i] for i in ids], ids)
                for seen, ids in rows
            ]
    lengths = {label: [] for label in model.classes_}
    for path in labels:
        for label, count in _runs(path):
            lengths[label].append(count)
    usual = {label: float(np.median(counts or [1])) for label, counts in lengths.items()}

    def found(frames, penalty):
        path = model.classes_[best_path(model.predict_log_proba(features(frames)), penalty)]
        return [
            int(label)
            for label, count in _runs(path)
            for _ in range(max(1, round(count / usual[label])))
        ]

    def errors(penalty):
        import jiwer

        said = [" ".join(map(str, found(frames, penalty))) for frames in validation[0]]
        return jiwer.wer([" ".join(map(str, ids)) for ids in validation[1]], said)

    penalty = min(_PENALTIES, key=errors)
    return [[found(frames, penalty) for frames in test] for test in tests]


def features(frames):
    """Means of `POOL` frames, each beside two before and two behind: `(T', 5 bands)`."""
    frames = np.asarray(frames, "float32")
    count = max(1, len(frames) // POOL)
    pooled = np.resize(frames, (count * POOL, frames.shape[1])) if len(frames) < POOL else frames
    pooled = pooled[: count * POOL].reshape(count, POOL, -1).mean(1)
    padded = np.pad(pooled, ((2, 2), (0, 0)), mode="edge")
    return np.concatenate([padded[start : start + count] for start in range(5)], axis=1)


def align(log_probability, columns, ids):
    """The most probable token of each frame, where all tokens come in order.

    Args:
        log_probability: Array `(T, K)`.
        columns: List of L columns of it, those of the tokens; at most T.
        ids: Array of L ids.

    >>> table = np.log([[0.9, 0.1], [0.8, 0.2], [0.1, 0.9], [0.4, 0.6]])
    >>> align(table, [0, 1, 0], np.array([7, 8, 7])).tolist()
    [7, 7, 8, 7]
    """
    scores = log_probability[:, columns]  # (T, L)
    best = np.full(len(columns), -np.inf)
    best[0] = scores[0, 0]
    moved = np.zeros(scores.shape, bool)
    for step in range(1, len(scores)):
        before = np.concatenate([[-np.inf], best[:-1]])
        moved[step] = before > best
        best = np.maximum(best, before) + scores[step]
    path, at = [], len(columns) - 1
    for step in reversed(range(len(scores))):
        path.append(at)
        at -= bool(moved[step, at])
    return np.asarray(ids)[path[::-1]]


def best_path(log_probability, penalty):
    """The best column of each row, where a change from the row before costs a penalty.

    >>> best_path(np.log([[0.9, 0.1], [0.4, 0.6], [0.8, 0.2]]), penalty=1.0).tolist()
    [0, 0, 0]
    """
    best, came_from = log_probability[0], []
    stay = np.arange(len(best))
    for scores in log_probability[1:]:
        other = int(best.argmax())
        changes = best[other] - penalty > best
        came_from.append(np.where(changes, other, stay))
        best = np.maximum(best, best[other] - penalty) + scores
    path = [int(best.argmax())]
    for sources in reversed(came_from):
        path.append(int(sources[path[-1]]))
    return np.array(path[::-1])


def _runs(path):
    """Pairs of a value and how often it stands in a row."""
    borders = np.flatnonzero(np.diff(path)) + 1
    starts = [0, *borders.tolist(), len(path)]
    return [(path[a], b - a) for a, b in itertools.pairwise(starts)]
