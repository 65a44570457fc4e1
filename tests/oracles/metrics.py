"""CMC, AP, INP and ROC by the definitions, in plain Python: lists that are sorted and walked along."""

from collections import Counter


def ranked(distances, query, gallery, cross_camera=False):
    """Gallery rows of a query, nearest first, after the rule.

    `query` is (person, camera), gallery entries are (person, camera) or (person, camera, junk); person −1 is
    nobody, camera −1 unknown.
    """
    order = sorted(range(len(gallery)), key=lambda g: (distances[g], g))
    return [g for g in order if _meets(query, gallery[g], cross_camera)]


def ranked_hits(distances, query, gallery, cross_camera=False):
    """True and False along the query's list."""
    return [_right(query, gallery[g]) for g in ranked(distances, query, gallery, cross_camera)]


def _right(query, image):
    return image[0] == query[0] and image[0] >= 0


def _meets(query, image, cross_camera):
    if len(image) > 2 and image[2]:
        return False
    return not (cross_camera and _right(query, image) and image[1] == query[1] and image[1] >= 0)


def query_scores(found, elsewhere=0, cut=200):
    """R1, R5, R10, AP, AP@cut, AP with trapezoids and INP of one list; None: no positive at all."""
    total = sum(found) + elsewhere
    if total == 0:
        return None
    precisions = [sum(found[: n + 1]) / (n + 1) for n in range(len(found)) if found[n]]
    precisions_cut = [sum(found[: n + 1]) / (n + 1) for n in range(min(cut, len(found))) if found[n]]
    before = [sum(found[:n]) / n if n else 1.0 for n in range(len(found)) if found[n]]
    last = max((n + 1 for n in range(len(found)) if found[n]), default=0)
    return {
        "R1": float(any(found[:1])),
        "R5": float(any(found[:5])),
        "R10": float(any(found[:10])),
        "mAP": sum(precisions) / total,
        "mAP@200": sum(precisions_cut) / min(total, cut),
        "trapezoid": sum((a + b) / 2 for a, b in zip(precisions, before, strict=True)) / total,
        "mINP": total / last if last and not elsewhere else 0.0,
    }


def mean_scores(distances, queries, gallery, cross_camera=False):
    """Means over the queries with a positive, and how many those are."""
    lists = [
        ranked_hits(row, query, gallery, cross_camera) for row, query in zip(distances, queries, strict=True)
    ]
    valid = [scores for scores in map(query_scores, lists) if scores is not None]
    return len(valid), {
        name: sum(s[name] for s in valid) / len(valid) for name in (valid[0] if valid else ())
    }


def single_shot_rank(distances, query, gallery, order, cross_camera=True):
    """Rank of the query's person when of each person only the image is there that is first in `order`."""
    left = set(ranked(distances, query, gallery, cross_camera))
    drawn = {}
    for g in order:
        if g in left:
            drawn.setdefault(("nobody", g) if gallery[g][0] < 0 else gallery[g][0], g)
    if query[0] not in drawn:
        return 0
    ordered = sorted(drawn.values(), key=lambda g: (distances[g], g))
    return ordered.index(drawn[query[0]]) + 1


def pairs(distances, queries, gallery, cross_camera=False):
    """Distances of the pairs of one person and of those of two that the rule leaves."""
    same, different = [], []
    for row, query in zip(distances, queries, strict=True):
        for distance, image in zip(row, gallery, strict=True):
            if _meets(query, image, cross_camera):
                (same if _right(query, image) else different).append(float(distance))
    return same, different


def tar_at_far(same, different, rate):
    """a = ⌊rate·n⌋ pairs of two persons may pass: below the (a + 1)-th smallest of their distances."""
    allowed = int(rate * len(different))
    ordered = sorted(different)
    threshold = ordered[allowed] if allowed < len(ordered) else float("inf")
    return sum(d < threshold for d in same) / len(same)


def fast_reid_tpr(same, different, rate):
    """sklearn's roc_curve with label 1 for two persons and the distance as score; the nearest point's TPR."""
    values = sorted({*same, *different}, reverse=True)
    false, true = [], []  # pairs of one person, and of two, at or beyond each value
    for counts, distances in ((false, Counter(same)), (true, Counter(different))):
        for value in values:
            counts.append((counts[-1] if counts else 0) + distances[value])
    points = [(0, 0)]
    for n in range(len(values)):
        inner = 0 < n < len(values) - 1
        if inner and all(c[n + 1] - 2 * c[n] + c[n - 1] == 0 for c in (false, true)):
            continue
        points.append((false[n], true[n]))
    best = min(points, key=lambda point: abs(point[0] / len(same) - rate))
    return best[1] / len(different)
