# SPDX-License-Identifier: MIT
import statistics as s
import struct


def exact(x):
    """Every bit of a float, however it is printed."""
    return struct.pack(">d", x).hex() if isinstance(x, float) else [exact(y) for y in x] if isinstance(x, list) else x


def tried(f, *args, **kw):
    try:
        print(f.__name__, exact(f(*args, **kw)))
    except Exception as e:
        print(f.__name__, type(e).__name__)


for data in (
    [1, 2, 3, 4],
    [1, 2, 4],
    [0.1] * 10,
    [1e100, 1.0, -1e100],
    [2.5, 3.25, 5.5, 11.25, 11.75],
    [-1, 1],
    [5],
    [],
    [1.5, 2],
    [1, 1, 2, 2, 3],
    range(100),
):
    for f in (
        s.mean,
        s.fmean,
        s.median,
        s.median_low,
        s.median_high,
        s.mode,
        s.multimode,
        s.variance,
        s.pvariance,
        s.stdev,
        s.pstdev,
    ):
        tried(f, data)
print("%.9f" % s.geometric_mean([54, 24, 36]))
tried(s.geometric_mean, [1, -1])
tried(s.harmonic_mean, [40, 60])
tried(s.harmonic_mean, [1, 0])
tried(s.harmonic_mean, [1, -1])
tried(s.fmean, [85, 92, 83, 91], [0.2, 0.2, 0.3, 0.3])
tried(s.fmean, [1], [1, 2])
tried(s.mode, ["red", "blue", "red"])
tried(s.multimode, "aabbbbccddddeeffffgg")
tried(s.variance, [1, 2, 3], 2)
tried(s.pvariance, [1.5, 2.5], 2.0)
tried(s.stdev, [0.001, 0.002, 0.0030001])
tried(s.mean, [float("inf"), 1])
tried(s.mean, iter([1, 2]))
for n in (2, 4, 10):
    for method in ("exclusive", "inclusive"):
        print(
            exact(s.quantiles([105, 129, 87, 86, 111, 111, 89, 81, 108, 92, 110], n=n, method=method)),
            s.quantiles([1, 2], n=n, method=method),
        )
tried(s.quantiles, [1])
tried(s.quantiles, [1, 2], n=0)
x, y = [1, 2, 3, 4, 5, 6, 7, 8, 9], [1, 2, 3, 1, 2, 3, 1, 2, 3]
print(exact(s.covariance(x, y)), round(s.correlation(x, y), 12), round(s.correlation([1, 2], [2, 1]), 9))
line = s.linear_regression([1971, 1975, 1979, 1982, 1983], [1, 2, 3, 4, 5])
print("%.6f %.6f" % (line.slope, line.intercept))
tried(s.linear_regression, [1, 1], [1, 2])
print(issubclass(s.StatisticsError, ValueError))
