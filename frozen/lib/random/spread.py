# SPDX-License-Identifier: MIT
# Numbers that are spread as known curves are.

import math

import urandom


def gauss(mu=0.0, sigma=1.0):
    radius = math.sqrt(-2.0 * math.log(1.0 - urandom.random()))
    return mu + sigma * radius * math.cos(2.0 * math.pi * urandom.random())


normalvariate = gauss


def lognormvariate(mu, sigma):
    return math.exp(gauss(mu, sigma))


def expovariate(lambd=1.0):
    return -math.log(1.0 - urandom.random()) / lambd


def triangular(low=0.0, high=1.0, mode=None):
    u = urandom.random()
    c = 0.5 if mode is None else (mode - low) / (high - low)
    if u > c:
        return high - (high - low) * math.sqrt((1.0 - u) * (1.0 - c))
    return low + (high - low) * math.sqrt(u * c)


def paretovariate(alpha):
    return (1.0 - urandom.random()) ** (-1.0 / alpha)


def weibullvariate(alpha, beta):
    return alpha * (-math.log(1.0 - urandom.random())) ** (1.0 / beta)
