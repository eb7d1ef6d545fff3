-- SPDX-License-Identifier: MIT
-- For wrk: start threads one after the other, because the accept queue of QEMU's port forwarding holds two
-- connections and a client that meets a full one waits for seconds; print the result as one line of JSON.

function init(args)
  os.execute("sleep 0.02")
end

function done(summary, latency, requests)
  local e = summary.errors
  io.write(string.format(
    '\nJSON {"requests": %d, "seconds": %.3f, "bytes": %d, "p50_us": %d, "p99_us": %d, "max_us": %d, "errors": %d, "connect": %d, "read": %d, "write": %d, "status": %d, "timeout": %d}\n',
    summary.requests, summary.duration / 1e6, summary.bytes, latency:percentile(50), latency:percentile(99),
    latency.max, e.connect + e.read + e.write + e.status + e.timeout,
    e.connect, e.read, e.write, e.status, e.timeout))
end
