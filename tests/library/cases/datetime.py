# SPDX-License-Identifier: MIT
from datetime import MAXYEAR, MINYEAR, UTC, date, datetime, time, timedelta, timezone, tzinfo


def tried(f, *args, **kw):
    try:
        print(f(*args, **kw))
    except Exception as e:
        print(type(e).__name__)


print(MINYEAR, MAXYEAR, UTC, repr(UTC))
for d in (timedelta(), timedelta(1), timedelta(-1), timedelta(hours=-1), timedelta(days=2, seconds=3, microseconds=4),
          timedelta(weeks=1, milliseconds=1500, minutes=61), timedelta(seconds=1.5), timedelta(days=0.1),
          timedelta(microseconds=0.5), timedelta(microseconds=1.5), timedelta.max, timedelta.min):  # fmt: skip
    print(d, repr(d), d.days, d.seconds, d.microseconds, d.total_seconds(), bool(d))
a, b = timedelta(hours=1, seconds=7), timedelta(minutes=9)
print(a + b, a - b, -a, abs(-a), a * 3, 3 * a, a * 0.5, a / 2, a // 2, a / b, a // b, a % b, divmod(a, b))
print(a < b, a <= b, a > b, a >= b, a == b, a != b, a == 1, hash(a) == hash(timedelta(seconds=3607)), {a: 1}[a])
tried(timedelta, days=10**9)
tried(lambda: a + 1)
tried(lambda: a < 1)
print(sum([a, b], timedelta()), max(a, b), sorted([a, b]))

d = date(2024, 2, 29)
print(d, repr(d), d.weekday(), d.isoweekday(), d.isocalendar(), d.toordinal(), d.ctime(), tuple(d.timetuple()))
print(d.isocalendar().week, d.replace(day=1), d + timedelta(1), d - timedelta(60), d - date(2023, 2, 28))
print(date.fromordinal(738945), date.min, date.max, date.resolution, date.fromtimestamp(0), date.fromtimestamp(1e9))
print(d < date(2024, 3, 1), d == date(2024, 2, 29), d != d, d in {date(2024, 2, 29)}, d == "2024-02-29")
for text in (
    "2024-02-29",
    "20240229",
    "2024-W09-4",
    "2024W094",
    "2024-W09",
    "2024-2-29",
    "2024-02-30",
    "x",
    "2024-0229",
):
    tried(date.fromisoformat, text)
for args in ((2024, 2, 30), (0, 1, 1), (10000, 1, 1), (2023, 13, 1), (2023, 1, 0), (2023, 1.5, 1)):
    tried(date, *args)
tried(date.fromisocalendar, 2020, 53, 7)
tried(date.fromisocalendar, 2021, 53, 7)
n = 0
for year in (1, 4, 100, 400, 1582, 1899, 1900, 1999, 2000, 2001, 2015, 2016, 2020, 2026, 2100, 9999):
    for month, day in ((1, 1), (1, 4), (2, 28), (3, 1), (12, 28), (12, 31)):
        d = date(year, month, day)
        assert date.fromordinal(d.toordinal()) == d
        iso = tuple(d.isocalendar())
        n = n * 31 + iso[0] * 1000 + iso[1] * 10 + iso[2] & 0xFFFFFF
        n = n * 31 + int(d.strftime("%j%U%W%V%u%w")) & 0xFFFFFF
        if iso[0] < 9999:
            assert date.fromisocalendar(*iso) == d
print(n)

t = time(13, 5, 9, 70)
print(t, repr(t), t.hour, t.minute, t.second, t.microsecond, t.tzinfo, time(), repr(time(1, 2)), time(1, 2) < t)
print(t.isoformat("hours"), t.isoformat("minutes"), t.isoformat("seconds"), t.isoformat("milliseconds"))
print(t.replace(hour=1), t.replace(tzinfo=UTC), time(1, tzinfo=timezone(timedelta(hours=-5, minutes=-30))))
print(t.strftime("%H.%M.%S %f %p %I %z%Z|%%"), time.min, time.max)
for text in ("12", "12:30", "12:30:01", "123001", "12:30:01.5", "12:30:01.123456789", "12:30:01,25", "T12:30", "12:30Z",
             "12:30+01:00", "12:30-0130", "25:00", "12:60", "12:3", "", "12:30+25:00"):  # fmt: skip
    tried(time.fromisoformat, text)

dt = datetime(2024, 2, 29, 13, 5, 9, 70)
print(dt, repr(dt), repr(datetime(2024, 1, 2)), dt.date(), dt.time(), dt.isoformat(), dt.isoformat(" ", "minutes"))
print(tuple(dt.timetuple()), dt.weekday(), dt.ctime(), dt.toordinal(), dt.replace(year=2023, day=1, microsecond=0))
print(dt.strftime("%Y-%m-%d %H:%M:%S.%f %a %A %b %B %y %j %U %W %p %I %w %u %G-W%V %D %T %F %R %c|%x|%X|%e|%C %%"))
print(
    dt + timedelta(days=1, seconds=-1), dt - timedelta(hours=14), dt - datetime(2024, 1, 1), dt > datetime(2024, 1, 1)
)
east = timezone(timedelta(hours=2))
west = timezone(timedelta(hours=-5), "EST")
print(east, repr(east), west, repr(west), west.tzname(None), west.utcoffset(None), timezone.utc, repr(timezone.utc))
aware = datetime(2024, 2, 29, 13, 5, tzinfo=east)
print(aware, repr(aware), aware.utcoffset(), aware.tzname(), aware.dst(), aware.timetz(), aware.time())
print(aware.astimezone(UTC), aware.astimezone(west), aware == aware.astimezone(west), aware - aware.astimezone(west))
print(hash(aware) == hash(aware.astimezone(UTC)), tuple(aware.utctimetuple()), aware.strftime("%z %Z"), aware == dt)
print(
    aware.timestamp(),
    datetime(1970, 1, 1, tzinfo=UTC).timestamp(),
    datetime(2001, 9, 9, 1, 46, 40, tzinfo=UTC).timestamp(),
)
tried(lambda: aware < dt)
tried(lambda: aware - dt)
tried(lambda: dt < date(2024, 1, 1))
print(dt == date(2024, 2, 29), isinstance(dt, date), datetime.combine(date(2024, 1, 2), time(3, 4, tzinfo=UTC)))
print(datetime.fromtimestamp(0, UTC), datetime.fromtimestamp(1e9 + 0.25, east), datetime.fromtimestamp(-1.5, UTC))
print(datetime.min, datetime.max, datetime.resolution)
tried(lambda: datetime.max + timedelta(1))
for text in ("2024-02-29", "2024-02-29T13:05", "2024-02-29 13:05:09.000070", "20240229T130509", "2024-02-29T13:05:09Z",
             "2024-02-29T13:05:09+02:00", "2024-W09-4T13:05", "2024-02-29T", "2024-02-29T13:05:09+2", "13:05", "2024-02-30T1"):  # fmt: skip
    tried(datetime.fromisoformat, text)
for text, form in (
    ("2024-02-29 13:05:09", "%Y-%m-%d %H:%M:%S"), ("29/Feb/2024:01:05:09 +0200", "%d/%b/%Y:%I:%M:%S %z"),
    ("Thu, 29 Feb 2024 13:05:09 GMT", "%a, %d %b %Y %H:%M:%S GMT"), ("12:05 PM", "%I:%M %p"), ("12:05 am", "%I:%M %p"),
    ("5.25", "%S.%f"), ("24 60", "%y %j"), ("70 1", "%y %m"), ("2024-02-30", "%Y-%m-%d"), ("2024-13-01", "%Y-%m-%d"),
    ("x", "%Y"), ("2024 trailing", "%Y"), ("2024", "%Q"), ("February  3", "%B %d"), ("1:2:3 Z", "%H:%M:%S %z"),
    ("10:11:12 -05:30", "%H:%M:%S %z"), ("100%", "%H0%%"), ("Monday", "%A"), ("99", "%H"), ("2024-02-29", "%F"),
):  # fmt: skip
    if form not in ("%F",):
        tried(lambda: repr(datetime.strptime(text, form)))
now = datetime.now(UTC)
print(now.year >= 2024, timedelta(0) <= datetime.now(UTC) - now < timedelta(minutes=1), now.tzinfo)
print(date.today() - datetime.now().date() <= timedelta(1), datetime.now().tzinfo)


class Summer(tzinfo):
    """One hour on from April to September, a half before."""

    def utcoffset(self, dt):
        return timedelta(minutes=30) + self.dst(dt)

    def dst(self, dt):
        return timedelta(hours=1 if dt and 4 <= dt.month <= 9 else 0)

    def tzname(self, dt):
        return "ON" if self.dst(dt) else "OFF"


s = Summer()
for month in (1, 6):
    x = datetime(2024, month, 1, 12, tzinfo=s)
    print(x, x.tzname(), x.dst(), x.astimezone(UTC), x.astimezone(UTC).astimezone(s), tuple(x.timetuple()))
tried(lambda: datetime(2024, 1, 1, tzinfo=5))
for year in (1999, 2017, 2018, 2023, 2024, 2028):  # begin on different days of the week
    for week in (0, 1, 30, 52, 53):
        for format in ("%Y %W %w", "%Y %U %w"):
            print(year, week, *[datetime.strptime("%d %d %d" % (year, week, day), format).date() for day in (0, 1, 6)])
for text, format in (
    ("2024 5 7", "%Y %W %u"), ("2024 5 Thu", "%Y %U %a"), ("2024 10", "%Y %W"), ("2024-05-06 18", "%Y-%m-%d %W"),
    ("10 1", "%W %w"), ("2023 366", "%Y %j"), ("2023-05-06 100", "%Y-%m-%d %j"),
):  # fmt: skip
    print(text, datetime.strptime(text, format))
tried(lambda: datetime.strptime("2024 54 1", "%Y %W %w"))
tried(lambda: datetime.strptime("2024 5 7", "%Y %W %w"))
deltas = [
    timedelta(999999999, 86399, 999999),
    timedelta(-12345678, microseconds=7),
    timedelta(microseconds=3),
    timedelta(7),
]
for x in deltas:
    print([x / y for y in deltas], x.total_seconds(), x / 7.5, x / 1e10, x / 3)
tried(lambda: deltas[0] / timedelta())
tried(lambda: deltas[0] / 0.0)
tried(lambda: deltas[0] / float("nan"))
