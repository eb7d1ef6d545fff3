# SPDX-License-Identifier: MIT
# A small unittest: classes of test methods, assertions, skips, subtests, and main(), which prints CPython's summary.
#
#     class TestSum(unittest.TestCase):
#         def test_two(self):
#             self.assertEqual(sum((1, 2)), 3)
#
#     sys.exit(not unittest.main().wasSuccessful())
#
# main() returns the result and does not end the program. Not here: loaders, suites, mocks, async tests.

import sys


class SkipTest(Exception):
    pass


class _Raises:
    """`with assertRaises(Error) as raised:`; raised.exception is what came."""

    def __init__(self, expected):
        self.expected = expected
        self.exception = None

    def __enter__(self):
        return self

    def __exit__(self, kind, error, trace):
        if kind is None:
            raise AssertionError("%r not raised" % (self.expected,))
        self.exception = error
        return issubclass(kind, self.expected)


class _SubTest:
    def __init__(self, case, about):
        self.case = case
        self.about = about

    def __enter__(self):
        return self

    def __exit__(self, kind, error, trace):
        if error is None or not isinstance(error, Exception):
            return False
        self.case._result._add(error, self.case._name + " " + self.about)
        return True


class TestCase:
    def __init__(self, name="", result=None):
        self._name = name
        self._result = result
        self._cleanups = []

    def setUp(self):
        pass

    def tearDown(self):
        pass

    @classmethod
    def setUpClass(cls):
        pass

    @classmethod
    def tearDownClass(cls):
        pass

    def addCleanup(self, function, *args, **kwargs):
        self._cleanups.append((function, args, kwargs))

    def doCleanups(self):
        while self._cleanups:
            function, args, kwargs = self._cleanups.pop()
            function(*args, **kwargs)

    def subTest(self, msg="", **params):
        return _SubTest(self, "[%s]" % ", ".join(([msg] if msg else []) + ["%s=%r" % p for p in params.items()]))

    def skipTest(self, reason):
        raise SkipTest(reason)

    def fail(self, msg=None):
        raise AssertionError(msg or "failed")

    def _check(self, holds, msg, *otherwise):
        if not holds:
            self.fail(msg or otherwise[0] % otherwise[1:])

    def assertEqual(self, first, second, msg=None):
        self._check(first == second, msg, "%r != %r", first, second)

    def assertNotEqual(self, first, second, msg=None):
        self._check(first != second, msg, "%r == %r", first, second)

    def assertAlmostEqual(self, first, second, places=7, msg=None, delta=None):
        self._check(_close(first, second, places, delta), msg, "%r is not near %r", first, second)

    def assertNotAlmostEqual(self, first, second, places=7, msg=None, delta=None):
        self._check(not _close(first, second, places, delta), msg, "%r is near %r", first, second)

    def assertTrue(self, x, msg=None):
        self._check(x, msg, "%r is not true", x)

    def assertFalse(self, x, msg=None):
        self._check(not x, msg, "%r is not false", x)

    def assertIs(self, first, second, msg=None):
        self._check(first is second, msg, "%r is not %r", first, second)

    def assertIsNot(self, first, second, msg=None):
        self._check(first is not second, msg, "%r is %r", first, second)

    def assertIsNone(self, x, msg=None):
        self._check(x is None, msg, "%r is not None", x)

    def assertIsNotNone(self, x, msg=None):
        self._check(x is not None, msg, "%r is None", x)

    def assertIn(self, member, container, msg=None):
        self._check(member in container, msg, "%r is not in %r", member, container)

    def assertNotIn(self, member, container, msg=None):
        self._check(member not in container, msg, "%r is in %r", member, container)

    def assertIsInstance(self, x, kind, msg=None):
        self._check(isinstance(x, kind), msg, "%r is no %r", x, kind)

    def assertNotIsInstance(self, x, kind, msg=None):
        self._check(not isinstance(x, kind), msg, "%r is a %r", x, kind)

    def assertLess(self, first, second, msg=None):
        self._check(first < second, msg, "%r is not less than %r", first, second)

    def assertLessEqual(self, first, second, msg=None):
        self._check(first <= second, msg, "%r is greater than %r", first, second)

    def assertGreater(self, first, second, msg=None):
        self._check(first > second, msg, "%r is not greater than %r", first, second)

    def assertGreaterEqual(self, first, second, msg=None):
        self._check(first >= second, msg, "%r is less than %r", first, second)

    def assertRaises(self, expected, function=None, *args, **kwargs):
        raised = _Raises(expected)
        if function is None:
            return raised
        with raised:
            function(*args, **kwargs)
        return None


def _close(first, second, places, delta):
    if first == second:
        return True
    apart = abs(first - second)
    return apart <= delta if delta is not None else round(apart, places) == 0


def skip(reason):
    def decorate(what):
        # A class is marked, as its methods are looked for later; a method is replaced.
        if isinstance(what, type):
            what.__unittest_skip__ = reason
            return what

        def skipped(self, *args):
            raise SkipTest(reason)

        return skipped

    return decorate


def skipIf(condition, reason):
    return skip(reason) if condition else lambda what: what


def skipUnless(condition, reason):
    return skipIf(not condition, reason)


def expectedFailure(method):
    def inverted(self):
        try:
            method(self)
        except SkipTest:
            raise
        except Exception:
            return
        raise AssertionError("unexpected success")

    return inverted


class TestResult:
    """testsRun counts; failures, errors and skipped are lists of (name of the test, exception)."""

    def __init__(self):
        self.testsRun = 0
        self.failures = []
        self.errors = []
        self.skipped = []

    def wasSuccessful(self):
        return not self.failures and not self.errors

    def _add(self, error, name):
        """Record how a test ended; the word for it."""
        if isinstance(error, SkipTest):
            self.skipped.append((name, error))
            return "skipped: %s" % error
        failed = isinstance(error, AssertionError)
        (self.failures if failed else self.errors).append((name, error))
        return "FAIL" if failed else "ERROR"

    def _summary(self):
        for word, found in (("FAIL", self.failures), ("ERROR", self.errors)):
            for name, error in found:
                print("=" * 70)
                print("%s: %s" % (word, name))
                print("-" * 70)
                sys.print_exception(error)
        print("-" * 70)
        print("Ran %d tests\n" % self.testsRun)
        if not self.wasSuccessful():
            print("FAILED (failures=%d, errors=%d)" % (len(self.failures), len(self.errors)))
        elif self.skipped:
            print("OK (skipped=%d)" % len(self.skipped))
        else:
            print("OK")


def _run_method(cls, method, result):
    name = "%s.%s" % (cls.__name__, method)
    case = cls(name, result)
    result.testsRun += 1
    before = len(result.failures) + len(result.errors)
    word = None

    def step(function):
        nonlocal word
        try:
            function()
        except Exception as e:
            word = result._add(e, name)
            return False
        return True

    if step(case.setUp):
        step(getattr(case, method))
        step(case.tearDown)
    step(case.doCleanups)
    if word is None:
        word = "ok" if before == len(result.failures) + len(result.errors) else "FAIL"
    print("%s ... %s" % (name, word))


def _run_class(cls, result):
    methods = sorted(name for name in dir(cls) if name.startswith("test"))
    reason = getattr(cls, "__unittest_skip__", None)
    if reason is not None:
        for name in methods:
            result.testsRun += 1
            print("%s.%s ... %s" % (cls.__name__, name, result._add(SkipTest(reason), name)))
        return
    try:
        cls.setUpClass()
    except Exception as e:
        print("%s ... %s" % (cls.__name__, result._add(e, cls.__name__ + ".setUpClass")))
        return
    for name in methods:
        _run_method(cls, name, result)
    try:
        cls.tearDownClass()
    except Exception as e:
        print("%s ... %s" % (cls.__name__, result._add(e, cls.__name__ + ".tearDownClass")))


def main(module="__main__"):
    """Run every TestCase of a module, given by itself or by name; print the summary; return the TestResult."""
    if isinstance(module, str):
        module = __import__(module)
    found = [getattr(module, name) for name in sorted(dir(module))]
    classes = [x for x in found if isinstance(x, type) and issubclass(x, TestCase) and x is not TestCase]
    result = TestResult()
    for cls in classes:
        _run_class(cls, result)
    result._summary()
    return result
