# SPDX-License-Identifier: MIT
# CPython's statistics, for numbers of Python's own: sums are exact to the last bit, as CPython's are.

import math


class StatisticsError(ValueError):
    pass


def _parts(x):
    """A finite float or a whole number as numerator and a power of two that divides it."""
    if isinstance(x, int):
        return x, 0
    m, e = math.frexp(x)
    return int(m * 9007199254740992.0), 53 - e


def _total(values):
    """The exact sum: numerator and the power of two below it; and whether all were whole numbers."""
    n = bits = 0
    whole = True
    for x in values:
        if isinstance(x, float) and (math.isnan(x) or math.isinf(x)):
            return sum(values), None, False
        whole = whole and isinstance(x, int)
        m, b = _parts(x)
        if b > bits:
            n <<= b - bits
            bits = b
        n += m << bits - b
    return n, bits, whole


def _quotient(n, d):
    """n / d as the nearest float, for whole numbers of any size."""
    if n < 0:
        return -_quotient(-n, d)
    if n == 0:
        return 0.0
    shift = _length(d) - _length(n) + 55  # a quotient of 55 or 56 bits, and one for what is left
    q, r = divmod(n << shift, d) if shift >= 0 else divmod(n, d << -shift)
    q = q << 1 | (r != 0)
    drop = _length(q) - 53
    q, low = q >> drop, q & (1 << drop) - 1
    half = 1 << drop - 1
    q += low > half or (low == half and q & 1)
    return math.ldexp(float(q), drop - 1 - shift)


def _length(n):
    bits = 0
    while n >> bits + 64:
        bits += 64
    n >>= bits
    while n:
        n >>= 1
        bits += 1
    return bits


def _listed(data, least, name):
    data = list(data)
    if len(data) < least:
        wanted = "at least one data point" if least == 1 else "at least two data points"
        raise StatisticsError(name + " requires " + wanted)
    return data


def _mean(n, bits, count, whole=False):
    if bits is None:
        return n / count
    if whole and n % count == 0:
        return n // count
    return _quotient(n, count << bits)


def mean(data):
    data = _listed(data, 1, "mean")
    n, bits, whole = _total(data)
    return _mean(n, bits, len(data), whole)


def fmean(data, weights=None):
    data = _listed(data, 1, "fmean")
    if weights is None:
        n, bits, _ = _total(data)
        return float(_mean(n, bits, len(data), False))
    weights = list(weights)
    if len(weights) != len(data):
        raise StatisticsError("data and weights must be the same length")
    total = _mean(*_total(weights)[:2], 1)
    if not total:
        raise StatisticsError("sum of weights must be non-zero")
    return _mean(*_total([w * x for w, x in zip(weights, data)])[:2], 1) / total


def geometric_mean(data):
    data = _listed(data, 1, "geometric_mean")
    if any(x <= 0 for x in data):
        raise StatisticsError("geometric mean is of positive numbers")
    return math.exp(fmean([math.log(x) for x in data]))


def harmonic_mean(data):
    data = _listed(data, 1, "harmonic_mean")
    if any(x < 0 for x in data):
        raise StatisticsError("harmonic mean does not support negative values")
    if any(x == 0 for x in data):
        return 0
    if any(math.isinf(x) for x in data):
        return len(data) / sum(1 / x for x in data)
    n, d = 0, 1  # the sum of what is one over each, exactly
    for x in data:
        m, b = _parts(x)
        n, d = n * m + (d << b), d * m
    return _quotient(len(data) * d, n)


def median(data):
    data = sorted(_listed(data, 1, "median"))
    n = len(data)
    return data[n // 2] if n % 2 else (data[n // 2 - 1] + data[n // 2]) / 2


def median_low(data):
    data = sorted(_listed(data, 1, "median"))
    return data[(len(data) - 1) // 2]


def median_high(data):
    data = sorted(_listed(data, 1, "median"))
    return data[len(data) // 2]


def multimode(data):
    """What is there most often, in the order in which it first comes."""
    counts = {}
    order = []
    for x in data:
        if x not in counts:
            order.append(x)
        counts[x] = counts.get(x, 0) + 1
    most = max(counts.values(), default=0)
    return [x for x in order if counts[x] == most]


def mode(data):
    modes = multimode(data)
    if not modes:
        raise StatisticsError("no mode for empty data")
    return modes[0]


def _squares(data, center):
    """The exact sum of the squares of what lies between the data and their mean: numerator and denominator."""
    n, bits, _ = _total(data)
    if bits is None:
        return None
    if center is not None:
        m, b = _parts(center)
        top = max(bits, b)
        count = 1
        n, bits = m << top - b, top
    else:
        count = len(data)
    total = 0
    for x in data:
        m, b = _parts(x)
        total += ((m << bits - b) * count - n) ** 2
    return total, count * count << 2 * bits


def _spread(data, least, name, center, below, root):
    data = _listed(data, least, name)
    found = _squares(data, center)
    if found is None:
        return math.nan
    n, d = found
    d *= len(data) - below
    if not root:
        return n // d if n % d == 0 and all(isinstance(x, int) for x in data) else _quotient(n, d)
    # The square root with more bits than a float has: 2^k times it, as a whole number.
    k = max(0, 64 - (_length(n) - _length(d)) // 2)
    return _quotient(_root((n << 2 * k) // d), 1 << k)


def _root(n):
    if n == 0:
        return 0
    x = 1 << (_length(n) + 1) // 2
    while True:
        y = (x + n // x) // 2
        if y >= x:
            return x
        x = y


def variance(data, xbar=None):
    return _spread(data, 2, "variance", xbar, 1, False)


def pvariance(data, mu=None):
    return _spread(data, 1, "pvariance", mu, 0, False)


def stdev(data, xbar=None):
    return _spread(data, 2, "stdev", xbar, 1, True)


def pstdev(data, mu=None):
    return _spread(data, 1, "pstdev", mu, 0, True)


def quantiles(data, *, n=4, method="exclusive"):
    if n < 1:
        raise StatisticsError("n must be at least 1")
    data = sorted(_listed(data, 2, "quantiles"))
    if method not in ("exclusive", "inclusive"):
        raise ValueError("Unknown method: %r" % (method,))
    exclusive = method == "exclusive"
    m = len(data) + 1 if exclusive else len(data) - 1
    out = []
    for i in range(1, n):
        j = i * m // n
        if exclusive:
            j = min(max(j, 1), len(data) - 1)
            delta = i * m - j * n
            j -= 1
        else:
            delta = i * m % n
        out.append((data[j] * (n - delta) + data[j + 1] * delta) / n)
    return out


def covariance(x, y):
    x, y = list(x), list(y)
    if len(x) != len(y) or len(x) < 2:
        raise StatisticsError("covariance requires that both inputs have same number of data points, at least two")
    mx, my = fmean(x), fmean(y)
    return sum((a - mx) * (b - my) for a, b in zip(x, y)) / (len(x) - 1)


def correlation(x, y):
    x, y = list(x), list(y)
    n = covariance(x, y)
    d = stdev(x) * stdev(y)
    if not d:
        raise StatisticsError("at least one of the inputs is constant")
    return n / d


def linear_regression(x, y):
    """(slope, intercept)"""
    from collections import namedtuple

    x, y = list(x), list(y)
    n = covariance(x, y)
    d = variance(x)
    if not d:
        raise StatisticsError("x is constant")
    slope = n / d
    made = namedtuple("LinearRegression", ("slope", "intercept"))
    return made(slope, fmean(y) - slope * fmean(x))
