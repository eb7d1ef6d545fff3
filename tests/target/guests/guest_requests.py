# SPDX-License-Identifier: MIT
"""requests and urequests, the library's: HTTP's forms, redirects, and certificates. argv: ports of plain, good, unknown."""

import os
import sys

import requests
import urequests

PLAIN, GOOD, UNKNOWN = (int(port) for port in sys.argv[1:4])
HTTP = "http://10.0.2.2:%d" % PLAIN
CA = os.getenv("CA_PEM").replace("|", "\n").encode()


def why(call, *args, **keywords):
    try:
        call(*args, **keywords)
    except (OSError, ValueError) as e:
        return str(e.args[-1])
    return ""


# ---- bodies ----
for path in ("/length", "/chunked", "/close"):
    r = requests.get(HTTP + path)
    assert (r.status_code, r.reason, r.text) == (200, "OK", "0123456789" * 1000), path
with requests.get(HTTP + "/chunked", stream=True) as r:
    assert b"".join(r.iter_content(100)) == b"0123456789" * 1000
r = requests.post(HTTP + "/echo?a=1", json={"a": [1, 2]}, headers={"X-One": "1"})
said = r.json()
assert said["method"] == "POST" and said["path"] == "/echo?a=1" and said["body"] == '{"a": [1, 2]}'
assert said["headers"]["content-type"] == "application/json" and said["headers"]["x-one"] == "1"
assert requests.put(HTTP + "/echo", data="text").json()["body"] == "text"
assert requests.post(HTTP + "/echo", data=(p for p in (b"ab", b"", b"c"))).json()["body"] == "abc"
assert requests.get(HTTP + "/echo", auth=("u", "p")).json()["headers"]["authorization"] == "Basic dTpw"
assert requests.head(HTTP + "/length").content == b""
assert requests.delete(HTTP + "/echo").json()["method"] == "DELETE"
assert urequests.get(HTTP + "/length").status_code == 200

# ---- redirects ----
assert requests.get(HTTP + "/to/length").text.startswith("0123")
assert requests.post(HTTP + "/to/echo", data="x").json()["method"] == "GET"
assert requests.get(HTTP + "/to/length", redirects=0).status_code == 302
assert "authorization" not in requests.get(HTTP + "/away", auth=("u", "p")).json()["headers"]
assert requests.get(HTTP + "/loop", redirects=3).status_code == 302

# ---- what is refused ----
assert why(requests.get, "ftp://x/") == "no http or https URL: ftp://x/"
assert "line break" in why(requests.get, HTTP, headers={"A": "b\r\nC: d"})
assert "control character" in why(requests.get, HTTP + "/a b")
assert why(requests.get, HTTP + "/negative") == "a body of less than nothing"
assert why(requests.get, HTTP + "/negative/chunk") == "a body of less than nothing"
assert why(requests.get, HTTP + "/short") == "the connection ended before the body did"

# ---- certificates ----
https = "https://10.0.2.2:%d/length"
assert "no CA certificates" in why(requests.get, https % GOOD)
assert requests.get(https % GOOD, verify=CA).status_code == 200
assert "unknown CA" in why(requests.get, https % UNKNOWN, verify=CA)
assert requests.get(https % UNKNOWN, verify=False).status_code == 200
print("all done")
