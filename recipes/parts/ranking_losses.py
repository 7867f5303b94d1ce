"""Losses that rank the candidates of each query; a batch holds whole queries.

Targets are `(B, 2)`: a candidate's label, above 0 for a right one, and the number of its query.
Scores are `(B, 1)`; or `(B, B)`, where row i has the scores of all texts in the batch for the query
of pair i: then the candidates of other queries are wrong answers too (in-batch negatives).
"""

from keras import ops


def listwise(targets, scores):
    """Cross-entropy between the right candidates of a query and the softmax over its texts.

    The mean over the queries; several right candidates share a query's target by their labels.

    Reference:
        Cao et al., 2007, section 4 (ListNet), https://doi.org/10.1145/1273496.1273513
    """
    labels, same, rivals, scores = _parts(targets, scores)
    logits = ops.where(rivals, scores, -1e9)
    likelihood = ops.diagonal(scores) - ops.logsumexp(logits, axis=1)  # (B,)
    target = labels / _of_query(same, labels)
    return -ops.sum(target * likelihood) / ops.maximum(ops.sum(target), 1.0)


def pairwise(targets, scores):
    """Logistic loss of each right candidate of a query against each of its texts of a lower label.

    The mean over the pairs of a query, and then over the queries.

    Reference:
        Burges et al., 2005, section 3 (RankNet), https://doi.org/10.1145/1102351.1102363
    """
    labels, same, rivals, scores = _parts(targets, scores)
    labels_of_others = ops.where(same, ops.expand_dims(labels, 0), 0.0)
    is_better = ops.expand_dims(labels, 1) > labels_of_others
    pairs = ops.cast(ops.logical_and(rivals, is_better), "float32")  # (B, B)
    loss = ops.softplus(scores - ops.expand_dims(ops.diagonal(scores), 1))
    weights = pairs / ops.expand_dims(_of_query(same, ops.sum(pairs, axis=1)), 1)
    return ops.sum(weights * loss) / ops.maximum(ops.sum(weights), 1.0)


def _parts(targets, scores):
    """Labels `(B,)`; of pairs of pairs `(B, B)`: same query, ranked together, and scores."""
    targets, scores = ops.cast(targets, "float32"), ops.cast(scores, "float32")
    labels, queries = targets[:, 0], targets[:, 1]
    same = ops.equal(ops.expand_dims(queries, 1), ops.expand_dims(queries, 0))
    if scores.shape[-1] == 1:
        return labels, same, same, ops.transpose(scores) + ops.zeros_like(scores)
    return labels, same, ops.ones_like(same), scores


def _of_query(same, x):
    """The sum of `x` `(B,)` over the pairs of the same query, `(B,)`, or one for less."""
    return ops.maximum(ops.matmul(ops.cast(same, "float32"), ops.expand_dims(x, 1))[:, 0], 1.0)


LOSSES = {"listwise": listwise, "pairwise": pairwise}
