-- SPDX-License-Identifier: MIT
-- For wrk: start threads one after the other, because the accept queue of QEMU's port forwarding holds two
-- connections and a client that meets a full one waits for seconds; print the result as one line of JSON.

function init(args)
  os.execute("sleep 0.02")
  math.randomseed(tonumber(string.match(tostring({}), "0x(%x+)"), 16) % 2147483647)  -- another one in each thread
end

-- A modest rate: each connection waits so long before each of its requests.
local pause = tonumber(os.getenv("BENCH_PAUSE_MS") or "")
if pause then
  function delay()
    return pause
  end
end

-- No request is like another: each has its own query and cookie, a path of the site, a browser's header.
if os.getenv("BENCH_REQUESTS") == "differing" then
  local paths = {"/", "/style.css", "/app.js", "/logo.svg", "/icon.png", "/routes.json", "/robots.txt", "/about/"}
  local browsers = {
    "Mozilla/5.0 (X11; Linux x86_64; rv:128.0) Gecko/20100101 Firefox/128.0",
    "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/126.0.0.0 Safari/537.36",
  }
  local count = 0
  function request()
    count = count + 1
    return wrk.format("GET", string.format("%s?v=%d", paths[math.random(#paths)], count), {
      ["User-Agent"] = browsers[count % #browsers + 1],
      ["Accept"] = "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8",
      ["Accept-Language"] = "en-GB,en;q=0.5",
      ["Accept-Encoding"] = "gzip, deflate, br",
      ["Cookie"] = string.format("session=%08x%08x; seen=%d", math.random(0, 2147483647), math.random(0, 2147483647), count),
    })
  end
end

function done(summary, latency, requests)
  local e = summary.errors
  io.write(string.format(
    '\nJSON {"requests": %d, "seconds": %.3f, "bytes": %d, "p50_us": %d, "p99_us": %d, "max_us": %d, "errors": %d, "connect": %d, "read": %d, "write": %d, "status": %d, "timeout": %d}\n',
    summary.requests, summary.duration / 1e6, summary.bytes, latency:percentile(50), latency:percentile(99),
    latency.max, e.connect + e.read + e.write + e.status + e.timeout,
    e.connect, e.read, e.write, e.status, e.timeout))
end
