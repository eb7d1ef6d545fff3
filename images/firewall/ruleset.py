# SPDX-License-Identifier: MIT
"""Rules in Python beside those of the zones (docs/firewall.md). An image that is built on this one brings a file of its
own with the names that it needs; so does `floe swap NAME ruleset FILE`, and a file of a disk that RULES names."""

rules = None  # a RuleSet in place of all others, with docs/gateway.md's translations
prerouting: list = []  # each before the zones' rules, and behind those for flows that are known
input: list = []
forward: list = []
postrouting: list = []
chains: dict = {}
