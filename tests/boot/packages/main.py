# SPDX-License-Identifier: MIT
"""The packages that people start with, as they are on PyPI, against real servers on the host: argv names their ports."""

import logging
import os
import sys

import picoweb
import urequests
import utemplate.source
from umqtt.robust import MQTTClient as Robust
from umqtt.simple import MQTTClient as Simple

HOST = "10.0.2.2"
MQTT, HTTP = int(sys.argv[1]), int(sys.argv[2])

app = picoweb.WebApp(None)


@app.route("/")
def index(req, resp):
    yield from picoweb.start_response(resp)
    yield from resp.awrite("hello from picoweb\n")


@app.route("/page")
def page(req, resp):
    yield from picoweb.start_response(resp)
    for piece in render("ann"):
        yield from resp.awrite(piece)


def mqtt():
    heard = []
    listener = Simple("listener", HOST, port=MQTT)
    listener.set_callback(lambda topic, text: heard.append((topic, text)))
    listener.connect()
    listener.subscribe(b"floe/#")
    speaker = Robust("speaker", HOST, port=MQTT)
    speaker.connect()
    speaker.publish(b"floe/one", b"1")
    speaker.sock.close()  # robust connects again
    speaker.publish(b"floe/two", b"2" * 300)
    for _ in range(2):
        listener.wait_msg()
    print("mqtt", heard[0], heard[1][0], len(heard[1][1]))
    listener.disconnect()


def http():
    answer = urequests.get(f"http://{HOST}:{HTTP}/data.json")
    print("http", answer.status_code, answer.json())
    answer.close()


os.mkdir("templates")
with open("templates/greet.tpl", "w") as f:
    f.write("{% args name %}\n<b>{{name}}</b>\n{% for i in range(3) %}{{i}},{% endfor %}\n")
render = utemplate.source.Loader(None, "templates").load("greet.tpl")

logging.basicConfig(level=logging.INFO)
logging.info("started %d", 1)
mqtt()
http()
app.run(host="0.0.0.0", port=80, debug=1)
