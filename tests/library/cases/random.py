# SPDX-License-Identifier: MIT
import random


def tried(f, *args, **kw):
    try:
        print(f(*args, **kw))
    except Exception as e:
        print(type(e).__name__)


x = list(range(20))
random.shuffle(x)
print(
    sorted(x) == list(range(20)),
    x != list(range(20)),
    len(set(random.sample(range(100), 10))),
    sorted(random.sample("abc", 3)),
)
print(sorted(random.sample("ab", 3, counts=[1, 2])), random.sample([], 0))
tried(random.sample, "abc", 4)
tried(random.sample, {1, 2}, 1)
print(
    set(random.choices("ab", k=100)) == {"a", "b"},
    random.choices("ab", weights=[0, 1], k=3),
    random.choices("abc", cum_weights=[0, 1, 1], k=2),
)
tried(random.choices, "ab", weights=[1])
tried(random.choices, "ab", weights=[0, 0])
n = 2000
for f, mean, spread in (
    (lambda: random.gauss(10, 2), 10, 0.3), (lambda: random.normalvariate(-5, 1), -5, 0.2), (lambda: random.expovariate(2), 0.5, 0.1),
    (lambda: random.triangular(0, 6, 3), 3, 0.2), (lambda: random.lognormvariate(0, 0.25), 1.03, 0.1), (random.random, 0.5, 0.05),
    (lambda: random.paretovariate(5), 1.25, 0.1), (lambda: random.weibullvariate(1, 1.5), 0.903, 0.1), (lambda: random.uniform(1, 3), 2, 0.1),
):  # fmt: skip
    got = [f() for _ in range(n)]
    print(abs(sum(got) / n - mean) < spread, len(set(got)) > n * 0.9)
print(
    len(random.randbytes(5)),
    random.randbytes(0),
    0 <= random.randrange(3) < 3,
    random.randint(4, 4),
    0 <= random.getrandbits(32) < 2**32,
)
random.seed(5)
a = [random.random() for _ in range(3)]
random.seed(5)
print(a == [random.random() for _ in range(3)], random.choice("x"))
s = random.SystemRandom()
y = [1, 2, 3]
s.shuffle(y)
print(
    sorted(y),
    0 <= s.random() < 1,
    s.randint(7, 7),
    s.randrange(0, 10, 5) in (0, 5),
    s.choice([9]),
    len(s.randbytes(3)),
    1 <= s.uniform(1, 2) <= 2,
)
tried(s.choice, [])
