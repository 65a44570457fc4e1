"""The definition of k-reciprocal re-ranking, dense and slow, in float64; and the dialects, each by itself.

Nothing here is shared with the package. `re_ranking` follows Zhong et al. (CVPR 2017) symbol by
symbol with sets and dense matrices; the other functions follow the loops of the implementation they are
named after, so that a user of that implementation can expect its numbers. The order of a list is by
the cosine rounded to float32 (finer differences are beyond a float32 product), then by index, the
row itself first; in the original implementations it is whatever their sort gives.
"""

import numpy as np


def cosines(query, gallery):
    features = np.concatenate([query, gallery]).astype(np.float64)
    features /= np.linalg.norm(features, axis=1, keepdims=True)
    return features @ features.T


def squared_distances(query, gallery):
    distance = np.maximum(2 - 2 * cosines(query, gallery), 0)
    distance[distance < 1e-12] = 0  # equal rows, but for float64's last bits
    return distance


def ranks(query, gallery):
    """Every row's list of all rows, nearest first, itself at the head."""
    order = cosines(query, gallery).astype(np.float32)
    np.fill_diagonal(order, 9)
    return np.argsort(-order, axis=1, kind="stable")


def re_ranking(query, gallery, k1, k2, lambda_):
    """(1 − λ)·J + λ·D̂ of query × gallery by the definition, float64 [Q, G]."""
    distance = squared_distances(query, gallery)
    farthest = distance.max(axis=1, keepdims=True)
    scaled = distance / np.where(farthest > 0, farthest, 1)
    jaccard = _jaccard(scaled, ranks(query, gallery), k1, k2, plus_one=1)
    num_query = len(query)
    return (1 - lambda_) * jaccard[:num_query, num_query:] + lambda_ * scaled[:num_query, num_query:]


def torchreid_re_ranking(query, gallery, k1, k2, lambda_):
    """torchreid, layumi's CPU version: the squared distance is squared once more, then divided by its
    row maximum."""
    distance = squared_distances(query, gallery) ** 2
    farthest = distance.max(axis=1, keepdims=True)
    scaled = distance / np.where(farthest > 0, farthest, 1)
    jaccard = _jaccard(scaled, ranks(query, gallery), k1, k2, plus_one=1)
    num_query = len(query)
    return (1 - lambda_) * jaccard[:num_query, num_query:] + lambda_ * scaled[:num_query, num_query:]


def fast_reid_re_ranking(query, gallery, k1, k2, lambda_):
    """fast-reid's evaluator: k1 counts the row itself, V is a softmax of −D without row maxima, and
    the final sum takes 1 − cos."""
    distance = squared_distances(query, gallery)
    jaccard = _jaccard(distance, ranks(query, gallery), k1, k2, plus_one=0)
    num_query = len(query)
    return (1 - lambda_) * jaccard[:num_query, num_query:] + lambda_ * distance[:num_query, num_query:] / 2


def _jaccard(scaled, rank, k1, k2, plus_one):
    num = len(scaled)
    k1 = min(k1, num - 1)
    half = int(np.around(k1 / 2))

    def neighbours(i, k):
        return {int(j) for j in rank[i, : k + plus_one]}

    def reciprocal(i, k):
        return {j for j in neighbours(i, k) if i in neighbours(j, k)}

    encoding = np.zeros((num, num))
    for i in range(num):
        start = reciprocal(i, k1)
        expanded = set(start)
        for candidate in start:
            theirs = reciprocal(candidate, half)
            if len(theirs & start) * 3 > 2 * len(theirs):
                expanded |= theirs
        members = sorted(expanded)
        weight = np.exp(-scaled[i, members])
        encoding[i, members] = weight / weight.sum()
    if k2 != 1:
        encoding = np.stack([encoding[rank[i, :k2]].mean(axis=0) for i in range(num)])
    jaccard = np.empty((num, num))
    for i in range(num):
        overlap = np.minimum(encoding[i], encoding).sum(axis=1)
        jaccard[i] = 1 - overlap / (2 - overlap)
    return np.maximum(jaccard, 0)


def graph_scores(query, gallery, k1, k2, lambda_):
    """(1 − λ)·A_q·A_gᵀ + λ·cos by the definition, dense, larger is better [Q, G]."""
    cosine = cosines(query, gallery)
    rank = ranks(query, gallery)
    num, num_query = len(cosine), len(query)
    links, weights = np.zeros((num, num)), np.zeros((num, num))
    for i in range(num):
        links[i, rank[i, :k1]] = 1
        weights[i, rank[i, :k2]] = cosine[i, rank[i, :k2]] ** 2
    for _ in range(2):
        links = weights @ (links + links.T)
        links = links / np.linalg.norm(links, axis=1, keepdims=True)
    similarity = links[:num_query] @ links[num_query:].T
    return (1 - lambda_) * similarity + lambda_ * cosine[:num_query, num_query:]
