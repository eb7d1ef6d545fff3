# SPDX-License-Identifier: MIT
"""What tells an engine to run a container image of `floe build --oci`: Kubernetes, compose, Nomad. By image.toml:
ports, memory, secrets; arguments and variables are in the image."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any

import yaml

from floe.build.config import ImageConfig
from floe.oci import image, rootfs

STOP_S = 10  # an orderly end, and what QEMU takes
_QEMU_MIB = 128  # beside the guest's memory
_HEALTH_S = 10
_PRIVILEGED = 1024
KVM = "/dev/kvm"


def reference(settings: ImageConfig) -> str:
    """The image as `podman load` names it."""
    return f"localhost/{image.name(settings)}"


def _memory_mib(settings: ImageConfig) -> int:
    return -(-settings.memory >> 20) + _QEMU_MIB


def _app(settings: ImageConfig) -> str:
    """A name of DNS (RFC 1035, a label, as Kubernetes wants a Service's), which all of them take."""
    name = image.name(settings).partition(":")[0]
    return (f"app-{name}" if name[0].isdigit() else name)[:63].strip("-")


def _ports(settings: ImageConfig) -> list[tuple[int, str]]:
    return [(f.guest_port, f.protocol) for f in rootfs.forwards(settings)]


def _yaml(value: Mapping[str, Any]) -> str:
    copied = json.loads(json.dumps(value))  # what is there twice is written twice, without anchors
    return str(yaml.safe_dump(copied, sort_keys=False, allow_unicode=True))


def _is_checked(settings: ImageConfig) -> bool:
    return any(protocol == "tcp" for _, protocol in _ports(settings))


def k8s(settings: ImageConfig, ref: str, *, kvm: bool) -> str:
    """A Deployment (apps/v1) with as few rights as QEMU needs, and a Service (v1) where there are ports. kvm: the
    node's device, which takes a privileged container where no device plugin hands it out."""
    app = _app(settings)
    labels = {"app.kubernetes.io/name": app}
    mib = _memory_mib(settings)
    low = any(port < _PRIVILEGED for port, _ in _ports(settings))
    capabilities: dict[str, Any] = {"drop": ["ALL"]} | ({"add": ["NET_BIND_SERVICE"]} if low else {})
    mounts: list[Any] = []
    volumes: list[Any] = []
    if settings.secrets:
        mounts.append({"name": "secrets", "mountPath": "/run/secrets", "readOnly": True})
        volumes.append({"name": "secrets", "secret": {"secretName": app}})
    if kvm:
        mounts.append({"name": "kvm", "mountPath": KVM})
        volumes.append({"name": "kvm", "hostPath": {"path": KVM, "type": "CharDevice"}})
    confined: dict[str, Any] = {"allowPrivilegeEscalation": False, "capabilities": capabilities}
    container: dict[str, Any] = {
        "name": app,
        "image": ref,
        "securityContext": {"privileged": True} if kvm else confined | {"readOnlyRootFilesystem": True},
        "resources": {"requests": {"memory": f"{mib}Mi"}, "limits": {"memory": f"{mib}Mi"}},
    }
    if _ports(settings):
        container["ports"] = [{"containerPort": port, "protocol": kind.upper()} for port, kind in _ports(settings)]
    if _is_checked(settings):
        asked = {"exec": {"command": [rootfs.HEALTHY]}, "periodSeconds": _HEALTH_S, "timeoutSeconds": _HEALTH_S}
        container |= {"readinessProbe": asked, "livenessProbe": asked}
    container |= {"volumeMounts": mounts} if mounts else {}
    pod: dict[str, Any] = {
        "automountServiceAccountToken": False,
        "enableServiceLinks": False,
        "terminationGracePeriodSeconds": STOP_S,
        "containers": [container],
    }
    deployment = {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": app, "labels": labels},
        "spec": {
            "replicas": 1,
            "selector": {"matchLabels": labels},
            "template": {"metadata": {"labels": labels}, "spec": pod | ({"volumes": volumes} if volumes else {})},
        },
    }
    documents = [_yaml(deployment)]
    if _ports(settings):
        named: list[Any] = [
            {"name": f"{kind}-{port}", "port": port, "protocol": kind.upper()} for port, kind in _ports(settings)
        ]
        service = {"apiVersion": "v1", "kind": "Service", "metadata": {"name": app, "labels": labels}}
        documents.append(_yaml(service | {"spec": {"selector": labels, "ports": named}}))
    return "---\n".join(documents)


def compose(settings: ImageConfig, ref: str, *, kvm: bool) -> str:
    """A file of the compose specification."""
    app = _app(settings)
    service: dict[str, Any] = {
        "image": ref,
        "restart": "on-failure",
        "stop_grace_period": f"{STOP_S}s",
        "mem_limit": f"{_memory_mib(settings)}m",
        "read_only": True,
    }
    if settings.ports:
        service["ports"] = [_published(text) for text in settings.ports]
    if _is_checked(settings):
        service["healthcheck"] = {"test": ["CMD", rootfs.HEALTHY], "interval": "30s", "timeout": f"{_HEALTH_S}s"}
    service |= {"devices": [KVM]} if kvm else {}
    service |= {"secrets": list(settings.secrets)} if settings.secrets else {}
    whole: dict[str, Any] = {"version": "3.8", "services": {app: service}}
    if settings.secrets:
        whole["secrets"] = {name: {"file": f"./{name}"} for name in settings.secrets}
    return _yaml(whole)


def _published(text: str) -> str:
    """A port of image.toml as compose has it: without `/spread`, which is for a VM that forks."""
    return re.sub(r"/(tcp|spread)$", "", text)


def nomad(settings: ImageConfig, ref: str, *, kvm: bool) -> str:
    """A job for Nomad's podman and docker drivers."""
    app, ports = _app(settings), _ports(settings)
    devices = f'        devices = [{{ host_path = "{KVM}" }}]\n' if kvm else ""
    labels = [f"{kind}-{port}" for port, kind in ports]
    network = "".join(
        f'      port "{label}" {{\n        to = {port}\n      }}\n'
        for label, (port, _) in zip(labels, ports, strict=True)
    )
    return (
        f'job "{app}" {{\n'
        f'  group "{app}" {{\n' + (f"    network {{\n{network}    }}\n" if network else "") + f'    task "{app}" {{\n'
        '      driver = "docker"\n'
        f'      kill_timeout = "{STOP_S}s"\n'
        "      config {\n"
        f"        image = {json.dumps(ref)}\n"
        f"        ports = {json.dumps(labels)}\n"
        f"{devices}"
        "      }\n"
        "      resources {\n"
        f"        memory = {_memory_mib(settings)}\n"
        "      }\n"
        "    }\n"
        "  }\n"
        "}\n"
    )
