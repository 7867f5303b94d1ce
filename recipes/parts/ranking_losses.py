"""Losses that rank the candidates of each query; a batch holds whole queries.

Targets are `(B, 2)`: a candidate's label, above 0 for a right one, and the number of its query.
Scores are `(B, 1)`.
"""

from keras import ops


def listwise(targets, scores):
    """Cross-entropy between the right candidates of a query and the softmax over all of them.

    The mean over the queries; several right candidates share a query's target by their labels.

    Reference:
        Cao et al., 2007, section 4 (ListNet), https://doi.org/10.1145/1273496.1273513
    """
    labels, same, scores = _parts(targets, scores)
    logits = ops.where(same, ops.expand_dims(scores, 0), -1e9)
    likelihood = scores - ops.logsumexp(logits, axis=1)  # (B,)
    of_query = ops.matmul(ops.cast(same, "float32"), ops.expand_dims(labels, 1))[:, 0]
    target = labels / ops.maximum(of_query, 1.0)
    return -ops.sum(target * likelihood) / ops.maximum(ops.sum(target), 1.0)


def pairwise(targets, scores):
    """Logistic loss of each right candidate of a query against each of a lower label.

    The mean over the pairs of a query, and then over the queries.

    Reference:
        Burges et al., 2005, section 3 (RankNet), https://doi.org/10.1145/1102351.1102363
    """
    labels, same, scores = _parts(targets, scores)
    is_better = ops.expand_dims(labels, 1) > ops.expand_dims(labels, 0)
    pairs = ops.cast(ops.logical_and(same, is_better), "float32")  # (B, B)
    loss = ops.softplus(ops.expand_dims(scores, 0) - ops.expand_dims(scores, 1))
    of_query = ops.sum(ops.matmul(ops.cast(same, "float32"), pairs), axis=1, keepdims=True)
    weights = pairs / ops.maximum(of_query, 1.0)
    return ops.sum(weights * loss) / ops.maximum(ops.sum(weights), 1.0)


def _parts(targets, scores):
    """Labels `(B,)`, which two candidates are of the same query `(B, B)`, and scores `(B,)`."""
    targets = ops.cast(targets, "float32")
    labels, queries = targets[:, 0], targets[:, 1]
    same = ops.equal(ops.expand_dims(queries, 1), ops.expand_dims(queries, 0))
    return labels, same, ops.cast(scores[:, 0], "float32")


LOSSES = {"listwise": listwise, "pairwise": pairwise}
