"""What texts without labels tell of their words: how rare each is, and which occur alike.

    weights = idf(ids, vocabulary_size)                       # (V,)
    vectors = cooccurrence_vectors(ids, vocabulary_size, 100)   # (V, 100)

`ids` is a list of int arrays, one a text; id 0 is padding.
"""

import numpy as np

WINDOW = 5


def idf(ids, vocabulary_size):
    """BM25's inverse document frequency of each word, float32 `(V,)`; 0 for padding.

    >>> print(idf([np.array([1, 2]), np.array([1])], 4).round(2))
    [0.   0.18 0.69 1.79]
    """
    counts = np.zeros(vocabulary_size)
    for row in ids:
        counts[np.unique(row)] += 1
    weights = np.log(1 + (len(ids) - counts + 0.5) / (counts + 0.5))
    weights[0] = 0
    return weights.astype("float32")


def cooccurrence_vectors(ids, vocabulary_size, size, *, seed=0):
    """Vectors of words, alike for words with like neighbours, float32 `(V, size)`.

    Their length is the square root of `size`, so that a component is about one, which is what
    layers expect: of unit vectors they would hardly learn at first.

    A truncated singular value decomposition of the positive pointwise mutual information of words
    up to `WINDOW` steps apart, as in Levy et al., 2015, section 3.1 (context distribution
    smoothing, a symmetric square root of the singular values),
    https://aclanthology.org/Q15-1016. Words that never occurred get zeros.

    Args:
        ids: List of int arrays.
        vocabulary_size: Integer V.
        size: Integer, at most V.
        seed: Integer, of the decomposition's random start.
    """
    from scipy.sparse import coo_matrix
    from sklearn.utils.extmath import randomized_svd

    pairs, weights = [np.zeros((2, 0), int)], [np.zeros(0)]
    for step in range(1, WINDOW + 1):
        for row in ids:
            if len(row) > step:
                pairs.append(np.stack([row[:-step], row[step:]]))
                weights.append(np.full(len(row) - step, 1 / step))
    first, second = np.concatenate(pairs, axis=1)
    weights = np.concatenate(weights)
    both = np.concatenate([first, second]), np.concatenate([second, first])
    counts = coo_matrix((np.tile(weights, 2), both), (vocabulary_size, vocabulary_size))
    counts = counts.tocsr().tocoo()  # equal pairs are added up
    totals = np.asarray(counts.sum(axis=1)).ravel()
    smooth = totals**0.75
    expected = totals[counts.row] * smooth[counts.col] / max(smooth.sum(), 1e-9)
    information = np.maximum(np.log(counts.data / expected), 0)
    matrix = coo_matrix((information, (counts.row, counts.col)), counts.shape).tocsr()
    left, values, _ = randomized_svd(matrix, min(size, vocabulary_size), random_state=seed)
    vectors = left * np.sqrt(values)
    norms = np.linalg.norm(vectors, axis=1, keepdims=True)
    vectors *= size**0.5 / np.maximum(norms, 1e-6)
    vectors[totals == 0] = 0  # not the noise of rounding
    return np.pad(vectors, ((0, 0), (0, size - vectors.shape[1]))).astype("float32")
