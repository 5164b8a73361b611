"""A fixed small case and its figures by two well-known libraries.

How they were obtained, in a throw-away environment (Python 3.11, RecTools 0.19.0, ranx 0.3.21):
the 20 best unseen toys of each row of `SCORES` (scores are distinct) were given as recommendations.
hr, ndcg, recall, mrr: `ranx.evaluate(Qrels, Run, ["hit_rate@k", "ndcg@k", "recall@k", "mrr@k"])`.
coverage, novelty: `rectools.metrics.CatalogCoverage(k, normalize=True)` and `MeanInvUserFreq(k)`,
with `HISTORIES` as previous interactions. RecTools' HitRate, Recall and MRR give the same figures;
its NDCG always divides by the ideal list of k hits, however few the targets: another metric.
"""

from __future__ import annotations

__all__ = ["FIGURES", "HISTORIES", "SCORES", "TARGETS"]


def _rows(text: str) -> list[list[int]]:
    return [[int(number) for number in line.split()] for line in text.strip().splitlines()]


SCORES = _rows("""
27 15 9 0 2 17 21 13 12 11 10 24 5 23 14 6 19 20 28 29 7 18 3 26 16 1 4 25 22 8
28 27 7 4 13 3 11 14 26 8 0 15 21 9 5 18 23 29 12 20 17 10 16 2 19 22 1 24 25 6
20 17 16 0 28 27 6 5 9 24 2 22 13 21 23 29 8 10 3 15 1 14 25 19 4 26 7 11 18 12
7 12 11 3 22 20 0 17 2 4 5 8 23 1 26 19 10 15 21 27 9 25 28 16 6 13 18 29 14 24
14 1 16 6 2 17 4 5 28 26 3 19 27 15 11 13 25 7 18 9 12 8 23 29 22 21 20 24 0 10
1 23 20 19 4 22 18 26 13 12 21 27 25 16 17 28 5 8 24 11 0 14 7 2 15 3 9 29 10 6
18 29 24 15 25 13 23 14 3 11 19 9 8 4 12 20 17 1 7 0 2 26 21 28 22 5 27 10 16 6
21 7 2 15 11 9 22 19 27 29 25 8 17 1 28 3 26 14 12 5 10 0 23 24 18 20 4 13 16 6
0 18 6 10 11 28 15 24 3 1 23 9 14 12 4 13 2 25 8 26 27 17 22 29 7 5 20 19 16 21
16 20 26 0 9 13 19 2 14 24 1 23 28 8 6 27 18 29 4 10 25 12 7 11 15 22 21 5 3 17
24 4 2 25 27 18 15 28 8 19 17 22 0 21 14 7 11 29 1 26 16 5 13 9 10 12 20 3 23 6
6 25 13 18 0 12 2 20 24 8 29 3 26 17 23 14 21 4 27 1 11 5 15 7 16 22 10 28 19 9
""")
HISTORIES = _rows("""
19 22 26
8 20 21 26
1 14 23 24 26
1 3 6 11
4 6 8 24 26
24
3 19
8 20 21 24 27
11 28
9 15 21
11 14 20 27
11 13 26
""")
TARGETS = {
    "single": _rows("""
5
12
0
5
25
11
10
12
29
16
17
27
"""),
    "several": _rows("""
5 21 14 17
19 0 17
28 22
22
25
7 9 18 19
6 26 2
9
17 27 20
6 5 4
17 26 16 3
3 5 25 7
"""),
}
FIGURES = {
    "single": {
        "hr@5": 0.25,
        "recall@5": 0.25,
        "hr@10": 0.75,
        "recall@10": 0.75,
        "hr@20": 1.0,
        "recall@20": 1.0,
        "ndcg@5": 0.1775774795,
        "ndcg@10": 0.329993134,
        "ndcg@20": 0.3990034711,
        "mrr@5": 0.1527777778,
        "mrr@10": 0.2102843915,
        "mrr@20": 0.2323803511,
        "novelty@5": 3.0905995324,
        "novelty@10": 3.13319146,
        "novelty@20": 3.0997087775,
        "coverage@5": 0.8333333333,
        "coverage@10": 1.0,
        "coverage@20": 1.0,
    },
    "several": {
        "hr@5": 0.6666666667,
        "recall@5": 0.4097222222,
        "hr@10": 1.0,
        "recall@10": 0.75,
        "hr@20": 1.0,
        "recall@20": 1.0,
        "ndcg@5": 0.3328196522,
        "ndcg@10": 0.4767178178,
        "ndcg@20": 0.5726191219,
        "mrr@5": 0.3847222222,
        "mrr@10": 0.4255621693,
        "mrr@20": 0.4255621693,
        "novelty@5": 3.0905995324,
        "novelty@10": 3.13319146,
        "novelty@20": 3.0997087775,
        "coverage@5": 0.8333333333,
        "coverage@10": 1.0,
        "coverage@20": 1.0,
    },
}
