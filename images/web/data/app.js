// Shows the guest's status once a second and edits the notes through /api/notes.
"use strict";

async function api(method, path, value) {
  const options = { method };
  if (value !== undefined) {
    options.headers = { "Content-Type": "application/json" };
    options.body = JSON.stringify(value);
  }
  const answer = await fetch(path, options);
  if (!answer.ok) throw new Error(await answer.text());
  return answer.status === 204 ? null : answer.json();
}

async function showStatus() {
  const status = await api("GET", "/api/status");
  const rows = {
    "up for": (status.uptime_ms / 1000).toFixed(1) + " s",
    "requests": status.requests,
    "connections": status.connections,
    "heap in use": (status.heap_used / 1024).toFixed(0) + " KiB",
    "platform": status.platform,
  };
  const list = document.getElementById("status");
  list.replaceChildren();
  for (const [name, value] of Object.entries(rows)) {
    const dt = document.createElement("dt");
    const dd = document.createElement("dd");
    dt.textContent = name;
    dd.textContent = value;
    list.append(dt, dd);
  }
}

async function showNotes() {
  const list = document.getElementById("notes");
  list.replaceChildren();
  for (const note of await api("GET", "/api/notes")) {
    const item = document.createElement("li");
    const remove = document.createElement("button");
    item.textContent = note.text;
    remove.textContent = "remove";
    remove.onclick = async () => {
      await api("DELETE", "/api/notes/" + note.id);
    };
    item.append(remove);
    list.append(item);
  }
}

document.getElementById("form").onsubmit = async (event) => {
  event.preventDefault();
  const field = document.getElementById("text");
  await api("POST", "/api/notes", { text: field.value });
  field.value = "";
};

async function followNotes() {
  let changes = 0;
  for (;;) {
    await showNotes();
    changes = (await api("GET", "/api/changes?since=" + changes)).changes;
  }
}

followNotes();
showStatus();
setInterval(showStatus, 1000);
