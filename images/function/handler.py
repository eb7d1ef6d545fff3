# SPDX-License-Identifier: MIT
"""The handler of this image: greets. An image of your own has its own one beside its image.toml."""


def handle(event: object, context: object) -> dict:
    name = event.query.get("name") or event.text or "world"
    context.log.debug("greeting %s", name)
    return {"hello": name, "request": context.request_id}
