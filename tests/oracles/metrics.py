"""CMC, AP and INP of one query from its ranked list of hits, by the definitions, in plain Python."""


def ranked_hits(distances, query, gallery, cross_camera):
    """True and False along the query's list; `query` and gallery entries are (person, camera)."""
    order = sorted(range(len(gallery)), key=lambda g: (distances[g], g))
    found = []
    for g in order:
        same_person = gallery[g][0] == query[0] and gallery[g][0] >= 0
        if cross_camera and same_person and gallery[g][1] == query[1]:
            continue
        found.append(same_person)
    return found


def query_scores(found, elsewhere=0, cut=200):
    """R1, R5, R10, AP, AP@cut and INP of one list; None if the person has no other image at all."""
    total = sum(found) + elsewhere
    if total == 0:
        return None
    precisions = [sum(found[: n + 1]) / (n + 1) for n in range(len(found)) if found[n]]
    precisions_cut = [sum(found[: n + 1]) / (n + 1) for n in range(min(cut, len(found))) if found[n]]
    last = max((n + 1 for n in range(len(found)) if found[n]), default=0)
    return {
        "R1": float(any(found[:1])),
        "R5": float(any(found[:5])),
        "R10": float(any(found[:10])),
        "mAP": sum(precisions) / total,
        "mAP@200": sum(precisions_cut) / min(total, cut),
        "mINP": total / last if last and not elsewhere else 0.0,
    }
